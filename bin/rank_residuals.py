#!/usr/bin/env python3
"""Measure how variable each gene's Pearson residuals are within each donor of one shard, on its kept cells.

In: a shard of raw counts and its quality control. Out: what `rank_genes.py` writes: a table of genes with their total
count and one column per donor, `donor:<id>`, of the variances of the residuals; and a summary of the donors with those
left out and why. One donor's counts are in memory at a time.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.shard_file import read_kept, read_shard
from immune_aging.embedding.pearson_residuals import rank_donor
from immune_aging.embedding.variable_genes import donor_summaries, rank_shard, ranking_table
from immune_aging.task.checkpoints import write_json, write_parquet, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard = read_shard(args.shard)
    rankings = rank_shard(shard, read_kept(shard, args.cells), rank_donor)
    write_parquet(ranking_table(shard, rankings), args.output)
    write_json({"donors": donor_summaries(rankings)}, args.output_summary)
    write_versions("rank_residuals", ["h5py", "numba", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
