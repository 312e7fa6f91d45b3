#!/usr/bin/env python3
"""Sum the raw counts of one shard's kept cells by donor and cell type.

In: a shard of raw counts and its quality control. Out: a small h5ad, one row per donor and cell type (obs donor_id,
cell_type, n_cells), all genes, exact integer sums. Donors are whole within a shard, so every row is final. Genes that
not all files of the cohort measure are beside the others, as in the shard.
"""

import argparse
from pathlib import Path

import pandas as pd
from scipy import sparse

from immune_aging.cohort.shard_file import read_kept, read_shard, write_shard
from immune_aging.samples.sums import sum_shard, sum_some_files
from immune_aging.task.checkpoints import write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard = read_shard(args.shard)
    kept = read_kept(shard, args.cells)
    samples, sums = sum_shard(shard, kept)
    some_files = None
    if shard.some_files is not None:
        further, some_files = sum_some_files(shard, kept)
        sums = sparse.hstack([sums, further], format="csr")
    genes = pd.DataFrame({"gene_id": shard.gene_ids, "symbol": shard.symbols})
    write_shard(args.output, [sums], samples, genes, some_files)
    write_versions("pseudobulk", ["h5py", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
