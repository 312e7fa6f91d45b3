#!/usr/bin/env python3
"""Give each donor its own thresholds and its own expected rate of doublets, before quality control.

Where donors have several samples, each sample gets its own: what was loaded together is judged together.

In: the donors, with their numbers of cells; for thresholds by median absolute deviations all shards, read one after
another, because a group of donors (a pool) may lie in several. Out: `thresholds.tsv` for people and the same as Parquet
for QC_CELLS, one row per donor or sample.
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.cells.qc_rules import add_bound_options, fixed_bounds
from immune_aging.cells.thresholds import (
    donor_thresholds,
    doublet_rates,
    group_of_donors,
    kept_donors,
    read_metrics,
    same_thresholds,
)
from immune_aging.cohort.donors import sample_key
from immune_aging.task.checkpoints import read_parquet, read_tsv, write_parquet, write_tsv, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument(
        "--donors-table", type=Path, required=True, help="donors.tsv: which donors are kept, their cells"
    )
    parser.add_argument("--shards", type=Path, nargs="*", default=[], help="all shards; none: fixed thresholds")
    parser.add_argument("--mad-cutoff", type=float, required=True)
    parser.add_argument("--mad-group", required=True, help="donor column whose values are judged together")
    add_bound_options(parser)
    parser.add_argument("--expected-doublet-rate", type=float, required=True)
    parser.add_argument("--doublet-rate-per-1000", type=float)
    parser.add_argument("--doublet-rate-column", required=True)
    parser.add_argument("--output", type=Path, required=True, help="Parquet")
    parser.add_argument("--output-table", type=Path, required=True, help=".tsv")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    listed = read_tsv(args.donors_table, dtype={"donor_id": str, "sex": str, "reason": str})
    donors = kept_donors(read_parquet(args.donors), listed, args.donors, args.donors_table)
    fixed = fixed_bounds(args)
    if args.shards:
        groups = group_of_donors(donors, args.mad_group)
        metrics = read_metrics(sorted(args.shards, key=lambda path: path.name))
        bounds = donor_thresholds(groups, metrics, fixed, cutoff=args.mad_cutoff)
    else:
        bounds = same_thresholds(donors, fixed)
    rates = doublet_rates(
        donors,
        fixed=args.expected_doublet_rate,
        per_1000_cells=args.doublet_rate_per_1000,
        column=args.doublet_rate_column or None,
    )
    table = pd.concat([donors[[*sample_key(donors), "n_cells"]], bounds, rates], axis=1)
    write_parquet(table, args.output)
    write_tsv(table, args.output_table)
    write_versions("qc_thresholds", ["numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
