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

from checkpoints import write_versions
from command_line import run
from shard_file import donor_counts, read_kept, read_shard, write_shard


def sum_by_sample(
    counts: sparse.csr_matrix, donors: np.ndarray, cell_types: np.ndarray
) -> tuple[pd.DataFrame, sparse.csr_matrix]:
    """Sum counts over the cells of each donor and cell type.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    donors, cell_types
        Labels of the cells.

    Returns
    -------
    donor_id, cell_type, n_cells, sorted by cell type and donor; and the sums, samples x genes, 64-bit integers.
    """
    groups = (
        pd.DataFrame({"cell_type": cell_types, "donor_id": donors})
        .astype(str)
        .groupby(["cell_type", "donor_id"], sort=True)
    )
    code = groups.ngroup().to_numpy()
    sizes = groups.size()
    # Products of integer matrices are exact; the indicator has one 1 a cell.
    indicator = sparse.csr_matrix(
        (np.ones(len(code), dtype=np.int64), (code, np.arange(len(code)))), shape=(len(sizes), len(code))
    )
    sums = sparse.csr_matrix(indicator @ counts.astype(np.int64))
    sums.sort_indices()
    samples = sizes.rename("n_cells").reset_index()[["donor_id", "cell_type", "n_cells"]]
    return samples, sums


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
