"""All figures and tables of figures of one cell type."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.gene_sets import N_SETS, plot_gsea, plot_ora
from immune_aging.figures.genes_by_age import plot_genes_by_age
from immune_aging.figures.predictions import alpha_name, plot_predictions, plot_sweep, read_predictions
from immune_aging.figures.running_sums import plot_running_sums
from immune_aging.figures.volcano import ALPHA, called_colours, plot_ma, plot_volcano
from immune_aging.results import summary_of, table_of
from immune_aging.statistics.gene_sets import GeneSets, by_symbol
from immune_aging.statistics.preranked import rank_symbols
from immune_aging.statistics.running_sums import top_sets

N_CURVES = 3  # gene sets of either direction whose running sums are drawn
N_AGE_PANELS = 6  # of them drawn against age


def draw(
    files: dict[str, Path], identifier: str, *, expression: pd.DataFrame | None = None, sets: GeneSets | None = None
) -> dict[str, tuple[Figure, str, str]]:
    """Every figure that the results of the cell type carry: figure, title and description by file name."""
    folder = f"cell_types/{identifier}"
    summary = summary_of(files, f"{folder}/de_summary.json")
    cell_type = summary.get("cell_type", identifier)
    term, contrast = summary.get("test_term", "age"), summary.get("contrast", "per SD")
    unit = f"{contrast} of {term}" if contrast == "per SD" else f"({contrast})"
    drawn = {}
    de = table_of(
        files,
        f"{folder}/de.tsv",
        ["gene_id", "symbol", "base_mean", "log2_fold_change", "stat", "p_value", "padj", "robust"],
    )
    if de is not None:
        up, down = called_colours(de)
        what = (
            f"{len(de):,} genes of {cell_type}: {up.sum():,} up and {down.sum():,} down with {term} at "
            f"adjusted p < {ALPHA:g}; "
            "black rims mark genes that both engines call."
        )
        drawn["volcano"] = (
            plot_volcano(de, unit=unit),
            "Volcano",
            f"Log2 fold change {unit} against -log10 p of {what}",
        )
        drawn["ma"] = plot_ma(de, unit=unit), "MA", f"Mean count against log2 fold change {unit} of {what}"
        if expression is not None:
            first = de[de["gene_id"].isin(expression.columns)].sort_values(["p_value", "gene_id"], kind="stable")
            first = first.head(N_AGE_PANELS)
            drawn["genes"] = (
                plot_genes_by_age(expression, first),
                "Genes against age",
                f"Log2 counts per million in {cell_type} of the {len(first)} genes with the smallest p by the donor's "
                f"age; each dot is one of {len(expression):,} donors.",
            )
    gsea = table_of(files, f"{folder}/gsea.tsv", ["gene_set", "nes", "p_value", "q_value", "size"])
    if gsea is not None:
        drawn["gsea"] = (
            plot_gsea(gsea),
            "Gene set enrichment",
            f"Normalised enrichment scores in {cell_type} of the {min(N_SETS, len(gsea))} gene sets with the "
            "smallest q of "
            f"{len(gsea)}; filled dots have q < {ALPHA:g} ({int((gsea['q_value'] < ALPHA).sum())} sets in "
            "all); area by set size.",
        )
    curves = pd.DataFrame() if gsea is None else top_sets(gsea[gsea["gene_set"].isin(sets or {})], N_CURVES)
    if len(curves) and de is not None:
        ranking = rank_symbols(by_symbol(de)[0].set_index("symbol")["stat"])
        drawn["running_sums"] = (
            plot_running_sums(ranking, sets, curves),
            "Running sums of the top gene sets",
            f"How the enrichment scores of up to {N_CURVES} gene sets of either direction with the smallest q come "
            f"about in {cell_type}: all {len(ranking):,} genes from the most increasing to the most decreasing, ticks "
            "where the set's genes stand; dotted: the score; dashed: where the effect changes its sign.",
        )
    columns = ["gene_set", "overlap", "odds_ratio", "p_value", "padj"]
    ora = {direction: table_of(files, f"{folder}/ora_{direction}.tsv", columns) for direction in ("up", "down")}
    ora = {direction: table for direction, table in ora.items() if table is not None}
    if ora:
        found = " and ".join(f"{int((table['padj'] <= ALPHA).sum())} for genes {name}" for name, table in ora.items())
        drawn["ora"] = (
            plot_ora(ora),
            "Over-representation",
            f"Gene sets over-represented among the age genes of {cell_type}; sets with adjusted p <= "
            f"{ALPHA:g} (filled): {found}. "
            "Area by the number of genes shared.",
        )
    metrics, predictions = read_predictions(files, folder)
    if len(metrics):
        # The nested choice where there is one: its error is not the best of many.
        ordered = metrics.assign(swept=metrics["alpha"].notna()).sort_values(["model", "swept", "mae", "alpha"])
        ordered = ordered.groupby("model").head(1)
        best = {
            row["model"]: (row, predictions[row["model"], alpha_name(row["alpha"])]) for _, row in ordered.iterrows()
        }
        first = ordered.sort_values("mae", kind="stable").iloc[0]
        drawn["prediction"] = (
            plot_predictions(best),
            "Predicted against true age",
            f"Age of held-out donors predicted from {cell_type}, each model with its penalty chosen within training "
            "donors, or at its best one; dots are means and lines the range "
            f"over repeats. Best: {first['model'].replace('_', ' ')} with a mean absolute error of "
            f"{first['mae']:.1f} years, against "
            f"{first['baseline_mae']:.1f} for the median age of the other donors.",
        )
        drawn["sweep"] = (
            plot_sweep(metrics),
            "Prediction by penalty",
            f"Three metrics of age prediction from {cell_type} by penalty and model, with 95 % bootstrap "
            "intervals over donors; nested: chosen within the training donors of each fold. The "
            "dashed line is the error of the median age, or zero.",
        )
    return drawn
