"""What published clocks were trained on, and whether the cohort that they are applied to is one of these cohorts.

A clock has seen the ages of its training donors: on them its error is smaller than on anyone else. Both are data, in
`assets/clocks/trained_on.tsv` and `assets/clocks/cohorts.tsv`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from immune_aging.prediction.clock_files import Clock
from immune_aging.task.checkpoints import read_tsv, require_columns
from immune_aging.task.command_line import BadInput

SOURCE = "source"  # in the table of rules: the rule is on what the file says of itself, not on a column of the donors
STATED, INFERRED = "stated", "inferred"  # whether the authors name the cohort, or it follows from what they say
# Of the donors whose name has the form of a cohort's: a file may hold a few others.
SHARE_OF_DONORS = 0.9


@dataclass(frozen=True)
class Training:
    """What is known of the training of one clock.

    Attributes
    ----------
    cohorts
        Names of the cohorts that it was trained on; empty where that is not known.
    recognised
        By which sign this cohort is one of them, by the name of that cohort; empty where it is none, or cannot be told.
    text
        Both in words, for the report.
    """

    cohorts: tuple[str, ...]
    recognised: dict[str, str]
    text: str


def read_trained_on(path: Path) -> pd.DataFrame:
    """The cohorts that families of clocks were trained on: clocks, cohort, known (stated or inferred)."""
    table = read_tsv(path, dtype=str)
    require_columns(table, ["clocks", "cohort", "known"], path)
    if unknown := sorted(set(table["known"]) - {STATED, INFERRED}):
        raise BadInput(f"{path}: known is '{unknown[0]}'; write {STATED} or {INFERRED}")
    return table


def read_cohort_rules(path: Path) -> pd.DataFrame:
    """How cohorts are recognised: cohort, where (a donor column, or source), pattern (a regular expression)."""
    table = read_tsv(path, dtype=str)
    require_columns(table, ["cohort", "where", "pattern"], path)
    for pattern in table["pattern"]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise BadInput(f"{path}: '{pattern}' is no regular expression ({error})") from error
    return table


def recognise(rules: pd.DataFrame, donors: pd.DataFrame, source: Mapping[str, str]) -> dict[str, str]:
    """Which known cohorts this one looks like, and the sign that says so: the first rule that fits.

    Parameters
    ----------
    rules
        As of `read_cohort_rules`.
    donors
        One row per donor; columns that a rule does not find are no sign.
    source
        What the cohort's file says of itself: texts by name.
    """
    found: dict[str, str] = {}
    for rule in rules.itertuples(index=False):
        sign = (
            _in_source(rule.pattern, source) if rule.where == SOURCE else _in_donors(rule.pattern, rule.where, donors)
        )
        if sign:
            found.setdefault(rule.cohort, sign)
    return found


def _in_source(pattern: str, source: Mapping[str, str]) -> str:
    """The part of the file's texts that fits a pattern; '' where none does."""
    for name, text in source.items():
        if fit := re.search(pattern, text, re.IGNORECASE):
            return f"its file says '{fit[0]}' ({name})"
    return ""


def _in_donors(pattern: str, column: str, donors: pd.DataFrame) -> str:
    """An example of a column whose values have, in nearly all donors, the form of a pattern; '' otherwise."""
    if column not in donors or not len(donors):
        return ""
    values = donors[column].astype(str)
    fits = values.str.fullmatch(pattern)
    if fits.mean() < SHARE_OF_DONORS:
        return ""
    return f"{column} is like '{values[fits].iloc[0]}' in {int(fits.sum())} of {len(donors)} donors"


def training_of(clocks: Mapping[str, Clock], trained_on: pd.DataFrame, this: Mapping[str, str]) -> dict[str, Training]:
    """What is known of the training of each clock.

    Parameters
    ----------
    trained_on
        As of `read_trained_on`.
    this
        As of `recognise`.
    """
    training = {}
    for name, clock in clocks.items():
        own = trained_on[trained_on["clocks"] == clock.family]
        recognised = {cohort: this[cohort] for cohort in own["cohort"] if cohort in this}
        training[name] = Training(tuple(own["cohort"]), recognised, _in_words(own, recognised))
    return training


def _in_words(own: pd.DataFrame, recognised: Mapping[str, str]) -> str:
    """What a reader must know of a clock's training."""
    if not len(own):
        return "What it was trained on is not known here; if these donors were among it, its error is too small."
    surely = "Trained" if (own["known"] == STATED).all() else "Very probably trained"
    cohorts = " and ".join(own["cohort"])
    if not recognised:
        return f"{surely} on {cohorts}; whether these donors were among them cannot be told from the file."
    cohort, sign = next(iter(recognised.items()))
    return (
        f"{surely} on {cohorts}. This cohort looks like {cohort} ({sign}): the clock has seen these ages, and its "
        "error is not that for new donors."
    )


def training_notes(training: Mapping[str, Training]) -> list[str]:
    """The notes of `clocks.json` on clocks that know, or may know, the ages of these donors."""
    return [
        f"clock {name}: {one.text[0].lower()}{one.text[1:].rstrip('.')}"
        for name, one in training.items()
        if one.cohorts
    ]
