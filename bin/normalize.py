#!/usr/bin/env python3
"""Normalise one shard's kept cells to equal totals, take logarithms, keep the selected genes only.

In: a shard of raw counts, its quality control, `genes.tsv`. Out: a small h5ad, kept cells x selected genes
(32-bit CSR). A cell's total is over all its genes, as in scanpy's `normalize_total` before genes are
selected.
"""

import argparse
from pathlib import Path

import anndata
import numpy as np
from scipy import sparse

from checkpoints import (
    check_same_cells,
    read_h5ad,
    read_parquet,
    read_tsv,
    require_columns,
    write_h5ad,
    write_versions,
)
from command_line import BadInput, run


def log_normalize(counts: sparse.csr_matrix, selected: np.ndarray, *, target_sum: float) -> sparse.csr_matrix:
    """log(1 + count / total of the cell * `target_sum`), selected genes only.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    selected
        Boolean, one value a gene.
    target_sum
        Total of every cell after scaling. A cell without counts stays empty.
    """
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    kept = sparse.csr_matrix(counts[:, selected])
    kept.sort_indices()
    scale = np.repeat(target_sum / np.maximum(totals, 1), np.diff(kept.indptr))
    return sparse.csr_matrix(
        (np.log1p(kept.data * scale).astype(np.float32), kept.indices, kept.indptr), shape=kept.shape
    )


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--genes", type=Path, required=True, help="genes.tsv")
    parser.add_argument("--target-sum", type=float, default=10_000)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard, cells = read_h5ad(args.shard), read_parquet(args.cells, ["cell_id", "kept"])
    check_same_cells(shard.obs_names, cells["cell_id"], args.shard, args.cells)
    genes = read_tsv(args.genes, dtype={"gene_id": str, "symbol": str})
    require_columns(genes, ["gene_id", "selected"], args.genes)
    if list(genes["gene_id"]) != list(shard.var_names):
        raise BadInput(
            f"{args.genes}: column 'gene_id' differs from the genes of {args.shard}; select genes of this cohort anew"
        )
    kept, selected = cells["kept"].to_numpy(), genes["selected"].to_numpy(dtype=bool)
    normalized = log_normalize(shard.X[kept], selected, target_sum=args.target_sum)
    obs = shard.obs.loc[kept, ["donor_id", "cell_type"]]
    write_h5ad(anndata.AnnData(X=normalized, obs=obs, var=shard.var.loc[selected, ["symbol"]]), args.output)
    write_versions("normalize", ["anndata", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
