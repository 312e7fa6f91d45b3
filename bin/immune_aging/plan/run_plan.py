"""What a run will do with a cohort or a table, before any step runs."""

import argparse

import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import open_cohort, read_table, symbols_of, values_of
from immune_aging.cohort.columns import columns_of
from immune_aging.cohort.donors import not_told, sample_key
from immune_aging.cohort.examination import Cohort, cell_table, examine, with_calls
from immune_aging.cohort.filtering import Chosen, choose_by_options, of_unknown_age, plan_shards
from immune_aging.cohort.gene_groups import PARTLY
from immune_aging.cohort.gene_symbols import NO_TABLE, gene_names, read_symbol_table
from immune_aging.plan.problems import gene_set_findings, run_problems
from immune_aging.plan.text import notes_of
from immune_aging.samples.sample_rules import reasons_to_leave_out
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, read_json
from immune_aging.task.command_line import BadInput


def set_sizes(args: argparse.Namespace) -> dict[str, int]:
    """The least and the largest number of measured genes of a gene set that is tested."""
    return {"min_size": args.gene_set_min_size, "max_size": args.gene_set_max_size}


def choose_cells(cohort: Cohort, args: argparse.Namespace) -> tuple[pd.DataFrame, Chosen | None, list[str]]:
    """The cells and what the rules keep of them, as far as its columns can be read; and why they keep nothing."""
    columns, donors = columns_of(args), cohort.donors
    ageless = "age" in columns and donors is not None and not_told(donors, "age_years")
    if donors is None or not len(donors) or ageless or columns["cell_type"] not in cohort.obs:
        return pd.DataFrame(), None, []
    cells = cell_table(cohort, columns)
    try:
        return cells, choose_by_options(cells, donors, args), []
    except BadInput as error:
        return cells, None, [str(error).removeprefix("cohort: ")]


def kept_samples(donors: pd.DataFrame, chosen: Chosen) -> np.ndarray:
    """Which donors, or samples of donors, the rules keep."""
    kept = (donors["donor_id"].map(chosen.donors) == "").to_numpy()
    return kept & ~of_unknown_age(donors) if SAMPLE_OF_DONOR in donors else kept


def cells_by_sample(cells: pd.DataFrame, donors: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Cells of each kept sample in each cell type: `table`, donors x cell types, where each donor is one sample.

    Parameters
    ----------
    cells
        Of `cell_table`.
    donors
        The kept donors, or samples of donors.
    """
    if SAMPLE_OF_DONOR not in donors or not len(table):
        return table
    key = sample_key(donors)
    counted = cells.groupby([*key, "cell_type"]).size().unstack("cell_type", fill_value=0)
    return counted.reindex(pd.MultiIndex.from_frame(donors[key]), columns=table.columns, fill_value=0)


def testable_types(
    cells: pd.DataFrame, donors: pd.DataFrame, chosen: Chosen | None, args: argparse.Namespace
) -> tuple[pd.Series, pd.Index, str]:
    """Cell types with enough samples to be tested.

    Returns
    -------
    Samples with enough cells of each type that is judged; the types with enough of them; what is wrong where cells were
    chosen but no type has enough, or ''.
    """
    table = chosen.cells_of_donors.loc[donors["donor_id"].unique()] if chosen else pd.DataFrame()
    judged = chosen.types.index[chosen.types] if chosen else []
    samples = (cells_by_sample(cells, donors, table[judged]) >= args.min_cells_per_sample).sum()
    types = samples.index[samples >= args.min_samples_per_type]
    if samples.empty or len(types):
        return samples, types, ""
    none_left = (
        f"no cell type has {args.min_cells_per_sample} cells in {args.min_samples_per_type} donors (the most is "
        f"{samples.max()} donors of '{samples.idxmax()}'); lower --min_cells_per_sample or --min_samples_per_type"
    )
    return samples, types, none_left


def plan_cohort(args: argparse.Namespace) -> dict:
    """The plan for a cohort of cells.

    Raises
    ------
    BadInput
        With everything that is wrong with the cohort and with the parameters for it.
    """
    source = args.cohort.resolve()
    cohort, problems = examine(
        source,
        columns=columns_of(args),
        counts_layer=args.counts_layer,
        age_ranges=args.age_ranges,
        round_counts=args.round_counts,
        donor_facts=args.donor_table,
    )
    cohort, _, wrong = with_calls(cohort, args.doublet_column)
    problems += wrong
    try:
        known = read_symbol_table(args.gene_symbols)
    except BadInput as error:
        known, problems = NO_TABLE, [*problems, str(error)]
    genes = gene_names(cohort.var, known, cohort.beside)
    cells, chosen, found = choose_cells(cohort, args)
    problems += found
    notes: list[str] = []
    donors = pd.DataFrame() if cohort.donors is None else cohort.donors
    if len(donors):
        n_donors = len(donors)
        if chosen:
            donors = donors[kept_samples(donors, chosen)].reset_index(drop=True)
        found, notes = run_problems(donors, args, n_all=n_donors, names_only=bool(problems))
        problems += found
    if args.gene_sets and "statistics" in args.parts:
        found, noted = gene_set_findings(args.gene_sets, genes.symbols[genes.kinds != PARTLY], **set_sizes(args))
        problems, notes = problems + found, notes + noted
    samples, types, none_left = testable_types(cells, donors, chosen, args)
    if none_left and not problems and "statistics" in args.parts:
        problems.append(none_left)
    if problems:
        raise BadInput(f"{cohort.called}: " + " | ".join(problems))
    assert cohort.counts is not None and cohort.donors is not None and chosen is not None, "nothing is wrong with it"
    notes = [*cohort.notes, *genes.notes, *notes_of(cohort, chosen), *notes]
    n_cells = chosen.cells_of_donors.loc[donors["donor_id"].unique()].sum(axis=1)
    of_samples = {"n_samples_of_donors": len(donors)} if SAMPLE_OF_DONOR in donors else {}
    with open_cohort(source) as file:
        n_values = values_of(file, cohort.counts).size
    return {
        "counts_layer": cohort.layer,
        "n_cells": cohort.counts.n_cells,
        "n_genes": cohort.counts.n_genes,
        "n_counts": n_values,
        **of_samples,
        "n_donors": int(cohort.donors["donor_id"].nunique()),
        "n_cell_types": int(cells["cell_type"].nunique()),
        "n_cells_kept": int(n_cells.sum()),
        "n_donors_kept": len(n_cells),
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
    donors = samples.drop_duplicates(sample_key(samples)).reset_index(drop=True)
    of_samples = {"n_samples_of_donors": len(donors)} if SAMPLE_OF_DONOR in donors else {}
    n_donors = int(donors["donor_id"].nunique())
    problems, notes = run_problems(donors, args, n_all=len(donors), names_only=False)
    symbols = symbols_of(var)
    check = read_json(args.check)
    notes = [*check["notes"], *notes]
    if args.gene_sets:
        found, noted = gene_set_findings(args.gene_sets, symbols, **set_sizes(args))
        problems, notes = problems + found, notes + noted
    if problems:
        raise BadInput("--pseudobulk: " + " | ".join(problems))
    floors = {"min_cells": args.min_cells_per_sample, "min_depth_share": args.min_depth_share}
    usable = samples[reasons_to_leave_out(samples, **floors) == ""]
    n_samples = usable.groupby("cell_type", observed=True).size()
    in_few_donors = n_samples.index.isin(check.get("cell_types_in_few_donors", []))
    types = n_samples.index[(n_samples >= args.min_samples_per_type) & ~in_few_donors]
    return {
        "counts_layer": "X",
        "n_cells": 0,
        "n_genes": len(var),
        "n_counts": 0,
        **of_samples,
        "n_donors": n_donors,
        "n_cell_types": int(samples["cell_type"].nunique()),
        "n_cells_kept": 0,
        "n_donors_kept": n_donors,
        "n_shards": 0,
        "cell_types": sorted(map(str, types)),
        "n_types": len(types),
        "n_samples": int(n_samples[types].sum()),
        "notes": notes,
    }
