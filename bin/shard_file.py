#!/usr/bin/env python3
"""Reads a shard donor by donor: its cells are sorted by donor, so that memory follows one donor, not the shard.

Through h5py rather than anndata, which would read the whole matrix first and takes a second of CPU to import.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from checkpoints import check_same_cells, read_parquet
from cohort_file import index_name
from command_line import BadInput


@dataclass(frozen=True)
class Shard:
    """What a shard says of its cells and genes; the counts stay in the file.

    `cell_ids`, `donors`, `cell_types` by cell; `gene_ids`, `symbols` ('' where unknown) by gene.
    """

    path: Path
    cell_ids: np.ndarray
    donors: np.ndarray
    cell_types: np.ndarray
    gene_ids: np.ndarray
    symbols: np.ndarray


def _text(item: h5py.Group | h5py.Dataset) -> np.ndarray:
    """A column of text or categories, as an array of str."""
    if isinstance(item, h5py.Group):
        return item["categories"].asstr()[:].astype(object)[item["codes"][:]]
    return item.asstr()[:].astype(object)


def read_shard(path: Path) -> Shard:
    """Everything but the counts of a shard that SPLIT_COHORT wrote; `BadInput` for anything else."""
    try:
        with h5py.File(path, "r") as file:
            obs, var = file["obs"], file["var"]
            return Shard(
                path, _text(obs[index_name(obs)]), _text(obs["donor_id"]), _text(obs["cell_type"]),
                _text(var[index_name(var)]), _text(var["symbol"]),
            )  # fmt: skip
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read as a shard of counts: {error}; run SPLIT_COHORT anew") from error


def donor_counts(shard: Shard) -> Iterator[tuple[str, slice, sparse.csr_matrix]]:
    """Read the counts once, donor by donor.

    Yields
    ------
    The donor, its rows in the shard, its counts (cells x genes, unsigned integers).
    """
    starts = np.flatnonzero(np.append(True, shard.donors[1:] != shard.donors[:-1])) if len(shard.donors) else []
    with h5py.File(shard.path, "r") as file:
        matrix = file["X"]
        indptr = matrix["indptr"][:]
        for start, stop in zip(starts, [*starts[1:], len(shard.donors)], strict=True):
            stored = slice(indptr[start], indptr[stop])
            arrays = matrix["data"][stored], matrix["indices"][stored], indptr[start : stop + 1] - indptr[start]
            shape = (stop - start, len(shard.gene_ids))
            yield shard.donors[start], slice(start, stop), sparse.csr_matrix(arrays, shape=shape)


def read_kept(shard: Shard, path: Path) -> np.ndarray:
    """Which cells quality control kept; `BadInput` unless its table at `path` is of this shard."""
    cells = read_parquet(path, ["cell_id", "kept"])
    check_same_cells(shard.cell_ids, cells["cell_id"], shard.path, path)
    return cells["kept"].to_numpy(dtype=bool)
