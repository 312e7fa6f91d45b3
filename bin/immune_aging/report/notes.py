"""What a reader must know before reading: parts that were not run, and notes of the steps on the cohort."""

from collections.abc import Iterable

from immune_aging.results import Results

# A part of the analysis, and a piece of a path that was published if the part was run.
PARTS = (
    ("Cohort filter", "cohort/filtering.json"),
    ("Quality control", "qc/cells.parquet"),
    ("Embedding", "embedding/umap.parquet"),
    ("Clusters", "clusters/"),
    ("Pseudobulk", "pseudobulk/samples.tsv"),
    ("Differential expression", "/de.tsv"),
    ("Gene set enrichment", "/gsea.tsv"),
    ("Over-representation", "/ora_up.tsv"),
    ("Age prediction", "/predictions.tsv"),
    ("Immune age", "immune_age/immune_age.tsv"),
    ("Composition", "composition/composition.tsv"),
    ("Comparison of cell types", "comparison/power.tsv"),
)
OF_AGE = ("Age prediction", "Immune age")  # parts that a cohort without ages does not have
SUMMARIES = (
    "cohort/check.json", "qc/qc.json", "embedding/genes.json", "embedding/sketch.json",
    "replication/replication_summary.json",
)  # fmt: skip


def missing_parts(names: Iterable[str], *, has_ages: bool = True) -> list[str]:
    """The parts of the analysis of which nothing was published, given the paths of all results.

    Parameters
    ----------
    has_ages
        Whether donors have ages; where they have none, no part that needs them is missed.
    """
    published = list(names)
    wanted = [(part, path) for part, path in PARTS if has_ages or part not in OF_AGE]
    return [part for part, path in wanted if not any(path in name for name in published)]


def unknown_genes(results: Results, asked: object) -> list[str]:
    """A note on each gene of `report_genes` that the cohort does not hold; none where its genes are not known."""
    table = results.table("embedding/genes.tsv", ["gene_id", "symbol"])
    texts = asked if isinstance(asked, list) else str(asked or "").split(",")
    names = [text.strip() for text in texts if text.strip()]
    if table is None:
        return []
    known = {*table["gene_id"], *table["symbol"]}
    for identifier in results.cell_type_ids:  # what not all files measure is in no embedding
        tested = results.table(f"cell_types/{identifier}/de.tsv", ["gene_id", "symbol"])
        known |= set() if tested is None else {*tested["gene_id"], *tested["symbol"]}
    return [f"report_genes: {name} is no gene expressed in this cohort" for name in names if name not in known]


def cohort_notes(results: Results, asked: object) -> list[str]:
    """The notes of the steps that see the whole cohort, and on the genes `asked` for; each once."""
    said = [note for name in SUMMARIES for note in results.summary(name).get("notes", [])]
    return list(dict.fromkeys([*said, *unknown_genes(results, asked)]))
