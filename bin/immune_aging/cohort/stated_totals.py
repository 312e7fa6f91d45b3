"""Columns of cells that tell their number of counts, compared with the sums of the matrix that is taken for the counts.

They differ where genes were left out, counts corrected for ambient RNA, or the matrix holds something else.
"""

from collections.abc import Sequence

import h5py
import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import WHOLE_VALUES, Counts, indptr_of
from immune_aging.cohort.hostile_names import visible
from immune_aging.cohort.spellings import letters_and_digits
from immune_aging.cohort.table_encodings import column_names, read_column

# Letters and digits of names in lower case: Seurat, Scanpy before and after 1.4.4, Bioconductor's scater, CELLxGENE.
NAMES = frozenset(
    (
        "ncountrna", "ncountoriginalexp", "totalcounts", "ncounts", "numi", "numis", "totalumi", "totalumis", "umis",
        "umicount", "umicounts", "sum", "total", "rawsum", "librarysize", "libsize",
    )
)  # fmt: skip
OFF = 0.05  # of the stated number: filters of rarely expressed genes after it was computed take less
SOME = 0.1  # of the cells that are looked at


def complete(file: h5py.File, counts: Counts) -> bool:
    """Whether `read_cells` reads whole cells of a matrix, and not some genes of it alone."""
    return counts.layout != "csc" or int(indptr_of(file, counts)[-1]) <= WHOLE_VALUES


def contradiction(stated: np.ndarray, totals: Sequence[np.ndarray]) -> str:
    """How the stated numbers of counts differ from those of the matrix; '' where they agree.

    Parameters
    ----------
    stated
        One per cell, NaN where none is.
    totals
        The sums of the matrix by cell, in any of the ways that may be meant: the way that fits best counts.

    >>> contradiction(np.array([100.0, 200.0]), [np.array([50.0, 101.0])])
    '100 % of the cells that were looked at have another sum (median 0.50 of it)'
    """
    known = np.isfinite(stated) & (stated > 0)
    if not known.any():
        return ""
    ratios = [total[known] / stated[known] for total in totals]
    best = min(ratios, key=lambda ratio: float((np.abs(ratio - 1) > OFF).mean()))
    off = np.abs(best - 1) > OFF
    if off.mean() <= SOME:
        return ""
    median = float(np.median(best[off]))
    return f"{100 * off.mean():.0f} % of the cells that were looked at have another sum (median {median:.2f} of it)"


def doubts_of_totals(file: h5py.File, rows: np.ndarray, totals: Sequence[np.ndarray], *, layer: str) -> list[str]:
    """A note per column of cells that tells another number of counts than the matrix holds.

    Parameters
    ----------
    rows
        The cells that were looked at.
    totals
        As of `contradiction`, of these cells.
    layer
        The name of the matrix.
    """
    table, notes = file["obs"], []
    for name in column_names(file, "obs"):
        if letters_and_digits(name) not in NAMES:
            continue
        try:
            values = table[name][()] if isinstance(table, h5py.Dataset) else read_column(file, table, name)
        except (ValueError, KeyError, OSError):  # it is named where it is needed
            continue
        values = np.asarray(values)
        if values.dtype.kind not in "iuf" or len(values) <= rows.max(initial=-1):
            continue
        if said := contradiction(pd.Series(values[rows]).astype(float).to_numpy(), totals):
            notes.append(
                f"column '{visible(name)}' does not tell the counts of {layer}: {said}: genes may be left out, counts "
                "corrected, or these are no raw counts of all genes"
            )
    return notes
