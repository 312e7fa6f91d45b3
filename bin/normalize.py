#!/usr/bin/env python3
"""Normalise one shard's kept cells to equal totals, take logarithms, keep the selected genes only.

In: a shard of raw counts, its quality control, `genes.tsv`. Out: a small h5ad, kept cells x selected genes
(32-bit CSR). A cell's total is over all its genes, as in scanpy's `normalize_total` before genes are
selected.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.shard_file import read_kept, read_shard, write_shard
from immune_aging.embedding.normalization import normalized_donors
from immune_aging.task.checkpoints import read_tsv, require_columns, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--genes", type=Path, required=True, help="genes.tsv")
    parser.add_argument("--target-sum", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard = read_shard(args.shard)
    kept = read_kept(shard, args.cells)
    genes = read_tsv(args.genes, dtype={"gene_id": str, "symbol": str})
    require_columns(genes, ["gene_id", "selected"], args.genes)
    if not np.array_equal(genes["gene_id"], shard.gene_ids):
        raise BadInput(
            f"{args.genes}: column 'gene_id' differs from the genes of {args.shard}; select genes of this cohort anew"
        )
    selected = genes["selected"].to_numpy(dtype=bool)
    cells = pd.DataFrame({"cell_id": shard.cell_ids, "donor_id": shard.donors, "cell_type": shard.cell_types})
    genes = pd.DataFrame({"gene_id": shard.gene_ids, "symbol": shard.symbols})
    blocks = normalized_donors(shard, kept, selected, target_sum=args.target_sum)
    write_shard(args.output, blocks, cells[kept], genes[selected])
    write_versions("normalize", ["h5py", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
