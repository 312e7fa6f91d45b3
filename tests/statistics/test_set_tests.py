"""The set test: what it equals, what must not change it, and that it holds its rate where genes are co-expressed."""

import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from engine import ROOT
from immune_aging.statistics.gene_fits import GeneFits, fit_genes
from immune_aging.statistics.linear_models import WeightedExpression
from immune_aging.statistics.set_tests import (
    LARGEST_SHARE,
    MIN_RESIDUAL_DF,
    TEST_COLUMNS,
    adjusted,
    camera_test,
    competitive_tests,
    not_too_large,
)
from immune_aging.task.skipped import CannotFit

sys.path.insert(0, str(ROOT / "benchmarks"))
from coexpression import Programme, design_matrix, draw_counts, draw_donors, draw_programme

AGE = np.array([0.0, 0.0, 1.0])


def fits_of(expression: pd.DataFrame, matrix, contrast, *, weights=None, whiten=None) -> GeneFits:
    """Fits of log expression, genes x samples; equal weights where none are given."""
    weights = np.ones(expression.shape) if weights is None else weights
    weighted = WeightedExpression(expression.to_numpy(float), weights, np.ones(len(matrix)), None, whiten)
    return fit_genes(expression.index, weighted, matrix, contrast)


def camera_of(expression: pd.DataFrame, matrix, contrast, sets, **how) -> pd.DataFrame:
    """The test of every set from log expression."""
    return competitive_tests(fits_of(expression, matrix, contrast, **how), list(expression.index), sets)


def set_rows(genes, sets) -> dict[str, np.ndarray]:
    """Rows of each set's genes."""
    place = {gene: row for row, gene in enumerate(genes)}
    return {name: np.array(sorted(place[gene] for gene in own)) for name, own in sets.items()}


def example(n_samples: int = 14, n_genes: int = 120, seed: int = 0):
    """Log expression with one co-expressed set, a design of three columns, precision weights and four sets."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n_genes, n_samples)) * rng.uniform(0.5, 2, n_genes)[:, None]
    values[:30] += rng.standard_normal(n_samples)
    genes = [f"g{i}" for i in range(n_genes)]
    matrix = np.column_stack([np.ones(n_samples), np.arange(n_samples) % 2, rng.standard_normal(n_samples)])
    sets = {"together": genes[:30], "apart": genes[40:60], "mixed": genes[25:45], "large": genes[:100]}
    return pd.DataFrame(values, index=genes), matrix, rng.uniform(0.5, 3, values.shape), sets


def by_name(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("gene_set").sort_index()


def reference_camera(expression, matrix, contrast_column, members):
    """Wu and Smyth's formulas, one gene at a time, without weights and without moderation of the variance."""
    n, k = matrix.shape
    statistic, residuals = [], []
    for y in expression:
        beta, *_ = np.linalg.lstsq(matrix, y, rcond=None)
        left = y - matrix @ beta
        variance = left @ left / (n - k)
        se = np.sqrt(variance * np.linalg.inv(matrix.T @ matrix)[contrast_column, contrast_column])
        statistic.append(stats.norm.isf(stats.t.sf(beta[contrast_column] / se, n - k)))
        residuals.append(left / np.sqrt(variance))
    z, inside = np.array(statistic), np.isin(np.arange(len(expression)), members)
    m, others = inside.sum(), (~inside).sum()
    pairs = np.array(residuals)[inside] @ np.array(residuals)[inside].T / (n - k)
    correlation = (pairs.sum() - np.trace(pairs)) / (m * (m - 1))
    spread = (((z[inside] - z[inside].mean()) ** 2).sum() + ((z[~inside] - z[~inside].mean()) ** 2).sum()) / (
        len(z) - 2
    )
    inflation = max(1, 1 + (m - 1) * correlation)
    t = (z[inside].mean() - z[~inside].mean()) / np.sqrt(spread * (inflation / m + 1 / others))
    return correlation, 2 * stats.t.sf(abs(t), n - k)


def test_equals_pylimmas_camera_with_estimated_correlation():
    pylimma = pytest.importorskip("pylimma")
    expression, matrix, _, sets = example()
    found = by_name(camera_of(expression, matrix, AGE, sets))
    theirs = pylimma.camera(
        expression.to_numpy(), set_rows(list(expression.index), sets), matrix, inter_gene_cor=None
    ).sort_index()
    np.testing.assert_allclose(found["p_value"], theirs["p_value"], rtol=1e-9)
    np.testing.assert_allclose(found["q_value"], theirs["fdr"], rtol=1e-9)
    np.testing.assert_allclose(found["correlation"], theirs["correlation"], rtol=1e-9)
    assert list(found["direction"]) == list(theirs["direction"].str.lower())


def test_a_contrast_of_two_levels_equals_pylimmas():
    pylimma = pytest.importorskip("pylimma")
    expression, _, _, sets = example(n_samples=15)
    matrix = np.column_stack([np.ones(15), np.arange(15) % 3 == 1, np.arange(15) % 3 == 2]).astype(float)
    contrast = np.array([0.0, -1.0, 1.0])
    found = by_name(camera_of(expression, matrix, contrast, sets))
    theirs = pylimma.camera(
        expression.to_numpy(), set_rows(list(expression.index), sets), matrix, contrast, inter_gene_cor=None
    ).sort_index()
    np.testing.assert_allclose(found["p_value"], theirs["p_value"], rtol=1e-8)


def test_with_precision_weights_it_is_close_to_pylimmas():
    # limma takes the residuals of each gene in a basis of its own; here they are taken sample by sample.
    pylimma = pytest.importorskip("pylimma")
    expression, matrix, weights, sets = example(n_samples=40)
    found = by_name(camera_of(expression, matrix, AGE, sets, weights=weights))
    theirs = pylimma.camera(
        expression.to_numpy(), set_rows(list(expression.index), sets), matrix, weights=weights, inter_gene_cor=None
    ).sort_index()
    np.testing.assert_allclose(found["correlation"], theirs["correlation"], atol=0.01)
    np.testing.assert_allclose(found["p_value"], theirs["p_value"], rtol=0.1)


def test_correlation_and_p_equal_the_formulas_of_the_paper_where_variances_are_not_moderated(monkeypatch):
    import pylimma

    monkeypatch.setattr(pylimma, "squeeze_var", lambda var, df: {"var_post": var, "df_prior": 0.0})
    expression, matrix, _, sets = example(n_samples=30)
    found = by_name(camera_of(expression, matrix, AGE, sets))
    for name, own in set_rows(list(expression.index), sets).items():
        correlation, p_value = reference_camera(expression.to_numpy(), matrix, 2, own)
        assert found.loc[name, "correlation"] == pytest.approx(correlation, abs=1e-10)
        assert found.loc[name, "p_value"] == pytest.approx(p_value, rel=2e-3)  # z by Hill's approximation


def test_the_order_of_genes_samples_and_sets_changes_nothing():
    expression, matrix, weights, sets = example()
    plain = camera_of(expression, matrix, AGE, sets, weights=weights)
    rng = np.random.default_rng(1)
    genes, samples = rng.permutation(len(expression)), rng.permutation(len(matrix))
    turned = camera_of(
        expression.iloc[genes, samples],
        matrix[samples],
        AGE,
        {name: sets[name][::-1] for name in reversed(sets)},
        weights=weights[np.ix_(genes, samples)],
    )
    pd.testing.assert_frame_equal(plain, turned, rtol=1e-9)


def test_units_of_genes_and_coding_of_the_design_change_nothing():
    expression, matrix, _, sets = example()
    plain = camera_of(expression, matrix, AGE, sets)
    recoded = matrix @ np.array([[1.0, 1.0, 2.0], [0.0, 3.0, 0.0], [0.0, 0.0, 5.0]])
    other = camera_of(expression * 3 + 7, recoded, AGE, sets)
    pd.testing.assert_frame_equal(plain, other, rtol=1e-8)


def test_reversing_the_contrast_reverses_the_direction_alone():
    expression, matrix, _, sets = example()
    up, down = (by_name(camera_of(expression, matrix, sign * AGE, sets)) for sign in (1, -1))
    np.testing.assert_allclose(up["p_value"], down["p_value"])
    assert (up["direction"] != down["direction"]).all()


def test_a_batch_correlation_of_zero_changes_nothing():
    expression, matrix, weights, sets = example()
    plain = camera_of(expression, matrix, AGE, sets, weights=weights)
    whitened = camera_of(expression, matrix, AGE, sets, weights=weights, whiten=np.eye(len(matrix)))
    pd.testing.assert_frame_equal(plain, whitened)


def test_too_few_residual_degrees_of_freedom_are_refused_with_the_numbers():
    n = 3 + MIN_RESIDUAL_DF - 1
    expression, matrix, _, sets = example(n_samples=n)
    with pytest.raises(CannotFit, match=f"{n} samples and 3 coefficients leave {MIN_RESIDUAL_DF - 1} residual"):
        camera_of(expression, matrix, AGE, sets)


def test_a_symbol_that_stands_there_twice_is_refused():
    expression, matrix, _, sets = example()
    with pytest.raises(ValueError, match="'g0' stands there twice"):
        camera_of(expression.rename(index={"g1": "g0"}), matrix, AGE, sets)


def test_no_p_or_q_is_zero_however_strong_the_effect():
    expression, matrix, _, sets = example(n_samples=300)
    expression = expression + np.outer(np.isin(expression.index, sets["apart"]) * 1e6, matrix[:, 2])
    found = camera_of(expression, matrix, AGE, sets)
    assert (found["p_value"] > 0).all() and (found["q_value"] > 0).all()
    assert (adjusted(np.full(3, np.finfo(float).tiny)) > 0).all()


def simulated(n: int, seed: int, *, programme: Programme, lfc=None):
    """log2 CPM without weights: the simulator's co-expression is what is tested here, voom is tested elsewhere."""
    donors = draw_donors(n, seed=seed)
    counts = draw_counts(programme, donors, lfc_per_sd=lfc, depth=3, seed=seed)
    return np.log2((counts + 0.5) / (counts.sum(axis=0) + 1) * 1e6), design_matrix(donors)


SETS = {f"s{i}": [f"G{j}" for j in range(20 * i, 20 * i + 40)] for i in range(25)}


def test_holds_its_rate_with_permuted_ages_where_a_test_of_independent_genes_does_not():
    programme = draw_programme(SETS, n_genes=800, expressed=1.0, strength=2.0, seed=2)
    rows = set_rows(programme.genes, SETS)
    member = np.array([np.isin(np.arange(800), own) for own in rows.values()])
    values, matrix = simulated(30, 3, programme=programme)
    rng = np.random.default_rng(4)
    camera, naive = [], []
    for _ in range(100):
        matrix[:, 2] = rng.permutation(matrix[:, 2])
        fits = fits_of(pd.DataFrame(values, index=programme.genes), matrix, AGE)
        camera.append([camera_test(fits, own)["p_value"] for own in rows.values()])
        shift = member @ fits.z / member.sum(axis=1) - ~member @ fits.z / (~member).sum(axis=1)
        naive.append(2 * stats.norm.sf(np.abs(shift) / np.sqrt(1 / member.sum(axis=1) + 1 / (~member).sum(axis=1))))
    camera, naive = np.array(camera), np.array(naive)
    assert (naive < 0.05).mean() > 0.12
    assert 0.02 < (camera < 0.05).mean() < 0.07
    any_call = np.mean([(adjusted(p) < 0.05).any() for p in camera])
    assert any_call <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)


def test_finds_a_planted_set_and_its_direction():
    programme = draw_programme(SETS, n_genes=800, expressed=1.0, seed=2)
    place = {gene: row for row, gene in enumerate(programme.genes)}
    lfc = np.zeros(800)
    lfc[[place[gene] for gene in SETS["s3"][::2]]] = -0.4
    values, matrix = simulated(40, 5, programme=programme, lfc=lfc)
    found = camera_of(pd.DataFrame(values, index=programme.genes), matrix, AGE, SETS)
    first = found.iloc[0]
    assert (first["gene_set"], first["direction"]) == ("s3", "down")
    assert first["q_value"] < 0.05


def test_sets_that_hold_more_than_a_tenth_of_the_genes_are_told_apart():
    sets = {"small": tuple("ab"), "large": tuple("abc")}
    assert LARGEST_SHARE == 0.1 and list(not_too_large(sets, 20)) == ["small"]


def test_without_a_set_the_table_has_its_columns_and_no_row():
    expression, matrix, _, _ = example()
    assert tuple(camera_of(expression, matrix, AGE, {}).columns) == TEST_COLUMNS


def test_two_genes_are_too_few():
    expression, matrix, _, _ = example()
    with pytest.raises(CannotFit, match="2 genes; a test of gene sets needs at least 3"):
        camera_of(expression.head(2), matrix, AGE, {"one": ["g0"]})
