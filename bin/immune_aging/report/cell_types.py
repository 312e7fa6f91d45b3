"""What the report says of each cell type: its genes, gene sets and predictions, and what could not be computed."""

import math
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import pandas as pd

from immune_aging.figures.gene_sets import set_name
from immune_aging.report.formats import NOT_AVAILABLE, floored, shown
from immune_aging.report.pictures import Picture, in_folder
from immune_aging.results import Results
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.statistics.running_sums import surest_first, top_sets
from immune_aging.task.checkpoints import slug
from immune_aging.task.listing import first_of

N_TOP_GENES = 20
N_TOP_SETS = 3  # of either direction, in the table of findings
N_LISTED_SETS = 15
N_LISTED_DIFFERENCES = 12  # genes, between levels or from a line
N_LISTED_GENES = 6  # of a gene set
FIGURES = ("volcano", "ma", "difference", "curves", "genes", "gsea", "running_sums", "ora", "prediction", "sweep")
STEPS = {"de": "Differential expression", "gsea": "Gene set enrichment", "ora": "Over-representation"}
GSEA_COLUMNS = (
    "gene_set", "nes", "direction", "p_value", "q_value", "p_value_preranked", "q_value_preranked", "leading_edge",
)  # fmt: skip
NOT_RUN = {"status": "", "reason": ""}


def surest_sets(gsea: pd.DataFrame | None) -> dict[str, list[str]]:
    """Names of the gene sets that go up and down most surely, of those with q under `ALPHA`."""
    if gsea is None:
        return {"up": [], "down": []}
    top = top_sets(gsea[gsea["q_value"] < ALPHA], N_TOP_SETS)
    names = top["gene_set"].map(set_name)
    return {way: names[top["direction"] == way].tolist() for way in ("up", "down")}


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


def gene_rows(results: Results, folder: str) -> list[dict]:
    """The genes of smallest p of a cell type."""
    table = results.table(f"{folder}/de.tsv", ["gene_id", "symbol", "p_value", "padj"])
    return [] if table is None else table.head(N_TOP_GENES).to_dict("records")


def level_rows(results: Results, folder: str) -> list[dict]:
    """The genes whose effects differ most surely between the levels of --by_column, with the effect in each level."""
    facts = results.summary(f"{folder}/de_summary.json").get("by_column") or {}
    if facts.get("status") != "done":
        return []
    table = results.table(f"{folder}/de_by_{slug(facts['column'])}.tsv", ["gene_id", "level", "difference_p_value"])
    if table is None:
        return []
    rows = []
    for gene in table["gene_id"].unique()[:N_LISTED_DIFFERENCES]:
        own = table[table["gene_id"] == gene]
        effects = dict(zip(own["level"].astype(str), own["log2_fold_change"], strict=True))
        rows.append(own.iloc[0].to_dict() | {"effects": effects})
    return rows


def curve_rows(results: Results, folder: str) -> list[dict]:
    """The genes that surely do not change in a line, with the shape of their curves."""
    table = results.table(f"{folder}/de_curve.tsv", ["gene_id", "padj", "p_nonlinear", "padj_nonlinear"])
    if table is None:
        return []
    bent = table[(table["padj"] < ALPHA) & (table["padj_nonlinear"] < ALPHA)]
    return bent.sort_values(["p_nonlinear", "gene_id"], kind="stable").head(N_LISTED_DIFFERENCES).to_dict("records")


def few(genes: str | float) -> str:
    """The first of some genes, joined by semicolons in a table, and how many more there are."""
    return first_of(genes.split(";") if isinstance(genes, str) else [], N_LISTED_GENES)


def gsea_rows(results: Results, folder: str) -> list[dict]:
    """The surest gene sets of a cell type, their leading edges cut to a few genes; a q at its floor is shown as one."""
    table = results.table(f"{folder}/gsea.tsv", GSEA_COLUMNS)
    if table is None:
        return []
    rows = surest_first(table).head(N_LISTED_SETS)
    floor = results.summary(f"{folder}/gsea_summary.json").get("preranked_floor")
    return rows.assign(
        direction=rows["direction"].fillna(NOT_AVAILABLE),
        shown_genes=rows["leading_edge"].map(few),
        shown_preranked=[floored(value, floor) for value in rows["q_value_preranked"]],
    ).to_dict("records")


def ora_rows(results: Results, name: str) -> list[dict]:
    """The gene sets of smallest p of a table of over-representation, their genes cut to a few."""
    table = results.table(name, ["gene_set", "p_value", "genes"])
    if table is None:
        return []
    rows = table.sort_values(["p_value", "gene_set"], kind="stable").head(N_LISTED_SETS)
    return rows.assign(shown_genes=rows["genes"].map(few)).to_dict("records")


def notes_of(results: Results, folder: str) -> tuple[list[str], list[str]]:
    """What of a cell type could not be computed, and what its reader must know."""
    skipped, notes = [], []
    for step, name in STEPS.items():
        summary = results.summary(f"{folder}/{step}_summary.json")
        if summary.get("status") == "skipped":
            skipped.append(f"{name}: {summary['reason']}")
        notes += summary.get("warnings", []) + summary.get("notes", [])
        for question, name in {"by_column": "Effects by level", "age_spline": "Curves of age"}.items():
            facts = summary.get(question) or {}
            if facts.get("status") == "skipped":
                skipped.append(f"{name}: {facts['reason']}")
    for name in results.under(f"{folder}/prediction"):
        if name.endswith("/predict_age_summary.json"):
            summary = results.summary(name)
            if summary.get("status") == "skipped":
                fit = f"{summary['model']}, alpha {shown(summary['alpha'])}"
                skipped.append(f"Age prediction, {fit}: {summary['reason']}")
    return skipped, list(dict.fromkeys(notes))


def failed_steps(names: Iterable[str], identifier: str) -> list[str]:
    """What other cell types have and this one lacks: a step of it crashed, was killed, or had nothing to go on from.

    Parameters
    ----------
    names
        Paths of all results.
    identifier
        Id of the cell type.
    """
    found: dict[str, set[str]] = {}
    for name in names:
        if name.startswith("cell_types/") and name.endswith("_summary.json"):
            _, owner, step = name.split("/", 2)
            found.setdefault(step, set()).add(owner)
    missing = [step for step, owners in sorted(found.items()) if identifier not in owners]
    why = "no result, because this step or one before it failed; see pipeline_info/trace.tsv"

    def step_name(step: str) -> str:
        fit = f"Age prediction, {step.split('/')[-2]}" if "/" in step else step
        return STEPS.get(step.removesuffix("_summary.json"), fit)

    return [f"{step_name(step)}: {why}" for step in missing]


def cell_type_section(
    results: Results,
    row: Mapping[str, object],
    *,
    samples: pd.DataFrame | None,
    predictions: pd.DataFrame | None,
    pictures: Mapping[str, Picture],
) -> dict:
    """All that is shown of one cell type.

    Parameters
    ----------
    row
        Of cell_types.tsv.
    samples, predictions
        samples.tsv and prediction_summary.tsv; None where they were not made.
    """
    identifier, folder = str(row["id"]), f"cell_types/{row['id']}"
    used = None if samples is None else samples[(samples["cell_type"] == row["cell_type"]) & samples["kept"]]
    skipped, notes = notes_of(results, folder)
    if used is None or len(used):
        skipped = skipped + failed_steps(results, identifier)
    own = results.under(folder)
    return {
        "id": identifier,
        "name": row["cell_type"],
        "donors": row["n_samples"] if used is None else len(used),
        "cells": row["n_cells"] if used is None else used["n_cells"].sum(min_count=1),
        "de": NOT_RUN | results.summary(f"{folder}/de_summary.json"),
        "sets": surest_sets(results.table(f"{folder}/gsea.tsv", GSEA_COLUMNS)),
        "gsea": NOT_RUN | results.summary(f"{folder}/gsea_summary.json"),
        "best": best_prediction(predictions, identifier),
        "genes": gene_rows(results, folder),
        "by_level": level_rows(results, folder),
        "curve_rows": curve_rows(results, folder),
        "gsea_rows": gsea_rows(results, folder),
        "ora_rows": {way: ora_rows(results, f"{folder}/ora_{way}.tsv") for way in ("up", "down")},
        "sweep": [] if predictions is None else predictions[predictions["id"] == identifier].to_dict("records"),
        "figures": in_folder(pictures, f"{folder}/figures", FIGURES),
        "files": [name for name in own if name.endswith(".tsv") and PurePosixPath(name).parent.as_posix() == folder],
        "skipped": skipped,
        "notes": notes,
        "ran": bool(own),
    }


def cell_type_sections(results: Results, pictures: Mapping[str, Picture]) -> list[dict]:
    """All that is shown of each kept cell type, the one with most cells first."""
    types = results.table("cohort/cell_types.tsv", ["id", "cell_type", "n_cells", "kept"])
    if types is None:
        return []
    order = types[types["kept"]].sort_values(["n_cells", "cell_type"], ascending=[False, True])
    samples = results.table("pseudobulk/samples.tsv", ["cell_type", "n_cells", "kept"])
    predictions = results.table("prediction_summary.tsv", ["id", "model", "alpha", "mae"])
    return [
        cell_type_section(results, row, samples=samples, predictions=predictions, pictures=pictures)
        for row in order.to_dict("records")
    ]
