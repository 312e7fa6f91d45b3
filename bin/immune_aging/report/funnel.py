"""The funnel: how many donors, cells, cell types and genes went into each step, what it left out and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from immune_aging.results import Results

# What goes into each cell type's test: cell types stand side by side, so one's numbers do not follow another's.
TESTED = ("samples tested", "genes tested")


@dataclass(frozen=True)
class Stage:
    """One step's count of one kind of thing.

    Attributes
    ----------
    unit
        What is counted, in the plural.
    step
        What was done.
    n_in, n_out
        How many went in and how many are left.
    losses
        Reason and number of those left out.
    """

    unit: str
    step: str
    n_in: int
    n_out: int
    losses: tuple[tuple[str, int], ...]

    @property
    def adds_up(self) -> bool:
        """Whether those left and those lost are all that went in."""
        return self.n_in == self.n_out + sum(n for _, n in self.losses)


def _stage(unit: str, step: str, counts: Mapping[str, Any] | None) -> list[Stage]:
    """A stage from a summary's {"input": n, "lost": {reason: n}, "kept": n}."""
    if not counts:
        return []
    losses = tuple(
        (reason, int(n)) for reason, n in sorted(counts["lost"].items(), key=lambda item: (-item[1], item[0])) if n
    )
    return [Stage(unit, step, int(counts["input"]), int(counts["kept"]), losses)]


def _by_reason(unit: str, step: str, reasons: pd.Series, weights: pd.Series | None = None) -> Stage:
    """A stage from one row per thing, or per `weights` things, with its reason to go, '' if it stays."""
    reasons = reasons.fillna("")
    weights = pd.Series(1, index=reasons.index) if weights is None else weights
    sums = weights.groupby(reasons).sum().astype(int)
    losses = sorted(
        ((reason, int(n)) for reason, n in sums.items() if reason and n), key=lambda item: (-item[1], item[0])
    )
    return Stage(unit, step, int(weights.sum()), int(sums.get("", 0)), tuple(losses))


def _sample_stages(samples: pd.DataFrame | None) -> list[Stage]:
    """What the sample sizes leave of samples, of their cells, and of donors."""
    if samples is None:
        return []
    stages = [_by_reason("samples (donor x cell type)", "Pseudobulk", samples["reason"])]
    if samples["n_cells"].notna().all():
        stages.append(_by_reason("cells", "Pseudobulk", samples["reason"], samples["n_cells"]))
    used = samples.groupby("donor_id")["kept"].any()
    reasons = pd.Series(["" if kept else "no sample is used" for kept in used], index=used.index)
    return [*stages, _by_reason("donors", "Pseudobulk", reasons)]


def _cell_type_stages(results: Results, types: pd.DataFrame | None) -> list[Stage]:
    """What the number of samples leaves of the cell types, and what could be tested of them."""
    stages: list[Stage] = []
    if types is None:
        return stages
    n_filtered = results.summary("cohort/filtering.json").get("cell_types", {}).get("kept")
    kept = types[types["kept"]]
    n_in = len(types) if n_filtered is None else int(n_filtered)
    lost = n_in - len(kept)
    stages.append(Stage("cell types", "Enough samples", n_in, len(kept), (("too few samples", lost),) if lost else ()))
    summaries = {row.id: results.summary(f"cell_types/{row.id}/de_summary.json") for row in kept.itertuples()}
    if any(summaries.values()):
        reasons = pd.Series(
            [
                ""
                if summary.get("status") == "done"
                else summary.get("reason") or "no result of differential expression"
                for summary in summaries.values()
            ]
        )
        stages.append(_by_reason("cell types", "Differential expression", reasons))
    return stages


def _tested_stages(results: Results, types: pd.DataFrame | None) -> list[Stage]:
    """Samples and genes that went into each cell type's test of differential expression, where one was made."""
    stages: list[Stage] = []
    for row in () if types is None else types[types["kept"]].itertuples():
        summary = results.summary(f"cell_types/{row.id}/de_summary.json")
        if summary.get("status") != "done":
            continue
        n_in, n_out = summary["n_samples_in"], summary["n_samples"]
        outliers, empty = (len(summary.get(f"{kind}_samples", ())) for kind in ("outlier", "empty"))
        # The step names the outliers and the empty ones; all else that it leaves out lacks a value of the design.
        losses = (
            ("outlier", outliers),
            ("no counts in the tested genes", empty),
            ("no value for a column of the design", n_in - n_out - outliers - empty),
        )
        stages.append(Stage("samples tested", row.cell_type, n_in, n_out, tuple(loss for loss in losses if loss[1])))
        low = (("too few counts", summary["n_low_count"]),) if summary["n_low_count"] else ()
        stages.append(Stage("genes tested", row.cell_type, summary["n_genes_in"], summary["n_tested"], low))
    return stages


def funnel(results: Results) -> dict[str, list[Stage]]:
    """Stages of the run by what is counted, in the order of the steps; parts that were not run have none."""
    filtering = results.summary("cohort/filtering.json")
    genes = results.table("embedding/genes.tsv", ["reason"])
    types = results.table("cohort/cell_types.tsv", ["id", "cell_type", "kept", "reason"])
    stages = [
        *_stage("donors", "Cohort filter", filtering.get("donors")),
        *_stage("samples of donors", "Cohort filter", filtering.get("samples")),
        *_stage("cells", "Cohort filter", filtering.get("cells")),
        *_stage("cell types", "Cohort filter", filtering.get("cell_types")),
        *_stage("genes", "Expressed genes", results.summary("cohort/genes.json").get("genes")),
        *_stage("cells", "Quality control", results.summary("qc/qc.json").get("cells")),
        *([] if genes is None else [_by_reason("genes", "Genes for the embedding", genes["reason"])]),
        *_sample_stages(results.table("pseudobulk/samples.tsv", ["donor_id", "n_cells", "kept", "reason"])),
        *_cell_type_stages(results, types),
        *_tested_stages(results, types),
    ]
    by_unit: dict[str, list[Stage]] = {
        unit: []
        for unit in (
            "donors",
            "samples of donors",
            "cells",
            "cell types",
            "genes",
            "samples (donor x cell type)",
            *TESTED,
        )
    }
    for stage in stages:
        by_unit[stage.unit].append(stage)
    return {unit: found for unit, found in by_unit.items() if found}


def breaks(stages: Mapping[str, list[Stage]]) -> list[str]:
    """Where the numbers do not add up, within a stage or from one to the next; empty as it should be."""
    found = []
    for unit, chain in stages.items():
        found += [
            f"{unit}, {stage.step}: {stage.n_in:,} in, but {stage.n_out:,} left and losses do not sum to it"
            for stage in chain
            if not stage.adds_up
        ]
        found += [
            f"{unit}: {before.n_out:,} left after {before.step}, but {after.n_in:,} went into {after.step}"
            for before, after in (() if unit in TESTED else pairwise(chain))
            if before.n_out != after.n_in
        ]
    expressed = {stage.step: stage.n_out for stage in stages.get("genes", [])}.get("Expressed genes")
    found += [
        f"genes: {expressed:,} left after Expressed genes, but {stage.n_in:,} went into the test of {stage.step}"
        for stage in stages.get("genes tested", [])
        if expressed is not None and stage.n_in != expressed
    ]
    return found
