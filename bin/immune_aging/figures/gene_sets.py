"""Figures of gene sets: enrichment and over-representation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from immune_aging.figures.effects import OF_AGE, write_p_values
from immune_aging.figures.style import DOWN, NEUTRAL, UP, log_ticks, new_figure, shorten
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.statistics.running_sums import directions, surest_first

N_SETS = 20  # gene sets in a dot plot, at most


def set_name(name: str) -> str:
    """A gene set's name for a person: HALLMARK_G2M_CHECKPOINT -> G2M CHECKPOINT."""
    return name.removeprefix("HALLMARK_").replace("_", " ")


def set_label(name: str, length: int = 46) -> str:
    """The name of a gene set for a person, at most `length` letters of it."""
    return shorten(set_name(name), length)


def draw_sets(
    ax: Axes, x: np.ndarray, q: np.ndarray, size: np.ndarray, names: Sequence[str], colours: Sequence[str]
) -> None:
    """A dot plot of gene sets, one row per set, the first on top: area by size; hollow where not called."""
    place = np.arange(len(names))[::-1]
    area = 15 + 110 * np.sqrt(size / max(size.max(), 1))
    called = q < ALPHA
    for filled in (True, False):
        mask = called == filled
        own = np.array(colours)[mask]
        ax.scatter(
            x[mask],
            place[mask],
            s=area[mask],
            facecolors=own if filled else "none",
            edgecolors=own,
            linewidths=1.2,
            zorder=2,
        )
    write_p_values(ax, place, q)
    ax.set_yticks(place, [set_label(name) for name in names])
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.grid(axis="y", color=NEUTRAL, alpha=0.2, linewidth=0.5)
    ax.margins(x=0.12)


def plot_gsea(table: pd.DataFrame, *, words: tuple[str, str] = OF_AGE) -> Figure:
    """Normalised enrichment score of the gene sets with the smallest q, from up to down, coloured by direction.

    Parameters
    ----------
    words
        What up and down mean: 'up with age', 'down with age'.
    """
    top = surest_first(table).head(N_SETS)
    top = top.sort_values(["nes", "gene_set"], ascending=[False, True], kind="stable")
    figure = new_figure(7, 1.3 + 0.26 * len(top))
    ax = figure.subplots()
    nes = top["nes"].to_numpy(dtype=float)
    draw_sets(
        ax,
        nes,
        top["q_value"].to_numpy(dtype=float),
        top["size"].to_numpy(dtype=float),
        top["gene_set"].tolist(),
        np.where(directions(top) == "up", UP, DOWN).tolist(),
    )
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel(f"Normalised enrichment score ({words[1]} < 0 < {words[0]})")
    ax.set_title("q", loc="right")
    return figure


def plot_ora(tables: dict[str, pd.DataFrame], *, words: tuple[str, str] = OF_AGE) -> Figure:
    """Odds ratios of the sets over-represented among the genes that go up and among those that go down.

    Parameters
    ----------
    tables
        By direction, 'up' and 'down'.
    words
        What these mean: 'up with age', 'down with age'.
    """
    rows = []
    for direction, table in tables.items():
        top = table.sort_values(["p_value", "gene_set"], kind="stable").head(N_SETS // 2)
        rows.append(top.assign(direction=direction))
    top = pd.concat(rows)
    figure = new_figure(7, 1.7 + 0.27 * len(top))
    ax = figure.subplots()
    odds = top["odds_ratio"].to_numpy(dtype=float)
    finite = odds[np.isfinite(odds) & (odds > 0)]
    ceiling = finite.max() * 2 if len(finite) else 10.0
    colours = np.where(top["direction"] == "up", UP, DOWN).tolist()
    shown = np.clip(np.where(np.isfinite(odds), odds, ceiling), 0.1, ceiling)
    draw_sets(
        ax,
        shown,
        top["padj"].to_numpy(dtype=float),
        top["overlap"].to_numpy(dtype=float),
        top["gene_set"].tolist(),
        colours,
    )
    ax.set_xscale("log")
    ax.set_xlim(min(1, shown.min()) / 1.2, shown.max() * 1.3)
    log_ticks(ax.xaxis)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xlabel("Odds ratio (log scale)")
    ax.set_title("adjusted p", loc="right")
    n_up = int((top["direction"] == "up").sum())
    if 0 < n_up < len(top):
        ax.axhline(len(top) - n_up - 0.5, color="black", linewidth=0.6)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=f"genes {said}")
        for direction, colour, said in (("up", UP, words[0]), ("down", DOWN, words[1]))
        if direction in set(top["direction"])
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure
