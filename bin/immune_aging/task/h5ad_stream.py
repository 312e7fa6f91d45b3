"""How an h5ad is written as a stream of cells: in constant memory, the same bytes for the same content."""

# Own code: anndata's writers cost .5 CPU s to import, 53 times for OneK1K, and append to no table of cells.

from collections.abc import Iterable
from typing import TypeVar

import h5py
import numpy as np
import pandas as pd
from numpy.typing import DTypeLike
from scipy import sparse

Item = TypeVar("Item", h5py.Group, h5py.Dataset)

H5_CHUNK = 131_072  # values per chunk
PORTABLE = {"compression": "gzip", "compression_opts": 4}  # as CELLxGENE's files are, for every reader of HDF5


def encode(item: Item, kind: str, version: str) -> Item:
    """Mark an HDF5 group or dataset with anndata's encoding."""
    item.attrs["encoding-type"], item.attrs["encoding-version"] = kind, version
    return item


def growing(
    group: h5py.Group, name: str, dtype: DTypeLike, *, chunk: int = H5_CHUNK, filters: dict | None = None
) -> h5py.Dataset:
    """An empty dataset that can grow; compressed by `filters`, or as `PORTABLE` says."""
    filters = filters or PORTABLE
    return group.create_dataset(name, (0,), dtype=dtype, maxshape=(None,), chunks=(chunk,), **filters)


def append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    """Append values to a growing dataset."""
    start = dataset.shape[0]
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values


def text(group: h5py.Group, name: str, values: Iterable[str], *, filters: dict | None = None) -> None:
    """Write an array of text."""
    data = np.array(list(values), dtype=object)
    options = filters if filters and len(data) else {}  # HDF5 compresses no empty array
    item = group.create_dataset(name, data=data, dtype=h5py.string_dtype(), **options)
    encode(item, "string-array", "0.2.0")


def frame(group: h5py.Group, index: str, columns: list[str]) -> h5py.Group:
    """Mark a group as a data frame."""
    encode(group, "dataframe", "0.2.0").attrs["_index"] = index
    group.attrs["column-order"] = np.array(columns, dtype=h5py.string_dtype())
    return group


def categorical(group: h5py.Group, name: str, values: list[str]) -> h5py.Dataset:
    """Start a categorical column; returns its growing codes."""
    column = encode(group.create_group(name), "categorical", "0.2.0")
    column.attrs["ordered"] = np.bool_(False)
    text(column, "categories", values)
    smallest = next(dtype for dtype in ("i1", "i2", "i4") if len(values) <= np.iinfo(dtype).max)
    return encode(growing(column, "codes", smallest), "array", "0.2.0")


class CohortWriter:
    """An h5ad written as a stream of cells, readable by anndata (its on-disk format 0.1/0.2).

    Parameters
    ----------
    handle
        An empty HDF5 file open for writing.
    var
        Genes; the index is their id.
    categories
        Column of obs -> its categories; the cells are then appended as codes.
    """

    def __init__(self, handle: h5py.File, var: pd.DataFrame, categories: dict[str, list[str]]):
        self._handle, self._categories = handle, categories
        encode(handle, "anndata", "0.1.0")
        matrix = encode(handle.create_group("X"), "csr_matrix", "0.1.0")
        for name, dtype in (("data", "f4"), ("indices", "i4"), ("indptr", "i8")):
            growing(matrix, name, dtype)
        append(matrix["indptr"], np.zeros(1, dtype=np.int64))
        obs = frame(handle.create_group("obs"), "barcode", [*categories, "is_primary_data"])
        encode(growing(obs, "barcode", h5py.string_dtype()), "string-array", "0.2.0")
        encode(growing(obs, "is_primary_data", bool), "array", "0.2.0")
        for column, values in categories.items():
            categorical(obs, column, values)
        columns = frame(handle.create_group("var"), "feature_id", list(var.columns))
        text(columns, "feature_id", var.index)
        for column in var:
            if var[column].dtype == bool:
                encode(columns.create_dataset(column, data=var[column].to_numpy()), "array", "0.2.0")
            else:
                values = sorted(set(var[column]))
                append(categorical(columns, column, values), pd.Categorical(var[column], values).codes)
        for empty in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            encode(handle.create_group(empty), "dict", "0.1.0")
        for key, value in (
            ("title", "Simulated blood cells of known truth"),
            ("organism", "Homo sapiens"),
            ("X_approximate_distribution", "count"),
        ):
            handle["uns"][key] = value
            encode(handle["uns"][key], "string", "0.2.0")
        self._n_genes = len(var)

    def append(self, counts: sparse.csr_matrix, cell_ids: np.ndarray, codes: dict[str, np.ndarray]) -> None:
        """Append cells: their counts, ids and codes of each categorical column."""
        matrix, obs = self._handle["X"], self._handle["obs"]
        end = matrix["data"].shape[0]
        append(matrix["data"], counts.data.astype(np.float32))
        append(matrix["indices"], counts.indices.astype(np.int32))
        append(matrix["indptr"], counts.indptr[1:].astype(np.int64) + end)
        append(obs["barcode"], cell_ids)
        append(obs["is_primary_data"], np.ones(len(cell_ids), dtype=bool))
        for column in self._categories:
            append(obs[column]["codes"], codes[column])
        matrix.attrs["shape"] = np.array([matrix["indptr"].shape[0] - 1, self._n_genes])
