#!/usr/bin/env python3
"""Stream the counts of the kept cells once from the cohort's file into shards of whole donors.

In: the cohort's h5ad, the kept cells with their shard (FILTER_COHORT), the genes. Out: one h5ad a shard (raw counts
as CSR of unsigned integers; rows sorted by donor, then barcode; genes that no kept cell expresses left out) and
`genes.json` with their count. Every value is proved to be a count on the way.

Memory: one block of the input while reading, one shard while writing. Blocks are spooled to disk by shard, because
cells of a donor lie anywhere in the file and a CSC file yields genes, not cells.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from checkpoints import fast_filters, read_json, read_parquet, write_h5ad, write_json, write_versions
from cohort_file import Counts, not_counts, open_cohort, read_blocks
from command_line import BadInput, Progress, run

SPOOL_CHUNK = 1 << 18


class Spool:
    """Blocks of sparse rows of one shard, appended to a scratch file and read back as one matrix."""

    def __init__(self, path: Path, *, n_genes: int):
        self._path, self._file = path, h5py.File(path, "w")
        gene = np.uint16 if n_genes <= np.iinfo(np.uint16).max + 1 else np.uint32
        for name, dtype in (("row", np.uint32), ("length", np.uint32), ("gene", gene), ("count", np.uint32)):
            self._file.create_dataset(
                name, shape=(0,), maxshape=(None,), chunks=(SPOOL_CHUNK,), dtype=dtype, **fast_filters()
            )

    def append(self, rows: np.ndarray, block: sparse.csr_matrix, first_gene: int) -> None:
        """Add `block`, whose rows stand at `rows` of the shard and whose columns begin at `first_gene`."""
        values = {"row": rows, "length": np.diff(block.indptr), "gene": block.indices + first_gene, "count": block.data}
        for name, new in values.items():
            dataset = self._file[name]
            old = dataset.shape[0]
            dataset.resize((old + len(new),))
            dataset[old:] = new

    def take_matrix(self, shape: tuple[int, int]) -> sparse.csr_matrix:
        """The shard's counts (cells x genes), sorted indices, entries given twice added up; the file is deleted."""
        rows = np.repeat(self._file["row"][:], self._file["length"][:])
        matrix = sparse.csr_matrix((self._file["count"][:], (rows, self._file["gene"][:])), shape=shape)
        matrix.sum_duplicates()
        self._file.close()
        self._path.unlink()
        return matrix


def prove_counts(block: sparse.csr_matrix, *, where: str) -> sparse.csr_matrix:
    """The block as unsigned integers without stored zeros; `BadInput` unless each value is a count."""
    if reason := not_counts(block.data):
        raise BadInput(f"{where} {reason}; give raw counts with --counts_layer")
    if block.nnz and block.data.max() > np.iinfo(np.uint32).max:
        raise BadInput(
            f"{where} holds {block.data.max():g}, too large for a count; give raw counts with --counts_layer"
        )
    counts = sparse.csr_matrix((block.data.astype(np.uint32), block.indices, block.indptr), shape=block.shape)
    if not counts.data.all():
        counts = counts.copy()  # the indices are still the caller's
        counts.eliminate_zeros()
    return counts


def canonical_order(cells: pd.DataFrame) -> pd.DataFrame:
    """Kept cells sorted by shard, donor and barcode, with their place in the shard as `position`."""
    ordered = cells.sort_values(["shard", "donor_id", "cell_id"], kind="stable", ignore_index=True)
    return ordered.assign(position=ordered.groupby("shard").cumcount())


def spool_counts(
    file: h5py.File, counts: Counts, cells: pd.DataFrame, folder: Path, *, where: str
) -> tuple[list[Spool], np.ndarray]:
    """Read the matrix once and sort its rows into one spool a shard.

    Returns
    -------
    The spools, and the sum of each gene over the kept cells.
    """
    shard_of = np.full(counts.n_cells, -1, dtype=np.int32)
    position_of = np.zeros(counts.n_cells, dtype=np.uint32)
    shard_of[cells["row"]], position_of[cells["row"]] = cells["shard"], cells["position"]
    n_shards = int(cells["shard"].max()) + 1
    spools = [Spool(folder / f"{shard}.h5", n_genes=counts.n_genes) for shard in range(n_shards)]
    totals = np.zeros(counts.n_genes, dtype=np.int64)
    progress = Progress(counts.n_cells * counts.n_genes, unit="values", label="reading counts")
    for rows, genes, block in read_blocks(file, counts):
        block = prove_counts(block, where=where)
        shards = shard_of[rows]
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(n_shards + 1))
        for shard in np.unique(shards[shards >= 0]):
            picked = order[bounds[shard] : bounds[shard + 1]]
            part = block[picked]
            totals[genes] += np.bincount(part.indices, weights=part.data, minlength=part.shape[1]).astype(np.int64)
            spools[shard].append(position_of[rows][picked], part, genes.start)
        progress.advance((rows.stop - rows.start) * (genes.stop - genes.start))
    progress.close()
    return spools, totals


def write_shard(matrix: sparse.csr_matrix, cells: pd.DataFrame, genes: pd.DataFrame, path: Path) -> None:
    """Write one shard; counts in the smallest unsigned type that holds all of them, 16 or 32 bits."""
    small = matrix.nnz == 0 or matrix.data.max() <= np.iinfo(np.uint16).max
    matrix = sparse.csr_matrix(
        (matrix.data.astype(np.uint16 if small else np.uint32), matrix.indices.astype(np.int32), matrix.indptr),
        shape=matrix.shape,
    )
    obs = pd.DataFrame(
        {column: pd.Categorical(cells[column]) for column in ("donor_id", "cell_type")},
    ).set_index(pd.Index(cells["cell_id"].to_numpy(dtype=object), name="cell_id"))
    var = pd.DataFrame(
        {"symbol": genes["symbol"].to_numpy(dtype=object)},
        index=pd.Index(genes["gene_id"].to_numpy(dtype=object), name="gene_id"),
    )
    write_h5ad(anndata.AnnData(X=matrix, obs=obs, var=var), path)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--check", type=Path, required=True, help="check.json")
    parser.add_argument("--cells", type=Path, required=True, help="kept cells with their shard")
    parser.add_argument("--genes", type=Path, required=True, help="genes.parquet")
    parser.add_argument("--prefix", required=True, help="shards become PREFIX_shard-NNN_step-split_counts.h5ad")
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    check = read_json(args.check)
    counts = Counts(**check["counts"])
    cells, genes = canonical_order(read_parquet(args.cells)), read_parquet(args.genes)
    folder = Path(tempfile.mkdtemp(prefix="spool-", dir="."))
    try:
        with open_cohort(args.cohort) as file:
            spools, totals = spool_counts(file, counts, cells, folder, where=f"cohort: {check['counts_layer']}")
        expressed = totals > 0
        if not expressed.any():
            raise BadInput(
                f"cohort: {check['counts_layer']} holds no count in any kept cell; give raw counts with --counts_layer"
            )
        shards = dict(list(cells.groupby("shard")))
        for shard, spool in enumerate(spools):
            matrix = spool.take_matrix((len(shards[shard]), counts.n_genes))[:, expressed]
            write_shard(
                matrix, shards[shard], genes[expressed], Path(f"{args.prefix}_shard-{shard:03d}_step-split_counts.h5ad")
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    write_json(
        {
            "genes": {
                "input": counts.n_genes,
                "lost": {"expressed in no kept cell": int((~expressed).sum())},
                "kept": int(expressed.sum()),
            },
            "cells": len(cells),
            "counts": int(totals.sum()),
            "shards": len(spools),
        },
        args.output_summary,
    )
    write_versions("split_cohort", ["anndata", "h5py", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
