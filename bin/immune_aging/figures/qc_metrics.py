"""The metrics of quality control as figures show them: their labels, their scales, the bounds of a good cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Metric:
    """A column of cells.parquet as it is drawn: its label, its scale, and the bounds of a good cell.

    A bound is the values of all donors, strictest and mildest; empty where there is none.
    """

    column: str
    label: str
    scale: str = "linear"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def metrics_of(thresholds: Mapping[str, float], by_donor: pd.DataFrame | None = None) -> tuple[Metric, ...]:
    """The metrics and the thresholds that were in force.

    Parameters
    ----------
    thresholds
        min_genes, max_genes, ..., max_pct_hb.
    by_donor
        The same as columns, one row per donor, where donors have their own.
    """

    def bound(name: str) -> tuple[float, ...]:
        values = [thresholds[name]] if by_donor is None else by_donor[name]
        return tuple(sorted({float(min(values)), float(max(values))}))

    return (
        Metric("n_genes", "Genes", "log", bound("min_genes"), bound("max_genes")),
        Metric("n_counts", "Counts", "log", bound("min_counts"), bound("max_counts")),
        Metric("pct_mito", "Mitochondrial (%)", "root", (), bound("max_pct_mito")),
        Metric("pct_hb", "Hemoglobin (%)", "root", (), bound("max_pct_hb")),
        Metric("pct_ribo", "Ribosomal (%)"),
        Metric("doublet_score", "Doublet score"),
    )


def bound_text(bound: float) -> str:
    """A bound for a person."""
    return f"{bound:,.4g}" if bound < 100 else f"{bound:,.0f}"


def bounds_text(metrics: Sequence[Metric]) -> str:
    """The thresholds in words; a range where donors have their own."""

    def ends(values: Sequence[float]) -> str:
        return " or ".join(map(bound_text, values))

    genes, counts, mito, hemoglobin = metrics[:4]
    text = (
        f"genes {ends(genes.low)} to {ends(genes.high)}, counts {ends(counts.low)} to {ends(counts.high)}, "
        f"mitochondrial at most {ends(mito.high)} %, hemoglobin at most {ends(hemoglobin.high)} %"
    )
    own = any(len(bound) == 2 for metric in metrics[:4] for bound in (metric.low, metric.high))
    return text + ("; donors have their own, of which the lowest and the highest are shown" if own else "")
