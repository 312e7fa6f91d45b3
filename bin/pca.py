#!/usr/bin/env python3
"""Principal components of the normalised counts of all shards.

In: the normalised shards. Out: `pca.parquet` (cell_id, PC1..), `pca_loadings.parquet` (gene_id, symbol,
PC1..), `pca_variance.tsv`, `pca.json`. Exact to machine precision: Lanczos on the genes' covariance, which is
applied through the sparse matrix and never formed, in 64 bits. Signs are fixed, so that a component does not
flip between machines.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh

from checkpoints import read_h5ad, write_json, write_parquet, write_tsv, write_versions
from command_line import BadInput, limit_threads, run

MIN_CELLS, MIN_GENES = 3, 2
SIGN_DIGITS = 6  # loadings this close in size count as equal when the sign is fixed: the first of them decides


@dataclass(frozen=True)
class Components:
    """Scores (cells x components), orthonormal loadings (genes x components), variance of each and in all."""

    scores: np.ndarray
    loadings: np.ndarray
    variance: np.ndarray
    total_variance: float


def stack_shards(paths: Sequence[Path]) -> tuple[sparse.csr_matrix, np.ndarray, pd.DataFrame]:
    """Stack the shards in the order of their names.

    Returns ------- Cells x genes in 64 bits, the cells' ids, the genes (gene_id, symbol). The shards are read
    one at a time into the final arrays: the peak is the stacked matrix and one shard.
    """
    paths = sorted(paths, key=lambda path: path.name)
    sizes = []
    for path in paths:
        with h5py.File(path, "r") as file:
            sizes.append((len(file["X/indptr"]) - 1, len(file["X/data"])))
    n_cells, n_values = (sum(part) for part in zip(*sizes, strict=True))
    data, indices = np.empty(n_values, dtype=np.float64), np.empty(n_values, dtype=np.int32)
    indptr = np.zeros(n_cells + 1, dtype=np.int64)
    cell_ids, genes, row, value = [], None, 0, 0
    for path, (cells, values) in zip(paths, sizes, strict=True):
        shard = read_h5ad(path)
        here = pd.DataFrame(
            {"gene_id": shard.var_names.to_numpy(), "symbol": shard.var["symbol"].to_numpy(dtype=object)}
        )
        genes = here if genes is None else genes
        if not genes["gene_id"].equals(here["gene_id"]):
            raise BadInput(
                f"{path}: its genes differ from those of {paths[0]}; normalise all shards of one cohort anew"
            )
        data[value : value + values], indices[value : value + values] = shard.X.data, shard.X.indices
        indptr[row + 1 : row + cells + 1] = value + shard.X.indptr[1:]
        cell_ids.append(shard.obs_names.to_numpy(dtype=object))
        row, value = row + cells, value + values
    if n_values <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)  # else scipy would widen the indices too
    return (
        sparse.csr_matrix((data, indices, indptr), shape=(n_cells, len(genes))),
        np.concatenate(cell_ids),
        genes,
    )


def fix_signs(loadings: np.ndarray) -> np.ndarray:
    """Sign of each component (column) that makes its largest loading positive."""
    size = np.abs(loadings) / np.abs(loadings).max(axis=0)
    largest = np.argmax(np.round(size, SIGN_DIGITS), axis=0)
    return np.where(loadings[largest, np.arange(loadings.shape[1])] < 0, -1.0, 1.0)


def principal_components(matrix: sparse.csr_matrix, n_components: int, *, seed: int) -> Components:
    """Principal components of the centred matrix; its zeros stay implicit.

    Parameters
    ----------
    matrix
        Cells x genes, 64 bits.
    n_components
        At most one less than cells and than genes.
    seed
        Of the start vector. The result depends on it in the last digits only.

    Raises
    ------
    BadInput
        If no gene varies.
    """
    n_cells, n_genes = matrix.shape
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    squares = np.bincount(matrix.indices, weights=matrix.data * matrix.data, minlength=n_genes)
    total_variance = float((squares - n_cells * mean**2).sum() / (n_cells - 1))
    if not total_variance > 0:
        raise BadInput("normalised counts: no selected gene varies between cells; raise --n_top_genes")
    transposed = matrix.T

    def covariance(vector: np.ndarray) -> np.ndarray:
        centred = matrix @ vector - mean @ vector
        return (transposed @ centred - mean * centred.sum()) / (n_cells - 1)

    start = np.random.default_rng(seed).uniform(-1, 1, n_genes)
    operator = LinearOperator((n_genes, n_genes), matvec=covariance, dtype=np.float64)
    variance, loadings = eigsh(operator, k=n_components, v0=start, which="LA")
    variance, loadings = np.maximum(variance[::-1], 0), loadings[:, ::-1]
    loadings = loadings * fix_signs(loadings)
    return Components(matrix @ loadings - mean @ loadings, loadings, variance, total_variance)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=Path, nargs="+", required=True, help="normalised shards")
    parser.add_argument("--n-pcs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder; gets pca.parquet, pca_loadings.parquet, ..."
    )
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    matrix, cell_ids, genes = stack_shards(args.counts)
    n_cells, n_genes = matrix.shape
    if n_cells < MIN_CELLS or n_genes < MIN_GENES:
        raise BadInput(
            f"{args.counts[0]}: {n_cells} cells and {n_genes} selected genes in all, too few for an "
            f"embedding ({MIN_CELLS} cells, {MIN_GENES} genes); loosen the thresholds or --stop_after qc"
        )
    n_pcs = min(args.n_pcs, min(n_cells, n_genes) - 1)
    with limit_threads(1):  # the vectors are short: a second BLAS thread costs more than it brings
        pca = principal_components(matrix, n_pcs, seed=args.seed)
    names = [f"PC{i + 1}" for i in range(n_pcs)]
    scores = pd.DataFrame(pca.scores.astype(np.float32), columns=names)
    scores.insert(0, "cell_id", cell_ids)
    write_parquet(scores, args.output / "pca.parquet")
    write_parquet(
        pd.concat([genes, pd.DataFrame(pca.loadings, columns=names)], axis=1),
        args.output / "pca_loadings.parquet",
    )
    ratio = pca.variance / pca.total_variance
    variance = {"component": names, "variance": pca.variance, "ratio": ratio, "cumulative": ratio.cumsum()}
    write_tsv(pd.DataFrame(variance), args.output / "pca_variance.tsv")
    fewer = f"{n_pcs} components, not {args.n_pcs}: {n_cells} cells and {n_genes} genes hold no more"
    write_json(
        {"n_pcs": n_pcs, "n_cells": n_cells, "n_genes": n_genes, "total_variance": pca.total_variance,
         "notes": [fewer] if n_pcs < args.n_pcs else []},
        args.output / "pca.json",
    )  # fmt: skip
    write_versions("pca", ["anndata", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
