"""Figures that compare cell types: gene sets, genes that change alike, and what each could have shown."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.effects import directions, gene_names, is_about_age, unit_of
from immune_aging.figures.gene_sets import set_label
from immune_aging.figures.style import NEUTRAL, PALE, Drawing, Drawings, colours_for, new_figure, shorten
from immune_aging.results import Results
from immune_aging.statistics.multiple_testing import ALPHA

N_SETS = 40  # gene sets in the heatmap, at most
N_GENES = 40  # genes in the heatmap, at most
DIVERGING = "RdBu_r"
MARKS = {"low": "v", "middle": "o", "high": "^"}


def heatmap(
    values: pd.DataFrame, called: pd.DataFrame, *, label: str, row_names: list[str], names: list[str]
) -> Figure:
    """Rows x cell types as colours around 0, a dot where called, grey where not tested.

    Parameters
    ----------
    values
        Rows x cell types; NaN where not tested.
    called
        The same shape, bool.
    label
        Of the colour bar.
    row_names, names
        Of rows and columns, for a person.
    """
    figure = new_figure(min(3.6 + 0.42 * values.shape[1], 14), 2.4 + 0.17 * len(values))
    ax = figure.subplots()
    reach = float(np.nanmax(np.abs(values.to_numpy()), initial=0.1))
    ax.set_facecolor(PALE)
    image = ax.imshow(np.ma.masked_invalid(values.to_numpy()), cmap=DIVERGING, vmin=-reach, vmax=reach, aspect="auto")
    row, column = np.nonzero(called.to_numpy())
    ax.scatter(column, row, s=9, color="black", linewidth=0)
    ax.set_xticks(
        np.arange(len(names)), [shorten(name, 30) for name in names], rotation=40, ha="right", rotation_mode="anchor"
    )
    ax.set_yticks(np.arange(len(row_names)), row_names, fontsize=7)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    figure.colorbar(image, ax=ax, label=label, shrink=0.6, aspect=30, pad=0.05)
    return figure


def by_similarity(values: pd.DataFrame) -> list[str]:
    """Columns in an order in which neighbours are alike (average linkage on correlation); untested counts as 0."""
    if values.shape[1] < 3:
        return list(values.columns)
    from scipy.cluster.hierarchy import leaves_list, linkage

    filled = values.fillna(0.0).to_numpy()
    scaled = filled / np.maximum(np.linalg.norm(filled, axis=0), 1e-12)
    return [values.columns[i] for i in leaves_list(linkage(scaled.T, method="average"))]


def plot_nes(table: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Heatmap of the normalised enrichment scores: the sets called in most cell types, from up to down.

    Parameters
    ----------
    table
        gsea_nes.tsv.
    names
        Name of each cell type by id.
    """
    ids = [column.removeprefix("nes_") for column in table.columns if column.startswith("nes_")]
    strongest = table[[f"nes_{i}" for i in ids]].abs().max(axis=1)
    order = table.assign(n=table["n_up"] + table["n_down"], strongest=strongest)
    top = order.sort_values(["n", "strongest", "gene_set"], ascending=[False, False, True], kind="stable").head(N_SETS)
    top = top.sort_values(["mean_nes", "gene_set"], ascending=[False, True], kind="stable")
    values = top[[f"nes_{i}" for i in ids]].set_axis(ids, axis=1)
    columns = by_similarity(values)
    called = top[[f"q_{i}" for i in columns]].set_axis(columns, axis=1) < ALPHA
    return heatmap(
        values[columns],
        called,
        label="Normalised enrichment score",
        row_names=[set_label(name, 42) for name in top["gene_set"]],
        names=[names.get(i, i) for i in columns],
    )


def striking_genes(table: pd.DataFrame) -> pd.DataFrame:
    """Genes for the heatmap: half of them shared, the others opposed or specific, by p, then in order of the mean."""
    shared = table[table["pattern"] == "shared"].sort_values(["p_value_shared", "gene_id"], kind="stable")
    others = table[table["pattern"].isin(["opposed", "specific"])]
    others = others.sort_values(["heterogeneity_p_value", "gene_id"], kind="stable")
    n_others = max(N_GENES // 2, N_GENES - len(shared))
    n_shared = N_GENES - min(n_others, len(others))
    chosen = pd.concat([shared.head(n_shared), others.head(N_GENES - min(n_shared, len(shared)))])
    kind = chosen["pattern"].map({"shared": 0, "opposed": 1, "specific": 2})
    return chosen.assign(kind=kind).sort_values(
        ["kind", "stat", "gene_id"], ascending=[True, False, True], kind="stable"
    )


def plot_genes(table: pd.DataFrame, names: dict[str, str], *, unit: str) -> Figure:
    """Effects of striking genes by cell type: those that change alike on top, then opposed and specific ones.

    Parameters
    ----------
    table
        `striking_genes` of shared_ageing.tsv, at least one row.
    names
        Name of each cell type by id.
    unit
        Of the effects.
    """
    ids = [column.removeprefix("lfc_") for column in table.columns if column.removeprefix("lfc_") in names]
    values = table[[f"lfc_{i}" for i in ids]].set_axis(ids, axis=1)
    columns = by_similarity(values)
    lists = (table["cell_types_up"].fillna("") + ";" + table["cell_types_down"].fillna("")).str.split(";")
    called = pd.DataFrame([[i in own for i in columns] for own in lists], columns=columns, index=table.index)
    figure = heatmap(
        values[columns],
        called,
        label=f"log2 fold change {unit}",
        row_names=gene_names(table).tolist(),
        names=[names[i] for i in columns],
    )
    edges = np.flatnonzero(np.diff(table["kind"].to_numpy())) + 0.5
    for edge in edges:
        figure.axes[0].axhline(edge, color="black", linewidth=0.8)
    starts = np.concatenate([[-0.5], edges, [len(table) - 0.5]])
    for low, high in itertools.pairwise(starts):
        kind = table["pattern"].iloc[int(low + 0.5)]
        figure.axes[0].annotate(kind, (1, (low + high) / 2), xycoords=("axes fraction", "data"), xytext=(4, 0),
                                fontsize=8, textcoords="offset points", rotation=90, va="center")  # fmt: skip
    return figure


def plot_power(table: pd.DataFrame, *, unit: str) -> Figure:
    """The smallest effect that each cell type would show, by mean count; the line is 80 % of all genes.

    Parameters
    ----------
    table
        power.tsv.
    unit
        Of the effects.
    """
    everything = table[table["expression"] == "all"].iloc[::-1].reset_index(drop=True)
    figure = new_figure(7, 1.5 + 0.32 * len(everything))
    ax = figure.subplots()
    place = {name: y for y, name in enumerate(everything["id"])}
    ax.hlines(
        np.arange(len(everything)),
        everything["smallest_lfc_low"],
        everything["smallest_lfc_high"],
        color=PALE,
        linewidth=5,
    )
    colours = colours_for(MARKS)
    for kind, mark in MARKS.items():
        own = table[table["expression"] == kind]
        ax.scatter(
            own["smallest_lfc"],
            own["id"].map(place),
            marker=mark,
            s=34,
            color=colours[kind],
            zorder=3,
            label=f"{kind} third by mean count",
        )
    ax.set_yticks(
        np.arange(len(everything)), [f"{shorten(r.cell_type, 40)} ({r.n_samples:,})" for r in everything.itertuples()]
    )
    ax.set_ylim(-0.7, len(everything) - 0.3)
    ax.set_xlim(left=0)
    ax.set_xlabel(f"Smallest |log2 fold change| {unit} found with 80 % power")
    ax.grid(axis="x", color=NEUTRAL, alpha=0.25, linewidth=0.5)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def draw_comparison(results: Results) -> Drawings:
    """What COMPARE_CELL_TYPES published, as far as it is there and has rows."""
    facts = results.summary("comparison/comparison_summary.json")
    names, unit, (up, _) = facts.get("cell_types", {}), unit_of(facts), directions(facts)
    alike, red = "age" if is_about_age(facts) else "change", up.replace("up with", "rises with")
    sets = results.table("comparison/gsea_nes.tsv")
    if sets is not None:
        yield (
            "nes",
            Drawing(
                plot_nes(sets, names),
                "Gene sets across cell types",
                f"Normalised enrichment scores (red: {red}); dots: q below {ALPHA:g}; grey: not tested. "
                f"{min(len(sets), N_SETS)} of {len(sets)} sets, those called in most cell types.",
            ),
        )
    genes = results.table("comparison/shared_ageing.tsv")
    striking = None if genes is None else striking_genes(genes)
    if striking is not None and len(striking):
        counts = facts.get("patterns", {})
        yield (
            "shared_genes",
            Drawing(
                plot_genes(striking, names, unit=unit),
                f"Genes that {alike} alike, and genes of one cell type",
                f"Effects of the {len(striking)} most striking of {counts.get('shared', 0):,} shared, "
                f"{counts.get('opposed', 0):,} opposed and {counts.get('specific', 0):,} specific genes; dots: "
                "robustly called in that cell type; grey: not tested.",
            ),
        )
    power = results.table("comparison/power.tsv")
    if power is not None:
        yield (
            "power",
            Drawing(
                plot_power(power, unit=unit),
                "What each cell type could have shown",
                f"The smallest effect that a gene of median error would show ({facts.get('rule_power', '')}), by "
                "thirds of genes by mean count; the bar holds the middle 80 % of all genes; in brackets the samples.",
            ),
        )
