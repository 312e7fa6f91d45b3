"""Bounds of good cells: by deviations they follow the group, never leave the fixed ones, and name what they cannot judge."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation

from immune_aging.cells.qc_rules import (
    BOUNDS,
    MIN_CELLS_FOR_MAD,
    RULES,
    Thresholds,
    broken_rules,
    mad_interval,
    mad_thresholds,
    reasons_of,
    thresholds_by_group,
)
from inputs.step_options import default_bounds


def cells(n, *, counts=3000.0, mito=4.0, seed=0):
    rng = np.random.default_rng(seed)
    n_counts = rng.lognormal(np.log(counts), 0.35, n).astype(int)
    return pd.DataFrame(
        {"n_counts": n_counts, "n_genes": n_counts // 3, "pct_mito": rng.normal(mito, 1, n).clip(0), "pct_hb": 0.0}
    )


def test_the_interval_is_the_median_and_scaled_deviations():
    values = np.random.default_rng(1).normal(5, 2, 501)
    deviation = median_abs_deviation(values, scale="normal")
    expected = (np.median(values) - 3 * deviation, np.median(values) + 3 * deviation)
    assert mad_interval(values, 3) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("values", [np.zeros(90), np.full(90, np.nan), np.array([])])
def test_values_that_do_not_deviate_or_are_not_known_bound_nothing(values):
    assert mad_interval(values, 3) == (-np.inf, np.inf)


def test_genes_and_counts_are_judged_on_the_log_scale():
    metrics = cells(1000)
    found = mad_thresholds(metrics, Thresholds(0, np.inf, 0, np.inf, 100, 100), cutoff=3)
    low, high = np.exp(mad_interval(np.log(metrics["n_counts"].to_numpy(float)), 3))
    assert (found.min_counts, found.max_counts) == (np.ceil(low), np.floor(high))
    assert found.max_pct_mito == mad_interval(metrics["pct_mito"].to_numpy(), 3)[1]


def test_deviations_never_widen_the_fixed_bounds():
    fixed = default_bounds(
        min_genes=900, max_genes=1100, min_counts=2900, max_counts=3100, max_pct_mito=2, max_pct_hb=5
    )
    assert mad_thresholds(cells(500), fixed, cutoff=5) == fixed


def test_a_small_group_keeps_the_fixed_bounds():
    assert mad_thresholds(cells(MIN_CELLS_FOR_MAD - 1), default_bounds(), cutoff=3) == default_bounds()
    assert mad_thresholds(cells(MIN_CELLS_FOR_MAD), default_bounds(), cutoff=3) != default_bounds()


def test_each_group_has_its_own_bounds_whatever_the_order_of_its_cells():
    metrics = pd.concat([cells(300, mito=4), cells(300, mito=9, seed=1)], ignore_index=True)
    groups = pd.Series(["a"] * 300 + ["b"] * 300)
    found = thresholds_by_group(metrics, groups, default_bounds(), cutoff=3)
    assert found["a"] == mad_thresholds(metrics[:300], default_bounds(), cutoff=3)
    order = np.random.default_rng(3).permutation(600)
    assert thresholds_by_group(metrics.iloc[order], groups.iloc[order], default_bounds(), cutoff=3) == found
    assert found["a"].max_pct_mito < found["b"].max_pct_mito


def test_a_cell_is_judged_by_its_own_bounds():
    metrics = pd.DataFrame({"n_genes": [300, 300], "n_counts": 900, "pct_mito": [8.0, 8.0], "pct_hb": 0.0})
    bounds = pd.DataFrame([vars(default_bounds(max_pct_mito=8)), vars(default_bounds(max_pct_mito=7, min_genes=301))])
    rules = broken_rules(metrics, bounds)
    assert list(rules) == list(RULES[:-1]) and len(BOUNDS) == len(rules)
    assert reasons_of(rules).tolist() == ["", "too few genes; high mitochondrial share"]
