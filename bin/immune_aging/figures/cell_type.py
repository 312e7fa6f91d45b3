"""All figures of one cell type, with the words they are saved with."""

from collections.abc import Mapping

import pandas as pd

from immune_aging.figures.curves import plot_curves
from immune_aging.figures.effects import called_genes, directions, is_about_age, unit_of
from immune_aging.figures.gene_sets import N_SETS, plot_gsea, plot_ora
from immune_aging.figures.genes_by_age import (
    TERM_VALUE,
    can_be_drawn,
    is_of_levels,
    plot_genes_by_age,
    plot_genes_by_term,
)
from immune_aging.figures.predictions import best_fits, plot_predictions, plot_sweep, read_predictions
from immune_aging.figures.running_sums import plot_running_sums
from immune_aging.figures.style import Drawing, Drawings
from immune_aging.figures.volcano import plot_ma, plot_volcano
from immune_aging.results import Results
from immune_aging.statistics.formulas import columns_of_term
from immune_aging.statistics.gene_sets import GeneSets, by_symbol
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.statistics.preranked import rank_symbols
from immune_aging.statistics.running_sums import top_sets
from immune_aging.statistics.some_files import of_all_files
from immune_aging.task.checkpoints import slug

N_CURVES = 3  # gene sets of either direction whose running sums are drawn
N_GENE_PANELS = 6  # genes drawn against the tested term
DE_COLUMNS = ("gene_id", "symbol", "base_mean", "log2_fold_change", "stat", "p_value", "padj", "robust")
GSEA_COLUMNS = (
    "gene_set", "nes", "direction", "p_value", "q_value", "p_value_preranked", "q_value_preranked", "size",
)  # fmt: skip
LEVEL_COLUMNS = ("gene_id", "symbol", "difference", "difference_p_value", "difference_padj")
CURVE_COLUMNS = ("gene_id", "symbol", "shape", "age_years", "log2_expression")
ORA_COLUMNS = ("gene_set", "overlap", "odds_ratio", "p_value", "padj")


def draw(
    results: Results, identifier: str, *, expression: pd.DataFrame | None = None, sets: GeneSets | None = None
) -> Drawings:
    """Every figure that the results of the cell type carry.

    Parameters
    ----------
    expression
        As `expression_by_term` gives it: draws genes against the tested term.
    sets
        Draws running sums.
    """
    folder = f"cell_types/{identifier}"
    summary = results.summary(f"{folder}/de_summary.json")
    cell_type, words = summary.get("cell_type", identifier), directions(summary)
    de = results.table(f"{folder}/de.tsv", DE_COLUMNS)
    if de is not None:
        yield from draw_genes(de, cell_type, unit=unit_of(summary), words=words)
    yield from draw_levels(results, folder, summary, cell_type)
    points = results.table(f"{folder}/de_curve_points.tsv", CURVE_COLUMNS)
    if points is not None:
        yield "curves", draw_age_curves(points, cell_type)
    if de is not None and expression is not None and can_be_drawn(expression):
        yield "genes", draw_genes_by_term(de, expression, cell_type, summary)
    gsea = results.table(f"{folder}/gsea.tsv", GSEA_COLUMNS)
    if gsea is not None:
        yield "gsea", draw_gsea(gsea, cell_type, words=words)
    if gsea is not None and de is not None and sets:
        yield from draw_curves(de, gsea, sets, cell_type, words=words)
    ways = {way: results.table(f"{folder}/ora_{way}.tsv", ORA_COLUMNS) for way in ("up", "down")}
    ora = {way: table for way, table in ways.items() if table is not None}
    if ora:
        yield "ora", draw_ora(ora, cell_type, summary)
    metrics, predictions = read_predictions(results, folder)
    if len(metrics):
        yield from draw_predictions(metrics, predictions, cell_type)


def draw_genes(de: pd.DataFrame, cell_type: str, *, unit: str, words: tuple[str, str]) -> Drawings:
    """The volcano and the MA plot of de.tsv."""
    up, down = called_genes(de)
    what = (
        f"{len(de):,} genes of {cell_type}: {up.sum():,} {words[0]} and {down.sum():,} {words[1]} at "
        f"adjusted p < {ALPHA:g}; black rims mark genes that both engines call."
    )
    volcano = plot_volcano(de, unit=unit, words=words)
    yield "volcano", Drawing(volcano, "Volcano", f"Log2 fold change {unit} against -log10 p of {what}")
    ma = plot_ma(de, unit=unit, words=words)
    yield "ma", Drawing(ma, "MA", f"Mean count against log2 fold change {unit} of {what}")


def draw_levels(results: Results, folder: str, summary: Mapping, cell_type: str) -> Drawings:
    """The volcano of the difference between two levels of --by_column, where there is one."""
    facts = summary.get("by_column") or {}
    levels = facts.get("levels", ())
    if len(levels) != 2:
        return
    table = results.table(f"{folder}/de_by_{slug(facts['column'])}.tsv", LEVEL_COLUMNS)
    if table is None:
        return
    own = table.drop_duplicates("gene_id")[["gene_id", "symbol"]].reset_index(drop=True)
    first = table.drop_duplicates("gene_id").reset_index(drop=True)
    own = own.assign(
        log2_fold_change=first["difference"], p_value=first["difference_p_value"], padj=first["difference_padj"]
    )
    low, high = levels
    unit = f"{unit_of(summary)}, {high} minus {low}"
    called = int((own["padj"] < ALPHA).sum())
    yield (
        "difference",
        Drawing(
            plot_volcano(own, unit=unit, words=(f"larger in {high}", f"smaller in {high}")),
            f"Difference between levels of {facts['column']}",
            f"By how much the log2 fold change {unit_of(summary)} differs between {high} and {low}, against -log10 p, "
            f"of {len(own):,} genes of {cell_type}: {called:,} differ at adjusted p < {ALPHA:g}.",
        ),
    )


def draw_age_curves(points: pd.DataFrame, cell_type: str) -> Drawing:
    """The curves of the genes that change with age, by shape."""
    n_genes = points["gene_id"].nunique()
    return Drawing(
        plot_curves(points),
        "Curves of age",
        f"Expression by age of the {n_genes:,} genes of {cell_type} that change with age in any way (adjusted p < "
        f"{ALPHA:g}), by shape: thin lines are genes, the thick one is their mean, and the names are those of smallest "
        "p. Genes for which a line is enough rise or fall.",
    )


def draw_genes_by_term(
    de: pd.DataFrame, expression: pd.DataFrame, cell_type: str, summary: Mapping[str, object]
) -> Drawing:
    """The genes of smallest p against age, or against the tested column where that is another."""
    first = de[de["gene_id"].isin(expression.columns)].sort_values(["p_value", "gene_id"], kind="stable")
    first = first.head(N_GENE_PANELS)
    n_donors = expression["donor_id"].nunique()
    several = len(expression) > n_donors
    n_dots = f"{len(expression):,} samples of {n_donors:,} donors" if several else f"{len(expression):,} donors"
    genes = f"Log2 counts per million in {cell_type} of the {len(first)} genes with the smallest p by"
    if TERM_VALUE not in expression:
        words = f"{genes} the donor's age; each dot is one of {n_dots}."
        return Drawing(plot_genes_by_age(expression, first), "Genes against age", words)
    term = columns_of_term(str(summary.get("test_term", "")))[0]  # what is drawn, not a function of it
    pairs = " Lines join the samples of a donor." if several and is_of_levels(expression) else ""
    return Drawing(
        plot_genes_by_term(expression, first, term=term),
        f"Genes by {term}",
        f"{genes} {term}; each dot is one of {n_dots}.{pairs}",
    )


def draw_gsea(gsea: pd.DataFrame, cell_type: str, *, words: tuple[str, str]) -> Drawing:
    """The gene sets of smallest q by their enrichment score."""
    return Drawing(
        plot_gsea(gsea, words=words),
        "Gene set enrichment",
        f"Normalised enrichment scores in {cell_type} of the {min(N_SETS, len(gsea))} gene sets with the smallest q of "
        f"{len(gsea)}; filled dots have q < {ALPHA:g} ({int((gsea['q_value'] < ALPHA).sum())} sets in all); area by "
        "set size.",
    )


def draw_curves(
    de: pd.DataFrame, gsea: pd.DataFrame, sets: GeneSets, cell_type: str, *, words: tuple[str, str]
) -> Drawings:
    """The running sums of the surest gene sets, where any of them is among `sets`."""
    curves = top_sets(gsea[gsea["gene_set"].isin(sets)], N_CURVES)
    if curves.empty:
        return
    ranking = rank_symbols(by_symbol(of_all_files(de))[0].set_index("symbol")["stat"])
    yield (
        "running_sums",
        Drawing(
            plot_running_sums(ranking, sets, curves, words=words),
            "Running sums of the top gene sets",
            f"How the enrichment scores of up to {N_CURVES} gene sets of either direction with the smallest q come "
            f"about in {cell_type}: all {len(ranking):,} genes from the most increasing to the most decreasing, ticks "
            "where the set's genes stand; dotted: the score; dashed: where the effect changes its sign.",
        ),
    )


def draw_ora(ora: dict[str, pd.DataFrame], cell_type: str, summary: Mapping[str, object]) -> Drawing:
    """The gene sets over-represented among the genes that go up and down.

    Parameters
    ----------
    ora
        ora_up.tsv and ora_down.tsv by direction, at least one of them.
    """
    words = dict(zip(("up", "down"), directions(summary), strict=True))
    of_age = is_about_age(summary)
    genes = f"age genes of {cell_type}" if of_age else f"genes of {cell_type} called for {summary.get('test_term')}"
    found = " and ".join(
        f"{int((table['padj'] <= ALPHA).sum())} for genes {way if of_age else words[way]}" for way, table in ora.items()
    )
    return Drawing(
        plot_ora(ora, words=(words["up"], words["down"])),
        "Over-representation",
        f"Gene sets over-represented among the {genes}; sets with adjusted p <= {ALPHA:g} (filled): "
        f"{found}. Area by the number of genes shared.",
    )


def draw_predictions(
    metrics: pd.DataFrame, predictions: dict[tuple[str, str], pd.DataFrame], cell_type: str
) -> Drawings:
    """Predicted against true age of each model, and its error by penalty, given what `read_predictions` returns."""
    fits = best_fits(metrics, predictions)
    least = min((row for row, _ in fits.values()), key=lambda row: row["mae"])
    yield (
        "prediction",
        Drawing(
            plot_predictions(fits),
            "Predicted against true age",
            f"Age of held-out donors predicted from {cell_type}, each model with its penalty chosen within training "
            "donors, or at its best one; dots are means and lines the range over repeats. Best: "
            f"{least['model'].replace('_', ' ')} with a mean absolute error of {least['mae']:.1f} years, against "
            f"{least['baseline_mae']:.1f} for the median age of the other donors.",
        ),
    )
    yield (
        "sweep",
        Drawing(
            plot_sweep(metrics),
            "Prediction by penalty",
            f"Three metrics of age prediction from {cell_type} by penalty and model, with 95 % bootstrap intervals "
            "over donors; nested: chosen within the training donors of each fold. The dashed line is the error of the "
            "median age, or zero.",
        ),
    )
