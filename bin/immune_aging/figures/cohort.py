"""Figures of the cohort: donors, cells, ages, cell types."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from immune_aging.cohort.donors import not_told
from immune_aging.figures.style import (
    CUT,
    NEUTRAL,
    PALE,
    Drawing,
    Drawings,
    colours_for,
    log_ticks,
    new_figure,
    no_data,
    shorten,
)

AGE_BIN_YEARS = 5


def plot_cells_per_donor(donors: pd.DataFrame, *, cut: float | None = None) -> Figure:
    """Donors in order of their number of cells, kept and left out, with the least number that a donor needs.

    Parameters
    ----------
    donors
        n_cells (NaN where unknown), kept.
    cut
        Donors with fewer cells than this were left out; None where no such rule was in force.
    """
    figure = new_figure(6.5, 3.6)
    ax = figure.subplots()
    known = donors[donors["n_cells"].notna()].sort_values(["n_cells", "donor_id"], ascending=[False, True])
    if known.empty:
        no_data(ax, "The number of cells of each donor is not known.")
        return figure
    place = np.arange(1, len(known) + 1)
    size = float(np.clip(1500 / len(known), 4, 25))
    for kept, colour, marker, name in ((True, "#0072B2", "o", "kept"), (False, CUT, "X", "left out")):
        chosen = (known["kept"] == kept).to_numpy()
        ax.scatter(
            place[chosen],
            known["n_cells"].clip(lower=1)[chosen],
            s=size * (1 if kept else 2),
            color=colour,
            marker=marker,
            linewidth=0,
            label=f"{name}: {chosen.sum():,} donors",
            zorder=2 + (not kept),
            rasterized=True,
        )
    if cut is not None:
        ax.axhline(cut, color=CUT, linestyle="--", linewidth=1, label=f"least number of cells: {cut:,.0f}")
    ax.set_yscale("log")
    ax.set_ylim(bottom=max(known["n_cells"].min(), 1) / 2)
    log_ticks(ax.yaxis)
    ax.set_xlabel("Donors, most cells first")
    ax.set_ylabel("Cells")
    ax.legend(loc="lower left")
    return figure


def plot_age_and_sex(donors: pd.DataFrame) -> Figure:
    """Histogram of the ages of the kept donors, one panel per sex, in bins of five years."""
    kept = donors[donors["kept"] & donors["age_years"].notna()]
    sexes = sorted(kept["sex"].fillna("unknown").astype(str).unique())
    sexless = kept["sex"].isna().all()
    figure = new_figure(6.5, 1.2 + 1.3 * max(len(sexes), 1))
    axes = figure.subplots(max(len(sexes), 1), sharex=True, sharey=True, squeeze=False)[:, 0]
    if not sexes:
        no_data(axes[0], "No kept donor has a known age.")
        return figure
    edges = np.arange(
        AGE_BIN_YEARS * (kept["age_years"].min() // AGE_BIN_YEARS),
        kept["age_years"].max() + AGE_BIN_YEARS + 1,
        AGE_BIN_YEARS,
    )
    colours = colours_for(sexes)
    for ax, sex in zip(axes, sexes, strict=True):
        ages = kept.loc[kept["sex"].fillna("unknown").astype(str) == sex, "age_years"]
        ax.hist(ages, bins=edges, color=colours[sex], edgecolor="white", linewidth=0.6)
        ax.axvline(ages.median(), color="black", linestyle=":", linewidth=1)
        of_sex = "" if sexless else f"{sex}: "
        ax.set_title(f"{of_sex}{len(ages):,} donors, median {ages.median():.0f} years", loc="left")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes[-1].set_xlabel("Age (years)")
    figure.supylabel("Donors", fontsize=9)
    return figure


def plot_cell_types(types: pd.DataFrame) -> Figure:
    """Cells of each cell type, most first; those left out are hatched and carry their reason.

    Parameters
    ----------
    types
        cell_type, n_cells (NaN where unknown), n_donors, kept, reason.
    """
    types = types.sort_values(["n_cells", "cell_type"], ascending=[True, False], na_position="first")
    figure = new_figure(7.5, 1.1 + 0.27 * max(len(types), 2))
    ax = figure.subplots()
    if types["n_cells"].isna().all():
        no_data(ax, "The number of cells of each cell type is not known.")
        return figure
    place = np.arange(len(types))
    for kept, colour, hatch, name in ((True, "#0072B2", None, "kept"), (False, PALE, "////", "left out")):
        chosen = (types["kept"] == kept).to_numpy()
        ax.barh(
            place[chosen],
            types["n_cells"].fillna(0)[chosen],
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=f"{name}: {chosen.sum()} cell types",
        )
    for y, row in zip(place, types.itertuples(), strict=True):
        cells = "" if np.isnan(row.n_cells) else f"{row.n_cells:,.0f}"
        text = cells if row.kept else f"{cells}  {shorten(row.reason, 48)}"
        ax.annotate(
            text,
            (0 if np.isnan(row.n_cells) else row.n_cells, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="black" if row.kept else NEUTRAL,
        )
    ax.set_yticks(place, [shorten(name, 44) for name in types["cell_type"]])
    ax.set_xscale("log")
    low, high = max(types["n_cells"].min(), 1), types["n_cells"].max()
    ax.set_xlim(low / 2, high * (high / low) ** 0.45 * 3)
    log_ticks(ax.xaxis)
    ax.set_ylim(-0.7, len(types) - 0.3)
    ax.set_xlabel("Cells (log scale)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def draw(donors: pd.DataFrame, types: pd.DataFrame, *, cut: float | None) -> Drawings:
    """All figures of the cohort.

    Parameters
    ----------
    donors, types
        donors.tsv and cell_types.tsv.
    cut
        Least number of cells that a donor needed; None where no such rule was in force.
    """
    kept = donors[donors["kept"]]
    at_cut = "" if cut is None else f" The dashed line is the least number of cells a donor needs, {cut:,.0f}."
    yield (
        "cells_per_donor",
        Drawing(
            plot_cells_per_donor(donors, cut=cut),
            "Cells per donor",
            f"Cells of each of {len(donors):,} donors, most first; {len(kept):,} are kept and "
            f"{len(donors) - len(kept):,} left out.{at_cut}",
        ),
    )
    ages = kept["age_years"]
    if not not_told(donors, "age_years"):
        span = "No age is known." if ages.isna().all() else f"They are {ages.min():.0f} to {ages.max():.0f} years old."
        by_sex = not not_told(donors, "sex")
        yield (
            "age_sex",
            Drawing(
                plot_age_and_sex(donors),
                "Age and sex" if by_sex else "Age",
                f"Ages of the {len(kept):,} kept donors{' by sex' if by_sex else ''}, in bins of five years. {span}",
            ),
        )
    yield (
        "cell_types",
        Drawing(
            plot_cell_types(types),
            "Cell types",
            f"Cells of each of {len(types)} cell types among the donors' cells; {int(types['kept'].sum())} are kept, "
            "the others carry the reason why they are left out.",
        ),
    )
