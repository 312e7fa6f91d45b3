#!/usr/bin/env python3
"""Measure how variable each gene is within each donor of one shard, on the raw counts of its kept cells.

In: a shard of raw counts and its quality control. Out: a table of genes with their total count and one column
per donor, `donor:<id>`, of seurat_v3 normalised variances; and a summary of the donors with those left out and
why.
"""

import argparse
from functools import partial
from pathlib import Path

from immune_aging.cohort.shard_file import read_kept, read_shard
from immune_aging.embedding.seurat_v3 import rank_donor
from immune_aging.embedding.variable_genes import donor_summaries, rank_shard, ranking_table
from immune_aging.task.checkpoints import write_json, write_parquet, write_versions
from immune_aging.task.command_line import limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--span", type=float, required=True, help="loess span, share of the genes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard = read_shard(args.shard)
    with limit_threads(args.threads):
        rankings = rank_shard(shard, read_kept(shard, args.cells), partial(rank_donor, span=args.span))
    write_parquet(ranking_table(shard, rankings), args.output)
    write_json({"donors": donor_summaries(rankings)}, args.output_summary)
    write_versions("rank_genes", ["h5py", "numpy", "scikit-misc", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
