#!/usr/bin/env python3
"""Quality control of one shard: metrics, thresholds, and doublets by Scrublet sample by sample.

In: a shard of raw counts. Out: a table with one row per cell of the shard, in its order: metrics, doublet score,
whether the cell is kept and every rule it broke; and `qc.json` with the thresholds in force and what could not be
done. Thresholds and the expected doublet rate are the same for all, or each sample's own where a table gives them. A
sample is a donor, or one of several samples of a donor.

Doublets are called by Scrublet, or elsewhere (calls that the shard holds), or not at all.

Scrublet (Wolock, Lopez & Klein 2019, doi:10.1016/j.cels.2018.11.005) runs on the cells that pass the thresholds,
on all genes, with exact neighbours, each sample by itself: doublets form within a sample, and a donor's scores then
depend on no other donor. Where rare cell types are judged as well (`--analysed-donors each`) it calls no cell of a type
of which the sample has fewer than five: among so few of their kind it takes them for doublets.
"""

import argparse
from pathlib import Path

from immune_aging.cells.doublet_calls import METHODS
from immune_aging.cells.qc_rules import add_bound_options, fixed_bounds
from immune_aging.cells.shard_qc import judge_shard, shard_summary
from immune_aging.cells.thresholds import rules_by_sample
from immune_aging.cohort.filtering import COMMON, EACH
from immune_aging.cohort.shard_file import read_shard
from immune_aging.task.checkpoints import read_parquet, write_json, write_parquet, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    add_bound_options(parser)
    parser.add_argument("--expected-doublet-rate", type=float, required=True)
    parser.add_argument(
        "--doublet-method", choices=tuple(METHODS), required=True, help="column: calls that the shard holds"
    )
    parser.add_argument(
        "--analysed-donors", choices=(EACH, COMMON), required=True, help="in which donors the cell types are analysed"
    )
    parser.add_argument("--thresholds", type=Path, help="a table with each donor's own bounds and doublet rate")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard = read_shard(args.shard)
    if args.doublet_method == "column" and shard.calls is None:
        raise BadInput(f"{args.shard}: holds no calls of doublets; name their column with --doublet_column")
    table = read_parquet(args.thresholds) if args.thresholds else None
    rules = rules_by_sample(shard.labels(), fixed_bounds(args), args.expected_doublet_rate, table)
    spare = args.analysed_donors == EACH
    judged = judge_shard(shard, rules, method=args.doublet_method, spare_rare_types=spare, seed=args.seed)
    write_parquet(judged.cells, args.output)
    write_json(shard_summary(judged, rules, method=args.doublet_method), args.output_summary)
    write_versions("qc_cells", ["h5py", "numpy", "scikit-learn", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
