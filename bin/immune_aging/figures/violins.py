"""Distributions of the metrics of quality control by cell type."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter
from scipy.ndimage import gaussian_filter1d

from immune_aging.figures.qc_metrics import Metric, bound_text
from immune_aging.figures.style import CUT, colours_for, new_figure, no_data, shorten

# Most shares lie near 0 and the threshold far off; a square root shows both.
SCALES: dict[str, tuple[Callable, Callable]] = {
    "log": (lambda v: np.log10(np.maximum(v, 1)), lambda v: 10.0**v),
    "root": (lambda v: np.sqrt(np.maximum(v, 0)), np.square),
    "linear": (lambda v: v, lambda v: v),
}
VIOLIN_BINS = 200


def violin(values: np.ndarray, *, low: float, high: float) -> dict[str, Any]:
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


def _draw_violin(ax: Axes, place: int, stats: Mapping[str, Any], colour: str) -> None:
    """One violin as `violin` describes it, with a bar from quartile to quartile and a point at the median."""
    quartiles = stats["quantiles"]
    drawn = ax.violin(
        [{key: value for key, value in stats.items() if key != "quantiles"}],
        positions=[place],
        widths=0.9,
        showextrema=False,
        showmedians=False,
    )
    for body in drawn["bodies"]:
        body.set(facecolor=colour, edgecolor="black", linewidth=0.4, alpha=0.9)
    ax.plot([place] * 2, quartiles[[0, 2]], color="black", linewidth=2.2, solid_capstyle="butt")
    ax.plot(
        place,
        stats["median"],
        marker="o",
        markersize=2.6,
        color="white",
        markeredgecolor="black",
        markeredgewidth=0.4,
    )


def _draw_bounds(ax: Axes, metric: Metric) -> None:
    """A line with its number at each threshold, and a band between those of the donors where they have their own."""
    forward, _ = SCALES[metric.scale]
    for ends in (metric.low, metric.high):
        places = [forward(np.float64(bound)) for bound in ends]
        if len(ends) == 2:
            ax.axhspan(*places, color=CUT, alpha=0.12, linewidth=0, zorder=0)
        for bound, place in zip(ends, places, strict=True):
            ax.axhline(place, color=CUT, linestyle="--", linewidth=1)
            ax.annotate(
                bound_text(bound),
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color=CUT,
            )


def _set_ticks(ax: Axes, scale: str, low: float, high: float) -> None:
    """Round numbers on an axis whose values are drawn transformed, from `low` to `high` after the transformation."""
    forward, back = SCALES[scale]
    if scale == "linear":
        return
    if scale == "log":
        ticks = [m * 10**e for e in range(7) for m in (1, 2, 5) if low <= np.log10(m * 10**e) <= high]
        ticks = ticks if len(ticks) <= 7 else [tick for tick in ticks if str(tick)[0] == "1"]
    else:
        ticks = [tick for tick in (0, 1, 5, 10, 20, 40, 60, 80, 100) if low <= np.sqrt(tick) <= high]
    ax.yaxis.set_major_locator(FixedLocator(forward(np.array(ticks, dtype=float))))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{back(value):,.0f}"))


def draw_metric(ax: Axes, cells: pd.DataFrame, metric: Metric, types: list[str], colours: Mapping[str, str]) -> None:
    """One metric of all cells by cell type, with a line at each threshold.

    Parameters
    ----------
    cells
        cells.parquet.
    types
        Names of the cell types in the order of their places.
    colours
        Of each cell type by name.
    """
    forward, _ = SCALES[metric.scale]
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
        if len(own):
            _draw_violin(ax, place, violin(own, low=low, high=high), colours[name])
    _draw_bounds(ax, metric)
    margin = 0.04 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlim(-0.6, len(types) - 0.4)
    ax.set_xticks(range(len(types)), [str(i + 1) for i in range(len(types))])
    _set_ticks(ax, metric.scale, low, high)


def plot_violins(cells: pd.DataFrame, metrics: Sequence[Metric]) -> Figure:
    """All metrics by cell type before any cell was removed, in the numbers and colours of the UMAP."""
    types = sorted(cells["cell_type"].astype(str).unique())
    colours = colours_for(types)
    width = float(np.clip(2.2 + 0.28 * len(types), 3.6, 7))
    figure = new_figure(2 * width, 8 + 0.2 * -(-len(types) // 3))
    axes = figure.subplots(3, 2)
    for ax, metric in zip(axes.flat, metrics, strict=True):
        draw_metric(ax, cells, metric, types, colours)
    handles = [Patch(color=colours[name], label=f"{i + 1} {shorten(name, 34)}") for i, name in enumerate(types)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(types)))
    return figure
