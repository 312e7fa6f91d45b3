"""Text that stands for a missing value, and the levels of a column that hold it."""

import re
from collections.abc import Iterable

import pandas as pd

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
        "nd", "n.d.", "blank", "empty", "-", "--", "---", "_", ".", "..", "?", "??", "???",
    )
)  # fmt: skip
# What demultiplexers (vireo, demuxlet, souporcell, freemuxlet, HTODemux, hashsolo, GMM-demux) write instead of a donor.
NO_DONOR = frozenset(
    (
        "unassigned", "unassign", "doublet", "doublets", "dbl", "multiplet", "multiplets", "multiseq", "amb",
        "ambiguous", "negative", "negatives", "uncertain", "unmapped", "no donor", "no_donor", "inconclusive",
    )
)  # fmt: skip
# What annotators (CellTypist, SingleR, Azimuth, scType, by hand) write instead of a cell type.
NO_CELL_TYPE = frozenset(
    (
        "unassigned", "unclassified", "unannotated", "unlabeled", "unlabelled", "unidentified", "unresolved",
        "unassigned cells", "unknown cells", "unknown cell", "unknown cell type", "not assigned", "no label",
        "doublet", "doublets", "doublet cells", "multiplet", "multiplets", "ambiguous", "pruned", "low quality",
        "low-quality", "low_quality", "lowquality", "low quality cells", "low-quality cells", "debris", "junk",
        "empty droplet", "empty droplets", "artifact", "artefact",
    )
)  # fmt: skip
FURTHER_TEXT = {"donor": NO_DONOR, "cell type": NO_CELL_TYPE}
# 'donor0,donor3', '0/3' (vireo, souporcell): two donors in one droplet.
_TWO_NAMES = re.compile(r"(.+?)\s*[,/+&;|]\s*(.+)")


def means_missing(text: str, *, what: str = "") -> bool:
    """Whether a text stands for a missing value; `what` is 'donor' or 'cell type' where more texts do.

    >>> means_missing(" NaN "), means_missing("doublet"), means_missing("doublet", what="donor")
    (True, False, True)
    """
    plain = re.sub(r"\s+", " ", text.strip().casefold())
    return plain in MISSING_TEXT or plain in FURTHER_TEXT.get(what, frozenset())


def names_of_two(names: Iterable[str]) -> set[str]:
    """Names that join two others of them, as demultiplexers name doublets.

    >>> names_of_two(["donor0", "donor3", "donor0,donor3", "A/B"])
    {'donor0,donor3'}
    """
    known, found = set(names), set()
    for name in known:
        if (match := _TWO_NAMES.fullmatch(name)) and match[1] != match[2] and {match[1], match[2]} <= known:
            found.add(name)
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
        gone += sorted(names_of_two(levels) - set(gone))
    n_cells = labels.value_counts().reindex(gone, fill_value=0)
    n_cells = n_cells[n_cells > 0]
    labels = labels.cat.remove_categories(gone)
    if not len(n_cells):
        return labels, []
    if len(n_cells) == 1:
        return labels, [f"{n_cells.iloc[0]} {unit} with {what} {n_cells.index[0]!r} count as {unit} without one"]
    listed = ", ".join(f"{text!r} ({n})" for text, n in n_cells.sort_values(ascending=False, kind="stable").items())
    return labels, [f"{n_cells.sum()} {unit} with {what} {listed} count as {unit} without one"]
