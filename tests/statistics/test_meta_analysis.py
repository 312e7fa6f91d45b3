"""Effects of several cell types put together: against statsmodels, closed forms and simulation."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.statistics.meta_analysis import (
    by_expression,
    combine_cell_types,
    error_correlation,
    errors_of_normal_test,
    heterogeneity,
    mean_effect,
    normal_errors,
    truncated_correlation,
    two_sided,
    without_any_one,
)

K = 5
# What half of a donor's variance shared between cell types gives.
CORRELATION = np.full((K, K), 0.35) + 0.65 * np.eye(K)


def errors(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Correlated errors of effects, genes x cell types, and their standard errors."""
    se = rng.uniform(0.05, 0.2, (n, K))
    return rng.multivariate_normal(np.zeros(K), CORRELATION, n) * se, se


def test_without_correlation_it_is_the_textbook_fixed_effect_and_q():
    from statsmodels.stats.meta_analysis import combine_effects

    effect, se = errors(20, np.random.default_rng(0))
    mean, mean_se = mean_effect(effect, se, np.eye(K))
    q, q_p = heterogeneity(effect, se, np.eye(K))
    for row in range(20):
        reference = combine_effects(effect[row], se[row] ** 2)
        assert mean[row] == pytest.approx(reference.mean_effect_fe)
        assert mean_se[row] == pytest.approx(reference.sd_eff_w_fe)
        assert q[row] == pytest.approx(reference.q)
        assert q_p[row] == pytest.approx(reference.test_homogeneity().pvalue)


def test_with_correlation_q_is_that_of_generalised_least_squares():
    import statsmodels.api as sm

    effect, se = errors(10, np.random.default_rng(1))
    q, _ = heterogeneity(effect, se, CORRELATION)
    for row in range(10):
        covariance = CORRELATION * np.outer(se[row], se[row])
        fit = sm.GLS(effect[row], np.ones(K), sigma=covariance).fit()
        assert q[row] == pytest.approx(fit.wresid @ fit.wresid)


def test_the_standard_error_is_the_spread_of_the_mean():
    rng = np.random.default_rng(2)
    se = np.tile(rng.uniform(0.05, 0.2, K), (20_000, 1))
    effect = rng.multivariate_normal(np.zeros(K), CORRELATION, 20_000) * se
    mean, mean_se = mean_effect(effect, se, CORRELATION)
    assert mean.std() == pytest.approx(mean_se[0], rel=0.02)


def test_the_correlation_is_found_though_some_genes_change_in_all_cell_types():
    rng = np.random.default_rng(3)
    for r in (-0.2, 0.0, 0.4, 0.8):
        z = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], 8000)
        z[:400] += rng.choice([-5, 5], 400)[:, None]
        value, variance = truncated_correlation(z[:, 0], z[:, 1])
        assert value == pytest.approx(r, abs=0.05) and 0 < variance < 0.02**2 * 4
        assert np.corrcoef(z.T)[0, 1] > r + 0.1, "the plain correlation takes the effects for errors"


def test_a_correlation_matrix_is_one_even_where_few_genes_are_in_both():
    rng = np.random.default_rng(4)
    z = rng.normal(size=(60, 8))
    z[rng.random(z.shape) < 0.8] = np.nan
    matrix = error_correlation(z)
    assert np.linalg.eigvalsh(matrix).min() > 0 and np.allclose(np.diag(matrix), 1)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_pairs_are_drawn_together_where_they_differ_by_chance_and_not_where_they_do():
    rng = np.random.default_rng(9)
    chance = error_correlation(rng.multivariate_normal(np.zeros(K), CORRELATION, 300))
    low = np.tril_indices(K, -1)
    assert np.std(chance[low]) < 0.05
    apart = CORRELATION.copy()
    apart[0, 1] = apart[1, 0] = 0.8
    found = error_correlation(rng.multivariate_normal(np.zeros(K), apart, 8000))
    assert found[0, 1] > 0.7 and np.mean(found[low]) == pytest.approx(apart[low].mean(), abs=0.04)


def test_null_genes_have_uniform_p_values_only_with_the_correlation():
    from scipy.stats import kstest

    effect, se = errors(20_000, np.random.default_rng(5))
    found = error_correlation(effect / se)
    np.testing.assert_allclose(found, CORRELATION, atol=0.04)
    table = combine_cell_types(pd.DataFrame(effect), pd.DataFrame(se), found)
    for column in ("p_value", "heterogeneity_p_value"):
        assert kstest(table[column], "uniform").pvalue > 0.001, column
        assert 0.043 < (table[column] < 0.05).mean() < 0.057
    naive = combine_cell_types(pd.DataFrame(effect), pd.DataFrame(se), np.eye(K))
    assert (naive["p_value"] < 0.05).mean() > 0.15


def test_a_gene_that_one_cell_type_changes_is_not_shared_and_one_that_two_change_is():
    rng = np.random.default_rng(6)
    effect, se = errors(4000, rng)
    effect[:, 0] += 8 * se[:, 0]
    assert (without_any_one(effect, se, CORRELATION) < 0.05).mean() < 0.06
    effect[:, 1] += 8 * se[:, 1]
    assert (without_any_one(effect, se, CORRELATION) < 0.05).mean() > 0.5


def test_leaving_out_is_what_it_says():
    rng = np.random.default_rng(7)
    effect, se = errors(200, rng)
    effect += 0.15
    effect[rng.random(effect.shape) < 0.3] = np.nan
    p_value = without_any_one(effect, se, CORRELATION)
    for row in range(200):
        types = np.flatnonzero(np.isfinite(effect[row]))
        if len(types) < 2:
            assert np.isnan(p_value[row])
            continue
        whole, _ = mean_effect(effect[[row]], se[[row]], CORRELATION)
        expected = 0.0
        for out in types:
            rest = np.setdiff1d(types, out)
            part, part_se = mean_effect(effect[[row]][:, rest], se[[row]][:, rest], CORRELATION[np.ix_(rest, rest)])
            expected = max(expected, two_sided(part / part_se)[0] if part[0] * whole[0] > 0 else 1.0)
        assert p_value[row] == pytest.approx(expected)


def test_genes_of_one_cell_type_are_left_out_and_missing_ones_change_no_other():
    effect, se = errors(50, np.random.default_rng(8))
    effect[0, 1:] = np.nan
    effect[1, 3:] = np.nan
    table = combine_cell_types(pd.DataFrame(effect), pd.DataFrame(se), CORRELATION)
    assert 0 not in table.index and table.loc[1, "n_cell_types"] == 3
    alone = combine_cell_types(pd.DataFrame(effect[[1], :3]), pd.DataFrame(se[[1], :3]), CORRELATION[:3, :3])
    for column in ("log2_fold_change", "lfc_se", "p_value", "heterogeneity_p_value", "p_value_shared"):
        assert table.loc[1, column] == pytest.approx(alone.loc[0, column])
    assert table["sign_concordance"].between(0.5 / K, 1).all() and table["i_squared"].between(0, 1).all()


def slopes(shared: np.ndarray, n_donors: int, rng: np.random.Generator) -> tuple[pd.DataFrame, ...]:
    """Slope, its standard error and t test's p value, genes x 3 cell types of the same donors; no gene changes.

    Parameters
    ----------
    shared
        Share of a donor's variance that is the same in all cell types, by gene.
    """
    from scipy.stats import t

    n_types = 3
    age = np.linspace(-1, 1, n_donors)
    own = rng.normal(size=(len(shared), n_types, n_donors))
    common = rng.normal(size=(len(shared), 1, n_donors))
    y = np.sqrt(1 - shared)[:, None, None] * own + np.sqrt(shared)[:, None, None] * common
    slope = y @ age / (age @ age)
    left = y - y.mean(axis=2, keepdims=True) - slope[:, :, None] * age
    se = np.sqrt((left**2).sum(axis=2) / (n_donors - 2) / (age @ age))
    p_value = 2 * t.sf(np.abs(slope / se), n_donors - 2)
    return tuple(pd.DataFrame(one) for one in (slope, se, p_value))


def test_normal_errors_give_back_the_p_value_of_the_t_test_and_keep_the_effect():
    effect, se, p_value = slopes(np.full(500, 0.3), 12, np.random.default_rng(10))
    effect.iloc[0, 0], p_value.iloc[1, 1] = 0.0, 1.0
    errors_of_z = normal_errors(effect, p_value, se)
    usable = (p_value < 0.99) & (effect != 0)
    given = pd.DataFrame(two_sided((effect / errors_of_z).to_numpy()))
    np.testing.assert_allclose(given[usable].stack(), p_value[usable].stack(), rtol=1e-9)
    assert errors_of_z.iloc[0, 0] == se.iloc[0, 0] and errors_of_z.iloc[1, 1] == se.iloc[1, 1]


def test_the_mean_of_t_statistics_holds_its_level_only_with_normal_errors():
    effect, se, p_value = slopes(np.full(12_000, 0.3), 12, np.random.default_rng(11))
    level = pd.DataFrame(1.0, effect.index, effect.columns)
    right, _ = by_expression(effect, normal_errors(effect, p_value, se), level)
    plain, _ = by_expression(effect, se, level)
    assert (right["p_value"] < 0.05).mean() < 0.06 < 0.07 < (plain["p_value"] < 0.05).mean()


def test_genes_of_low_and_high_expression_hold_their_level_each_by_its_own_correlation():
    genes = 18_000
    mean_count = pd.DataFrame(np.repeat(np.linspace(1, 1000, genes)[:, None], 3, axis=1))
    third = np.arange(genes) * 3 // genes
    shared = np.array([0.1, 0.35, 0.7])[third]
    effect, se, p_value = slopes(shared, 25, np.random.default_rng(12))
    table, correlations = by_expression(effect, normal_errors(effect, p_value, se), mean_count)
    found = [matrix[np.tril_indices(3, -1)].mean() for matrix in correlations]
    np.testing.assert_allclose(found, [0.1, 0.35, 0.7], atol=0.05)
    low = (table["p_value"] < 0.05).groupby(third).mean()
    assert low.between(0.042, 0.058).all(), low


def test_errors_of_a_normal_test_differ_by_one_factor_whatever_a_gene_shows():
    """With 8 degrees of freedom a t of 2.2 is what a z of 1.88 is; the factor is that of moderate p values."""
    from scipy.stats import norm, t

    rng = np.random.default_rng(7)
    se = np.exp(rng.normal(0, 0.3, 4000))
    effect = se * rng.standard_t(8, 4000)
    ratio = errors_of_normal_test(effect, 2 * t.sf(np.abs(effect / se), 8), se) / se
    assert np.ptp(ratio) < 1e-9 and ratio[0] == pytest.approx(t.isf(0.03, 8) / norm.isf(0.03), rel=0.02)
    exact = errors_of_normal_test(effect, 2 * norm.sf(np.abs(effect / se)), se)
    np.testing.assert_allclose(exact, se, rtol=1e-9)


@pytest.mark.parametrize("p_value", [0.5, 1.0, 1e-300])
def test_errors_stay_where_no_p_tells_the_factor(p_value):
    assert errors_of_normal_test(np.ones(3), np.full(3, p_value), np.full(3, 0.2)).tolist() == [0.2] * 3
