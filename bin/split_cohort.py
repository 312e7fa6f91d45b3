#!/usr/bin/env python3
"""Stream the counts of the kept cells once from the cohort's file into shards of whole donors.

In: the cohort's h5ad, the kept cells with their shard (FILTER_COHORT), the genes. Out: one h5ad a shard (raw counts
as CSR of unsigned integers; rows sorted by donor, then barcode; genes that no kept cell expresses left out) and
`genes.json` with their count. Every value is proved to be a count on the way.

Memory: one block of the input while reading, a shard's genes and counts while writing. Blocks are spooled to disk by
shard, because cells of a donor lie anywhere in the file and a CSC file yields genes, not cells.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from checkpoints import fast_filters, read_json, read_parquet, write_json, write_versions
from cohort_file import Counts, open_cohort, prove_counts, read_blocks, unchanged
from command_line import BadInput, Progress, run
from h5ad_stream import append, growing
from shard_file import write_shard

SPOOL_CHUNK = 1 << 16  # values; small, because what a shard gets of a block must be some chunks
SHARD_BLOCK_VALUES = 4_000_000


class Spool:
    """Rows of one shard, or pieces of them, as they come from the file; appended to a scratch file, read back in order.

    A row comes in one piece from a file by cells, in several, with ever larger genes, from a file by genes.
    """

    def __init__(self, path: Path, *, n_genes: int):
        self._path, self._file, self._largest = path, h5py.File(path, "w"), 0
        gene = np.uint16 if n_genes <= np.iinfo(np.uint16).max + 1 else np.uint32
        for name, dtype in (("row", np.uint32), ("length", np.uint32), ("gene", gene), ("count", np.uint32)):
            growing(self._file, name, dtype, chunk=SPOOL_CHUNK, filters=fast_filters())

    def append(self, rows: np.ndarray, block: sparse.csr_matrix, first_gene: int) -> None:
        """Add `block`, whose rows stand at `rows` of the shard and whose columns begin at `first_gene`."""
        values = {"row": rows, "length": np.diff(block.indptr), "gene": block.indices + first_gene, "count": block.data}
        for name, new in values.items():
            append(self._file[name], new)
        self._largest = max(self._largest, int(block.data.max(initial=0)))

    def take_blocks(self, n_rows: int, columns: np.ndarray, *, block_values: int) -> Iterator[sparse.csr_matrix]:
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
    by_genes = counts.layout == "csc"
    total, unit = (counts.n_genes, "genes") if by_genes else (counts.n_cells, "cells")
    progress = Progress(total, unit=unit, label="reading counts")
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
        done = genes if by_genes else rows
        progress.advance(done.stop - done.start)
    progress.close()
    return spools, totals


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--sha256", default="", help="of the cohort; a file that is another by now is refused")
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
        source = args.cohort.resolve()
        with unchanged(source, args.sha256), open_cohort(source) as file:
            spools, totals = spool_counts(file, counts, cells, folder, where=f"cohort: {check['counts_layer']}")
        expressed = totals > 0
        if not expressed.any():
            raise BadInput(
                f"cohort: {check['counts_layer']} holds no count in any kept cell; give raw counts with --counts_layer"
            )
        columns = np.where(expressed, np.cumsum(expressed) - 1, -1).astype(np.int32)
        for shard, spool in enumerate(spools):
            here = cells[cells["shard"] == shard]
            blocks = spool.take_blocks(len(here), columns, block_values=SHARD_BLOCK_VALUES)
            path = Path(f"{args.prefix}_shard-{shard:03d}_step-split_counts.h5ad")
            write_shard(path, blocks, here, genes[expressed])
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
    write_versions("split_cohort", ["h5py", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
