"""Cells that are in a file twice: under two names, two donors or two samples their counts are the same to the last.

A library that is listed twice makes two donors of one, who agree in everything (mbourgey/scRNA_GBM#2,
chanzuckerberg/single-cell-curation#703).
"""

import re
from collections.abc import Sequence

import h5py
import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import WHOLE_VALUES, Counts, indptr_of, read_blocks, values_of
from immune_aging.cohort.hostile_names import visible

MIN_GENES = 30  # of a cell: two that differ hardly agree in the counts of so many
MANY = 0.05  # of a file's cells with barcode and number of genes of another: by chance one in ten thousand has
MAX_LISTED = 3
_BARCODE = re.compile(r"[ACGT]{12,}")


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """64-bit numbers that look random, one for each number (splitmix64)."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def fingerprints(file: h5py.File, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """A number for the counts of each cell, equal for cells with equal counts; and how many genes each has.

    The sum of count times a random number of the gene, modulo 2^64.
    """
    of_gene = _mixed(np.arange(counts.n_genes))
    found = np.zeros(counts.n_cells, dtype=np.uint64)
    n_genes = np.zeros(counts.n_cells, dtype=np.int64)
    for rows, columns, block in read_blocks(file, counts):
        values = np.rint(np.nan_to_num(block.data.astype(np.float64))).astype(np.int64)
        products = values.astype(np.uint64) * of_gene[columns][block.indices]
        ends = np.append(np.uint64(0), np.cumsum(products, dtype=np.uint64))[block.indptr]
        found[rows] += np.diff(ends)
        n_genes[rows] += np.diff(np.append(0, np.cumsum(values != 0))[block.indptr])
    return found, n_genes


def barcode_keys(names: Sequence[str], n_genes: np.ndarray) -> np.ndarray:
    """A text for each cell from the barcode in its name and its number of genes; '' without a barcode."""
    found = (_BARCODE.search(name) for name in names)
    return np.array([f"{m[0]} {n}" if m else "" for m, n in zip(found, n_genes, strict=True)], dtype=object)


def _pairs(keys: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells whose key another cell before them has, and that one."""
    places = np.flatnonzero(usable)
    codes = pd.factorize(keys[places])[0]
    _, first = np.unique(codes, return_index=True)
    first_of = places[first[codes]]
    again = first_of != places
    return places[again], first_of[again]


def _said(again: np.ndarray, first: np.ndarray, obs: pd.DataFrame, donor: str, *, sure: bool) -> str:
    names = obs.index.astype(str)
    donors = obs[donor].astype(object) if donor in obs else pd.Series(np.nan, index=obs.index)
    whose = pd.DataFrame({"one": donors.to_numpy()[first], "other": donors.to_numpy()[again]}).dropna().astype(str)
    whose = whose[whose["one"] != whose["other"]]
    between = whose.value_counts().head(MAX_LISTED)
    of_donors = "".join(
        f"; {n} are of donors '{visible(one)}' and '{visible(other)}'" for (one, other), n in between.items()
    )
    how = "have exactly the counts" if sure else "have barcode and number of genes"
    return (
        f"{len(again)} of {len(obs)} cells {how} of another cell ('{visible(names[first[0]])}' and "
        f"'{visible(names[again[0]])}', ...){of_donors}: the same cells count twice, as if they were others; leave one "
        "copy out"
    )


def repeated_cells(file: h5py.File, counts: Counts, obs: pd.DataFrame, *, donor: str) -> list[str]:
    """A note on cells that are there twice.

    The counts of a file of up to `WHOLE_VALUES` values are compared; of a larger one, by cells, the barcodes in their
    names and their numbers of genes, for reading all of it takes too long for a check.

    Parameters
    ----------
    obs
        Cells of the file.
    donor
        Its column of donors.
    """
    n_values = values_of(file, counts).size
    if n_values <= WHOLE_VALUES:
        keys, n_genes = fingerprints(file, counts)
        again, first = _pairs(keys, n_genes >= MIN_GENES)
        return [_said(again, first, obs, donor, sure=True)] if len(again) else []
    if counts.layout != "csr":
        return []
    n_genes = np.diff(indptr_of(file, counts))
    texts = barcode_keys(list(obs.index.astype(str)), n_genes)
    again, first = _pairs(texts, (texts != "") & (n_genes >= MIN_GENES))
    return [_said(again, first, obs, donor, sure=False)] if len(again) > MANY * len(obs) else []
