"""Whether the sexes that a cohort tells fit the genes that its donors express: XIST in women, genes of Y in men.

A swap of samples shows in every second pair of donors (single-cell-genetics/vireo#47, #117).
"""

from collections.abc import Mapping

import h5py
import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import WHOLE_VALUES, Counts, read_cells, sampled_rows, symbols_of, values_of
from immune_aging.cohort.gene_symbols import without_version
from immune_aging.cohort.hostile_names import visible
from immune_aging.cohort.spellings import FEMALE, MALE
from immune_aging.task.listing import first_of

# By symbol, with Ensembl's ids for files that have these alone. On Y those of the part that does not recombine.
XIST = {"XIST": "ENSG00000229807"}
ON_Y = {
    "RPS4Y1": "ENSG00000129824", "DDX3Y": "ENSG00000067048", "EIF1AY": "ENSG00000198692", "KDM5D": "ENSG00000012817",
    "UTY": "ENSG00000183878", "USP9Y": "ENSG00000114374", "ZFY": "ENSG00000067646", "TMSB4Y": "ENSG00000154620",
}  # fmt: skip
CELLS, PLACES = 4000, 40  # that are looked at
MIN_COUNTS = 10  # of a donor: then all of them on one side are no chance
OTHER_SHARE = 0.1  # of the other sex's genes: so much ambient RNA of a pool leaves
MAX_LISTED = 3


def sex_of_counts(xist: float, on_y: float) -> str:
    """The sex that counts of XIST and of genes on Y show; '' where they show none.

    >>> sex_of_counts(40, 1), sex_of_counts(0, 25), sex_of_counts(30, 30), sex_of_counts(3, 0)
    ('female', 'male', '', '')
    """
    if xist + on_y < MIN_COUNTS:
        return ""
    if on_y <= OTHER_SHARE * xist:
        return FEMALE
    return MALE if xist <= OTHER_SHARE * on_y else ""


def named(var: pd.DataFrame, genes: Mapping[str, str]) -> np.ndarray:
    """Which genes of a table are among some that are given by symbol and id."""
    ids = np.array([without_version(name) for name in var.index.astype(str)], dtype=object)
    return np.isin(symbols_of(var), list(genes)) | np.isin(ids, list(genes.values()))


def counts_by_donor(file: h5py.File, counts: Counts, var: pd.DataFrame, donors: pd.Series) -> pd.DataFrame:
    """Counts of XIST and of genes on Y in some cells, by donor: `xist`, `on_y`; no rows where these tell no sex.

    That is where the file lacks XIST, two genes on Y, or donors of either sex; and where it is a large file by genes,
    of which no cells can be read.

    Parameters
    ----------
    var
        Its genes.
    donors
        The donor of each cell.
    """
    nothing = pd.DataFrame({"xist": [], "on_y": []}, dtype=float)
    is_xist, is_y = named(var, XIST), named(var, ON_Y)
    if not is_xist.any() or is_y.sum() < 2:
        return nothing
    if counts.layout == "csc" and values_of(file, counts).size > WHOLE_VALUES:
        return nothing
    rows = sampled_rows(counts.n_cells, cells=CELLS, places=PLACES)
    block = read_cells(file, counts, cells=CELLS, places=PLACES)
    found = {
        name: np.asarray(block[:, np.flatnonzero(genes)].sum(axis=1)).ravel()
        for name, genes in (("xist", is_xist), ("on_y", is_y))
    }
    table = pd.DataFrame(found).groupby(donors.to_numpy()[rows]).sum()
    shown = {sex_of_counts(row.xist, row.on_y) for row in table.itertuples()}
    return table if {MALE, FEMALE} <= shown else nothing


def sex_doubts(by_donor: pd.DataFrame, sexes: Mapping[str, object]) -> list[str]:
    """A note on donors whose genes show the other sex than the cohort tells.

    Parameters
    ----------
    by_donor
        Counts of `counts_by_donor`, indexed by donor.
    sexes
        'male', 'female' or anything else, by donor.
    """
    wrong = [
        f"'{visible(str(donor))}' ({sexes[donor]}: {row.xist:g} counts of XIST, {row.on_y:g} of genes on Y)"
        for donor, row in by_donor.iterrows()
        if sexes.get(donor) in (MALE, FEMALE) and (shown := sex_of_counts(row.xist, row.on_y)) and shown != sexes[donor]
    ]
    if not wrong:
        return []
    return [
        f"the genes of {len(wrong)} of {len(by_donor)} donors show the other sex than the cohort tells: "
        f"{first_of(wrong, MAX_LISTED)}; check that samples are not swapped, and that the sexes are written right"
    ]
