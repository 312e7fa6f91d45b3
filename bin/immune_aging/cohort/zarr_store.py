"""Zarr stores that anndata wrote: copied into an h5ad, array by array, block by block, for both have one layout."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from immune_aging.cohort.archives import left_by_macos
from immune_aging.cohort.cohort_file import ANEW
from immune_aging.task.checkpoints import atomic_path, fast_filters
from immune_aging.task.command_line import BadInput

# What is read of a cohort; embeddings and graphs are not.
NEEDED = ("obs", "var", "X", "layers", "raw", "raw.X", "raw.var", "uns")
METADATA = (".zgroup", ".zarray", "zarr.json")
BLOCK_VALUES = 4_000_000
CHUNK = 131_072
# Attributes that tell how anndata lays out tables and matrices.
ATTRIBUTES = (
    "encoding-type",
    "encoding-version",
    "shape",
    "_index",
    "column-order",
    "ordered",
    "h5sparse_format",
    "h5sparse_shape",
)


def store_in(folder: Path) -> Path | None:
    """The zarr store that a folder is, or the first one in it; None where there is none."""
    if any((folder / name).is_file() for name in METADATA):
        return folder
    found = [path for name in METADATA for path in folder.rglob(name) if not left_by_macos(path.relative_to(folder))]
    inside = sorted((path.parent for path in found), key=lambda path: len(path.parts))
    return inside[0] if inside else None


def refuse_code(store: Path, where: str) -> None:
    """Raise `BadInput` if an array of the store is encoded as pickles, which run code when they are read."""
    for name in (".zarray", "zarr.json"):
        for path in store.rglob(name):
            try:
                text = json.dumps(json.loads(path.read_text(encoding="utf-8")))
            except ValueError as error:
                raise BadInput(f"{where}: {path.relative_to(store)}: is damaged ({error}); {ANEW}") from error
            if "pickle" in text.casefold():
                raise BadInput(
                    f"{where}: {path.relative_to(store).parent}: holds pickles; write the store with anndata"
                )


def _copy_attributes(source: Any, target: h5py.Group | h5py.Dataset) -> None:
    attributes = dict(source.attrs)
    for name in ATTRIBUTES:
        value = attributes.get(name)
        if name in ("shape", "h5sparse_shape") and value is not None:
            target.attrs[name] = np.array(value, dtype=np.int64)
        elif name == "column-order" and value is not None:
            target.attrs[name] = np.array(value, dtype=h5py.string_dtype())
        elif isinstance(value, str | bool):
            target.attrs[name] = np.bool_(value) if isinstance(value, bool) else value


def _copy_array(source: Any, group: h5py.Group, name: str) -> None:
    """Copy an array of numbers or text, block by block; of another kind none is needed."""
    kind = source.dtype.kind
    text = kind in "OUT"
    if source.ndim == 0:
        value = source[()]
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, str | int | float | bool):
            group.create_dataset(name, data=value)
        return
    if source.ndim > 2 or kind not in "biufOUTS":
        return
    filters = {} if text or 0 in source.shape else fast_filters()
    width = int(np.prod(source.shape[1:])) or 1
    chunks = None if 0 in source.shape else (min(source.shape[0], max(1, CHUNK // width)), *source.shape[1:])
    target = group.create_dataset(
        name, source.shape, dtype=h5py.string_dtype() if text else source.dtype, chunks=chunks, **filters
    )
    step = max(1, BLOCK_VALUES // width)
    for start in range(0, source.shape[0], step):
        values = source[start : start + step]
        target[start : start + step] = (
            np.array(["" if value is None else str(value) for value in values], dtype=object) if text else values
        )
    _copy_attributes(source, target)


def _copy(source: Any, group: h5py.Group, name: str) -> None:
    import zarr

    if isinstance(source, zarr.Array):
        _copy_array(source, group, name)
        return
    target = group.create_group(name)
    _copy_attributes(source, target)
    for key in sorted(source.keys()):
        _copy(source[key], target, key)


def write_from_zarr(store: Path, path: Path, where: str) -> None:
    """Write what a cohort needs of a zarr store as h5ad.

    Raises
    ------
    BadInput
        It is no store of an AnnData, cannot be read, or holds pickles.
    """
    import zarr

    refuse_code(store, where)
    try:
        root = zarr.open_group(str(store), mode="r", use_consolidated=False)
    except Exception as error:  # of what a store lacks zarr raises whatever it stumbles over
        raise BadInput(
            f"{where}: is no zarr store of an AnnData ({str(error).splitlines()[0][:120]}); {ANEW}"
        ) from error
    missing = [name for name in ("obs", "var") if name not in root]
    if missing:
        raise BadInput(f"{where}: the zarr store has no '{missing[0]}' table; write it with anndata's write_zarr")
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name in NEEDED:
            if name not in root:
                continue
            try:
                _copy(root[name], file, name)
            except Exception as error:  # as above
                if isinstance(error, BadInput):
                    raise
                said = str(error).splitlines()[0][:120] if str(error) else ""
                raise BadInput(f"{where}: {name}: cannot be read ({type(error).__name__}: {said}); {ANEW}") from error
