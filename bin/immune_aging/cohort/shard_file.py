"""A shard of counts, written block by block and read donor by donor: memory follows neither shard nor cohort.

The file is an h5ad: raw or normalised counts of cells that are sorted by donor, or sums over cells.
"""

# Own code: anndata costs .5 CPU s to import in each of 5 tasks per shard, and 1.4 GB instead of .35.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.cohort_file import index_name
from immune_aging.cohort.donors import sample_key
from immune_aging.cohort.doublet_labels import DOUBLET_CALL
from immune_aging.task.checkpoints import (
    SAMPLE_OF_DONOR,
    atomic_path,
    check_same_cells,
    checked_filters,
    fast_filters,
    read_parquet,
    remedy,
)
from immune_aging.task.command_line import BadInput
from immune_aging.task.h5ad_stream import append, categorical, encode, frame, growing, text


@dataclass(frozen=True)
class Shard:
    """What a shard says of its cells and genes; the counts stay in the file.

    `cell_ids`, `donors`, `cell_types` by cell; `gene_ids`, `symbols` ('' where unknown) by gene. `samples`, by cell,
    tells a donor's samples apart; None where each donor is one. `calls`, by cell: doublets that were called elsewhere
    (`read_calls`); None where none were.
    """

    path: Path
    cell_ids: np.ndarray
    donors: np.ndarray
    cell_types: np.ndarray
    gene_ids: np.ndarray
    symbols: np.ndarray
    samples: np.ndarray | None = None
    calls: np.ndarray | None = None

    def labels(self) -> pd.DataFrame:
        """Whose each cell is: donor_id, and sample_of_donor where samples are told apart."""
        labels = pd.DataFrame({"donor_id": self.donors})
        return labels if self.samples is None else labels.assign(**{SAMPLE_OF_DONOR: self.samples})


def _text(item: h5py.Group | h5py.Dataset) -> np.ndarray:
    """A column of text or categories, as an array of str."""
    if isinstance(item, h5py.Group):
        return item["categories"].asstr()[:].astype(object)[item["codes"][:]]
    return item.asstr()[:].astype(object)


def read_shard(path: Path) -> Shard:
    """Everything but the counts of a shard that `write_shard` wrote; `BadInput` for anything else."""
    try:
        with h5py.File(path, "r") as file:
            obs, var = file["obs"], file["var"]
            return Shard(
                path, _text(obs[index_name(obs)]), _text(obs["donor_id"]), _text(obs["cell_type"]),
                _text(var[index_name(var)]), _text(var["symbol"]),
                _text(obs[SAMPLE_OF_DONOR]) if SAMPLE_OF_DONOR in obs else None,
                obs[DOUBLET_CALL][:] if DOUBLET_CALL in obs else None,
            )  # fmt: skip
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read as a shard of counts: {error}{remedy(path)}") from error


def donor_counts(shard: Shard) -> Iterator[tuple[str, slice, sparse.csr_matrix]]:
    """Read the counts once, donor by donor.

    Yields
    ------
    The donor, its rows in the shard, its counts (cells x genes, of the type that was written).
    """
    for rows, counts in _runs(shard, [shard.donors]):
        yield shard.donors[rows.start], rows, counts


def sample_counts(shard: Shard) -> Iterator[tuple[tuple[str, ...], slice, sparse.csr_matrix]]:
    """Read the counts once, sample by sample: what was loaded together. A donor without samples is one.

    Yields
    ------
    The donor, and the sample where there are samples; its rows in the shard; its counts, as of `donor_counts`.
    """
    labels = [shard.donors] if shard.samples is None else [shard.donors, shard.samples]
    for rows, counts in _runs(shard, labels):
        yield tuple(label[rows.start] for label in labels), rows, counts


def _runs(shard: Shard, labels: Sequence[np.ndarray]) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """The counts of each run of cells that have the same labels, and its rows."""
    if not len(shard.donors):
        return
    changes = np.logical_or.reduce([label[1:] != label[:-1] for label in labels])
    starts = np.flatnonzero(np.append(True, changes))
    with h5py.File(shard.path, "r") as file:
        matrix = file["X"]
        indptr = matrix["indptr"][:]
        for start, stop in zip(starts, [*starts[1:], len(shard.donors)], strict=True):
            stored = slice(indptr[start], indptr[stop])
            try:
                values, genes = matrix["data"][stored], matrix["indices"][stored]
            except OSError as error:
                raise BadInput(f"{shard.path}: its counts are damaged: {error}{remedy(shard.path)}") from error
            shape = (stop - start, len(shard.gene_ids))
            yield (
                slice(start, stop),
                sparse.csr_matrix((values, genes, indptr[start : stop + 1] - indptr[start]), shape=shape),
            )


def read_kept(shard: Shard, path: Path) -> np.ndarray:
    """Which cells quality control kept; `BadInput` unless its table at `path` is of this shard."""
    cells = read_parquet(path, ["cell_id", "kept"])
    check_same_cells(shard.cell_ids, cells["cell_id"], shard.path, path)
    return cells["kept"].to_numpy(dtype=bool)


def write_shard(path: Path, blocks: Iterable[sparse.csr_matrix], cells: pd.DataFrame, genes: pd.DataFrame) -> None:
    """Write a shard from blocks of its rows in order, at least one, all of one type.

    Parameters
    ----------
    blocks
        Cells x genes, with sorted indices.
    cells
        cell_id, donor_id, cell_type, and numbers, if any; the first column names the rows.
    genes
        gene_id, symbol.
    """
    name, *columns = cells.columns
    filters, checked = fast_filters(), checked_filters()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        encode(file, "anndata", "0.1.0")
        obs = frame(file.create_group("obs"), name, columns)
        text(obs, name, cells[name], filters=filters)
        for column in columns:
            if pd.api.types.is_numeric_dtype(cells[column]):
                append(encode(growing(obs, column, cells[column].dtype), "array", "0.2.0"), cells[column].to_numpy())
                continue
            values = sorted(set(cells[column]))
            append(categorical(obs, column, values), pd.Categorical(cells[column], categories=values).codes)
        var = frame(file.create_group("var"), "gene_id", ["symbol"])
        for column in ("gene_id", "symbol"):
            text(var, column, genes[column], filters=filters)
        for empty in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            encode(file.create_group(empty), "dict", "0.1.0")
        matrix = encode(file.create_group("X"), "csr_matrix", "0.1.0")
        matrix.attrs["shape"] = np.array([len(cells), len(genes)], dtype=np.int64)
        lengths = [np.zeros(1, dtype=np.int64)]
        for block in blocks:
            if "data" not in matrix:
                for name, dtype in (("data", block.dtype), ("indices", np.int32)):
                    growing(matrix, name, dtype, filters=checked)
            append(matrix["data"], block.data)
            append(matrix["indices"], block.indices)
            lengths.append(np.diff(block.indptr).astype(np.int64))
        matrix.create_dataset("indptr", data=np.cumsum(np.concatenate(lengths)), **checked)


def canonical_order(cells: pd.DataFrame) -> pd.DataFrame:
    """Kept cells sorted by shard, donor, sample and barcode, with their place in the shard as `position`."""
    ordered = cells.sort_values(["shard", *sample_key(cells), "cell_id"], kind="stable", ignore_index=True)
    return ordered.assign(position=ordered.groupby("shard").cumcount())
