"""What the report shows, from the results."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from immune_aging.report.comparison import comparison_part, composition_part
from immune_aging.report.funnel import breaks, funnel
from immune_aging.report.immune_age import immune_age
from immune_aging.report.interactive import cell_map, explorers
from immune_aging.report.methods import methods, shown
from immune_aging.report.pictures import Picture, embed, in_folder
from immune_aging.report.quality_control import qc_content
from immune_aging.report.sensitivity import sensitivity_content
from immune_aging.results import summary_of, table_of
from immune_aging.task.checkpoints import read_json

ALPHA = 0.05
N_TOP_GENES = 20
N_TOP_SETS = 3
N_LISTED_SETS = 15
NOT_AVAILABLE = "–"
# A part of the analysis, and a path that is there once it was run.
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
COHORT_FIGURES = ("cells_per_donor", "age_sex", "cell_types")
QC_FIGURES = ("violins", "counts_and_genes", "cells_lost")
EMBEDDING_FIGURES = (
    "umap_cell_type",
    "umap_donor",
    "umap_age",
    "umap_sex",
    "umap_counts",
    "umap_doublet_score",
    "pca_cell_type",
    "mixing",
)
CELL_TYPE_FIGURES = ("volcano", "ma", "genes", "gsea", "running_sums", "ora", "prediction", "sweep")
NOT_RUN = {"status": "", "reason": ""}
SUMMARIES = {"de": "Differential expression", "gsea": "Gene set enrichment", "ora": "Over-representation"}


def number(value: object, digits: int = 3) -> str:
    """A number for a person: thousands with commas, others to `digits` digits, a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_AVAILABLE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def changed(value: object, default: object) -> bool:
    """Whether a parameter differs from its default; 1 and 1.0, '0.1,1' and [0.1, 1], None and '' do not."""

    def plain(x: object) -> object:
        parts = x if isinstance(x, list) else [] if x is None else str(x).split(",")
        words = [str(part).strip() for part in parts if str(part).strip()]
        try:
            return [float(word) for word in words]
        except ValueError:
            return words

    return plain(value) != plain(default)


def top_sets(gsea: pd.DataFrame | None) -> dict[str, list[str]]:
    """Names of the gene sets that go up and down most surely, of those with q under `ALPHA`."""
    if gsea is None:
        return {"up": [], "down": []}
    found = gsea[gsea["q_value"] < ALPHA].sort_values(["q_value", "p_value", "gene_set"], kind="stable")
    names = found["gene_set"].str.removeprefix("HALLMARK_").str.replace("_", " ")
    return {
        "up": names[found["nes"] > 0].tolist()[:N_TOP_SETS],
        "down": names[found["nes"] < 0].tolist()[:N_TOP_SETS],
    }


def best_prediction(summary: pd.DataFrame | None, identifier: str) -> dict | None:
    """The model and penalty of least error, and whether its whole interval is under the baseline's error.

    Of fits whose penalty was chosen within the training donors where there are any: only their error is fair.
    """
    if summary is None or "mae" not in summary:
        return None
    own = summary[(summary["id"] == identifier) & summary["mae"].notna()]
    if own.empty:
        return None
    nested = own[own["alpha"].astype(str) == "nested"]
    own = nested if len(nested) else own
    best = own.sort_values(["mae", "model", "alpha"], kind="stable").iloc[0].to_dict()
    best.setdefault("mae_low", math.nan)
    best.setdefault("mae_high", math.nan)
    best["better"] = bool(best["mae_high"] < best["baseline_mae"])
    return best


def gene_rows(files: Mapping[str, Path], folder: str) -> list[dict]:
    """The genes of smallest p of a cell type."""
    table = table_of(files, f"{folder}/de.tsv", ["gene_id", "symbol", "p_value", "padj"])
    return [] if table is None else table.head(N_TOP_GENES).to_dict("records")


def set_rows(files: Mapping[str, Path], name: str) -> list[dict]:
    """The gene sets of smallest p of a table, their genes cut to a few."""
    table = table_of(files, name, ["gene_set", "p_value"])
    if table is None:
        return []
    rows = table.sort_values(["p_value", "gene_set"], kind="stable").head(N_LISTED_SETS)
    genes = "leading_edge" if "leading_edge" in rows else "genes"
    lists = rows[genes].fillna("").str.split(";")
    text = lists.map(lambda names: ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else ""))
    return rows.assign(shown_genes=text).to_dict("records")


def notes_of(files: Mapping[str, Path], folder: str) -> tuple[list[str], list[str]]:
    """What of a cell type could not be computed, and what its reader must know."""
    skipped, notes = [], []
    for step, name in SUMMARIES.items():
        summary = summary_of(files, f"{folder}/{step}_summary.json")
        if summary.get("status") == "skipped":
            skipped.append(f"{name}: {summary['reason']}")
        notes += summary.get("warnings", []) + summary.get("notes", [])
    for name in sorted(files):
        if name.startswith(f"{folder}/prediction/") and name.endswith("/predict_age_summary.json"):
            summary = read_json(files[name])
            if summary.get("status") == "skipped":
                skipped.append(
                    f"Age prediction, {summary['model']}, alpha {shown(summary['alpha'])}: {summary['reason']}"
                )
    return skipped, list(dict.fromkeys(notes))


def failed_steps(files: Mapping[str, Path], identifier: str) -> list[str]:
    """What other cell types have and this one lacks: a step of it crashed, was killed, or had nothing to go on from."""
    found: dict[str, set[str]] = {}
    for name in files:
        if name.startswith("cell_types/") and name.endswith("_summary.json"):
            _, owner, step = name.split("/", 2)
            found.setdefault(step, set()).add(owner)
    steps = [step for step, owners in sorted(found.items()) if identifier not in owners]
    names = [
        SUMMARIES.get(
            step.removesuffix("_summary.json"), f"Age prediction, {step.split('/')[-2]}" if "/" in step else step
        )
        for step in steps
    ]
    return [
        f"{name}: no result, because this step or one before it failed; see pipeline_info/trace.tsv" for name in names
    ]


def cell_type_sections(files: Mapping[str, Path], pictures: Mapping[str, Picture]) -> list[dict]:
    """All that is shown of each kept cell type, the one with most cells first."""
    types = table_of(files, "cohort/cell_types.tsv", ["id", "cell_type", "n_cells", "kept"])
    if types is None:
        return []
    samples = table_of(files, "pseudobulk/samples.tsv", ["cell_type", "n_cells", "kept"])
    predictions = table_of(files, "prediction_summary.tsv", ["id", "model", "alpha", "mae"])
    sections = []
    for row in types[types["kept"]].sort_values(["n_cells", "cell_type"], ascending=[False, True]).to_dict("records"):
        folder = f"cell_types/{row['id']}"
        used = None if samples is None else samples[(samples["cell_type"] == row["cell_type"]) & samples["kept"]]
        skipped, notes = notes_of(files, folder)
        if used is None or len(used):
            skipped += failed_steps(files, row["id"])
        sweep = [] if predictions is None else predictions[predictions["id"] == row["id"]].to_dict("records")
        sections.append(
            {
                "id": row["id"],
                "name": row["cell_type"],
                "donors": row["n_samples"] if used is None else len(used),
                "cells": row["n_cells"] if used is None else used["n_cells"].sum(min_count=1),
                "de": NOT_RUN | summary_of(files, f"{folder}/de_summary.json"),
                "sets": top_sets(table_of(files, f"{folder}/gsea.tsv", ["gene_set", "nes", "p_value", "q_value"])),
                "gsea": NOT_RUN | summary_of(files, f"{folder}/gsea_summary.json"),
                "best": best_prediction(predictions, row["id"]),
                "genes": gene_rows(files, folder),
                "gsea_rows": set_rows(files, f"{folder}/gsea.tsv"),
                "ora_rows": {way: set_rows(files, f"{folder}/ora_{way}.tsv") for way in ("up", "down")},
                "sweep": sweep,
                "figures": in_folder(pictures, f"{folder}/figures", CELL_TYPE_FIGURES),
                "files": [name for name in files if Path(name).parent.as_posix() == folder and name.endswith(".tsv")],
                "skipped": skipped,
                "notes": notes,
                "ran": any(name.startswith(f"{folder}/") for name in files),
            }
        )
    return sections


def cluster_figures(pictures: Mapping[str, Picture]) -> list[Picture]:
    """The figures of all resolutions, in numerical order."""
    found = {
        name.split("/")[1].removeprefix("resolution-"): name
        for name in pictures
        if name.startswith("clusters/resolution-")
    }
    return [
        picture
        for resolution in sorted(found, key=lambda text: (float(text), text))
        for picture in in_folder(pictures, f"clusters/resolution-{resolution}/figures")
    ]


def cohort_facts(files: Mapping[str, Path]) -> dict:
    """Donors, ages and cells in a line, and the cell types that were left out."""
    facts: dict = {"left_out": []}
    donors = table_of(files, "cohort/donors.tsv", ["age_years", "sex", "kept", "n_cells"])
    if donors is not None:
        kept = donors[donors["kept"]]
        sexes = kept["sex"].fillna("unknown").value_counts().sort_index()
        facts |= {"n_donors": len(kept), "sexes": list(sexes.items())}
        ages = kept["age_years"].dropna()
        if len(ages):
            facts |= {"age_low": ages.min(), "age_median": ages.median(), "age_high": ages.max()}
    types = table_of(files, "cohort/cell_types.tsv", ["cell_type", "n_cells", "kept", "reason"])
    if types is not None:
        facts["n_types"] = int(types["kept"].sum())
        facts["left_out"] = types[~types["kept"]].sort_values("n_cells", ascending=False).to_dict("records")
    facts["n_cells"] = summary_of(files, "qc/qc.json").get("cells", {}).get("kept")
    return facts


def version_rows(paths: Sequence[Path]) -> list[dict]:
    """Every package with its version and the steps that use it; Python first."""
    found: dict[tuple[str, str], set[str]] = {}
    for path in paths:
        content = read_json(path)
        if not content:
            continue
        packages = {"Python": content["python"]} | content["packages"]
        for package in packages.items():
            found.setdefault(package, set()).add(content["step"])
    order = sorted(found, key=lambda package: (package[0] != "Python", package[0].lower(), package[1]))
    return [{"package": name, "version": version, "steps": sorted(found[name, version])} for name, version in order]


def parameter_groups(parameters: Mapping[str, Mapping[str, object]]) -> dict[str, list[dict]]:
    """Parameters by group, each with its value, its default and whether they differ.

    Parameters
    ----------
    parameters
        By name: value, default, group, description.
    """
    groups: dict[str, list[dict]] = {}
    for name, entry in parameters.items():
        differs = changed(entry.get("value"), entry.get("default"))
        row = {
            "name": name,
            "value": shown(entry.get("value")),
            "default": shown(entry.get("default")),
            "changed": differs,
        }
        groups.setdefault(entry.get("group") or "Parameters", []).append(
            row | {"description": entry.get("description") or ""}
        )
    return groups


def reproduce(parameters: Mapping[str, Mapping[str, object]]) -> str:
    """The command that runs this analysis again: the launcher with every parameter that is not at its default."""
    options = []
    for name, entry in parameters.items():
        value = entry.get("value")
        if not changed(value, entry.get("default")):
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        options.append(f"--{name} {shlex.quote(str(value).lower() if isinstance(value, bool) else text)}")
    return " \\\n    ".join(["./nextflow run main.nf -resume", *options])


def unknown_genes(files: Mapping[str, Path], asked: object) -> list[str]:
    """A note on the genes of `report_genes` that the cohort does not hold; none where its genes are not known."""
    table = table_of(files, "embedding/genes.tsv", ["gene_id", "symbol"])
    texts = asked if isinstance(asked, list) else str(asked or "").split(",")
    names = [text.strip() for text in texts if text.strip()]
    if table is None:
        return []
    known = {*table["gene_id"], *table["symbol"]}
    return [f"report_genes: {name} is no gene expressed in this cohort" for name in names if name not in known]


def content_of(
    files: Mapping[str, Path],
    parameters: Mapping[str, Mapping[str, object]],
    versions: Sequence[Path],
    resources: Sequence[Mapping[str, object]],
    *,
    threads: int = 1,
) -> dict:
    """Everything that the template shows; `threads` make its pictures."""
    pictures = embed(files, threads=threads)
    values = {name: entry.get("value") for name, entry in parameters.items()}
    stages = funnel(files)
    sentences, references = methods(values, files)
    qc = summary_of(files, "qc/qc.json")
    cohort_notes = [
        note
        for name in ("cohort/check.json", "qc/qc.json", "embedding/genes.json")
        for note in summary_of(files, name).get("notes", [])
    ]
    sections = cell_type_sections(files, pictures)
    return {
        "dataset": shown(values.get("dataset", "cohort")),
        "term": shown(values.get("test_term", "age")),
        "alpha": ALPHA,
        "cohort": cohort_facts(files),
        "missing": [part for part, path in PARTS if not any(path in name for name in files)],
        "stop_after": values.get("stop_after"),
        "cell_types": sections,
        "explorers": explorers(files, [section["id"] for section in sections], alpha=ALPHA),
        "cell_map": cell_map(files),
        "composition": composition_part(files, pictures),
        "comparison": comparison_part(files, pictures),
        "funnel": stages,
        "breaks": breaks(stages),
        "notes": list(dict.fromkeys([*cohort_notes, *unknown_genes(files, values.get("report_genes"))])),
        "command": reproduce(parameters),
        "qc": qc,
        **qc_content(files),
        "sensitivity": sensitivity_content(files),
        "drawn_sensitivity": in_folder(pictures, "sensitivity/figures"),
        "drawn": {
            "cohort": in_folder(pictures, "cohort/figures", COHORT_FIGURES),
            "qc": in_folder(pictures, "qc/figures", QC_FIGURES),
            "embedding": in_folder(pictures, "embedding/figures", EMBEDDING_FIGURES),
            "pseudobulk": in_folder(pictures, "pseudobulk/figures"),
            "run": in_folder(pictures, "pipeline_info"),
            "immune_age": in_folder(pictures, "immune_age/figures"),
        },
        "immune_age": immune_age(files),
        "clusters": cluster_figures(pictures),
        "methods": sentences,
        "references": references,
        "parameters": parameter_groups(parameters),
        "versions": version_rows(versions),
        "resources": resources,
    }
