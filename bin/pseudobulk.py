#!/usr/bin/env python3
"""Sum the raw counts of one shard's kept cells by donor and cell type.

In: a shard of raw counts and its quality control. Out: a small h5ad, one row a donor and cell type (obs donor_id,
cell_type, n_cells), all genes, exact integer sums. Donors are whole within a shard, so every row is final.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.shard_file import donor_counts, read_kept, read_shard, write_shard
from immune_aging.samples.sums import sum_by_sample
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
    samples, sums = [], [sparse.csr_matrix((0, len(shard.gene_ids)), dtype=np.int64)]
    for _, rows, counts in donor_counts(shard):
        here = kept[rows]
        of_donor, summed = sum_by_sample(counts[here], shard.donors[rows][here], shard.cell_types[rows][here])
        samples.append(of_donor)
        sums.append(summed)
    table, sums = pd.concat(samples, ignore_index=True), sparse.vstack(sums, format="csr")
    table = table.sort_values(["cell_type", "donor_id"], kind="stable")
    sums = sums[table.index.to_numpy()]
    table.insert(0, "sample", np.arange(len(table)).astype(str))
    write_shard(args.output, [sums], table, pd.DataFrame({"gene_id": shard.gene_ids, "symbol": shard.symbols}))
    write_versions("pseudobulk", ["h5py", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
