"""The tables of cells of several files as one: every column that any file has, names of cells that stay apart."""

from collections.abc import Sequence

import h5py
import numpy as np
import pandas as pd

from immune_aging.cohort.donors import LARGEST_WHOLE
from immune_aging.cohort.hostile_names import visible
from immune_aging.task.h5ad_stream import append, categorical, encode, frame, text
from immune_aging.task.listing import first_of

MAX_LISTED, MAX_COLUMNS = 3, 10
MANY = 0.2  # of the cells of a file that another file names, too: by chance one or two barcodes of 10x in a hundred are


def unique_names(
    names: Sequence[pd.Index], donors: Sequence[pd.Series | None], labels: Sequence[str]
) -> tuple[list[pd.Index], list[str]]:
    """Names of the cells of each file that are no other cell's; and a note where the file's label was added to them.

    Barcodes of libraries repeat: equal names in two files are two cells.

    Parameters
    ----------
    donors
        Of the cells of each file; None where it does not tell.
    labels
        A short name of each file, all different.
    """
    whole = pd.Index(np.concatenate([index.to_numpy(dtype=object) for index in names]))
    repeated = whole[whole.duplicated(keep=False)]
    if not len(repeated):
        return list(names), []
    again = [index.isin(repeated) for index in names]
    new = [
        pd.Index([f"{name}-{label}" for name in index]) if found.any() else index
        for index, label, found in zip(names, labels, again, strict=True)
    ]
    n_names, n_files = repeated.nunique(), sum(found.any() for found in again)
    notes = [
        f"{n_names} names of cells occur in more than one file; the cells are told apart by the name of their file, "
        f"which is added to all names of {n_files} files ('{new[int(np.argmax([f.any() for f in again]))][0]}', ...)"
    ]
    keys = [
        index.to_numpy(dtype=object)
        if donor is None
        else np.array([f"{name}|{whose}" for name, whose in zip(index, donor.astype(str), strict=True)], dtype=object)
        for index, donor in zip(names, donors, strict=True)
    ]
    all_keys = pd.Index(np.concatenate(keys))
    twice = set(all_keys[all_keys.duplicated(keep=False)])
    many = [
        label
        for key, label in zip(keys, labels, strict=True)
        if len(key) and sum(one in twice for one in key) > MANY * len(key)
    ]
    if len(many) > 1:
        notes.append(
            f"more than {100 * MANY:.0f} % of the cells of {', '.join(map(repr, many[:MAX_LISTED]))} have the name and "
            "the donor of a cell of another file: if they are the same cells, they count twice; give them in one file"
        )
    return new, notes


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _is_long(column: pd.Series) -> bool:
    """Whether a column holds whole numbers that a float, which has room for gaps, would change: ids of 18 digits."""
    return pd.api.types.is_integer_dtype(column) and bool((column.dropna().abs() > LARGEST_WHOLE).any())


def levels_as_text(column: pd.Series) -> pd.Series:
    """A column as categories of text; whole numbers without a decimal point."""
    if isinstance(column.dtype, pd.core.arrays.masked.BaseMaskedDtype):  # pandas would set what is masked
        column = column.astype(object)
    values = column.astype("category")
    levels = [
        str(int(level)) if isinstance(level, float | np.floating) and level % 1 == 0 else str(level)
        for level in values.cat.categories
    ]
    place = {level: number for number, level in enumerate(sorted(set(levels)))}
    codes = np.array([place[level] for level in levels] + [-1], dtype=np.int64)[values.cat.codes.to_numpy()]
    return pd.Series(pd.Categorical.from_codes(codes, list(place)), index=column.index, name=column.name)


def one_column(parts: Sequence[pd.Series | None], sizes: Sequence[int]) -> tuple[pd.Series, bool]:
    """A column of all cells from that of each file, None where a file has none; and whether numbers became text.

    It is numeric, or true and false, where it is so in all files that have it; else categories of text. So are whole
    numbers that have more digits than a float keeps, where there are gaps or fractions.
    """
    there = [part for part in parts if part is not None]
    numbers = all(_is_number(part) for part in there)
    whole = all(part is not None and not part.isna().any() and pd.api.types.is_integer_dtype(part) for part in parts)
    if numbers and (whole or not any(map(_is_long, there))):
        kind = np.int64 if whole else float
        blocks = [
            np.full(size, np.nan) if part is None else part.astype(kind).to_numpy()
            for part, size in zip(parts, sizes, strict=True)
        ]
        return pd.Series(np.concatenate(blocks)), False
    if all(part is not None and pd.api.types.is_bool_dtype(part) and not part.isna().any() for part in parts):
        return pd.Series(np.concatenate([part.to_numpy(dtype=bool) for part in there])), False
    texts = [None if part is None else levels_as_text(part.reset_index(drop=True)) for part in parts]
    levels = sorted({level for part in texts if part is not None for level in part.cat.categories})
    codes = [
        np.full(size, -1, dtype=np.int64) if part is None else part.cat.set_categories(levels).cat.codes.to_numpy()
        for part, size in zip(texts, sizes, strict=True)
    ]
    mixed = not numbers and any(_is_number(part) for part in there)
    return pd.Series(pd.Categorical.from_codes(np.concatenate(codes), levels)), mixed


def one_table(
    tables: Sequence[pd.DataFrame], names: Sequence[pd.Index], labels: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The tables of cells one after another, with every column that any of them has; and notes on those that differ.

    Parameters
    ----------
    names
        The names that the cells of each file get.
    labels
        How notes call the files.
    """
    sizes = [len(table) for table in tables]
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    found: dict[str, pd.Series] = {}
    lacking: dict[tuple[str, ...], list[str]] = {}
    mixed: list[str] = []
    for column in columns:
        parts = [table.get(column) for table in tables]
        found[column], is_mixed = one_column(parts, sizes)
        mixed += [column] if is_mixed else []
        without = [label for label, part in zip(labels, parts, strict=True) if part is None]
        if without:
            lacking.setdefault(tuple(without), []).append(column)
    notes = [
        f"{_columns(have_not)} of cells {'is' if len(have_not) == 1 else 'are'} in some files alone, and missing for "
        f"the cells of {first_of([*map(repr, files)], MAX_LISTED, what='files')}"
        for files, have_not in lacking.items()
    ]
    if mixed:
        verbs = ("holds", "is") if len(mixed) == 1 else ("hold", "are")
        notes.append(
            f"{_columns(mixed)} of cells {verbs[0]} numbers in some files and text in others, and {verbs[1]} taken for "
            "text"
        )
    index = pd.Index(np.concatenate([name.to_numpy(dtype=object) for name in names]))
    return pd.DataFrame(found).set_axis(index), notes


def _columns(columns: Sequence[str]) -> str:
    names = [repr(visible(str(column))) for column in columns]
    return f"column{'s' if len(columns) > 1 else ''} {first_of(names, MAX_COLUMNS)}"


def write_table(file: h5py.File, name: str, table: pd.DataFrame, *, filters: dict) -> None:
    """Write a table of numbers, truth values and categories of text in anndata's encoding; its index names the rows."""
    index = "_index"
    while index in table:
        index = f"_{index}"
    group = frame(file.create_group(name), index, [str(column) for column in table.columns])
    text(group, index, table.index, filters=filters)
    for column in table:
        values = table[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            append(categorical(group, str(column), list(values.cat.categories)), values.cat.codes.to_numpy())
            continue
        options = filters if len(values) else {}
        encode(group.create_dataset(str(column), data=values.to_numpy(), **options), "array", "0.2.0")
