"""A shard of counts, written block by block and read donor by donor: memory follows neither shard nor cohort.

The file is an h5ad: raw or normalised counts of cells that are sorted by donor, or sums over cells. Genes that not all
files of the cohort measure are in a matrix beside X, so that X holds what every cell was measured for.
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
from immune_aging.cohort.gene_groups import SOME_FILES
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
class SomeFiles:
    """The genes that not all files measure, and whose cells are measured for which.

    Attributes
    ----------
    genes
        gene_id, symbol; one row per gene.
    group
        Of each cell.
    measured
        Groups x genes: whether the cells of the group are measured for the gene.
    """

    genes: pd.DataFrame
    group: np.ndarray
    measured: np.ndarray


@dataclass(frozen=True)
class Shard:
    """What a shard says of its cells and genes; the counts stay in the file.

    `cell_ids`, `donors`, `cell_types` by cell; `gene_ids`, `symbols` ('' where unknown) by gene. `samples`, by cell,
    tells a donor's samples apart; None where each donor is one. `calls`, by cell: doublets that were called elsewhere
    (`read_calls`); None where none were. `some_files`: genes that are in no X; None where there are none.
    """

    path: Path
    cell_ids: np.ndarray
    donors: np.ndarray
    cell_types: np.ndarray
    gene_ids: np.ndarray
    symbols: np.ndarray
    samples: np.ndarray | None = None
    calls: np.ndarray | None = None
    some_files: SomeFiles | None = None

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
                _some_files(file),
            )  # fmt: skip
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read as a shard of counts: {error}{remedy(path)}") from error


def _some_files(file: h5py.File) -> SomeFiles | None:
    if SOME_FILES not in file["uns"]:
        return None
    item = file["uns"][SOME_FILES]
    genes = pd.DataFrame({name: _text(item[name]) for name in ("gene_id", "symbol")}, dtype=object)
    return SomeFiles(genes, item["group"][:], item["measured"][:].astype(bool))


def donor_counts(shard: Shard) -> Iterator[tuple[str, slice, sparse.csr_matrix]]:
    """Read the counts once, donor by donor.

    Yields
    ------
    The donor, its rows in the shard, its counts (cells x genes, of the type that was written).
    """
    for rows, counts in _runs(shard, [shard.donors], "X", len(shard.gene_ids)):
        yield shard.donors[rows.start], rows, counts


def donor_counts_of_some_files(shard: Shard) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Read the counts of the genes that not all files measure, donor by donor: rows in the shard, cells x genes."""
    assert shard.some_files is not None, "the shard has such genes"
    yield from _runs(shard, [shard.donors], f"obsm/{SOME_FILES}", len(shard.some_files.genes))


def sample_counts(shard: Shard) -> Iterator[tuple[tuple[str, ...], slice, sparse.csr_matrix]]:
    """Read the counts once, sample by sample: what was loaded together. A donor without samples is one.

    Yields
    ------
    The donor, and the sample where there are samples; its rows in the shard; its counts, as of `donor_counts`.
    """
    labels = [shard.donors] if shard.samples is None else [shard.donors, shard.samples]
    for rows, counts in _runs(shard, labels, "X", len(shard.gene_ids)):
        yield tuple(label[rows.start] for label in labels), rows, counts


def _runs(
    shard: Shard, labels: Sequence[np.ndarray], name: str, n_genes: int
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """The counts of each run of cells that have the same labels, from the matrix of this name, and its rows."""
    if not len(shard.donors):
        return
    changes = np.logical_or.reduce([label[1:] != label[:-1] for label in labels])
    starts = np.flatnonzero(np.append(True, changes))
    with h5py.File(shard.path, "r") as file:
        matrix = file[name]
        indptr = matrix["indptr"][:]
        for start, stop in zip(starts, [*starts[1:], len(shard.donors)], strict=True):
            stored = slice(indptr[start], indptr[stop])
            try:
                values, genes = matrix["data"][stored], matrix["indices"][stored]
            except OSError as error:
                raise BadInput(f"{shard.path}: its counts are damaged: {error}{remedy(shard.path)}") from error
            shape = (stop - start, n_genes)
            yield (
                slice(start, stop),
                sparse.csr_matrix((values, genes, indptr[start : stop + 1] - indptr[start]), shape=shape),
            )


def read_kept(shard: Shard, path: Path) -> np.ndarray:
    """Which cells quality control kept; `BadInput` unless its table at `path` is of this shard."""
    cells = read_parquet(path, ["cell_id", "kept"])
    check_same_cells(shard.cell_ids, cells["cell_id"], shard.path, path)
    return cells["kept"].to_numpy(dtype=bool)


class _Rows:
    """A CSR matrix that grows block by block in an open h5ad."""

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, int], *, filters: dict):
        self._matrix = encode(file.create_group(name), "csr_matrix", "0.1.0")
        self._matrix.attrs["shape"] = np.array(shape, dtype=np.int64)
        self._lengths, self._filters = [np.zeros(1, dtype=np.int64)], filters

    def append(self, block: sparse.csr_matrix) -> None:
        if "data" not in self._matrix:
            for name, dtype in (("data", block.dtype), ("indices", np.int32)):
                growing(self._matrix, name, dtype, filters=self._filters)
        append(self._matrix["data"], block.data)
        append(self._matrix["indices"], block.indices)
        self._lengths.append(np.diff(block.indptr).astype(np.int64))

    def close(self) -> None:
        self._matrix.create_dataset("indptr", data=np.cumsum(np.concatenate(self._lengths)), **self._filters)


def write_shard(
    path: Path,
    blocks: Iterable[sparse.csr_matrix],
    cells: pd.DataFrame,
    genes: pd.DataFrame,
    some_files: SomeFiles | None = None,
) -> None:
    """Write a shard from blocks of its rows in order, at least one, all of one type.

    Parameters
    ----------
    blocks
        Cells x genes, with sorted indices; after `genes` those of `some_files`.
    cells
        cell_id, donor_id, cell_type, and numbers, if any; the first column names the rows.
    genes
        gene_id, symbol.
    some_files
        The genes that not all files measure; None for none.
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
        matrix = _Rows(file, "X", (len(cells), len(genes)), filters=checked)
        if some_files is None:
            for block in blocks:
                matrix.append(block)
        else:
            _write_some_files(file, some_files)
            beside = _Rows(file, f"obsm/{SOME_FILES}", (len(cells), len(some_files.genes)), filters=checked)
            for block in blocks:
                matrix.append(block[:, : len(genes)])
                beside.append(block[:, len(genes) :])
            beside.close()
        matrix.close()


def _write_some_files(file: h5py.File, some_files: SomeFiles) -> None:
    """Write which cells are measured for which of the genes that not all files measure."""
    item = encode(file["uns"].create_group(SOME_FILES), "dict", "0.1.0")
    for name in ("gene_id", "symbol"):
        text(item, name, some_files.genes[name], filters=fast_filters())
    for name, values in (("group", some_files.group.astype(np.int32)), ("measured", some_files.measured)):
        encode(item.create_dataset(name, data=values, **(fast_filters() if values.size else {})), "array", "0.2.0")


def canonical_order(cells: pd.DataFrame) -> pd.DataFrame:
    """Kept cells sorted by shard, donor, sample and barcode, with their place in the shard as `position`."""
    ordered = cells.sort_values(["shard", *sample_key(cells), "cell_id"], kind="stable", ignore_index=True)
    return ordered.assign(position=ordered.groupby("shard").cumcount())
