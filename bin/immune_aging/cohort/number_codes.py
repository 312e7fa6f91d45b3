"""Numbers that stand for a missing value in columns of donors: what programs write for one, and what people do."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from immune_aging.cohort.hostile_names import visible
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR

# What is left of a missing whole number where a reader does not know R's NA_integer_ or pandas's gaps. Beyond
# `LARGEST` are the values with which netCDF, NIfTI and other formats fill gaps: no fact about a person is so large.
SMALLEST_INTEGERS = (float(-(2**31)), float(-(2**63)))
LARGEST = 1e20
# What questionnaires and registries write: 77, 888, 99.9, 9999, -1, -9, -99 (REDCap, SPSS, PLINK).
_STANDS_FOR_NONE = re.compile(r"([789])\1+|-1|-([789])\2*")
MIN_LEVELS = 3  # of other values: what is far from fewer may be a level
MAX_LISTED = 3


def _numbers(donors: pd.DataFrame, own: Sequence[str]) -> Iterator[tuple[str, pd.Series]]:
    """Columns of numbers that are the user's, as floats."""
    for name in donors.columns.difference(list(own), sort=False):
        if pd.api.types.is_numeric_dtype(donors[name]) and not pd.api.types.is_bool_dtype(donors[name]):
            yield name, donors[name].astype(float)


def without_missing_numbers(donors: pd.DataFrame, own: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The table with numbers that can only stand for a missing value as missing ones; and a note on each column.

    Parameters
    ----------
    donors
        One row per donor, or per sample of a donor.
    own
        Columns that are not the user's.
    """
    new, notes, what = {}, [], "samples" if SAMPLE_OF_DONOR in donors else "donors"
    for name, numbers in _numbers(donors, own):
        gone = numbers.isin(SMALLEST_INTEGERS) | (numbers.abs() >= LARGEST)
        if not gone.any():
            continue
        new[name] = numbers.where(~gone)
        listed = ", ".join(f"{value:.10g}" for value in sorted(set(numbers[gone]))[:MAX_LISTED])
        notes.append(
            f"column '{visible(str(name))}': {listed} is no number of a person's and counts as a missing value for "
            f"{gone.sum()} of {len(donors)} {what}"
        )
    return donors.assign(**new), notes


def far_codes(numbers: Sequence[float]) -> list[float]:
    """Numbers that may stand for a missing value: 99, 999, -9 and the like, far outside of all others.

    Negative ones are, where no other number is negative.

    >>> far_codes([20, 24, 31, 999]), far_codes([20, 24, 31, 99, 150]), far_codes([0, 2, 5, -9])
    ([999.0], [], [-9.0])
    """
    known = np.unique(np.asarray([number for number in numbers if np.isfinite(number)], dtype=float))
    is_code = np.array([bool(_STANDS_FOR_NONE.fullmatch(f"{value:g}".replace(".", ""))) for value in known], dtype=bool)
    others = known[~is_code]
    if len(others) < MIN_LEVELS:
        return []
    width = others[-1] - others[0]
    below = others[0] - known > width if others[0] < 0 else known < 0
    return [float(value) for value in known[is_code & ((known - others[-1] > width) | below)]]


def note_far_codes(donors: pd.DataFrame, own: Sequence[str]) -> list[str]:
    """A note per column whose numbers may stand for a missing value; parameters of `without_missing_numbers`."""
    notes = []
    for name, numbers in _numbers(donors, own):
        found = far_codes(numbers.tolist())
        if found:
            rest = numbers[~numbers.isin(found)]
            listed = ", ".join(f"{value:g} ({(numbers == value).sum()})" for value in found)
            notes.append(
                f"column '{visible(str(name))}': {listed} is far from all other values ({rest.min():g} to "
                f"{rest.max():g}) and is taken for a number; leave it empty if it stands for a missing one (number of "
                "donors)"
            )
    return notes
