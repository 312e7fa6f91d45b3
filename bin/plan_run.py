#!/usr/bin/env python3
"""Check, before anything long runs, that the run can do what it was asked for, and plan it.

In: the cohort's h5ad (or a pseudobulk table) and the parameters that name its columns, filters and designs. Out:
`plan.json`: cells, donors, cell types, shards that are expected; with all parameters given (`--params`) tasks, time,
memory and disk as well, and the text that `--check_only` prints. Everything that is wrong is said at once. Only
metadata and a sample of the counts are read, so that a cohort of 10 GB takes seconds.
"""

import argparse
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from batches import AUTO, NONE, find_column
from check_cohort import NO_SYMBOLS, Cohort, add_column_options, cell_table, columns_of, examine
from checkpoints import VARYING, read_json, write_json, write_versions
from cohort_file import MAX_LISTED, nearest, open_cohort, read_table, symbols_of, values_of
from command_line import BadInput, available_cores, list_of, run
from designs import build_design
from filter_cohort import Chosen, choose, plan_shards
from gene_sets import measured_sets, read_gmt
from skipped import CannotFit

PARTS = ("qc", "embedding", "clusters", "pseudobulk", "statistics")
# CPU seconds measured at 1.27 million cells, 1.5 billion counts, 982 donors, 6 cell types (docs/benchmarks.md), without
# the start of each task.
READING_PER_BILLION = 55.0  # read, check, filter, split
QC_PER_MILLION = 100.0
GENES_PER_MILLION = 25.0  # ranks, selection, normalised counts
COMPONENTS_PER_MILLION = 45.0  # PCA, Harmony
NEIGHBOURS_PER_MILLION = 230.0
LAYOUT_PER_MILLION = 72.0
CLUSTERS_PER_MILLION = 70.0  # a resolution
SUMS_PER_MILLION = 25.0
TESTS_PER_SAMPLE = 0.028  # of a cell type
FIT_PER_SAMPLE = 0.0125  # of a cell type, model and penalty
START = 1.0  # of a task: Python and its libraries
# Memory of the largest task and bytes on disk, from the same run.
LARGEST_TASK_GB, LARGEST_TASK_GB_PER_MILLION = 1.0, 4.7
DISK_PER_COUNT, RESULTS_PER_COUNT = 3.0, 0.5  # of work/, of what is copied from there
EXPORT_PER_COUNT, LAYER_PER_COUNT = 2.75, 2.35  # raw counts, the layer log1p


def reaches(stop_after: str, part: str) -> bool:
    """Whether a run that ends after `stop_after` ('' for the whole) comes to `part`."""
    return not stop_after or PARTS.index(part) <= PARTS.index(stop_after)


def column_problem(donors: pd.DataFrame, column: str, parameter: str) -> str:
    """Why a donor column that a parameter names cannot be used; '' where it can."""
    if column in donors:
        return ""
    listed = donors[VARYING].astype(str).str.contains(f'"{column}"', regex=False) if VARYING in donors else []
    if np.any(listed):
        donor = donors.loc[listed, "donor_id"].iloc[0]
        return f"--{parameter} {column}: varies within donor '{donor}'; give each donor one value"
    return f"--{parameter} {column}: is no donor column, {nearest(column, [one for one in donors if one != VARYING])}"


def design_problems(
    donors: pd.DataFrame, designs: Sequence[str], *, test_term: str, contrast: str, min_samples: int
) -> tuple[list[str], list[str]]:
    """What is wrong with design formulas for these donors, and what will be changed in the first of them."""
    problems, notes = [], []
    for i, formula in enumerate(designs):
        try:
            design = build_design(
                donors, formula=formula, test_term=test_term, contrast=contrast, min_samples=min_samples
            )
            notes += design.notes if i == 0 else []
        except BadInput as error:
            problems.append(str(error))
        except CannotFit as error:
            problems.append(f"--design '{formula}': no cell type can be tested: {error}")
    return problems, notes


def donor_problems(donors: pd.DataFrame, *, n_all: int, min_samples: int, age_column: str) -> list[str]:
    """Why the statistics cannot be done with the donors that the cohort filter leaves of `n_all`."""
    if len(donors) < min_samples:
        return [
            f"{len(donors)} of {n_all} donors are left by the cohort filter, but a cell type needs "
            f"{min_samples} samples; give more donors, lower --min_samples_per_type, or end before with --stop_after"
        ]
    ages = donors["age_years"]
    if ages.nunique() < 2:
        return [f"--age_column {age_column}: all {len(donors)} donors are {ages.iloc[0]:g} years old; ages must differ"]
    return []


def gene_set_problem(path: Path, symbols: np.ndarray, *, min_size: int, max_size: int) -> tuple[str, str]:
    """What is wrong with the gene sets for these genes, and what is to be noted of them; '' for nothing."""
    try:
        sets = read_gmt(path)
    except BadInput as error:
        return f"--gene_sets {error}", ""
    known = sorted(set(symbols) - {""})
    if not known:
        return "", ""
    example = next(iter(sets.values()))[0]
    if not measured_sets(sets, known, min_size=1, max_size=len(known)):
        return (
            f"--gene_sets {path.name}: none of its genes ('{example}', ...) is among the cohort's {len(known)} symbols "
            f"('{known[0]}', ...); give gene sets of the same kind of names",
            "",
        )
    n_sets = len(measured_sets(sets, known, min_size=min_size, max_size=max_size))
    return "", "" if n_sets else f"no gene set has {min_size} to {max_size} genes in the cohort: none is tested"


def batch_problem(donors: pd.DataFrame, column: str) -> str:
    """Why Harmony cannot take out the effect of a donor column; '' where it can."""
    if column in ("donor_id", "cell_type"):
        return ""
    problem = column_problem(donors, column, "batch_column")
    if problem or donors[column].notna().all():
        return problem
    donor = donors.loc[donors[column].isna(), "donor_id"].iloc[0]
    return f"--batch_column {column}: has no value for donor '{donor}'; fill it in or name another column"


def run_problems(
    donors: pd.DataFrame, args: argparse.Namespace, *, n_all: int, names_only: bool
) -> tuple[list[str], list[str]]:
    """What is wrong with the parameters that name donor columns, for the donors that are left, and notes.

    Parameters
    ----------
    names_only
        Something else is wrong with the donors: only look for columns that are not there.
    """
    problems, notes = [], []
    if args.cohort and args.mad_group:
        problems.append(column_problem(donors, args.mad_group, "mad_group"))
    if args.cohort and args.doublet_rate_column:
        problems.append(column_problem(donors, args.doublet_rate_column, "doublet_rate_column"))
    if args.cohort and reaches(args.stop_after, "embedding"):
        problems.append(batch_problem(donors, args.batch_column))
    if reaches(args.stop_after, "statistics"):
        if not names_only:
            few = donor_problems(donors, n_all=n_all, min_samples=args.min_samples_per_type, age_column=args.age_column)
            problems += few
            names_only = bool(few)  # with few donors, or donors of one age, every design fails for that reason
        if args.pool_column not in (AUTO, NONE):
            try:
                find_column(donors, args.pool_column)
            except BadInput as error:
                problems.append(str(error))
        found, notes = design_problems(
            donors,
            args.designs,
            test_term=args.test_term,
            contrast=args.contrast,
            min_samples=args.min_samples_per_type,
        )
        problems += [one for one in found if not names_only or "is no donor column" in one or "not a formula" in one]
        problems += [column_problem(donors, column, "acceleration_columns") for column in args.acceleration_columns]
    return [problem for problem in problems if problem], notes


def list_value(parameters: dict, name: str) -> list[str]:
    """The elements of a list parameter, whichever way it was given."""
    value = parameters[name]["value"]
    value = value if isinstance(value, list) else str(value or "").split(",")
    return [str(element).strip() for element in value if str(element).strip()]


def prediction_fits(parameters: dict) -> int:
    """How many models and penalties each cell type is given."""
    own = {"elastic_net": "elastic_net_alphas", "linear_svr": "svr_alphas"}
    n_fits = 0
    for model in sorted(set(list_value(parameters, "prediction_models"))):
        alphas = list_value(parameters, own.get(model, "ridge_alphas")) or list_value(parameters, "ridge_alphas")
        n_fits += len(set(map(float, alphas))) + bool(parameters["nested_alphas"]["value"])
    return n_fits


def costs(plan: dict, parameters: dict, *, stop_after: str, cores: int) -> dict:
    """Tasks, minutes, memory and disk of a run, from what was measured on a cohort of a million cells.

    Parameters
    ----------
    plan
        n_cells, n_counts (stored), n_samples (of all cell types), n_types, n_shards; cells are 0 for a table.
    """
    shards, types, samples = plan["n_shards"], plan["n_types"], plan["n_samples"]
    million, billion = plan["n_cells_kept"] / 1e6, plan["n_counts"] / 1e9
    embedding = bool(million) and reaches(stop_after, "embedding")
    n_resolutions = len(set(map(float, list_value(parameters, "leiden_resolutions"))))
    n_resolutions *= bool(million) and reaches(stop_after, "clusters")
    sums = bool(million) and reaches(stop_after, "pseudobulk")
    statistics = reaches(stop_after, "statistics")
    fits = prediction_fits(parameters) * statistics
    variants = [text.partition(":")[2] or text for text in list_value(parameters, "sensitivity")] * statistics
    on_cells = sum(any(not one.strip().startswith("design") for one in text.split("&")) for text in variants)
    value = {name: entry["value"] for name, entry in parameters.items()}
    own_thresholds = value["qc_thresholds"] == "mad" or value["doublet_rate_per_1000"] or value["doublet_rate_column"]

    tasks = 2 + 2  # the plan and what reads the input; the graph and the report
    if million:
        tasks += 3 + 3 + shards + bool(own_thresholds) + bool(value["simulate"])
        tasks += (2 * shards + 6) * embedding + n_resolutions + (shards + 1) * sums
        tasks += bool(value["export_h5ad"]) + bool(value["published_clocks"] and statistics)
    tasks += reaches(stop_after, "pseudobulk")
    if statistics:
        tasks += 5 + bool(value["nested_alphas"]) + types * (4 + fits)
        tasks += bool(variants) + len(variants) * types + on_cells * (2 + shards)

    serial = READING_PER_BILLION * billion
    serial += embedding * (COMPONENTS_PER_MILLION + LAYOUT_PER_MILLION) * million
    parallel = QC_PER_MILLION * million + embedding * (GENES_PER_MILLION + NEIGHBOURS_PER_MILLION) * million
    parallel += n_resolutions * CLUSTERS_PER_MILLION * million + sums * SUMS_PER_MILLION * million
    parallel += statistics * (1 + len(variants)) * TESTS_PER_SAMPLE * samples + fits * FIT_PER_SAMPLE * samples
    parallel += START * tasks
    export = value["export_h5ad"] and EXPORT_PER_COUNT + bool(value["export_normalized"]) * LAYER_PER_COUNT
    disk = DISK_PER_COUNT + export + (value["publish_mode"] == "copy") * (RESULTS_PER_COUNT + export)
    return {
        "tasks": int(tasks),
        "cores": cores,
        "minutes": max(1, math.ceil((serial + parallel / cores) / 60)),
        "largest_task_gb": round(LARGEST_TASK_GB + LARGEST_TASK_GB_PER_MILLION * million, 1),
        "disk_gb": round(0.05 + disk * billion, 1),
        "free_disk_gb": round(shutil.disk_usage(".").free / 1e9, 1),
    }


def text_of(plan: dict) -> list[str]:
    """The plan as lines for a person."""
    counted = f"{plan['n_donors']} donors, {plan['n_cell_types']} cell types."
    if plan["n_cells"]:
        lines = [
            f"The cohort can be analysed: {plan['n_cells']} cells and {plan['n_genes']} genes (counts in "
            f"{plan['counts_layer']}), {counted}",
            f"Kept by the cohort filter: {plan['n_cells_kept']} cells of {plan['n_donors_kept']} donors, in "
            f"{plan['n_shards']} shards.",
        ]
    else:
        lines = [f"The table can be analysed: {plan['n_samples']} samples, {plan['n_genes']} genes, {counted}"]
    names = plan["cell_types"][:MAX_LISTED]
    more = plan["n_types"] - len(names)
    lines.append(
        f"Cell types expected: {plan['n_types']} ({', '.join(names)}{f' and {more} more' if more > 0 else ''}), "
        f"{plan['n_samples']} samples at most."
    )
    if cost := plan.get("costs"):
        time = "a minute" if cost["minutes"] <= 1 else f"{cost['minutes']} minutes"
        on = "one core" if cost["cores"] == 1 else f"{cost['cores']} cores"
        lines += [
            f"Tasks: about {cost['tasks']}. Time: about {time} on {on}. Memory of "
            f"the largest task: about {cost['largest_task_gb']} GB. Disk: about {cost['disk_gb']} GB "
            f"({cost['free_disk_gb']} GB are free)."
        ]
    return lines + [f"Note: {note}." for note in plan["notes"]]


def notes_of(cohort: Cohort, chosen: Chosen) -> list[str]:
    """What a person should know of a cohort that is not wrong."""
    notes = [] if (symbols_of(cohort.var) != "").any() else [NO_SYMBOLS]
    unknown = cohort.donors[cohort.donors["age_years"].isna()]
    if len(unknown):
        texts = ", ".join(repr(str(text)) for text in unknown["age_text"].fillna("no value").unique()[:3])
        notes.append(f"{len(unknown)} of {len(cohort.donors)} donors have no known age ({texts}) and are left out")
    unlabelled = int((chosen.cells != "").sum())
    if unlabelled:
        notes.append(f"{unlabelled} cells have no donor or no cell type and are left out")
    return notes


def plan_cohort(args: argparse.Namespace) -> dict:
    """The plan for a cohort of cells.

    Raises
    ------
    BadInput
        With everything that is wrong with the cohort and with the parameters for it.
    """
    source, columns = args.cohort.resolve(), columns_of(args)
    cohort, problems = examine(source, columns=columns, counts_layer=args.counts_layer)
    symbols = symbols_of(cohort.var)
    notes, chosen = [], None
    donors = pd.DataFrame() if cohort.donors is None else cohort.donors
    if len(donors) and columns["cell_type"] in cohort.obs and donors["age_years"].notna().any():
        cells = cell_table(cohort, columns)
        try:
            chosen = choose(
                cells,
                donors,
                donor_percentile=args.donor_percentile,
                min_cells=args.min_cells_per_type,
                min_fraction=args.min_donor_fraction,
            )
        except BadInput as error:
            problems.append(str(error).removeprefix("cohort: "))
    if len(donors):
        if chosen:
            donors = donors[(chosen.donors == "").to_numpy()].reset_index(drop=True)
        found, notes = run_problems(donors, args, n_all=len(cohort.donors), names_only=bool(problems))
        problems += found
    if args.gene_sets and reaches(args.stop_after, "statistics"):
        problem, note = gene_set_problem(
            args.gene_sets, symbols, min_size=args.gene_set_min_size, max_size=args.gene_set_max_size
        )
        problems += [problem] if problem else []
        notes += [note] if note else []
    table = chosen.table.loc[donors["donor_id"], chosen.types] if chosen else pd.DataFrame()
    samples = (table >= args.min_cells_per_sample).sum()
    types = samples.index[samples >= args.min_samples_per_type]
    if chosen and not problems and not len(types) and reaches(args.stop_after, "statistics"):
        problems.append(
            f"no cell type has {args.min_cells_per_sample} cells in {args.min_samples_per_type} donors (the most is "
            f"{samples.max()} donors of '{samples.idxmax()}'); lower --min_cells_per_sample or --min_samples_per_type"
        )
    if problems:
        raise BadInput(f"{source}: " + " | ".join(problems))
    notes = notes_of(cohort, chosen) + notes
    n_cells = table.sum(axis=1)
    with open_cohort(source) as file:
        n_values = values_of(file, cohort.counts).size
    return {
        "counts_layer": cohort.layer,
        "n_cells": cohort.counts.n_cells,
        "n_genes": cohort.counts.n_genes,
        "n_counts": n_values,
        "n_donors": len(cohort.donors),
        "n_cell_types": int(cells["cell_type"].nunique()),
        "n_cells_kept": int(n_cells.sum()),
        "n_donors_kept": len(donors),
        "n_shards": int(plan_shards(n_cells, cells_per_shard=args.cells_per_shard).max()) + 1,
        "cell_types": sorted(types),
        "n_types": len(types),
        "n_samples": int(samples[types].sum()),
        "notes": notes,
    }


def plan_table(args: argparse.Namespace) -> dict:
    """The plan for a pseudobulk table that CHECK_PSEUDOBULK brought into our form; raises as `plan_cohort`."""
    with open_cohort(args.samples) as file:
        samples, var = read_table(file, "obs"), read_table(file, "var")
    donors = samples.drop_duplicates("donor_id").reset_index(drop=True)
    problems, notes = run_problems(donors, args, n_all=len(donors), names_only=False)
    if args.gene_sets:
        problem, note = gene_set_problem(
            args.gene_sets, symbols_of(var), min_size=args.gene_set_min_size, max_size=args.gene_set_max_size
        )
        problems += [problem] if problem else []
        notes += [note] if note else []
    if problems:
        raise BadInput("--pseudobulk: " + " | ".join(problems))
    usable = samples[~(samples["n_cells"] < args.min_cells_per_sample)]
    n_samples = usable.groupby("cell_type", observed=True).size()
    types = n_samples.index[n_samples >= args.min_samples_per_type]
    return {
        "counts_layer": "X",
        "n_cells": 0,
        "n_genes": len(var),
        "n_counts": 0,
        "n_donors": len(donors),
        "n_cell_types": int(samples["cell_type"].nunique()),
        "n_cells_kept": 0,
        "n_donors_kept": len(donors),
        "n_shards": 0,
        "cell_types": sorted(map(str, types)),
        "n_types": len(types),
        "n_samples": int(n_samples[types].sum()),
        "notes": notes,
    }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cohort", type=Path, help="h5ad of cells")
    source.add_argument("--samples", type=Path, help="pseudobulk.h5ad of CHECK_PSEUDOBULK")
    add_column_options(parser)
    parser.add_argument("--donor-percentile", type=float, default=1.0)
    parser.add_argument("--min-cells-per-type", type=int, default=10)
    parser.add_argument("--min-donor-fraction", type=float, default=0.95)
    parser.add_argument("--cells-per-shard", type=int, default=50_000)
    parser.add_argument("--stop-after", choices=("", *PARTS[:-1]), default="")
    parser.add_argument("--mad-group", default="", help="donor column; '' where it is not used")
    parser.add_argument("--doublet-rate-column", default="")
    parser.add_argument("--batch-column", default="donor_id")
    parser.add_argument("--min-cells-per-sample", type=int, default=10)
    parser.add_argument("--min-samples-per-type", type=int, default=10)
    parser.add_argument("--designs", nargs="+", default=["~ sex + age"], help="of the run, then of its variants")
    parser.add_argument("--test-term", default="age")
    parser.add_argument("--contrast", default="")
    parser.add_argument("--pool-column", default=AUTO)
    parser.add_argument("--acceleration-columns", type=list_of(str), default=[])
    parser.add_argument("--gene-sets", type=Path, help="GMT file")
    parser.add_argument("--gene-set-min-size", type=int, default=10)
    parser.add_argument("--gene-set-max-size", type=int, default=1000)
    parser.add_argument("--params", type=Path, help="all parameters (JSON): add costs to the plan")
    parser.add_argument("--output", type=Path, required=True, help="plan.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    plan = plan_cohort(args) if args.cohort else plan_table(args)
    if args.params:
        plan["costs"] = costs(plan, read_json(args.params), stop_after=args.stop_after, cores=available_cores())
    write_json(plan | {"text": text_of(plan)}, args.output)
    write_versions("plan_run", ["anndata", "h5py", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
