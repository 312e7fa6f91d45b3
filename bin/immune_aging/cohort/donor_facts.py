"""Facts about donors, or about samples of donors, from a table of the user's: ages, sexes and anything else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.added_facts import Facts, joined, same_fact
from immune_aging.cohort.cohort_file import nearest
from immune_aging.cohort.donor_doubts import name_key
from immune_aging.cohort.donors import factorized
from immune_aging.cohort.hostile_names import visible
from immune_aging.cohort.missing_text import means_missing
from immune_aging.cohort.plain_table import PlainTable, read_plain_table
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput
from immune_aging.task.listing import first_of

# Beside the donor column's own name.
DONOR_NAMES = ("donor", "donor_id")
MAX_LISTED = 5


@dataclass(frozen=True)
class DonorFacts:
    """A table of facts, one row per donor or per sample of a donor.

    Attributes
    ----------
    keys
        Text of each row: the donor, and the sample where the table tells samples apart.
    facts
        What it says of each.
    notes
        What was left out of it.
    """

    keys: list[tuple[str, ...]]
    facts: Facts
    notes: tuple[str, ...]


def key_columns(table: PlainTable, columns: Mapping[str, str]) -> list[str]:
    """The columns that tell of whom a row is: the donor's, and the sample's where the table has it.

    Raises
    ------
    BadInput
        No column names donors.
    """
    names = list(table.rows.columns)
    donor = next((name for name in (columns["donor"], *DONOR_NAMES) if name in names), None)
    if donor is None:
        nameless = "; if the column without a name holds them, give it one of these" if table.notes else ""
        raise BadInput(
            f"{table.where}: has no column '{columns['donor']}', 'donor' or 'donor_id' that names the donors; "
            f"{nearest(columns['donor'], names)}{nameless}"
        )
    if "sample" not in columns:
        return [donor]
    sample = next((name for name in (columns["sample"], SAMPLE_OF_DONOR) if name in names), None)
    return [donor] if sample is None else [donor, sample]


def key_text(value: object, *, numbers: bool) -> str:
    """A name as it is compared: without blanks at its ends; 1 and 1.0 are one where names are numbers."""
    text = str(value).strip()
    if numbers:
        try:
            number = float(text)
        except ValueError:
            return text
        return str(int(number)) if number % 1 == 0 else str(number)
    return text


def _called(key: Sequence[str]) -> str:
    """How a message calls a row of a donor, or of a sample."""
    return f"donor '{visible(key[0])}'" + (f", sample '{visible(key[1])}'" if len(key) > 1 else "")


def one_row_each(
    table: PlainTable, keys: Sequence[tuple[str, ...]], told: pd.DataFrame, columns: Mapping[str, str]
) -> tuple[list[int], pd.DataFrame, list[str]]:
    """The rows of a table with equal ones made one; and where rows of one donor disagree.

    Returns
    -------
    The first row of each key, what is told of each, and the problems.
    """
    roles = {name: role for role, name in columns.items()}
    first: dict[tuple[str, ...], int] = {}
    values = {name: told[name].to_numpy(dtype=object).copy() for name in told}
    problems = []
    for row, key in enumerate(keys):
        start = first.setdefault(key, row)
        if start == row:
            continue
        for name, column in values.items():
            if column[row] is None or column[start] is None:
                column[start] = column[start] if column[row] is None else column[row]
            elif not same_fact(column[start], column[row], role=roles.get(name, ""), column=name):
                problems.append(
                    f"{table.where}: {_called(key)} has two values of '{visible(name)}': '{visible(column[start])}' in "
                    f"line {table.lines[start]}, '{visible(column[row])}' in line {table.lines[row]}; keep one"
                )
    kept = list(first.values())
    return kept, pd.DataFrame({name: column[kept] for name, column in values.items()}, dtype=object), problems


def donor_facts(table: PlainTable, columns: Mapping[str, str], *, numbers: Sequence[bool]) -> DonorFacts:
    """The facts of a table.

    Parameters
    ----------
    columns
        Name of the cohort's column of each role.
    numbers
        Whether the cohort's names of donors, and of samples, are numbers.

    Raises
    ------
    BadInput
        Rows have no donor, or disagree.
    """
    key = key_columns(table, columns)
    nameless = table.rows[key].isna().any(axis=1).to_numpy()
    problems = []
    if nameless.any():
        lines = ", ".join(map(str, table.lines[nameless][:MAX_LISTED]))
        problems.append(
            f"{table.where}: {int(nameless.sum())} rows do not name their {' and '.join(key)} (line {lines})"
        )
    named = PlainTable(table.where, table.rows[~nameless].reset_index(drop=True), table.lines[~nameless], table.notes)
    keys = [
        tuple(key_text(value, numbers=are_numbers) for value, are_numbers in zip(row, numbers, strict=False))
        for row in named.rows[key].itertuples(index=False)
    ]
    kept, told, disagree = one_row_each(named, keys, named.rows.drop(columns=key), columns)
    problems += disagree[:MAX_LISTED]
    if problems:
        raise BadInput(" | ".join(problems))
    kept_keys = [keys[row] for row in kept]
    facts = Facts(
        table.where,
        told,
        np.array([_called(one) for one in kept_keys], dtype=object),
        np.array([f"line {named.lines[row]}" for row in kept], dtype=object),
    )
    return DonorFacts(kept_keys, facts, table.notes)


def _listed(names: Sequence[str]) -> str:
    return first_of([*map(repr, names)], MAX_LISTED)


def unmatched(found: DonorFacts, levels: Sequence[tuple[str, ...]], rows: np.ndarray) -> tuple[list[str], list[str]]:
    """What is wrong, and what is to be noted, where the table and the cohort name different donors.

    Parameters
    ----------
    levels
        Donors, or samples of donors, of the cohort.
    rows
        The row of the facts of each, -1 for none.
    """
    where = found.facts.where
    here = [" / ".join(map(visible, level)) for level, row in zip(levels, rows, strict=True) if row < 0]
    there = [" / ".join(map(visible, found.keys[row])) for row in sorted(set(range(len(found.keys))) - set(rows))]
    what = "samples" if len(found.keys[0]) > 1 else "donors"
    alike = {name_key(name): name for name in here}
    near = [(name, alike[name_key(name)]) for name in there if name_key(name) in alike]
    hint = f"; '{near[0][0]}' in the table may be '{near[0][1]}' in the file: write them alike" if near else ""
    if len(here) == len(levels):
        return [
            f"{where}: names none of the {len(levels)} {what} of the file ({_listed(here)}); it names {_listed(there)}"
            + hint
        ], []
    notes = []
    if here:
        notes.append(f"{where}: has no row for {len(here)} of {len(levels)} {what} of the file: {_listed(here)}{hint}")
    if there:
        notes.append(f"{where}: {len(there)} of its {len(found.keys)} {what} are not in the file: {_listed(there)}")
    return [], notes


def names_in(labels: pd.DataFrame, *, numbers: Sequence[bool]) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """The donors, or samples of donors, that cells are of, sorted; and the place of each cell among them, -1 for none.

    Parameters
    ----------
    labels
        Cells x donor, or donor and sample.
    numbers
        Whether the names of each column are numbers.
    """
    code = np.zeros(len(labels), dtype=np.int64)
    known = np.ones(len(labels), dtype=bool)
    texts = []
    for name, are_numbers in zip(labels, numbers, strict=True):
        codes, values = factorized(labels[name])
        column = [key_text(value, numbers=are_numbers) for value in values]
        unique = {text: place for place, text in enumerate(sorted(set(column)))}
        places = np.array([unique[text] for text in column] + [-1], dtype=np.int64)[codes]
        known &= places >= 0
        code = code * max(len(unique), 1) + places
        texts.append(list(unique))
    found, number = np.unique(code[known], return_inverse=True)
    levels = []
    for value in found:
        level = []
        for column in reversed(texts):
            value, place = divmod(value, len(column))
            level.append(column[place])
        levels.append(tuple(reversed(level)))
    places = np.full(len(labels), -1, dtype=np.int64)
    places[known] = number
    return levels, places


def _with_one_age(
    table: PlainTable, obs: pd.DataFrame, columns: Mapping[str, str], ages: Sequence[str]
) -> tuple[PlainTable, dict[str, str]]:
    """The table with its ages called as the file calls them, and the columns by role with that name for the age."""
    here = next((name for name in ages if name in obs), None)
    there = next((name for name in ages if name in table.rows), None)
    if there is None:
        return table, dict(columns)
    rows = table.rows if here is None or here in table.rows else table.rows.rename(columns={there: here})
    return replace(table, rows=rows), dict(columns) | {"age": here or there}


def with_donor_table(
    obs: pd.DataFrame,
    path: Path | None,
    columns: Mapping[str, str],
    *,
    unit: str = "cells",
    ages: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The table of cells, or of samples, with what a table says of their donors.

    Parameters
    ----------
    path
        The table; None for none.
    columns
        Name of the column of each role, and of `sample` where donors have several.
    unit
        How messages call the rows of `obs`.
    ages
        Columns that may hold the age, the first that is there counts; none where it is only the one in `columns`.

    Returns
    -------
    The table; everything that is wrong with the facts; notes on what does not match and on what was filled in.
    """
    if path is None or columns["donor"] not in obs:
        return obs, [], []
    where = f"--donor_table {path.name}"
    try:
        table, columns = _with_one_age(read_plain_table(path, where=where), obs, columns, ages)
        key = [columns["donor"]] + ([columns["sample"]] if len(key_columns(table, columns)) > 1 else [])
        if key[-1] not in obs:
            return obs, [], []  # said elsewhere
        numbers = [pd.api.types.is_numeric_dtype(obs[name]) for name in key]
        found = donor_facts(table, columns, numbers=numbers)
    except BadInput as error:
        return obs, [str(error)], []
    levels, number = names_in(obs[key], numbers=numbers)
    row_of = {name: row for row, name in enumerate(found.keys)}
    rows_of_levels = np.array([row_of.get(level, -1) for level in levels] + [-1])
    named = [i for i, level in enumerate(levels) if not means_missing(level[0], what="donor")]
    problems, notes = unmatched(found, [levels[i] for i in named], rows_of_levels[named])
    with_facts, wrong, changes = joined(obs, found.facts, rows_of_levels[number], columns, unit=unit)
    return with_facts, problems + wrong, [*found.notes, *notes, *changes]
