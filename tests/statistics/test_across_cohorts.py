"""A gene's effects in several cohorts are put together as metafor does, and the intervals cover the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from immune_aging.statistics.across_cohorts import combine_cohorts, paule_mandel
from immune_aging.statistics.cohort_comparison import normal_scores

# f <- rma(yi, sei=sei, method="EE"); r <- rma(yi, sei=sei, method="PM", test="adhoc", control=list(tol=1e-12))
# of metafor 3.8-1: f$beta, f$se, f$ci.lb, f$ci.ub, f$pval, r$tau2, r$beta, r$se, r$ci.lb, r$ci.ub, r$pval, f$QE,
# f$I2 / 100, f$QEp
METAFOR = [
    ([0.2, 0.35, 0.05], [0.05, 0.08, 0.06],
     [0.178143214, 0.03462659141, 0.1102763419, 0.2460100861, 2.679573464e-07, 0.01753131294, 0.1940262931,
      0.0848093651, -0.1708789531, 0.5589315394, 0.149395681, 9.367194005, 0.7864888889, 0.009245697207]),
    ([0.3, -0.1], [0.05, 0.2],
     [0.2764705882, 0.04850712501, 0.1813983702, 0.3715428062, 1.200978899e-08, 0.05875, 0.146875, 0.1944292529,
      -2.323582894, 2.617332894, 0.5881334585, 3.764705882, 0.734375, 0.05234506327]),
    ([0.11, 0.12, 0.13, 0.1], [0.05, 0.04, 0.08, 0.06],
     [0.1145216564, 0.02617991426, 0.06320996729, 0.1658333454, 1.21761821e-05, 0, 0.1145216564, 0.02617991426,
      0.03120548495, 0.1978378278, 0.02210528857, 0.122947406, 0, 0.9889481338]),
    ([1.5, -0.7, 0.2, 0.9, 0.05], [0.1, 0.3, 0.02, 0.25, 0.5],
     [0.2496368243, 0.01949532168, 0.211426696, 0.2878469527, 1.538040371e-37, 0.6521081011, 0.4267155035,
      0.3807411999, -0.6303915374, 1.483822544, 0.3251337683, 179.4474307, 0.9777093493, 9.799554795e-38]),
    ([0.4, 0.41], [0.1, 0.1],
     [0.405, 0.07071067812, 0.2664096176, 0.5435903824, 1.018824493e-08, 0, 0.405, 0.07071067812, -0.4934643532,
      1.303464353, 0.1100409771, 0.005, 0, 0.9436280222]),
]  # fmt: skip
COMPARED = [
    "effect", "se", "ci_low", "ci_high", "p_value", "tau_squared", "random_effect", "random_se", "random_ci_low",
    "random_ci_high", "random_p_value", "q", "i_squared", "heterogeneity_p_value",
]  # fmt: skip


def frames(effects, errors) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Genes x cohorts, from rows of different length."""
    effect, se = pd.DataFrame(effects), pd.DataFrame(errors)
    index = [f"g{number}" for number in range(len(effect))]
    return effect.set_axis(index), se.set_axis(index)


def test_numbers_are_those_of_metafor_whatever_cohorts_a_gene_has():
    """All cases at once, so that genes of two, three, four and five cohorts stand in one table."""
    table = combine_cohorts(*frames([case[0] for case in METAFOR], [case[1] for case in METAFOR]))
    assert table["n_cohorts"].to_list() == [3, 2, 4, 5, 2]
    np.testing.assert_allclose(table[COMPARED].to_numpy(), [case[2] for case in METAFOR], rtol=1e-7, atol=1e-12)


def test_signs_are_counted_against_the_common_effect():
    table = combine_cohorts(*frames([[0.3, -0.1, 0.2], [-1, -2, np.nan]], [[0.1, 0.1, 0.1], [1, 1, 1]]))
    assert table["n_same_sign"].to_list() == [2, 2]


@pytest.mark.parametrize("missing", [(np.nan, 0.1), (0.2, np.nan), (0.2, 0.0)])
def test_a_gene_of_one_cohort_has_no_row(missing):
    effect, se = frames([[0.3, missing[0]], [0.1, 0.1]], [[0.1, missing[1]], [0.1, 0.1]])
    assert combine_cohorts(effect, se).index.to_list() == ["g1"]


def test_equal_effects_leave_nothing_between_cohorts():
    table = combine_cohorts(*frames([[0.2, 0.2]], [[0.1, 0.3]]))
    assert table.iloc[0][["tau_squared", "q", "i_squared"]].to_list() == [0, 0, 0]
    assert table["heterogeneity_p_value"].iloc[0] == 1


@pytest.mark.parametrize("n_cohorts", [2, 3, 5])
@pytest.mark.parametrize("tau", [0.0, 0.2])
def test_intervals_cover_the_truth(n_cohorts, tau):
    """The common effect's where there is one; the random one's in any case, with errors of very different size."""
    rng = np.random.default_rng(n_cohorts)
    n = 20000
    se = np.exp(rng.normal(np.log(0.1), 0.5, (n, n_cohorts)))
    effect = 0.3 + rng.normal(0, tau, (n, n_cohorts)) + rng.normal(0, se)
    table = combine_cohorts(pd.DataFrame(effect), pd.DataFrame(se))
    four_errors = 4 * np.sqrt(0.95 * 0.05 / n)
    random = ((table["random_ci_low"] < 0.3) & (table["random_ci_high"] > 0.3)).mean()
    assert random > 0.95 - four_errors - (0.02 if tau and n_cohorts > 2 else 0), "weights are estimated, too"
    if not tau:
        common = ((table["ci_low"] < 0.3) & (table["ci_high"] > 0.3)).mean()
        assert abs(common - 0.95) < four_errors
        assert abs((table["heterogeneity_p_value"] < 0.05).mean() - 0.05) < four_errors


def test_the_variance_between_cohorts_is_that_of_the_truth():
    rng = np.random.default_rng(5)
    se = np.full((4000, 6), 0.1)
    found = paule_mandel(rng.normal(0, np.hypot(0.1, 0.3), (4000, 6)), se)
    assert abs(found.mean() - 0.09) < 0.005


@pytest.mark.parametrize("effect", [0.0, 0.4])
def test_intervals_and_p_values_hold_where_the_cohorts_tests_have_few_degrees_of_freedom(effect):
    """T tests with 20 degrees of freedom: a fixed effect from them as if they were normal is at p < .001 in .0024."""
    rng = np.random.default_rng(11)
    n, df = 40000, 20
    errors = 0.05 * np.exp(rng.normal(0, 0.3, (n, 2)))
    estimated = errors * np.sqrt(rng.chisquare(df, (n, 2)) / df)
    found = effect + rng.normal(0, errors)
    p_value = 2 * t.sf(np.abs(found / estimated), df)
    factor = t.isf(0.03, df) / norm.isf(0.03)
    frames = [pd.DataFrame(values) for values in (found, estimated * factor, p_value)]
    table = combine_cohorts(frames[0], frames[1], normal_scores(frames[2], frames[0]))
    covered = ((table["ci_low"] < effect) & (table["ci_high"] > effect)).mean()
    assert 0.935 < covered < 0.955, "the weights are estimated, too"
    assert 0.04 < (table["heterogeneity_p_value"] < 0.05).mean() < 0.055
    if not effect:
        assert (table["p_value"] < 0.001).mean() < 0.0015 and (table["p_value"] < 0.05).mean() < 0.06
