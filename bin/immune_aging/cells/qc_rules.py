"""The rules of quality control: bounds of a good cell, fixed or by median absolute deviations, and who breaks them."""

import argparse
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

RULES = (
    "too few genes", "too many genes", "too few counts", "too many counts", "high mitochondrial share",
    "high hemoglobin share", "doublet",
)  # fmt: skip
# Makes the median absolute deviation of a normal distribution its standard deviation, as R's mad() does.
MAD_TO_SD = 1.4826
# With fewer cells the deviation itself is known too badly to judge by: its relative error is about 1 / sqrt(n).
MIN_CELLS_FOR_MAD = 50


@dataclass(frozen=True)
class Thresholds:
    """Bounds of a good cell, inclusive: genes and counts per cell, percentages of counts."""

    min_genes: float
    max_genes: float
    min_counts: float
    max_counts: float
    max_pct_mito: float
    max_pct_hb: float


# The bound that each rule is about, in the order of `RULES`.
BOUNDS = tuple(field.name for field in fields(Thresholds))


def add_bound_options(parser: argparse.ArgumentParser) -> None:
    """The options of a step for the fixed bounds."""
    for name in BOUNDS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, required=True)


def fixed_bounds(args: argparse.Namespace) -> Thresholds:
    """The fixed bounds, from the options."""
    return Thresholds(**{name: getattr(args, name) for name in BOUNDS})


def broken_rules(metrics: pd.DataFrame, bounds: Thresholds | pd.DataFrame) -> dict[str, np.ndarray]:
    """Which cells break which threshold: rule -> boolean array. A metric that is not known breaks none.

    Parameters
    ----------
    metrics
        n_genes, n_counts, pct_mito, pct_hb; one row per cell.
    bounds
        The same bounds for all cells, or a table of them with one row per cell.
    """
    broken = {}
    for rule, name in zip(RULES, BOUNDS, strict=False):  # a doublet is told by its score, not by a bound
        end, column = name.split("_", 1)
        values = metrics[column if column.startswith("pct") else f"n_{column}"].to_numpy(dtype=float)
        bound = np.asarray(getattr(bounds, name), dtype=float)
        broken[rule] = values < bound if end == "min" else values > bound
    return broken


def reasons_of(rules: dict[str, np.ndarray]) -> np.ndarray:
    """Every rule that a cell broke, joined by '; ', in the order of `rules`; '' for a good cell."""
    reasons = np.full(len(next(iter(rules.values()))), "", dtype=object)
    for rule, broken in rules.items():
        reasons[broken] = [f"{old}; {rule}" if old else rule for old in reasons[broken]]
    return reasons


def mad_interval(values: np.ndarray, cutoff: float) -> tuple[float, float]:
    """Median -/+ `cutoff` median absolute deviations (in SD units); infinite where they do not deviate or are unknown.

    References
    ----------
    McCarthy, Campbell, Lun, Wills (2017), Bioinformatics 33:1179 (scater's isOutlier).
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return -np.inf, np.inf
    middle = np.median(known)
    reach = cutoff * MAD_TO_SD * np.median(np.abs(known - middle))
    return (middle - reach, middle + reach) if reach > 0 else (-np.inf, np.inf)


def mad_thresholds(metrics: pd.DataFrame, fixed: Thresholds, *, cutoff: float) -> Thresholds:
    """Thresholds of one group of cells: `cutoff` deviations from its median, never wider than the fixed ones.

    Genes and counts are judged on their logarithms, both ways; the mitochondrial share upwards. Hemoglobin keeps
    its fixed bound: in most cells its share is 0, so its deviation is, too.

    Parameters
    ----------
    metrics
        n_genes, n_counts, pct_mito of the group's cells.
    """
    if len(metrics) < MIN_CELLS_FOR_MAD:
        return fixed
    (genes_low, genes_high), (counts_low, counts_high) = (
        np.exp(mad_interval(np.log(metrics[column].clip(lower=1).to_numpy(dtype=float)), cutoff))
        for column in ("n_genes", "n_counts")
    )
    mito_high = mad_interval(metrics["pct_mito"].to_numpy(dtype=float), cutoff)[1]
    return Thresholds(
        min_genes=max(fixed.min_genes, float(np.ceil(genes_low))),
        max_genes=min(fixed.max_genes, float(np.floor(genes_high))),
        min_counts=max(fixed.min_counts, float(np.ceil(counts_low))),
        max_counts=min(fixed.max_counts, float(np.floor(counts_high))),
        max_pct_mito=min(fixed.max_pct_mito, float(mito_high)),
        max_pct_hb=fixed.max_pct_hb,
    )


def thresholds_by_group(
    metrics: pd.DataFrame, groups: pd.Series, fixed: Thresholds, *, cutoff: float
) -> dict[str, Thresholds]:
    """`mad_thresholds` of each group of cells.

    Parameters
    ----------
    metrics
        n_genes, n_counts, pct_mito; one row per cell.
    groups
        The group of each cell, same index; cells without one keep the fixed thresholds and are in none.
    """
    return {
        str(group): mad_thresholds(rows, fixed, cutoff=cutoff)
        for group, rows in metrics.groupby(groups, sort=True, observed=True)
    }
