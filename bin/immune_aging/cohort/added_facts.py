"""Facts that lie beside a cohort's file: compared with what the file says, and joined to its cells."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.cohort.ages import read_age, unit_of_column
from immune_aging.cohort.donors import OWN_COLUMNS, at_32_bits, factorized
from immune_aging.cohort.hostile_names import LABELLED, visible
from immune_aging.cohort.missing_text import means_missing
from immune_aging.cohort.plain_table import typed
from immune_aging.cohort.spellings import plain, sexes_read

MAX_PLACES = 3
_LONG = re.compile(r"[+-]?\d{16,}")  # ids of more digits than a float keeps
# How a message calls columns whose missing values may be text.
_WHAT = {"donor": "donor", "cell_type": "cell type", "age": "age", "sex": "sex"}


@dataclass(frozen=True)
class Facts:
    """What is told of donors, samples or files.

    Attributes
    ----------
    where
        How messages call the table.
    rows
        One row for each, text; None where nothing is told. Only what is told, not whom it is told of.
    names
        How a message calls each row, like "donor 'D1'".
    places
        Where in the table each row stands, like "line 3".
    """

    where: str
    rows: pd.DataFrame
    names: np.ndarray
    places: np.ndarray


def is_missing(value: object, role: str) -> bool:
    """Whether a value is missing; in the columns of `tidy_labels` text that means missing is."""
    if value is None or pd.isna(value):
        return True
    return role in _WHAT and isinstance(value, str) and means_missing(value, what=_WHAT[role])


def same_fact(one: object, two: object, *, role: str = "", column: str = "") -> bool:
    """Whether two values say the same, once they are read as the pipeline reads them.

    Numbers are compared as numbers of 32 bits, ages as ages, sexes as sexes, and other text without case and blanks at
    its ends.

    Parameters
    ----------
    role
        What the column holds: 'age', 'sex' or anything else.
    column
        Its name, which may tell the unit of ages.

    >>> same_fact(45.0, "45"), same_fact("F", "female", role="sex"), same_fact("45-year-old stage", "45", role="age")
    (True, True, True)
    """
    if role == "age":
        per_year, _ = unit_of_column(column)
        ages = [read_age(_plain_value(value), per_year=per_year) for value in (one, two)]
        if ages[0] is not None and ages[1] is not None:
            bounds = [at_32_bits(np.array([age.years, age.low, age.high])) for age in ages if age is not None]
            return bool((bounds[0] == bounds[1]).all())
    if role == "sex":
        texts = [str(value) for value in (one, two)]
        read = sexes_read(dict.fromkeys(texts, 1))
        return plain(read[texts[0]]) == plain(read[texts[1]])
    if not any(_LONG.fullmatch(str(value)) for value in (one, two)):
        with contextlib.suppress(ValueError):
            numbers = at_32_bits(np.array([_number(one), _number(two)]))
            return bool(numbers[0] == numbers[1])
    return plain(str(one)) == plain(str(two))


def _number(value: object) -> float:
    """A number of any type, or of text, also with a decimal comma; `ValueError` where it is none."""
    return float(re.sub(r"(?<=\d),(?=\d+$)", ".", str(value)))


def _plain_value(value: object) -> object:
    if isinstance(value, np.floating) and value.itemsize < 8:
        return float(str(value))  # 26.3 of 32 bits is 26.299999237 in 64
    return value.item() if isinstance(value, np.generic) else value


def contradictions(
    column: pd.Series, told: pd.Series, rows: np.ndarray, facts: Facts, *, role: str, unit: str
) -> list[str]:
    """A text for a column that says something else than the facts, with the first places; none where all agree.

    Parameters
    ----------
    column
        What the file says of each cell.
    told
        What the facts say, by row of `facts`.
    rows
        The row of `facts` of each cell, -1 for none.
    """
    codes, values = factorized(column)
    known = (rows >= 0) & (codes >= 0)
    pairs, n_cells = np.unique(np.stack([rows[known], codes[known]]).astype(np.int64), axis=1, return_counts=True)
    wrong = [
        (row, values[code], n)
        for (row, code), n in zip(pairs.T, n_cells, strict=True)
        if not is_missing(told.iloc[row], role)
        and not is_missing(values[code], role)
        and not same_fact(values[code], told.iloc[row], role=role, column=str(column.name))
    ]
    if not wrong:
        return []
    listed = "; ".join(
        f"{facts.names[row]}: '{visible(str(told.iloc[row]))}' in {facts.places[row]}, '{visible(str(value))}' in {n} "
        f"{unit} of the file"
        for row, value, n in wrong[:MAX_PLACES]
    )
    more = f"; and {len(wrong) - MAX_PLACES} more" if len(wrong) > MAX_PLACES else ""
    return [
        f"{facts.where}: column '{visible(str(column.name))}' contradicts the file ({listed}{more}); correct the one "
        "that is wrong, or leave the column out"
    ]


def filled(column: pd.Series, told: pd.Series, rows: np.ndarray, *, role: str) -> tuple[pd.Series, int]:
    """A column whose missing values are those of the facts, where these have one; and how many were filled in."""
    codes, values = factorized(column)
    gone = np.array([is_missing(value, role) for value in values] + [True], dtype=bool)[codes]
    has = np.array([not is_missing(value, role) for value in told] + [False], dtype=bool)[rows]
    gaps = np.flatnonzero(gone & has)
    if not len(gaps):
        return column, 0
    new = told.iloc[rows[gaps]]
    numbers, read = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column), typed(told)
    if numbers and pd.api.types.is_numeric_dtype(read):
        out = column.astype(float)
        out.iloc[gaps] = read.iloc[rows[gaps]].astype(float).to_numpy()
        return out, len(gaps)
    out = column.astype(object)
    out.iloc[gaps] = new.to_numpy()
    out = out.map(lambda value: value if pd.isna(value) else str(value))
    return out.astype("category"), len(gaps)


def spread(told: pd.Series, rows: np.ndarray, *, role: str = "") -> pd.Series:
    """What the facts say, as a column of cells: numbers or categories, missing where they say nothing.

    Names of donors, samples and cell types stay text: 1.1 and 1.10 are two donors.
    """
    column = told.astype("category") if role in LABELLED else typed(told)
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = np.append(column.cat.codes.to_numpy(), -1)[rows]
        return pd.Series(pd.Categorical.from_codes(codes, column.cat.categories))
    known = np.append(column.notna().to_numpy(), False)[rows]
    values = np.append(column.astype(float).fillna(0).to_numpy(), 0.0)[rows]
    if column.dtype == "Int64" and known.all():
        return pd.Series(column.to_numpy(dtype=np.int64, na_value=0)[rows])
    if column.dtype == "Int64":
        return pd.Series(pd.array(values.astype(np.int64), dtype="Int64")).mask(~known)
    return pd.Series(np.where(known, values, np.nan))


def joined(
    obs: pd.DataFrame, facts: Facts, rows: np.ndarray, columns: Mapping[str, str], *, unit: str = "cells"
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The table of cells with what the facts add to it.

    Parameters
    ----------
    rows
        The row of `facts` of each cell, -1 for none.
    columns
        Name of the column of each role.
    unit
        How messages call the rows of `obs`.

    Returns
    -------
    The table; what contradicts it; notes on values that were filled in and on columns that are left out.
    """
    roles = {name: role for role, name in columns.items()}
    new: dict[str, pd.Series] = {}
    problems: list[str] = []
    notes: list[str] = []
    for name in facts.rows:
        told, role = facts.rows[name], roles.get(name, "")
        if name in OWN_COLUMNS and not role:
            notes.append(f"{facts.where}: column '{name}' is left out: tables of the run have one of that name")
        elif name not in obs:
            new[name] = spread(told, rows, role=role).set_axis(obs.index)
        else:
            problems += contradictions(obs[name], told, rows, facts, role=role, unit=unit)
            new[name], n_filled = filled(obs[name], told, rows, role=role)
            if n_filled:
                notes.append(f"{facts.where}: column '{visible(name)}' fills in {n_filled} {unit} without a value")
    return obs.assign(**new), problems, notes
