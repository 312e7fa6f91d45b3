"""Counts of chosen cells, read once from a cohort's file in whatever order it has them, and given back cell by cell.

Blocks of the input are spooled to disk by shard, because the cells of a shard lie anywhere in the file and a file by
genes (CSC) yields genes, not cells.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.cohort_file import Counts, prove_counts, read_blocks
from immune_aging.task.command_line import Progress
from immune_aging.task.h5ad_stream import append, growing

# Written and read once, within one task: lz4 takes a twelfth off the whole step, for a fifth more disk than zstd.
SPOOL_FILTERS = {"compression": hdf5plugin.FILTERS["lz4"], "shuffle": True}
SPOOL_CHUNK = 1 << 16  # values; small, because what a shard gets of a block must be some chunks
BLOCK_VALUES = 4_000_000  # of a block that is given back


class Spool:
    """Rows of one shard, or pieces of them, as they come from the file; appended to a scratch file, read back in order.

    A row comes in one piece from a file by cells, in several, with ever larger genes, from a file by genes.
    """

    def __init__(self, path: Path, *, n_genes: int):
        self._path, self._file, self._largest = path, h5py.File(path, "w"), 0
        gene = np.uint16 if n_genes <= np.iinfo(np.uint16).max + 1 else np.uint32
        for name, dtype in (("row", np.uint32), ("length", np.uint32), ("gene", gene), ("count", np.uint32)):
            growing(self._file, name, dtype, chunk=SPOOL_CHUNK, filters=SPOOL_FILTERS)

    def append(self, rows: np.ndarray, block: sparse.csr_matrix, first_gene: int) -> None:
        """Add `block`, whose rows stand at `rows` of the shard and whose columns begin at `first_gene`."""
        values = {"row": rows, "length": np.diff(block.indptr), "gene": block.indices + first_gene, "count": block.data}
        for name, new in values.items():
            append(self._file[name], new)
        self._largest = max(self._largest, int(block.data.max(initial=0)))

    def take_blocks(
        self, n_rows: int, columns: np.ndarray, *, block_values: int = BLOCK_VALUES
    ) -> Iterator[sparse.csr_matrix]:
        """The shard's rows in order, block by block; the file is deleted.

        Parameters
        ----------
        columns
            The column of each gene, -1 for one that has no counts.

        Yields
        ------
        Cells x columns, in the smallest unsigned type that holds all counts of the shard, 16 or 32 bits.
        """
        small = self._largest <= np.iinfo(np.uint16).max
        lengths, rows = self._file["length"][:].astype(np.int64), self._file["row"][:]
        genes, counts = self._file["gene"][:], self._file["count"].astype(np.uint16 if small else np.uint32)[:]
        self._file.close()
        self._path.unlink()
        pieces = np.argsort(rows, kind="stable")
        begins = (np.cumsum(lengths) - lengths)[pieces]
        lengths = lengths[pieces]
        first = np.searchsorted(rows[pieces], np.arange(n_rows + 1))  # the first piece of each row
        ends = np.append(0, np.cumsum(lengths))[first]  # where each row begins among the sorted values
        start = 0
        while start < n_rows:
            stop = max(start + 1, int(np.searchsorted(ends, ends[start] + block_values, side="right")) - 1)
            here = slice(first[start], first[stop])
            offset = begins[here] - (np.cumsum(lengths[here]) - lengths[here])
            order = np.arange(ends[stop] - ends[start]) + np.repeat(offset, lengths[here])
            yield sparse.csr_matrix(
                (counts[order], columns[genes[order]], ends[start : stop + 1] - ends[start]),
                shape=(stop - start, int(columns.max()) + 1),
            )
            start = stop


def of_genes(block: sparse.csr_matrix, genes: np.ndarray | None, columns: slice) -> sparse.csr_matrix:
    """The block without the values of features that are no genes; `columns` are those of the matrix that it covers."""
    if genes is None or genes[columns].all():
        return block
    kept = genes[columns][block.indices]
    ends = np.append(0, np.cumsum(kept))[block.indptr]
    return sparse.csr_matrix((block.data[kept], block.indices[kept], ends), shape=block.shape)


def spool_counts(
    file: h5py.File, counts: Counts, cells: pd.DataFrame, folder: Path, *, genes: np.ndarray | None = None, where: str
) -> tuple[list[Spool], np.ndarray]:
    """Read the matrix once and sort its rows into one spool a shard.

    Parameters
    ----------
    genes
        Which of the features are genes; the values of the others are not looked at. None for all.

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
    by_genes = counts.layout == "csc"
    total, unit = (counts.n_genes, "genes") if by_genes else (counts.n_cells, "cells")
    progress = Progress(total, unit=unit, label="reading counts")
    for rows, columns, block in read_blocks(file, counts):
        block = prove_counts(of_genes(block, genes, columns), where=where, rounded=counts.rounded)
        shards = shard_of[rows]
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(n_shards + 1))
        for shard in np.unique(shards[shards >= 0]):
            picked = order[bounds[shard] : bounds[shard + 1]]
            part = block[picked]
            totals[columns] += np.bincount(part.indices, weights=part.data, minlength=part.shape[1]).astype(np.int64)
            spools[shard].append(position_of[rows][picked], part, columns.start)
        done = columns if by_genes else rows
        progress.advance(done.stop - done.start)
    progress.close()
    return spools, totals
