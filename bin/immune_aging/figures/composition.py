"""Figures of the composition: which cell types become more or less frequent."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from immune_aging.figures.effects import unit_of, write_p_values
from immune_aging.figures.style import DOWN, NEUTRAL, PALE, UP, Drawing, Drawings, new_figure, shorten
from immune_aging.results import Results
from immune_aging.statistics.composition import TERM_VALUE
from immune_aging.statistics.formulas import columns_of_term
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR


def plot_effects(table: pd.DataFrame, *, unit: str) -> Figure:
    """Change of each cell type with its 95 % interval, filled where called; the change of its plain share as a bar.

    Parameters
    ----------
    table
        composition.tsv.
    unit
        Of the effects: 'per SD of age'.
    """
    table = table.sort_values(["log2_fold_change", "id"], kind="stable").reset_index(drop=True)
    figure = new_figure(7, 1.5 + 0.32 * len(table))
    ax = figure.subplots()
    place = np.arange(len(table))
    effect, called = table["log2_fold_change"].to_numpy(), (table["padj"] < ALPHA).to_numpy()
    colour = np.where(effect > 0, UP, DOWN)
    ax.hlines(place, table["ci_low"], table["ci_high"], color=colour, linewidth=1.6)
    face = np.where(called, colour, "white")
    ax.scatter(effect, place, s=42, c=face, edgecolors=colour, linewidths=1.2, zorder=3)
    ax.scatter(table["share_log2_odds"], place, s=60, marker="|", color=NEUTRAL, zorder=2)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(
        place,
        [f"{shorten(r.cell_type, 40)} ({100 * r.mean_proportion:.2g} %)" for r in table.itertuples()],
    )
    ax.set_ylim(-0.7, len(table) - 0.3)
    ax.set_xlabel(f"log2 change {unit} against the cell types that keep still")
    ax.set_title("adjusted p", loc="right", fontsize=8)
    write_p_values(ax, place, table["padj"])
    handles = [
        Line2D([], [], marker="o", color=UP, linestyle="", label=f"adjusted p < {ALPHA:g}"),
        Line2D([], [], marker="o", color=UP, markerfacecolor="white", linestyle="", label="not called"),
        Line2D([], [], marker="|", color=NEUTRAL, linestyle="", markersize=8, label="plain share (log2 odds)"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def running_medians(x: np.ndarray, share: np.ndarray, *, of_levels: bool) -> list[tuple[float, float]]:
    """Medians of groups of equal size along `x`, which is sorted; of each value of it where these are levels."""
    if of_levels:
        return [(value, float(np.median(share[x == value]))) for value in np.unique(x)]
    groups = np.array_split(np.arange(len(x)), min(6, max(len(x) // 5, 1)))
    return [(float(np.median(x[group])), float(np.median(share[group]))) for group in groups]


def plot_proportions(
    shares: pd.DataFrame,
    table: pd.DataFrame,
    *,
    label: str = "Age (years)",
    levels: Sequence[str] = (),
    whose: str = "donor",
) -> Figure:
    """Share of each cell type against the donor's age, one panel per cell type, with the running median.

    Parameters
    ----------
    shares
        proportions.tsv, with the column `x` to draw against.
    table
        composition.tsv: the cell types to draw, in its order, and their p values.
    label
        Of `x`.
    levels
        Names of the places 0, 1, ... of `x`; none of numbers.
    whose
        Of whom each share is.
    """
    columns = len(table) if len(table) < 5 else 3 if len(table) < 7 else 4
    rows = -(-len(table) // columns)
    figure = new_figure(0.6 + 2.1 * columns, 0.4 + 1.9 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for ax, row in zip(axes.flat, table.itertuples(), strict=False):
        own = shares[(shares["id"] == row.id) & shares["x"].notna()].sort_values(["x", "donor_id"])
        x, share = own["x"].to_numpy(dtype=float), 100 * own["proportion"].to_numpy()
        colour = (UP if row.log2_fold_change > 0 else DOWN) if row.padj < ALPHA else NEUTRAL
        size = float(np.clip(1500 / max(len(own), 1), 3, 16))
        ax.scatter(x, share, s=size, color=PALE, linewidth=0, rasterized=True)
        ax.plot(
            *zip(*running_medians(x, share, of_levels=bool(levels)), strict=True),
            color=colour,
            marker="o",
            markersize=3.5,
        )
        ax.set_title(shorten(row.cell_type, 28), fontsize=8)
        ax.set_ylim(bottom=0)
        if levels:
            ax.set_xticks(range(len(levels)), [shorten(level, 12) for level in levels])
            ax.set_xlim(-0.5, len(levels) - 0.5)
    for place, ax in list(enumerate(axes.flat))[len(table) :]:
        ax.set_axis_off()
        axes.flat[place - columns].tick_params(labelbottom=True)
    figure.supxlabel(label, fontsize=9)
    figure.supylabel(f"Share of the {whose}'s cells (%)", fontsize=9)
    return figure


def draw_proportions(shares: pd.DataFrame, changes: pd.DataFrame, facts: Mapping[str, object]) -> Drawings:
    """The shares by age, or by the tested column where that is another; nothing where neither is known."""
    coloured = f"coloured where the cell type itself changes (adjusted p below {ALPHA:g})."
    if TERM_VALUE not in shares:
        if shares["age_years"].notna().any():
            figure = plot_proportions(shares.assign(x=shares["age_years"]), changes)
            words = f"Each donor's share of cells of the type, with medians of equal groups by age; {coloured}"
            yield "proportions", Drawing(figure, "Shares of the cell types by age", words)
        return
    term, value = columns_of_term(str(facts.get("test_term", "")))[0], shares[TERM_VALUE]
    levels: list[str] = []
    if not pd.api.types.is_numeric_dtype(value):
        levels = sorted(value.dropna().astype(str).unique())
        value = value.astype(str).where(value.notna()).map({level: i for i, level in enumerate(levels)})
    whose = "sample" if SAMPLE_OF_DONOR in shares else "donor"
    figure = plot_proportions(
        shares.assign(x=value.astype(float)), changes, label=shorten(term, 60), levels=levels, whose=whose
    )
    words = f"Each {whose}'s share of cells of the type by {term}, with medians; {coloured}"
    yield "proportions", Drawing(figure, f"Shares of the cell types by {term}", words)


def draw_composition(results: Results) -> Drawings:
    """What COMPOSITION published, as far as it is there and has rows."""
    facts = results.summary("composition/composition_summary.json")
    changes, shares = results.table("composition/composition.tsv"), results.table("composition/proportions.tsv")
    if changes is None or shares is None:
        return
    unit = unit_of(facts)
    yield (
        "effects",
        Drawing(
            plot_effects(changes, unit=unit),
            "Cell types that become more or less frequent",
            f"Change of each cell type {unit} against the cell types that keep still, with its 95 % interval, over "
            f"{facts.get('n_donors', 0):,} donors; in brackets its mean share. The grey bar is the change of its plain "
            "share, which also moves when another cell type grows.",
        ),
    )
    yield from draw_proportions(shares, changes, facts)
