#!/usr/bin/env python3
"""Take a pseudobulk table that someone else made and bring it into the pipeline's own form.

In: an h5ad of samples x genes with raw sums in X, raw.X or a layer, and obs columns for donor, cell type, age and
sex (n_cells is taken over where it is there), a table of facts about donors if there is one, and a table of gene
symbols for genes that it does not name. Out: the same files as MERGE_PSEUDOBULK writes, `cell_types.tsv` and
`donors.tsv`, so that the statistics start from it, and `check.json` (how much of everything there is, what is missing);
where a rule about the donors of a cell type is in force also `filtering.json` (what it left out).
"""

import argparse
from pathlib import Path

from immune_aging.cohort.columns import add_column_options, columns_of
from immune_aging.cohort.filtering import COMMON, add_type_options, fraction_of
from immune_aging.cohort.gene_symbols import read_symbol_table
from immune_aging.samples.given_table import DonorRule, bring_into_form, donor_funnel, read_given_table, table_summary
from immune_aging.samples.pseudobulk_table import write_pseudobulk
from immune_aging.task.checkpoints import write_json, write_tsv, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True, help="h5ad of samples x genes")
    add_column_options(parser)
    parser.add_argument("--gene-symbols", type=Path, help="TSV of gene id and symbol, for genes that have none")
    add_type_options(parser)
    parser.add_argument("--min-cells-per-sample", type=int, required=True)
    parser.add_argument("--min-depth-share", type=float, required=True, help="of the median sample's counts")
    parser.add_argument("--min-samples-per-type", type=int, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    known = read_symbol_table(args.gene_symbols)
    given = read_given_table(
        args.table,
        columns=columns_of(args),
        counts_layer=args.counts_layer,
        age_ranges=args.age_ranges,
        round_counts=args.round_counts,
        donor_facts=args.donor_table,
    )
    floors = {"min_cells": args.min_cells_per_sample, "min_depth_share": args.min_depth_share}
    rule = DonorRule(args.analysed_donors == COMMON, args.min_cells_per_type, fraction_of(args))
    found = bring_into_form(given, **floors, min_samples=args.min_samples_per_type, known=known, rule=rule)
    write_pseudobulk(found.table, found.types, **floors, folder=args.output, prefix=args.prefix)
    write_tsv(found.donors, args.output / "cohort/donors.tsv")
    if found.samples is not None:
        write_tsv(found.samples, args.output / "cohort/samples.tsv")
    write_tsv(found.types, args.output / "cohort/cell_types.tsv")
    if rule.min_fraction is not None:
        write_json(donor_funnel(found, rule), args.output / "cohort/filtering.json")
    write_json(table_summary(given, found), args.output / "cohort/check.json")
    write_versions("check_pseudobulk", ["anndata", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
