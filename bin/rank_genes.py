#!/usr/bin/env python3
"""Measure how variable each gene is within each donor of one shard, on the raw counts of its kept cells.

In: a shard of raw counts and its quality control. Out: a table of genes with their total count and one column
a donor, `donor:<id>`, of seurat_v3 normalised variances; and a summary of the donors with those left out and
why.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.shard_file import donor_counts, read_kept, read_shard
from immune_aging.embedding.seurat_v3 import rank_donor
from immune_aging.task.checkpoints import write_json, write_parquet, write_versions
from immune_aging.task.command_line import Progress, limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--span", type=float, default=0.8, help="loess span, share of the genes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard = read_shard(args.shard)
    kept = read_kept(shard, args.cells)
    rankings, n_counts = {}, np.zeros(len(shard.gene_ids), dtype=np.int64)
    progress = Progress(len(shard.cell_ids), unit="cells", label="ranking genes")
    with limit_threads(args.threads):
        for donor, rows, counts in donor_counts(shard):
            if kept[rows].any():
                rankings[donor] = rank_donor(counts[kept[rows]], span=args.span)
                n_counts += rankings[donor].sums.astype(np.int64)
            progress.advance(rows.stop - rows.start)
    progress.close()
    columns = {"gene_id": shard.gene_ids, "symbol": shard.symbols, "n_counts": n_counts}
    columns |= {f"donor:{name}": of.variance_norm for name, of in rankings.items() if of.variance_norm is not None}
    write_parquet(pd.DataFrame(columns), args.output)
    write_json(
        {
            "donors": [
                {"donor_id": name, "n_cells": of.n_cells, "jitter": of.jitter, "reason": of.reason}
                for name, of in rankings.items()
            ]
        },
        args.output_summary,
    )
    write_versions("rank_genes", ["h5py", "numpy", "scikit-misc", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
