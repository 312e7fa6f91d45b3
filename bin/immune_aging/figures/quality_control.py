"""Figures of quality control: what is wrong with cells, and how many were removed for it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from immune_aging.figures.dots import dot_radius, scatter
from immune_aging.figures.qc_metrics import Metric, bounds_text
from immune_aging.figures.style import CUT, NEUTRAL, PALE, UP, Drawing, Drawings, log_ticks, new_figure, no_data
from immune_aging.figures.violins import plot_violins


def draw_thresholds(ax: Axes, metrics: Sequence[Metric]) -> None:
    """The box of good cells in a plane of counts and genes; where donors have their own, the widest and narrowest."""
    for metric, line in ((metrics[1], ax.axvline), (metrics[0], ax.axhline)):
        for bound in (*metric.low, *metric.high):
            line(bound, color=CUT, linestyle="--", linewidth=0.9, zorder=3)


def draw_share(
    ax: Axes, x: np.ndarray, y: np.ndarray, cells: pd.DataFrame, metric: Metric, name: str, *, radius: float
) -> None:
    """Counts against genes coloured by a share of the counts; the cells over its threshold lie on top.

    Parameters
    ----------
    x, y
        Counts and genes of the cells.
    name
        Of the share, as the reasons for which cells were removed have it.
    radius
        Of a dot, in points.
    """
    values, cut = cells[metric.column].to_numpy(dtype=float), max(metric.high)
    limit = " to ".join(f"{bound:.3g}" for bound in metric.high)
    ax.set_title(f"{name} share, cells over {limit} % on top", loc="left")
    if not np.isfinite(values).any():
        words = f"{name} share: not known for this cohort"
        ax.text(0.5, 0.5, words, ha="center", transform=ax.transAxes, color=NEUTRAL)
        return
    norm = Normalize(0, max(2 * cut, 1e-9))
    scatter(ax, x, y, values=values, norm=norm, cmap="cividis", radius=radius)
    # By the reason, not by the bound: donors may have their own.
    over = cells["reason"].astype(str).str.contains(f"high {name.lower()} share", regex=False).to_numpy()
    mappable = scatter(ax, x[over], y[over], values=values[over], norm=norm, cmap="cividis", radius=max(radius, 0.5))
    ax.figure.colorbar(mappable, ax=ax, label=f"{name.lower()} counts (%)", extend="max")


def plot_counts_and_genes(cells: pd.DataFrame, metrics: Sequence[Metric]) -> Figure:
    """Counts against genes of all cells four times: density, mitochondrial and hemoglobin share, doublets."""
    figure = new_figure(9.5, 8)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    x, y = (np.maximum(cells[column].to_numpy(dtype=float), 1) for column in ("n_counts", "n_genes"))
    limits = [
        (min(v.min(), *metric.low) / 1.15, max(v.max(), *metric.high) * 1.15)
        for v, metric in ((x, metrics[1]), (y, metrics[0]))
    ]
    axes[0, 0].set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
    log_ticks(axes[0, 0].xaxis)
    log_ticks(axes[0, 0].yaxis)

    radius = dot_radius(len(cells))
    density = scatter(axes[0, 0], x, y, norm=LogNorm(1))
    axes[0, 0].set_title("All cells", loc="left")
    figure.colorbar(density, ax=axes[0, 0], label="cells per dot", format=FuncFormatter(lambda v, _: f"{v:,.0f}"))
    draw_share(axes[0, 1], x, y, cells, metrics[2], "Mitochondrial", radius=radius)
    draw_share(axes[1, 0], x, y, cells, metrics[3], "Hemoglobin", radius=radius)
    doublets = cells["is_doublet"].to_numpy(dtype=bool)
    ax = axes[1, 1]
    # Not on top: at a million cells the five in a hundred that are doublets would hide all the others.
    scatter(ax, x, y, codes=doublets.astype(int), palette=[PALE, UP], radius=radius)
    share = 100 * doublets.mean() if len(doublets) else 0
    ax.set_title(f"Doublets: {doublets.sum():,} ({share:.1f} %)", loc="left")
    ax.legend(handles=[Patch(color=UP, label="doublet"), Patch(color=PALE, label="other cell")], loc="upper left")
    for ax in axes.flat:
        draw_thresholds(ax, metrics)
    for ax in axes[1]:
        ax.set_xlabel("Counts")
    for ax in axes[:, 0]:
        ax.set_ylabel("Genes")
    return figure


def plot_losses(cells: pd.DataFrame) -> Figure:
    """Cells removed by each rule: those that broke it alone, and those that broke others too."""
    lost = cells.loc[~cells["kept"], "reason"].astype(str)
    reasons = lost.value_counts()
    rules = sorted({rule for reason in reasons.index for rule in reason.split("; ")})
    figure = new_figure(7.5, 1.5 + 0.3 * max(len(rules), 2))
    ax = figure.subplots()
    if not rules:
        no_data(ax, f"Quality control removed none of {len(cells):,} cells.")
        return figure
    alone = np.array([reasons.get(rule, 0) for rule in rules])
    total = np.array([sum(n for reason, n in reasons.items() if rule in reason.split("; ")) for rule in rules])
    order = np.argsort(total, kind="stable")
    place = np.arange(len(rules))
    ax.barh(place, alone[order], color="#0072B2", label="this rule only")
    ax.barh(
        place,
        (total - alone)[order],
        left=alone[order],
        color="#56B4E9",
        hatch="////",
        edgecolor="white",
        linewidth=0,
        label="other rules too",
    )
    for y, n in zip(place, total[order], strict=True):
        ax.annotate(
            f"{n:,} ({100 * n / len(cells):.2g} %)",
            (n, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    ax.set_yticks(place, [rules[i] for i in order])
    ax.set_xlim(0, total.max() * 1.2)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xlabel("Cells removed")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def draw(cells: pd.DataFrame, metrics: Sequence[Metric]) -> Drawings:
    """All figures of quality control.

    Parameters
    ----------
    cells
        cells.parquet of all cells that the cohort filter kept.
    metrics
        As `metrics_of` gives them.
    """
    n, kept, bounds = len(cells), int(cells["kept"].sum()), bounds_text(metrics)
    yield (
        "violins",
        Drawing(
            plot_violins(cells, metrics),
            "Quality control by cell type",
            f"Distributions of six metrics over {n:,} cells before any was removed, by cell type. Points are medians, "
            f"bars quartiles, dashed lines the thresholds: {bounds}.",
        ),
    )
    yield (
        "counts_and_genes",
        Drawing(
            plot_counts_and_genes(cells, metrics),
            "Counts, genes and what is wrong with cells",
            f"Counts against genes of {n:,} cells, on log scales, coloured by density, mitochondrial share, hemoglobin "
            f"share and doublet calls ({int(cells['is_doublet'].sum()):,} doublets). Dashed lines are the thresholds: "
            f"{bounds}.",
        ),
    )
    yield (
        "cells_lost",
        Drawing(
            plot_losses(cells),
            "Cells removed by quality control",
            f"Quality control removed {n - kept:,} of {n:,} cells. Each bar counts the cells that broke one rule, "
            "alone or with others; a cell that broke two rules is in two bars.",
        ),
    )
