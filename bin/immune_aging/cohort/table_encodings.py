"""Tables of cells and genes in every encoding that anndata 0.6 and later and writers in R and Julia have produced.

anndata reads what it knows. What it cannot read as a whole is read column by column, and a column that nothing can read
is named and left out: a strange one beside it is no reason to refuse a cohort.
"""

import h5py
import numpy as np
import pandas as pd

# Encodings of columns that are groups.
KNOWN_PARTED = ("categorical", "nullable-integer", "nullable-boolean", "nullable-string-array")
UNREADABLE = "unreadable"  # of a table's attrs: columns that were left out, and why


def as_text(value: object) -> str:
    """Text from an attribute or a value, which some writers give as bytes, or as an array of one."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def index_name(group: h5py.Group) -> str:
    """Name of the dataset that holds a table's row names."""
    name = as_text(group.attrs.get("_index", "_index"))
    return name if name in group or "index" not in group else "index"  # Seurat converters


def _is_column(node: h5py.Group | h5py.Dataset) -> bool:
    """Whether a node is a column, and no group that a '/' in a column's name has made."""
    if isinstance(node, h5py.Dataset) or not len(node):
        return True
    return any(name in node.attrs for name in ("encoding-type", "categories")) or bool(
        {"codes", "values", "categories", "levels"} & set(node)
    )


def _paths(group: h5py.Group, prefix: str = "") -> list[str]:
    """Names of a table's columns: a name with '/' has become a group in a group (scverse/anndata#321, #1834)."""
    found = []
    for name, node in group.items():
        if not prefix and name in ("__categories", index_name(group)):
            continue
        if _is_column(node):
            found.append(prefix + name)
        else:
            found += _paths(node, f"{prefix}{name}/")
    return found


def _index_field(names: tuple[str, ...]) -> str:
    """The field of a compound table that names the rows."""
    return next((name for name in ("index", "_index", "cell_id", "gene_id") if name in names), names[0])


def column_names(file: h5py.File, path: str) -> list[str]:
    """Names of the columns of obs or var, without the row names, in the table's own order."""
    table = file[path]
    if isinstance(table, h5py.Dataset):
        names = table.dtype.names or ()
        return [name for name in names if name != _index_field(names)]
    there = _paths(table)
    order = [as_text(name) for name in np.ravel(table.attrs.get("column-order", []))]
    return [name for name in dict.fromkeys(order) if name in there] + [name for name in there if name not in order]


def decoded(values: np.ndarray) -> np.ndarray:
    """Text of any encoding as str; numbers as they are."""
    values = np.asarray(values)
    if values.dtype.kind == "S" or (
        values.dtype.kind == "O" and any(isinstance(value, bytes) for value in values.flat)
    ):
        return np.array([_decoded(value) for value in values.ravel()], dtype=object).reshape(values.shape)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _decoded(value: object) -> object:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def holds_bytes(table: pd.DataFrame) -> bool:
    """Whether text of a table, or its row names, came as bytes."""

    def first(values: pd.Series | pd.Index) -> object:
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.cat.categories if isinstance(values, pd.Series) else values.categories
        return values.to_numpy()[0] if len(values) and values.dtype == object else None

    return any(isinstance(first(values), bytes) for values in [*(table[name] for name in table), table.index])


def known_to_anndata(group: h5py.Group) -> bool:
    """Whether every column is one of values, or says what its parts are: of others anndata makes a dictionary.

    Categories in a group of their own (anndata 0.7) it takes only from a table that says so in its version.
    """
    if "__categories" in group:
        return False
    nodes = [group[name] for name in _paths(group)]
    return all(
        as_text(node.attrs.get("encoding-type", "")) in KNOWN_PARTED
        if isinstance(node, h5py.Group)
        else node.shape is not None and node.ndim == 1
        for node in nodes
    )


def categorical(codes: np.ndarray, levels: np.ndarray) -> pd.Categorical:
    """Categories from codes; codes beyond the levels are missing, levels that are given twice become one."""
    codes, levels = np.asarray(codes).astype(np.int64), np.atleast_1d(decoded(levels))
    codes = np.where((codes >= 0) & (codes < len(levels)), codes, -1)
    places, unique = pd.factorize(pd.Series(levels, dtype=object) if levels.dtype.kind == "O" else levels)
    codes = np.where(codes >= 0, np.append(places, -1)[codes], -1)
    return pd.Categorical.from_codes(codes, pd.Index(unique))


def read_column(file: h5py.File, group: h5py.Group, name: str) -> np.ndarray | pd.Categorical:
    """One column, by whatever of its parts is there.

    Raises
    ------
    ValueError, KeyError, OSError
        It cannot be read, or does not hold one value per row.
    """
    node = group[name]
    if isinstance(node, h5py.Dataset):
        if node.shape is None or node.ndim != 1:
            raise ValueError("no values" if node.shape is None else f"{node.ndim} dimensions")
        levels = node.attrs.get("categories")
        if isinstance(levels, h5py.Reference):
            return categorical(node[:], file[levels][()])
        if "__categories" in group and name in group["__categories"]:
            return categorical(node[:], group["__categories"][name][()])
        return decoded(node[:])
    if "levels" in node and "values" in node:  # factors of Seurat's converters count from 1
        return categorical(node["values"][:].astype(np.int64) - 1, node["levels"][()])
    encoding = as_text(node.attrs.get("encoding-type", "of no name"))
    if "codes" in node or encoding == "categorical":
        levels = node["categories"]
        levels = levels if isinstance(levels, h5py.Dataset) else levels["values"]
        return categorical(node["codes"][:], levels[()])
    if "values" in node and "mask" in node:
        return pd.Series(decoded(node["values"][:]), dtype=object).mask(node["mask"][:].astype(bool)).to_numpy()
    raise ValueError(f"its encoding is '{encoding}'")


def compound_table(file: h5py.File, table: h5py.Dataset) -> pd.DataFrame:
    """A table of anndata before 0.7: one compound dataset, categories in `uns`."""
    values, names = table[()], table.dtype.names or ()
    if not names:
        raise ValueError("is no table")
    columns = {}
    for name in names:
        levels = file.get(f"uns/{name}_categories")
        columns[name] = decoded(values[name]) if levels is None else categorical(values[name], levels[()])
    found = pd.DataFrame(columns)
    return found.set_index(_index_field(names)).rename_axis(None)


def table_by_columns(file: h5py.File, path: str) -> pd.DataFrame:
    """A table whose columns are read one by one; `attrs['unreadable']` says which could not be, and why."""
    group = file[path]
    index = pd.Index(decoded(group[index_name(group)][:])).astype(str)
    columns, unreadable = {}, {}
    for name in column_names(file, path):
        try:
            column = read_column(file, group, name)
            if len(column) != len(index):
                raise ValueError(f"{len(column)} values for {len(index)} rows")
            columns[name] = column
        except Exception as error:  # of a damaged column the readers raise whatever they stumble over
            unreadable[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    table = pd.DataFrame(columns, index=index)
    table.attrs[UNREADABLE] = unreadable
    return table
