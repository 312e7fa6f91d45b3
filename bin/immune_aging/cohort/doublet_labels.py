"""Doublets that were called elsewhere: what the values of a column of cells say, as the tools and people write them."""

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from immune_aging.cohort.missing_text import means_missing
from immune_aging.cohort.spellings import plain
from immune_aging.task.listing import first_of

DOUBLET_CALL = "doublet_call"  # column of cells: one of the next three
DOUBLET, SINGLET, NO_CALL = 1, 0, -1
# In lower case. DoubletFinder, scDblFinder, scds, Solo, hashing and demultiplexing tools, and people.
SPELLINGS = {
    DOUBLET: (
        "doublet", "doublets", "dbl", "multiplet", "multiplets", "multi", "heterotypic doublet", "homotypic doublet",
        "predicted doublet", "is doublet", "true", "t", "yes", "y", "1",
    ),
    SINGLET: (
        "singlet", "singlets", "sng", "single", "single cell", "no doublet", "not doublet", "not a doublet",
        "non-doublet", "non doublet", "predicted singlet", "false", "f", "no", "n", "0",
    ),
    NO_CALL: (
        "ambiguous", "amb", "unassigned", "unassign", "negative", "negatives", "uncertain", "unmapped", "inconclusive",
        "no call", "not called", "not scored",
    ),
}  # fmt: skip
_YES_OR_NO = frozenset(("true", "t", "yes", "y", "1", "false", "f", "no", "n", "0"))
# Words of the name of a column in which yes is a cell to keep.
_KEPT = frozenset(("pass", "passed", "passes", "keep", "kept", "retain", "retained", "good"))
_INVERTED: dict[int | None, int | None] = {DOUBLET: SINGLET, SINGLET: DOUBLET}
_MEANING = {spelling: call for call, spellings in SPELLINGS.items() for spelling in spellings}
# demuxlet joins the call and the names of the donors: DBL-S1-S2-0.500, SNG-S1, AMB-S1-S2-S1/S2.
_DEMUXLET = {"dbl": DOUBLET, "sng": SINGLET, "amb": NO_CALL}
_WORDS: dict[int | None, str] = {DOUBLET: "a doublet", SINGLET: "no doublet", NO_CALL: "no call"}
MAX_LISTED = 5
# What columns of calls are called, in lower case.
_NAMES = ("doublet", "dbl", "singlet", "df.classif", "droplet.type", "droplet_type")


def meaning_of(text: str) -> int | None:
    """What a text says of a cell; None where it is no call.

    >>> meaning_of(" Doublet "), meaning_of("SNG-S1"), meaning_of("1.0"), meaning_of("nan"), meaning_of("0.37")
    (1, 0, 1, -1, None)
    """
    bare = plain(text).replace("_", " ").removesuffix(".0")
    if bare in _MEANING:
        return _MEANING[bare]
    if means_missing(text):
        return NO_CALL
    return _DEMUXLET.get(bare.split("-")[0]) if "-" in bare else None


def why_no_calls(unread: list[str], *, column: str, others: Iterable[str]) -> str:
    """The message where values of a column are no calls, with the remedy.

    Parameters
    ----------
    unread
        The values that are none, as text.
    others
        Names of the other columns of cells.
    """
    like = [f"'{name}'" for name in others if any(part in name.lower() for part in _NAMES)]
    hint = f" (obs has {', '.join(like[:MAX_LISTED])})" if like else ""
    numbers = pd.to_numeric(pd.Series(unread, dtype=object), errors="coerce")
    where = f"--doublet_column {column}:"
    if numbers.notna().all() and (numbers != numbers.round()).any():
        return (
            f"{where} holds numbers from {numbers.min():g} to {numbers.max():g}, scores and no calls; name the "
            f"column of the calls{hint}, or write one, as adata.obs['called'] = adata.obs['{column}'] > THRESHOLD"
        )
    shown = ", ".join(map(repr, unread[:MAX_LISTED])) + (", ..." if len(unread) > MAX_LISTED else "")
    return (
        f"{where} {shown} says neither doublet nor singlet; write 'doublet' and 'singlet', True and False, or 1 and 0, "
        f"or name another column{hint}"
    )


def yes_is_singlet(column: str, texts: Iterable[str]) -> bool:
    """Whether yes means a singlet, by the words of the column's name, where the texts are yes and no alone.

    >>> yes_is_singlet("isSinglet", ["True"]), yes_is_singlet("canonical_doublet", ["1"])
    (True, False)
    """
    bare = {plain(text).removesuffix(".0") for text in texts if not means_missing(text)}
    words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).casefold()))
    of_doublets = bool(words & {"doublet", "doublets"})
    says = words & _KEPT or (words & {"not", "non", "no"} if of_doublets else words & {"singlet", "singlets"})
    return bool(says) and bare <= _YES_OR_NO


def notes_on_calls(
    levels: pd.Series, meaning: Mapping[str, int | None], calls: np.ndarray, *, column: str
) -> list[str]:
    """How the values of a column were read, how many cells have no call, and whether any is a doublet.

    Parameters
    ----------
    levels
        Number of cells of each text.
    meaning
        The call of each text.
    calls
        Of all cells.
    """
    read = [f"{text!r} ({n} cells) as {_WORDS[meaning[text]]}" for text, n in sorted(levels.items()) if text]
    notes = [f"column '{column}': {first_of(read, MAX_LISTED, what='values')} is read"]
    n_missing, n_cells = int((calls == NO_CALL).sum()), len(calls)
    if n_missing:
        notes.append(f"{n_missing} of {n_cells} cells have no doublet call in column '{column}' and count as singlets")
    n_doublets = int((calls == DOUBLET).sum())
    if n_doublets > n_cells / 2:
        notes.append(
            f"column '{column}' calls {n_doublets} of {n_cells} cells doublets, and they are left out; is it the other "
            "way round?"
        )
    if not n_doublets:
        notes.append(f"column '{column}' calls no cell a doublet")
    return notes


def read_calls(values: pd.Series, *, others: Iterable[str] = ()) -> tuple[np.ndarray, list[str], list[str]]:
    """The call of each cell (`DOUBLET`, `SINGLET`, `NO_CALL`; int8), what is wrong with them, and notes.

    Parameters
    ----------
    values
        The column, named.
    others
        Names of the other columns of cells, for the remedy.
    """
    column, texts = str(values.name), values.astype(object).where(values.notna().to_numpy(), "").map(str)
    levels = texts.value_counts()
    meaning = {text: meaning_of(text) for text in levels.index}
    if yes_is_singlet(column, levels.index):
        meaning = {text: _INVERTED.get(call, call) for text, call in meaning.items()}
    calls = texts.map(lambda text: NO_CALL if meaning[text] is None else meaning[text]).to_numpy(dtype=np.int8)
    unread = sorted(text for text, call in meaning.items() if call is None)
    if unread:
        return calls, [why_no_calls(unread, column=column, others=others)], []
    for call, what in ((NO_CALL, "has no call for any cell"), (DOUBLET, "calls every cell a doublet")):
        if (calls == call).all():
            return calls, [f"--doublet_column {column}: {what}; name the column of the calls"], []
    return calls, [], notes_on_calls(levels, meaning, calls, column=column)
