"""Mixed models of one random effect: estimates of other programs, exact tests where there are any, honest p values."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from immune_aging.statistics.mixed_models import groups_of, mixed_fits, variances
from immune_aging.task.skipped import CannotFit

BALANCED, PAIRS, UNEVEN = [4] * 10, [2] * 15, [1, 1, 2, 3, 5, 8, 9]


def grouped(
    sizes: list[int], *, between_sd: float, seed: int, n_responses: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses of noise, a design of a term of groups and one of samples, and the group of each sample."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    matrix = np.column_stack([np.ones(len(labels)), labels % 2, rng.normal(size=len(labels))])
    of_groups = rng.normal(0, between_sd, (len(sizes), n_responses))
    return of_groups[labels] + rng.normal(size=(len(labels), n_responses)), matrix, labels


@pytest.mark.parametrize(
    ("sizes", "between_sd"), [(BALANCED, 0.8), (PAIRS, 1.5), (UNEVEN, 1.2), ([1] * 8 + [2] * 8, 1.0)]
)
def test_estimates_are_those_of_restricted_maximum_likelihood(sizes, between_sd):
    values, matrix, labels = grouped(sizes, between_sd=between_sd, seed=3)
    within, between = variances(values[:, 0], groups_of(matrix, labels))
    reference = sm.MixedLM(values[:, 0], matrix, groups=labels).fit(reml=True, gtol=1e-10)
    assert within == pytest.approx(reference.scale, rel=1e-4)
    assert between == pytest.approx(float(reference.cov_re[0, 0]), rel=1e-3, abs=1e-4)
    for column in (1, 2):
        found = mixed_fits(values, groups_of(matrix, labels), column)
        assert found["effect"][0] == pytest.approx(reference.fe_params[column], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("sizes", "between_sd", "seed", "column", "expected"),
    [
        (BALANCED, 0.8, 1, 1, [0.1310631, 0.4174274, 7.729606, 0.7618436]),
        (BALANCED, 0.8, 1, 2, [-0.02173934, 0.1759066, 36.97551, 0.9023136]),
        (PAIRS, 1.5, 2, 1, [0.3357381, 0.7122644, 12.57559, 0.6454511]),
        (PAIRS, 1.5, 2, 2, [0.5284845, 0.2529346, 22.07111, 0.04841062]),
        (UNEVEN, 1.2, 3, 1, [0.6382807, 0.9203891, 4.84364, 0.5198418]),
        (UNEVEN, 1.2, 3, 2, [-0.09814825, 0.2011304, 25.11049, 0.6297957]),
        (UNEVEN, 0.2, 4, 1, [-0.1068419, 0.4500473, 2.937451, 0.8279364]),
        (UNEVEN, 0.2, 4, 2, [0.05834842, 0.1462727, 24.81193, 0.6933782]),
    ],
)
def test_errors_and_degrees_of_freedom_are_kenward_and_rogers_as_lmertest_and_pbkrtest_have_them(
    sizes, between_sd, seed, column, expected
):
    values, matrix, labels = grouped(sizes, between_sd=between_sd, seed=seed)
    found = mixed_fits(values, groups_of(matrix, labels), column)
    ours = [float(found[name][0]) for name in ("effect", "se", "df", "p_value")]
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


@pytest.mark.parametrize("n_groups", [4, 6, 10])
def test_of_equal_groups_what_differs_between_them_is_a_t_test_of_their_means(n_groups):
    values, matrix, labels = grouped([5] * n_groups, between_sd=1.5, seed=n_groups)
    means = pd.Series(values[:, 0]).groupby(labels).mean().to_numpy()
    expected = stats.ttest_ind(means[1::2], means[::2])
    found = mixed_fits(values, groups_of(matrix[:, :2], labels), 1)
    assert found["effect"][0] == pytest.approx(means[1::2].mean() - means[::2].mean())
    assert found["df"][0] == pytest.approx(n_groups - 2)
    assert found["p_value"][0] == pytest.approx(expected.pvalue)


def test_of_pairs_what_differs_within_them_is_a_paired_t_test():
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=(2, 12)) + rng.normal(0, 1, 12)
    matrix = np.column_stack([np.ones(24), np.repeat([0, 1], 12)])
    found = mixed_fits(np.concatenate([before, after])[:, None], groups_of(matrix, np.tile(np.arange(12), 2)), 1)
    assert found["p_value"][0] == pytest.approx(stats.ttest_rel(after, before).pvalue)
    assert found["df"][0] == pytest.approx(11)


@pytest.mark.parametrize("sizes", [[6] * 4, [2, 3, 4, 8, 10], BALANCED], ids=["4 equal", "5 uneven", "10 equal"])
@pytest.mark.parametrize("between_sd", [0.0, 1.0])
def test_few_groups_call_no_more_than_they_should(sizes, between_sd):
    values, matrix, labels = grouped(sizes, between_sd=between_sd, seed=0, n_responses=250)
    for column in (1, 2):
        rate = (mixed_fits(values, groups_of(matrix, labels), column)["p_value"] < 0.05).mean()
        assert rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 250), column


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (np.arange(12), np.random.default_rng(0).normal(size=(12, 1))),
        (np.repeat([0, 1], 6), np.random.default_rng(0).normal(size=(12, 1))),
        (np.repeat([0, 1, 2], 4), np.ones((12, 1))),
    ],
    ids=["a group of each sample", "groups that are a term", "nothing varies"],
)
def test_what_has_no_two_variances_is_refused(labels, values):
    matrix = np.column_stack([np.ones(12), np.repeat([0, 1], 6)])
    with pytest.raises(CannotFit):
        mixed_fits(values, groups_of(matrix, labels), 1)
