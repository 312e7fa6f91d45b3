"""What the report says of all cell types side by side: composition, genes and gene sets they share, power."""

from collections.abc import Mapping

from immune_aging.report.pictures import Picture, in_folder
from immune_aging.results import Results
from immune_aging.statistics.multiple_testing import ALPHA

N_SHARED_GENES = 15
COMPOSITION_FIGURES = ("effects", "proportions")
COMPARISON_FIGURES = ("shared_genes", "nes", "power")


def composition_part(results: Results, pictures: Mapping[str, Picture]) -> dict:
    """Rows of composition.tsv, the cell types called up and down, its summary and figures."""
    columns = ["id", "cell_type", "mean_proportion", "log2_fold_change", "ci_low", "ci_high", "padj", "share_padj"]
    table = results.table("composition/composition.tsv", columns)
    called = None if table is None else table[table["padj"] < ALPHA]
    return {
        "summary": {"status": "", "reason": ""} | results.summary("composition/composition_summary.json"),
        "rows": [] if table is None else table.to_dict("records"),
        "up": [] if called is None else called.loc[called["log2_fold_change"] > 0, "cell_type"].tolist(),
        "down": [] if called is None else called.loc[called["log2_fold_change"] < 0, "cell_type"].tolist(),
        "figures": in_folder(pictures, "composition/figures", COMPOSITION_FIGURES),
    }


def sizes_of_tests(results: Results) -> list[int]:
    """The least and the largest number of samples that a cell type was tested in; none where none was."""
    summaries = [results.summary(f"cell_types/{name}/de_summary.json") for name in results.cell_type_ids]
    sizes = [int(summary["n_samples"]) for summary in summaries if summary.get("status") == "done"]
    return [min(sizes), max(sizes)] if sizes else []


def comparison_part(results: Results, pictures: Mapping[str, Picture]) -> dict:
    """Numbers of genes by pattern, the surest shared genes, gene sets called in several types, power, figures."""
    genes = results.table("comparison/shared_ageing.tsv", ["gene_id", "symbol", "pattern", "p_value_shared"])
    shared = None if genes is None else genes[genes["pattern"] == "shared"]
    sets = results.table("comparison/gsea_nes.tsv", ["gene_set", "n_up", "n_down"])
    power = results.table("comparison/power.tsv", ["cell_type", "expression", "smallest_lfc"])
    return {
        "summary": {"status": "", "reason": ""} | results.summary("comparison/comparison_summary.json"),
        "genes": []
        if shared is None
        else shared.sort_values(["p_value_shared", "gene_id"]).head(N_SHARED_GENES).to_dict("records"),
        "sets": [] if sets is None else sets[sets["n_up"] + sets["n_down"] >= 2].to_dict("records"),
        "power": [] if power is None else power[power["expression"] == "all"].to_dict("records"),
        "figures": in_folder(pictures, "comparison/figures", COMPARISON_FIGURES),
        "sizes": sizes_of_tests(results),
    }
