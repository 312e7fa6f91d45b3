#!/usr/bin/env python3
"""Check, before anything long runs, that the run can do what it was asked for, and plan it.

In: the cohort's h5ad (or a pseudobulk table) and the parameters that name its columns, filters and designs. Out:
`plan.json`: cells, donors, cell types, shards that are expected; where it is asked for (`--to-reckon`) tasks, time,
memory and disk as well, and the text that `--check_only` prints. Everything that is wrong is said at once. Only
metadata and a sample of the counts are read, so that a cohort of 10 GB takes seconds.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.columns import add_column_options
from immune_aging.cohort.filtering import add_rule_options
from immune_aging.plan.costs import costs
from immune_aging.plan.run_plan import plan_cohort, plan_table
from immune_aging.plan.text import text_of
from immune_aging.task.checkpoints import read_json, write_json, write_versions
from immune_aging.task.command_line import BadInput, available_cores, list_of, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cohort", type=Path, help="h5ad of cells")
    source.add_argument("--samples", type=Path, help="pseudobulk.h5ad of CHECK_PSEUDOBULK")
    parser.add_argument("--check", type=Path, help="check.json of CHECK_PSEUDOBULK, with --samples")
    add_column_options(parser)
    add_rule_options(parser)
    parser.add_argument("--gene-symbols", type=Path, help="TSV of gene id and symbol, for genes that have none")
    parser.add_argument("--parts", nargs="+", required=True, help="of the analysis that the run comes to")
    parser.add_argument("--mad-group", required=True, help="donor column; '' where it is not used")
    parser.add_argument("--doublet-rate-column", required=True)
    parser.add_argument("--batch-column", required=True)
    parser.add_argument("--min-cells-per-sample", type=int, required=True)
    parser.add_argument("--min-depth-share", type=float, required=True)
    parser.add_argument("--min-samples-per-type", type=int, required=True)
    parser.add_argument("--designs", nargs="+", required=True, help="of the run, then of its variants")
    parser.add_argument("--test-term", required=True)
    parser.add_argument("--contrast", required=True)
    parser.add_argument("--by-column", required=True)
    parser.add_argument("--age-spline", type=int, required=True)
    parser.add_argument("--pool-column", required=True)
    parser.add_argument("--acceleration-columns", type=list_of(str), required=True)
    parser.add_argument("--gene-sets", type=Path, help="GMT file")
    parser.add_argument("--gene-set-min-size", type=int, required=True)
    parser.add_argument("--gene-set-max-size", type=int, required=True)
    parser.add_argument("--to-reckon", type=Path, help="all parameters and their fan-out (JSON): add costs to the plan")
    parser.add_argument("--output", type=Path, required=True, help="plan.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if args.samples and not args.check:
        raise BadInput("--check: is missing; give the check.json of CHECK_PSEUDOBULK with --samples")

    plan = plan_cohort(args) if args.cohort else plan_table(args)
    if args.to_reckon:
        plan["costs"] = costs(plan, read_json(args.to_reckon), parts=args.parts, cores=available_cores())
    write_json(plan | {"text": text_of(plan)}, args.output)
    write_versions("plan_run", ["anndata", "h5py", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
