"""The columns of donors, cell types, ages and sexes as they are analysed, and what was changed in them.

The rules, each in its own module: text that means missing is missing (`missing_text`), hidden characters are written
out (`hostile_names`), spellings of a sex become one (`spellings`), and a cell takes the age or sex that the other cells
of its donor have.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from immune_aging.cohort.age_units import with_units
from immune_aging.cohort.donors import factorized
from immune_aging.cohort.hostile_names import LABELLED, clean_roles
from immune_aging.cohort.missing_text import without_missing_text
from immune_aging.cohort.no_cell_types import note_doubtful_types
from immune_aging.cohort.spellings import note_spelt_alike, with_one_spelling_per_sex


def is_text(column: pd.Series) -> bool:
    """Whether a column holds text, or categories of which any is."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return any(isinstance(level, str) for level in column.cat.categories)
    return not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def as_levels(column: pd.Series) -> pd.Series:
    """A column as categories of text, missing values kept."""
    column = column.astype("category").cat.remove_unused_categories()
    texts = [str(level) for level in column.cat.categories]
    if len(set(texts)) == len(texts):
        return column.cat.rename_categories(texts)
    return column.map(str, na_action="ignore").astype("category")


def filled_within_donors(column: pd.Series, donors: pd.Series) -> tuple[pd.Series, int, int]:
    """A column in which a missing value is that of the donor's other cells, where these have one.

    Returns
    -------
    The column, and how many cells of how many donors were filled in.
    """
    codes, values = factorized(column)
    donor_codes, names = pd.factorize(donors)
    known = (codes >= 0) & (donor_codes >= 0)
    lowest = np.full(len(names), len(values), dtype=np.int64)
    highest = np.full(len(names), -1, dtype=np.int64)
    np.minimum.at(lowest, donor_codes[known], codes[known])
    np.maximum.at(highest, donor_codes[known], codes[known])
    own = np.where(lowest == highest, highest, -1)
    gaps = np.flatnonzero((codes < 0) & (donor_codes >= 0))
    gaps = gaps[own[donor_codes[gaps]] >= 0]
    if not len(gaps):
        return column, 0, 0
    filled = column.astype(object) if isinstance(column.dtype, pd.core.arrays.masked.BaseMaskedDtype) else column.copy()
    filled.iloc[gaps] = pd.Series(values).take(own[donor_codes[gaps]]).to_numpy()
    return filled, len(gaps), len(set(donor_codes[gaps]))


def with_own_text(column: pd.Series, before: pd.Series, donors: pd.Series) -> pd.Series:
    """A column in which donors without any value have the text that they had before, where that was one: 'unknown'."""
    lost = column.isna() & before.notna()
    if not lost.any():
        return column
    alone = donors.isin(set(donors[lost]) - set(donors[column.notna()])) & lost
    several = before[alone].astype(str).groupby(donors[alone].astype(str)).nunique()
    told = alone & ~donors.isin(several.index[several > 1])
    return column.astype(object).where(~told, before.astype(object)).astype("category")


def tidied(obs: pd.DataFrame, columns: Mapping[str, str], *, unit: str = "cells") -> tuple[pd.DataFrame, list[str]]:
    """The table of cells with its donors, cell types, ages and sexes as they are analysed; and notes on every change.

    Parameters
    ----------
    columns
        Name of the column of each role: donor, cell_type, age, sex. One that is not there is passed over, and so are
        age and sex without a column.
    unit
        How notes call the rows.
    """
    named, notes = clean_roles(obs, columns, unit=unit)
    new: dict[str, pd.Series] = {}
    for role, what in LABELLED.items():
        if columns.get(role) in obs:
            new[columns[role]] = labels = named[columns[role]]
            notes += note_spelt_alike(list(labels.cat.categories), what=f"{what}s")
            if role == "cell_type":
                notes += note_doubtful_types(labels.value_counts(sort=False).to_dict(), unit=unit)
    donors = new.get(columns["donor"])
    whose = {"sex": donors, "age": donors}
    if donors is not None and columns.get("sample") in new:  # a donor may have another age in each sample
        samples = new[columns["sample"]]
        both = donors.astype(str) + "|" + samples.astype(str)
        whose["age"] = both.where(donors.notna() & samples.notna())
    for role in ("age", "sex"):
        name = columns.get(role)
        if name is None or name not in obs or name in new:
            continue
        column = obs[name]
        if role == "age":
            column, changes = with_units(column, obs)
            notes += changes
        if is_text(column):
            column, changes = without_missing_text(as_levels(column), what=role, unit=unit)
            notes += changes if role == "sex" else []  # donors without an age are counted elsewhere
        if role == "sex":
            column = as_levels(column)
            column, changes = with_one_spelling_per_sex(column, column=name)
            notes += changes
        if whose[role] is not None:
            column, n_cells, n_donors = filled_within_donors(column, whose[role])
            if n_cells:
                notes.append(
                    f"column '{name}': {n_cells} {unit} of {n_donors} donors have no value and take the one of their "
                    f"donor's other {unit}"
                )
        told = role == "age" and whose["age"] is not None
        new[name] = with_own_text(column, obs[name], whose["age"]) if told else column
    return obs.assign(**new), notes
