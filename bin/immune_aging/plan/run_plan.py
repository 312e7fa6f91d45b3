"""What a run will do with a cohort or a table, before any step runs."""

import argparse

import pandas as pd

from immune_aging.cohort.cohort_file import open_cohort, read_table, symbols_of, values_of
from immune_aging.cohort.columns import columns_of
from immune_aging.cohort.examination import cell_table, examine
from immune_aging.cohort.filtering import choose, plan_shards
from immune_aging.plan.problems import gene_set_problem, run_problems
from immune_aging.plan.text import notes_of
from immune_aging.task.command_line import BadInput


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
    notes: list[str] = []
    chosen = None
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
    n_donors = len(donors)
    if len(donors):
        if chosen:
            donors = donors[(chosen.donors == "").to_numpy()].reset_index(drop=True)
        found, notes = run_problems(donors, args, n_all=n_donors, names_only=bool(problems))
        problems += found
    if args.gene_sets and "statistics" in args.parts:
        problem, note = gene_set_problem(
            args.gene_sets, symbols, min_size=args.gene_set_min_size, max_size=args.gene_set_max_size
        )
        problems += [problem] if problem else []
        notes += [note] if note else []
    table = chosen.table.loc[donors["donor_id"], chosen.types] if chosen else pd.DataFrame()
    samples = (table >= args.min_cells_per_sample).sum()
    types = samples.index[samples >= args.min_samples_per_type]
    if chosen and not problems and not len(types) and "statistics" in args.parts:
        problems.append(
            f"no cell type has {args.min_cells_per_sample} cells in {args.min_samples_per_type} donors (the most is "
            f"{samples.max()} donors of '{samples.idxmax()}'); lower --min_cells_per_sample or --min_samples_per_type"
        )
    if problems:
        raise BadInput(f"{source}: " + " | ".join(problems))
    assert cohort.counts is not None and cohort.donors is not None and chosen is not None, "nothing is wrong with it"
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
