"""Volcano and MA plots of differential expression."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from immune_aging.figures.effects import called_genes, gene_names
from immune_aging.figures.style import DOWN, NEUTRAL, PALE, UP, log_ticks, new_figure
from immune_aging.statistics.multiple_testing import ALPHA

N_LABELLED = 12  # genes named on a volcano
SMALLEST_P = 1e-300


def draw_genes(ax: Axes, x: np.ndarray, y: np.ndarray, table: pd.DataFrame, words: tuple[str, str]) -> None:
    """Genes as dots: grey, up and down; those that both engines call have a black rim.

    Parameters
    ----------
    words
        What up and down mean.
    """
    up, down = called_genes(table)
    rim = table["robust"].to_numpy(dtype=bool) if "robust" in table else np.zeros(len(table), dtype=bool)
    n = len(table)
    size = float(np.clip(3e4 / max(n, 1), 4, 14))
    ax.scatter(x[~up & ~down], y[~up & ~down], s=size, color=PALE, linewidth=0, rasterized=True, label="not called")
    for mask, colour, marker, name in ((up, UP, "^", words[0]), (down, DOWN, "v", words[1])):
        edge = np.where(rim[mask], "black", colour)
        ax.scatter(
            x[mask],
            y[mask],
            s=size * 2,
            c=colour,
            marker=marker,
            edgecolors=edge,
            linewidths=0.5,
            rasterized=True,
            label=f"{name}: {mask.sum():,}" + (f" ({(mask & rim).sum():,} robust)" if "robust" in table else ""),
            zorder=2,
        )


def name_genes(ax: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Write names beside points; a name that would lie on one already written is moved up, or left out."""
    figure = ax.figure
    figure.canvas.draw()
    to_pixels = ax.transData.transform
    frame, dpi = ax.get_window_extent(), figure.dpi
    taken: list[tuple[float, float, float, float]] = []
    for px, py, name in zip(*to_pixels(np.column_stack([x, y])).T, names, strict=True):
        width, height = 0.062 * dpi * len(name) + 4, 0.12 * dpi
        for dx, dy in (
            (5, 0),
            (-5 - width, 0),
            (5, height),
            (-5 - width, height),
            (5, -height),
            (-5 - width, -height),
        ):
            box = (px + dx, py + dy - height / 2, px + dx + width, py + dy + height / 2)
            inside = box[0] >= frame.x0 and box[2] <= frame.x1 and box[3] <= frame.y1
            if inside and all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken):
                taken.append(box)
                ax.annotate(
                    name,
                    ax.transData.inverted().transform((px, py)),
                    xytext=(dx * 72 / dpi, dy * 72 / dpi),
                    textcoords="offset points",
                    fontsize=7,
                    va="center",
                    zorder=4,
                )
                break


def most_striking(table: pd.DataFrame) -> np.ndarray:
    """Rows of the genes to name: the smallest p values among the called, as many up as down."""
    up, down = called_genes(table)
    p_value = table["p_value"].to_numpy()
    rows = [np.flatnonzero(mask)[np.argsort(p_value[mask], kind="stable")][: N_LABELLED // 2] for mask in (up, down)]
    return np.concatenate(rows)


def plot_volcano(table: pd.DataFrame, *, unit: str, words: tuple[str, str]) -> Figure:
    """Log2 fold change against -log10 p of every tested gene; the most striking genes are named.

    Parameters
    ----------
    table
        de.tsv; without `robust` no gene is marked.
    unit
        Of the fold change: 'per SD of age'.
    words
        What up and down mean: 'up with age', 'down with age'.
    """
    figure = new_figure(6, 4.8)
    ax = figure.subplots()
    table = table[table["p_value"].notna()].reset_index(drop=True)
    x = table["log2_fold_change"].to_numpy()
    y = -np.log10(table["p_value"].clip(lower=SMALLEST_P).to_numpy())
    draw_genes(ax, x, y, table, words)
    called = table["padj"] < ALPHA
    if called.any():
        cut = -np.log10(max(table.loc[called, "p_value"].max(), SMALLEST_P))
        ax.axhline(cut, color=NEUTRAL, linestyle="--", linewidth=0.8)
        ax.annotate(f"adjusted p {ALPHA:g}", (1, cut), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                    textcoords="offset points", ha="right", fontsize=7, color=NEUTRAL)  # fmt: skip
    reach = max(np.abs(x).max(initial=0) * 1.12, 0.1)
    ax.set(xlim=(-reach, reach), ylim=(0, max(y.max(initial=1) * 1.08, 2)))
    ax.set_xlabel(f"log2 fold change {unit}")
    ax.set_ylabel("-log10 p")
    figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        handletextpad=0.2,
        columnspacing=1,
    )
    rows = most_striking(table)
    name_genes(ax, x[rows], y[rows], gene_names(table).to_numpy()[rows])
    return figure


def plot_ma(table: pd.DataFrame, *, unit: str, words: tuple[str, str]) -> Figure:
    """Mean count against log2 fold change of every tested gene; parameters as of `plot_volcano`."""
    figure = new_figure(6, 4.2)
    ax = figure.subplots()
    table = table[(table["base_mean"] > 0) & table["log2_fold_change"].notna()].reset_index(drop=True)
    x, y = table["base_mean"].to_numpy(), table["log2_fold_change"].to_numpy()
    ax.set_xscale("log")
    draw_genes(ax, x, y, table, words)
    ax.axhline(0, color="black", linewidth=0.8)
    reach = max(np.abs(y).max(initial=0) * 1.1, 0.1)
    ax.set(xlim=(x.min() / 1.3, x.max() * 1.3) if len(x) else (1, 10), ylim=(-reach, reach))
    log_ticks(ax.xaxis)
    ax.set_xlabel("Mean count (normalised)")
    ax.set_ylabel(f"log2 fold change {unit}")
    figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        handletextpad=0.2,
        columnspacing=1,
    )
    return figure
