"""Levels of the columns that describe samples, as text, so that all cell types of a cohort compare the same two."""

import pandas as pd

COHORT_LEVELS = "cohort_levels"  # in uns of a cell type's table: JSON, levels by column
MOST_LEVELS = 100  # of a column that is compared by its levels
OF_ONE_TYPE = ("cell_type", "n_cells", "n_counts")  # what a sample is of one cell type


def as_text(level: object) -> str:
    """A level as people write it: whole numbers without a decimal point."""
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)


def cohort_levels(samples: pd.DataFrame) -> dict[str, list[str]]:
    """The values of each column that has 2 to `MOST_LEVELS` of them, numbers by size and text by the alphabet.

    A cell type may lack a level that the others have. Without the cohort's levels it would take the next one for the
    reference level, and its effects would mean something else than theirs.

    Parameters
    ----------
    samples
        Those of all cell types, analysed or not, so that whether one of them is changes nothing in the others.
    """
    levels = {}
    for column in samples.columns.difference(OF_ONE_TYPE, sort=False):
        values = samples[column].dropna()
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            names = [as_text(float(value)) for value in sorted(values.unique())]
        else:
            names = sorted(set(values.astype(str)) - {""})
        if 2 <= len(names) <= MOST_LEVELS:
            levels[str(column)] = names
    return levels
