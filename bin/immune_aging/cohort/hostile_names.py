"""Names from the user's file in a form that every table can hold: nothing hidden in them, none lost, none merged."""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from immune_aging.cohort.missing_text import without_missing_text
from immune_aging.task.checkpoints import MISSING

# Unicode's control, format, surrogate, line and paragraph characters: they end lines, turn the order of letters
# round or cannot be seen.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Roles of columns that hold names, and how a message calls them.
LABELLED = {"donor": "donor", "cell_type": "cell type", "sample": "sample"}


def visible(name: str) -> str:
    r"""A name with every hidden character written out, as in Python's text.

    >>> visible("T\ncell")
    'T\\ncell'
    """
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in HIDDEN else c for c in name)


def visible_names(names: Iterable[str]) -> dict[str, str]:
    """What stands for each of different names that hold hidden characters; the others are left out.

    Where that is another's name, a digest of the raw name follows, so that different names stay different.
    """
    names = set(names)
    shown = {name: visible(name) for name in sorted(names)}
    texts = list(shown.values())
    own = {name: text for name, text in shown.items() if text != name}
    return {
        name: f"{text} [{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}]"
        if texts.count(text) > 1
        else text
        for name, text in own.items()
    }


def clean_labels(column: pd.Series, *, what: str, unit: str = "cells") -> tuple[pd.Series, list[str]]:
    """A column of names (donors, cell types) as categories; text that stands for a missing value is missing.

    Parameters
    ----------
    what, unit
        How notes call the names, and the rows.

    Returns
    -------
    The column, and notes on what was changed.
    """
    labels = column.astype("category").cat.remove_unused_categories().map(str, na_action="ignore").astype("category")
    labels, notes = without_missing_text(labels, what=what, unit=unit)
    renamed = visible_names(labels.cat.categories)
    if renamed:
        notes.append(
            f"{len(renamed)} names of {what} hold hidden characters, written out as in {min(renamed.values())}"
        )
    return labels.cat.rename_categories(renamed), notes


def clean_roles(
    obs: pd.DataFrame, columns: Mapping[str, str], *, unit: str = "cells"
) -> tuple[pd.DataFrame, list[str]]:
    """A table of cells or samples with clean names of donors, cell types and samples; and notes on what was changed.

    Parameters
    ----------
    columns
        The column of each role; roles whose column is not there are passed over.
    unit
        How notes call the rows.
    """
    notes, clean = [], {}
    for role, what in LABELLED.items():
        if columns.get(role) in obs:
            column = obs[columns[role]]
            # Visits 1 and 2 become 1.0 and 2.0 where a cell has none.
            if role == "sample" and pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
                column = column.map(lambda value: value if pd.isna(value) else str(int(value)))
            clean[columns[role]], changes = clean_labels(column, what=what, unit=unit)
            notes += changes
    return obs.assign(**clean), notes


def clean_genes(ids: Sequence[str], symbols: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids and symbols of genes for tables; a symbol that stands for a missing value is '', such an id is quoted."""
    renamed = visible_names(ids) | {MISSING: f"'{MISSING}'"}
    return (
        np.array([renamed.get(name, name) for name in ids], dtype=object),
        np.array(["" if name == MISSING else visible(name) for name in symbols], dtype=object),
    )
