"""Text that stands for a missing value, and the levels of a column that hold it."""

import re
from collections.abc import Iterable

import pandas as pd

from immune_aging.cohort.no_cell_types import is_no_type

# In lower case, blanks at the ends removed. What pandas, R, Excel, SQL and CELLxGENE write for a missing value, and
# what people write. `str(None)` and `str(nan)` come from `astype(str)` (scverse/scirpy#8, interactivereport/
# cellxgene_VIP#63); 'unknown' and 'na' are CELLxGENE's (chanzuckerberg/single-cell-curation#285).
MISSING_TEXT = frozenset(
    (
        "", "nan", "na", "n/a", "n.a.", "n.a", "#n/a", "#na", "<na>", "na_character_", "none", "null", "nat", "nil",
        "missing", "(missing)", "unknown", "unkown", "unknow", "unk", "undefined", "undetermined", "indeterminate",
        "not available", "not_available", "notavailable", "not applicable", "not_applicable", "not provided",
        "not_provided", "not collected", "not_collected", "not reported", "not_reported", "not recorded",
        "not determined", "not_determined", "not known", "not specified", "unspecified", "unavailable", "no data",
        "#ref!", "#value!", "#div/0!", "#name?", "#num!", "#null!",
        "nd", "n.d.", "blank", "empty", "-", "--", "---", "_", ".", "..", "?", "??", "???",
    )
)  # fmt: skip
# What demultiplexers (vireo, demuxlet, souporcell, freemuxlet, HTODemux, hashsolo, GMM-demux, Cell Ranger multi,
# BD Rhapsody) write instead of a donor.
NO_DONOR = frozenset(
    (
        "unassigned", "unassign", "doublet", "doublets", "dbl", "multiplet", "multiplets", "multiseq", "amb",
        "ambiguous", "negative", "negatives", "uncertain", "unmapped", "no donor", "inconclusive", "blanks", "no hash",
        "nohash", "no hashtag", "no tag", "notag", "no match", "no call", "not assigned", "notassigned", "unmatched",
        "not called", "unknown donor", "low quality", "lowquality", "debris", "singlet", "singlets",
        "pool", "pooled", "pooled donors", "pooled samples", "pool of donors", "multiple", "multiple donors", "mixed",
        "mixed donors", "several donors",
    )
)  # fmt: skip
# Of these, words that may have the name of a pool or of two donors beside them: 'pool1_doublet', 'Doublet_D1_D2'.
_NO_DONOR_WORD = re.compile(r"(?:.+[\W_])?(?:doublets?|multiplets?|unassigned)(?:[\W_].+)?", re.IGNORECASE | re.DOTALL)
# demuxlet and freemuxlet join their call and two donors: DBL-S1-S2-0.500, AMB-S1-S2-S1/S2 (statgen/demuxlet#70).
_DEMUXLET_NO_DONOR = re.compile(r"DBL-.+-.+-[01]?\.\d+|AMB-.+-.+-.+/.+|(?P<one>.+),(?!(?P=one),).+,[01]?\.\d+")
# What annotators (CellTypist, SingleR, Azimuth, scType, by hand) write instead of a cell type, besides what
# `no_cell_types` tells by its words.
NO_CELL_TYPE = frozenset(("not assigned", "no label", "pruned"))
# Of a sample 'none', 'blank' and '-' may be the untreated one.
NO_SAMPLE = frozenset(("", "nan", "na", "n/a", "#n/a", "<na>", "na_character_", "null", "missing"))
FURTHER_TEXT = {"donor": NO_DONOR, "cell type": NO_CELL_TYPE}
# Between the donors of one droplet: 'donor0,donor3', '0/3' (vireo, souporcell), 'CMO301|CMO302' (Cell Ranger),
# 'HTO-A_HTO-B' (HTODemux), 'HTO_1-HTO_2' (GMM-Demux).
_BETWEEN_NAMES = re.compile(r"\s*[,/+&;|_-]\s*")


def means_missing(text: str, *, what: str = "") -> bool:
    """Whether a text stands for a missing value; `what` is 'donor' or 'cell type' where more texts do.

    >>> means_missing(" NaN "), means_missing("doublet"), means_missing("doublet", what="donor")
    (True, False, True)
    """
    plain = re.sub(r"\s+", " ", text.strip().casefold())
    if what == "sample":
        return plain in NO_SAMPLE
    further = FURTHER_TEXT.get(what, frozenset())
    if plain in MISSING_TEXT or plain in further or re.sub(r"[\s_-]+", " ", plain) in further:
        return True
    if what == "cell type":
        return is_no_type(text)
    return what == "donor" and bool(_NO_DONOR_WORD.fullmatch(text.strip()) or _DEMUXLET_NO_DONOR.fullmatch(text))


def names_of_several(names: Iterable[str]) -> set[str]:
    """Names that join two or more others of them, as demultiplexers name doublets.

    >>> sorted(names_of_several(["A", "B", "C", "A,B", "A_B_C", "D_A", "A/A"]))
    ['A,B', 'A_B_C']
    """
    known = set(names)

    def parts(name: str) -> list[str] | None:
        if name in known:
            return [name]
        for match in _BETWEEN_NAMES.finditer(name):
            if name[: match.start()] in known and (rest := parts(name[match.end() :])):
                return [name[: match.start()], *rest]
        return None

    found = set()
    for name in known:
        for match in _BETWEEN_NAMES.finditer(name):
            first, rest = name[: match.start()], parts(name[match.end() :])
            if first in known and rest and first not in rest:
                found.add(name)
                break
    return found


def without_missing_text(labels: pd.Series, *, what: str, unit: str = "cells") -> tuple[pd.Series, list[str]]:
    """A categorical column of text in which text that stands for a missing value is missing; and notes on it.

    Parameters
    ----------
    what
        What the column holds: 'donor', 'cell type', 'age', 'sex'.
    unit
        How notes call the rows.
    """
    levels = labels.cat.categories
    gone = [level for level in levels if means_missing(level, what=what)]
    if what == "donor":
        gone += sorted(names_of_several(levels) - set(gone))
    n_cells = labels.value_counts().reindex(gone, fill_value=0)
    n_cells = n_cells[n_cells > 0]
    labels = labels.cat.remove_categories(gone)
    if not len(n_cells):
        return labels, []
    if len(n_cells) == 1:
        return labels, [f"{n_cells.iloc[0]} {unit} with {what} {n_cells.index[0]!r} count as {unit} without one"]
    listed = ", ".join(f"{text!r} ({n})" for text, n in n_cells.sort_values(ascending=False, kind="stable").items())
    return labels, [f"{n_cells.sum()} {unit} with {what} {listed} count as {unit} without one"]
