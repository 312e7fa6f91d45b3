"""The figure of the running sums of gene sets."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.effects import OF_AGE, span_of
from immune_aging.figures.gene_sets import set_label
from immune_aging.figures.style import DOWN, NEUTRAL, UP, new_figure
from immune_aging.statistics.running_sums import directions, running_sum

COLUMNS = 3  # panels in a row


def plot_running_sums(
    ranking: pd.Series, sets: Mapping[str, Collection[str]], gsea: pd.DataFrame, *, words: tuple[str, str] = OF_AGE
) -> Figure:
    """One panel per set: the running sum along the ranking, and below it where the set's genes stand.

    Parameters
    ----------
    ranking
        Statistic of each symbol, in order of rank.
    sets
        Symbols of each set in `gsea`.
    gsea
        Rows of gsea.tsv to draw, in order.
    words
        What up and down mean: 'up with age', 'down with age'.
    """
    rows = -(-len(gsea) // COLUMNS)
    figure = new_figure(3.2 * min(COLUMNS, len(gsea)) + 0.3, 2.4 * rows + 0.3)
    axes = figure.subplots(rows, min(COLUMNS, len(gsea)), squeeze=False, sharex=True)
    rank = np.arange(1, len(ranking) + 1)
    for ax, row, way in zip(axes.flat, gsea.to_dict("records"), directions(gsea), strict=False):
        colour = UP if way == "up" else DOWN
        curve = running_sum(ranking, sets[row["gene_set"]])
        low, high = min(curve.min(), 0.0), max(curve.max(), 0.0)
        ax.plot(rank, curve, color=colour)
        peak = int(np.abs(curve).argmax())
        ax.vlines(rank[peak], 0, curve[peak], color=colour, linestyle=":", linewidth=1)
        ax.axhline(0, color=NEUTRAL, linewidth=0.8)
        hits = rank[ranking.index.isin(sets[row["gene_set"]])]
        tick = 0.12 * (high - low)
        ax.vlines(hits, low - 1.6 * tick, low - 0.6 * tick, color="black", linewidth=0.5, rasterized=True)
        crossing = int((ranking.to_numpy() > 0).sum())
        ax.axvline(crossing, color=NEUTRAL, linestyle="--", linewidth=0.7)
        name = set_label(row["gene_set"], 38)
        chance = f", q {row['q_value']:.2g}" if np.isfinite(row["q_value"]) else ", not tested"
        ax.set_title(f"{name}\nNES {row['nes']:.2f}{chance}", loc="left", fontsize=8)
    for ax in axes.flat[len(gsea) :]:
        ax.set_axis_off()
    figure.supxlabel(f"Rank of the gene, {span_of(words)}", fontsize=9)
    figure.supylabel("Running enrichment score", fontsize=9)
    return figure
