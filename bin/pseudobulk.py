#!/usr/bin/env python3
"""Sum the raw counts of one shard's kept cells by donor and cell type.

In: a shard of raw counts and its quality control. Out: a small h5ad, one row a donor and cell type (obs donor_id,
cell_type, n_cells), all genes, exact integer sums. Donors are whole within a shard, so every row is final.
"""

import argparse
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from checkpoints import check_same_cells, read_h5ad, read_parquet, write_h5ad, write_versions
from command_line import run


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

    shard, cells = read_h5ad(args.shard), read_parquet(args.cells, ["cell_id", "donor_id", "cell_type", "kept"])
    check_same_cells(shard.obs_names, cells["cell_id"], args.shard, args.cells)
    kept = cells["kept"].to_numpy()
    samples, sums = sum_by_sample(
        shard.X[kept], cells.loc[kept, "donor_id"].to_numpy(), cells.loc[kept, "cell_type"].to_numpy()
    )
    obs = samples.set_index(samples.index.astype(str))
    write_h5ad(anndata.AnnData(X=sums, obs=obs, var=shard.var), args.output)
    write_versions("pseudobulk", ["anndata", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
