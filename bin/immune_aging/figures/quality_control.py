"""Figures of quality control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter
from scipy.ndimage import gaussian_filter1d

from immune_aging.figures.dots import dot_radius, scatter
from immune_aging.figures.style import CUT, NEUTRAL, PALE, UP, colours_for, log_ticks, new_figure, no_data, shorten


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
        The same as columns, one row a donor, where donors have their own.
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


# Most shares lie near 0 and the threshold far off; a square root shows both.
SCALES = {
    "log": (lambda v: np.log10(np.maximum(v, 1)), lambda v: 10.0**v),
    "root": (lambda v: np.sqrt(np.maximum(v, 0)), np.square),
    "linear": (lambda v: v, lambda v: v),
}
VIOLIN_BINS = 200


def violin(values: np.ndarray, *, low: float, high: float) -> dict[str, object]:
    """What matplotlib's `Axes.violin` draws: a kernel density on a grid, made from a histogram in one pass.

    A kernel sum over a million cells takes minutes; the smoothed histogram differs by less than a line's
    width. The bandwidth is Silverman's.
    """
    counts, edges = np.histogram(values, bins=VIOLIN_BINS, range=(low, high))
    quartiles = np.percentile(values, [25, 50, 75])
    spread = min(values.std(), (quartiles[2] - quartiles[0]) / 1.34) or values.std()
    bandwidth = 0.9 * spread * len(values) ** -0.2 / (edges[1] - edges[0])
    density = gaussian_filter1d(counts.astype(float), max(bandwidth, 0.8), mode="constant")
    return {
        "coords": (edges[:-1] + edges[1:]) / 2,
        "vals": density,
        "mean": values.mean(),
        "median": quartiles[1],
        "quantiles": quartiles,
        "min": values.min(),
        "max": values.max(),
    }


def draw_violins(ax: Axes, cells: pd.DataFrame, metric: Metric, types: list[str], colours: Mapping[str, str]) -> None:
    """One metric of all cells by cell type, with a line at each threshold."""
    forward, back = SCALES[metric.scale]
    values = forward(cells[metric.column].to_numpy(dtype=float))
    known = np.isfinite(values)
    ax.set_title(metric.label, loc="left")
    if not known.any():
        no_data(ax, f"{metric.label}: not known for this cohort")
        return
    bounds = [forward(np.float64(bound)) for bound in (*metric.low, *metric.high)]
    low, high = min(values[known].min(), *bounds, np.inf), max(values[known].max(), *bounds, -np.inf)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    for place, name in enumerate(types):
        own = values[known & (cells["cell_type"] == name).to_numpy()]
        if not len(own):
            continue
        stats = violin(own, low=low, high=high)
        drawn = ax.violin(
            [{key: value for key, value in stats.items() if key != "quantiles"}],
            positions=[place],
            widths=0.9,
            showextrema=False,
            showmedians=False,
        )
        for body in drawn["bodies"]:
            body.set(facecolor=colours[name], edgecolor="black", linewidth=0.4, alpha=0.9)
        ax.plot([place] * 2, stats["quantiles"][[0, 2]], color="black", linewidth=2.2, solid_capstyle="butt")
        ax.plot(
            place,
            stats["median"],
            marker="o",
            markersize=2.6,
            color="white",
            markeredgecolor="black",
            markeredgewidth=0.4,
        )
    for ends in (metric.low, metric.high):
        if len(ends) == 2:  # donors have their own: the band that holds them all
            ax.axhspan(*(forward(np.float64(bound)) for bound in ends), color=CUT, alpha=0.12, linewidth=0, zorder=0)
        for bound in ends:
            ax.axhline(forward(np.float64(bound)), color=CUT, linestyle="--", linewidth=1)
            ax.annotate(
                f"{bound:,.4g}" if bound < 100 else f"{bound:,.0f}",
                (1, forward(np.float64(bound))),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=CUT,
            )
    margin = 0.04 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlim(-0.6, len(types) - 0.4)
    ax.set_xticks(range(len(types)), [str(i + 1) for i in range(len(types))])
    if metric.scale == "log":
        ticks = [m * 10**e for e in range(7) for m in (1, 2, 5) if low <= np.log10(m * 10**e) <= high]
        ticks = ticks if len(ticks) <= 7 else [tick for tick in ticks if str(tick)[0] == "1"]
    elif metric.scale == "root":
        ticks = [tick for tick in (0, 1, 5, 10, 20, 40, 60, 80, 100) if low <= np.sqrt(tick) <= high]
    else:
        return
    ax.yaxis.set_major_locator(FixedLocator(forward(np.array(ticks, dtype=float))))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{back(value):,.0f}"))


def plot_violins(cells: pd.DataFrame, metrics: tuple[Metric, ...]) -> Figure:
    """All metrics by cell type before any cell was removed, in the numbers and colours of the UMAP."""
    types = sorted(cells["cell_type"].astype(str).unique())
    colours = colours_for(types)
    width = float(np.clip(2.2 + 0.28 * len(types), 3.6, 7))
    figure = new_figure(2 * width, 8 + 0.2 * -(-len(types) // 3))
    axes = figure.subplots(3, 2)
    for ax, metric in zip(axes.flat, metrics, strict=True):
        draw_violins(ax, cells, metric, types, colours)
    handles = [Patch(color=colours[name], label=f"{i + 1} {shorten(name, 34)}") for i, name in enumerate(types)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(types)))
    return figure


def draw_thresholds(ax: Axes, metrics: Sequence[Metric]) -> None:
    """The box of good cells in a plane of counts and genes; where donors have their own, the widest and narrowest."""
    for metric, line in ((metrics[1], ax.axvline), (metrics[0], ax.axhline)):
        for bound in (*metric.low, *metric.high):
            line(bound, color=CUT, linestyle="--", linewidth=0.9, zorder=3)


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
    for ax, metric, name in ((axes[0, 1], metrics[2], "Mitochondrial"), (axes[1, 0], metrics[3], "Hemoglobin")):
        values, cut = cells[metric.column].to_numpy(dtype=float), max(metric.high)
        limit = " to ".join(f"{bound:.3g}" for bound in metric.high)
        ax.set_title(f"{name} share, cells over {limit} % on top", loc="left")
        if not np.isfinite(values).any():
            ax.text(
                0.5,
                0.5,
                f"{name} share: not known for this cohort",
                ha="center",
                transform=ax.transAxes,
                color=NEUTRAL,
            )
            continue
        norm = Normalize(0, max(2 * cut, 1e-9))
        scatter(ax, x, y, values=values, norm=norm, cmap="cividis", radius=radius)
        # By the reason, not by the bound: donors may have their own.
        over = cells["reason"].astype(str).str.contains(f"high {name.lower()} share", regex=False).to_numpy()
        mappable = scatter(
            ax, x[over], y[over], values=values[over], norm=norm, cmap="cividis", radius=max(radius, 0.5)
        )
        figure.colorbar(mappable, ax=ax, label=f"{name.lower()} counts (%)", extend="max")
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


def bounds_text(metrics: Sequence[Metric]) -> str:
    """The thresholds in words; a range where donors have their own."""

    def ends(values: Sequence[float]) -> str:
        return " or ".join(f"{value:,.4g}" if value < 100 else f"{value:,.0f}" for value in values)

    genes, counts, mito, hemoglobin = metrics[:4]
    text = (
        f"genes {ends(genes.low)} to {ends(genes.high)}, counts {ends(counts.low)} to {ends(counts.high)}, "
        f"mitochondrial at most {ends(mito.high)} %, hemoglobin at most {ends(hemoglobin.high)} %"
    )
    own = any(len(bound) == 2 for metric in metrics[:4] for bound in (metric.low, metric.high))
    return text + ("; donors have their own, of which the lowest and the highest are shown" if own else "")
