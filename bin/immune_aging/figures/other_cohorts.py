"""Figures of this cohort beside others: every gene's effect here and there."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from immune_aging.figures.style import CUT, DOWN, NEUTRAL, PALE, UP, Drawing, Drawings, new_figure, shorten
from immune_aging.results import Results
from immune_aging.statistics.multiple_testing import ALPHA

MAX_TYPES = 12  # panels; those with most called genes
COLUMNS = 4
FOLDER = "replication"
# What became of a gene that one of the two cohorts calls, in the order of drawing.
KINDS = {
    "not called": (PALE, 3),
    "called, not replicated": (DOWN, 9),
    "replicated": (UP, 9),
    "both call it, opposite": (CUT, 14),
}


def kinds_of_genes(effects: pd.DataFrame, discoveries: pd.DataFrame, other: str) -> pd.Series:
    """What became of each gene (rows of `effects`) of one cell type in this cohort and another: one of `KINDS`.

    Parameters
    ----------
    effects
        Rows of effects.tsv, all tested in both.
    discoveries
        Rows of discoveries.tsv of the cell type.
    """
    own = discoveries[(discoveries["discovery"] == other) | (discoveries["replication"] == other)]
    replicated = own.loc[own["replicated"].eq(True), "gene"]
    opposite = np.sign(effects["effect_this"]) != np.sign(effects[f"effect_{other}"])
    both = (effects["padj_this"] < ALPHA) & (effects[f"padj_{other}"] < ALPHA)
    rules = [both & opposite, effects["gene"].isin(replicated), effects["gene"].isin(own["gene"])]
    names = ["both call it, opposite", "replicated", "called, not replicated"]
    return pd.Series(np.select(rules, names, "not called"), index=effects.index)


def draw_panel(ax: Axes, effects: pd.DataFrame, kinds: pd.Series, *, other: str, title: str) -> None:
    """One cell type: a point per gene, the line on which effects are equal, and how many are replicated."""
    x, y = effects["effect_this"].to_numpy(), effects[f"effect_{other}"].to_numpy()
    reach = float(np.abs(np.concatenate([x, y])).max()) * 1.05
    ax.axhline(0, color=PALE, linewidth=0.6, zorder=0)
    ax.axvline(0, color=PALE, linewidth=0.6, zorder=0)
    ax.plot([-reach, reach], [-reach, reach], color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=1)
    for kind, (colour, size) in KINDS.items():
        own = (kinds == kind).to_numpy()
        ax.scatter(x[own], y[own], s=size, color=colour, linewidth=0, label=kind, rasterized=True, zorder=2)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    called = (kinds != "not called").sum()
    ax.set_title(f"{shorten(title, 28)}\n{(kinds == 'replicated').sum():,} of {called:,} replicated", fontsize=8)


def plot_effects(effects: pd.DataFrame, discoveries: pd.DataFrame, *, other: str, scale: str) -> Figure:
    """Effects here against effects there, one panel per cell type, those with most called genes first.

    Parameters
    ----------
    effects, discoveries
        effects.tsv and discoveries.tsv of this run, of genes tested in both cohorts.
    other
        Label of the other cohort.
    scale
        What the effects are.
    """
    parts = {}
    for name, own in effects.groupby("cell_type"):
        parts[str(name)] = own, kinds_of_genes(own, discoveries[discoveries["cell_type"] == name], other)
    order = sorted(parts, key=lambda name: (-(parts[name][1] != "not called").sum(), name))[:MAX_TYPES]
    n_columns = min(COLUMNS, len(order))
    n_rows = -(-len(order) // n_columns)
    figure = new_figure(max(2.6 * n_columns, 4.5), 2.8 * n_rows + 0.9)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, name in zip(axes, order, strict=False):
        draw_panel(ax, *parts[name], other=other, title=name)
    for ax in axes[len(order) :]:
        ax.set_axis_off()
    figure.supxlabel(f"this cohort: {scale}", fontsize=9)
    figure.supylabel(shorten(other, 30), fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4 if n_columns > 2 else 2, markerscale=2)
    return figure


def draw_other_cohorts(results: Results) -> Drawings:
    """A figure for each other cohort, `effects_COHORT`; none where no cell type was compared with it."""
    summary = results.summary(f"{FOLDER}/replication_summary.json")
    effects = results.table(f"{FOLDER}/effects.tsv", ["cell_type", "gene", "effect_this", "padj_this"])
    discoveries = results.table(f"{FOLDER}/discoveries.tsv")
    if effects is None:
        return
    if discoveries is None:
        discoveries = pd.DataFrame(columns=["cell_type", "discovery", "replication", "gene", "replicated"])
    scale = next(iter(summary["cell_types"].values()))["scale"]
    for other in summary["cohorts"][1:]:
        both = effects[effects["effect_this"].notna() & effects[f"effect_{other}"].notna()]
        if not len(both):
            continue
        figure = plot_effects(both, discoveries, other=other, scale=scale)
        words = (
            f"{scale[0].upper()}{scale[1:]}, of every gene in this cohort (across) and in {other} (up), by cell type. "
            "Genes on the dotted line change as much in both. Coloured genes are called in one of the two; replicated "
            "ones are found in the other, too, in the same direction."
        )
        yield f"effects_{other}", Drawing(figure, f"Effects here and in {other}", words)
