"""What the report shows, from the results: every panel by the name that the template knows it by."""

from collections.abc import Mapping, Sequence
from typing import Any

from immune_aging.report.cell_types import cell_type_sections
from immune_aging.report.clocks import published_clocks, seen_ages
from immune_aging.report.cohort import cohort_facts
from immune_aging.report.comparison import comparison_part, composition_part
from immune_aging.report.formats import shown
from immune_aging.report.funnel import breaks, funnel
from immune_aging.report.immune_age import immune_age
from immune_aging.report.interactive import cell_map, explorers
from immune_aging.report.methods import methods
from immune_aging.report.notes import cohort_notes, missing_parts
from immune_aging.report.other_cohorts import other_cohorts
from immune_aging.report.parameters import Parameters, parameter_groups, reproduce
from immune_aging.report.pictures import Picture, embed, in_folder
from immune_aging.report.quality_control import qc_content
from immune_aging.report.question import facts_left_out, question_of
from immune_aging.report.sensitivity import sensitivity_content
from immune_aging.report.versions import version_rows
from immune_aging.results import Results
from immune_aging.statistics.multiple_testing import ALPHA

# The folder of each section's figures, and those that come first in it.
FIGURES = {
    "cohort": ("cohort/figures", ("cells_per_donor", "age_sex", "cell_types")),
    "qc": ("qc/figures", ("violins", "counts_and_genes", "cells_lost")),
    "embedding": (
        "embedding/figures",
        (
            "umap_cell_type",
            "umap_donor",
            "umap_age",
            "umap_sex",
            "umap_counts",
            "umap_doublet_score",
            "pca_cell_type",
            "mixing",
        ),
    ),
    "pseudobulk": ("pseudobulk/figures", ()),
    "run": ("pipeline_info", ()),
    "immune_age": ("immune_age/figures", ()),
}


def cluster_figures(resolutions: Sequence[str], pictures: Mapping[str, Picture]) -> list[Picture]:
    """The figures of all resolutions, in their order."""
    return [
        picture
        for resolution in resolutions
        for picture in in_folder(pictures, f"clusters/resolution-{resolution}/figures")
    ]


def content_of(
    results: Results,
    parameters: Parameters,
    versions: Sequence[Mapping[str, Any]],
    resources: Sequence[Mapping[str, object]],
    *,
    taken: Sequence[str] = (),
    threads: int = 1,
) -> dict[str, Any]:
    """Everything that the template shows.

    Parameters
    ----------
    versions
        What each step said of its versions.
    resources
        Rows of the table of time and memory.
    taken
        What was taken from an earlier run's results, a sentence each.
    threads
        That make the pictures.
    """
    pictures = embed(results, threads=threads)
    values = {name: entry.get("value") for name, entry in parameters.items()}
    stages = funnel(results)
    sections = cell_type_sections(results, pictures)
    composition = composition_part(results, pictures)
    question = question_of([*(section["de"] for section in sections), composition["summary"]], values)
    sentences, references = methods(values, list(results))
    return {
        "dataset": shown(values.get("dataset", "cohort")),
        "question": question,
        "alpha": ALPHA,
        "cohort": cohort_facts(results),
        "missing": missing_parts(results, has_ages=question.has_ages),
        "stop_after": values.get("stop_after"),
        "skip_embedding": str(values.get("skip_embedding")).lower() == "true",
        "cell_types": sections,
        "explorers": explorers(results, [section["id"] for section in sections], alpha=ALPHA),
        "cell_map": cell_map(results, left_out=facts_left_out(values)),
        "composition": composition,
        "comparison": comparison_part(results, pictures),
        "cohorts": other_cohorts(results, pictures),
        "funnel": stages,
        "breaks": breaks(stages),
        "notes": [*taken, *cohort_notes(results, values.get("report_genes")), *seen_ages(results)],
        "command": reproduce(parameters),
        "qc": results.summary("qc/qc.json"),
        **qc_content(results),
        "sensitivity": sensitivity_content(results),
        "drawn_sensitivity": in_folder(pictures, "sensitivity/figures"),
        "drawn": {section: in_folder(pictures, folder, first) for section, (folder, first) in FIGURES.items()},
        "immune_age": immune_age(results),
        "published_clocks": published_clocks(results),
        "clusters": cluster_figures(results.resolutions, pictures),
        "methods": sentences,
        "references": references,
        "parameters": parameter_groups(parameters),
        "versions": version_rows(versions),
        "resources": resources,
    }
