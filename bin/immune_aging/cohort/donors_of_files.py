"""Donors of one name in several files: one person, or several whose names begin anew in each file.

vireo and souporcell call the donors of every pool donor0, donor1, ... or 0, 1, ...: joined by these names, one person
of each pool becomes one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from immune_aging.cohort.ages import read_age, unit_of_column
from immune_aging.cohort.cell_tables import levels_as_text
from immune_aging.cohort.hostile_names import clean_labels, visible
from immune_aging.cohort.missing_text import means_missing
from immune_aging.cohort.spellings import sexes_read
from immune_aging.task.listing import first_of

PREFIX = "donor_prefix"  # the column of a samplesheet
# Words that stand before a number where a program, and no clinic, has numbered the donors of a pool; '' for none.
NUMBERED = frozenset(
    (
        "", "donor", "d", "sample", "s", "subject", "patient", "p", "individual", "indiv", "ind", "person",
        "participant", "genotype", "geno", "gt", "cluster", "clust", "c", "k", "group", "hash", "hashtag", "hto", "cmo",
        "tag", "sampletag", "barcode", "bc", "multiplex", "snp", "unnamed", "id",
    )
)  # fmt: skip
_NUMBERED = re.compile(r"([a-z]*)[\s_.-]*(\d{1,3})(?:\.0)?")
LARGEST = 2  # times the number of names: the numbers of people in a study have gaps
SAME_AGE = 20  # years: samples of one person are hardly further apart
ROUNDING = 0.01  # years
MAX_LISTED = 3
# How a note of `names_in_several_files` begins.
SEVERAL_FILES = "names of donors are in several files"


def numbered(names: Iterable[str]) -> bool:
    """Whether names are numbers from 0 or 1 on, alone or after one word, as programs number the donors of a pool.

    >>> numbered(["donor0", "donor1"]), numbered(["1", "2"]), numbered(["691_692", "D7"]), numbered(["P17", "P203"])
    (True, True, False, False)
    """
    found = [_NUMBERED.fullmatch(name.strip().casefold()) for name in names]
    words = {match[1] for match in found if match}
    if not found or not all(found) or len(words) != 1 or not words <= NUMBERED:
        return False
    return max(int(match[2]) for match in found if match) <= LARGEST * len(found)


def _named(donors: pd.Series) -> pd.Series:
    """Names of the donors of cells as they are analysed: text, missing where no person is meant."""
    return clean_labels(levels_as_text(donors.reset_index(drop=True)), what="donor")[0].astype(object)


def with_prefix(donors: pd.Series, prefix: str) -> pd.Series:
    """Names of donors with a prefix before each; what means no donor stays as it is.

    >>> with_prefix(pd.Series(["donor0", "doublet"]), "poolA").tolist()
    ['poolA_donor0', 'doublet']
    """
    names = levels_as_text(donors)
    person = _named(donors).notna().to_numpy()
    return names.astype(object).where(~person, f"{prefix}_" + names.astype(str)).astype("category")


def _facts(obs: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, tuple[set[float], set[str]]]:
    """The ages in years and the sexes that a file tells of each of its donors."""
    table = pd.DataFrame({"donor": _named(obs[columns["donor"]])})
    for role in ("age", "sex"):
        column = obs.get(columns.get(role, ""))
        table[role] = None if column is None else column.astype(object).to_numpy()
    per_year, _ = unit_of_column(columns.get("age", ""))
    found: dict[str, tuple[set[float], set[str]]] = {}
    for row in table.dropna(subset="donor").drop_duplicates().itertuples(index=False):
        ages, sexes = found.setdefault(row.donor, (set(), set()))
        if (age := read_age(row.age, per_year=per_year)) is not None:
            ages.add(age.years)
        if not pd.isna(row.sex) and not means_missing(str(row.sex)):
            sexes |= set(sexes_read({str(row.sex): 1}).values())
    return found


def names_in_several_files(
    tables: Sequence[pd.DataFrame], columns: Mapping[str, str], labels: Sequence[str]
) -> list[str]:
    """A note on donors whose name is in several files, unless their ages there say that they are one person.

    Parameters
    ----------
    tables
        The cells of each file.
    columns
        Name of the obs column of each role.
    labels
        How the note calls the files.
    """
    told = [_facts(table, columns) if columns["donor"] in table else {} for table in tables]
    names = sorted({name for donors in told for name in donors})
    where = {name: [number for number, donors in enumerate(told) if name in donors] for name in names}
    shared = [name for name in names if len(where[name]) > 1]
    most = SAME_AGE if "sample" in columns else ROUNDING
    differ, alike = [], []
    for name in shared:
        ages, sexes = zip(*(told[number][name] for number in where[name]), strict=True)
        years = set.union(*ages)
        if len(set.union(*sexes)) > 1 or (years and max(years) - min(years) > most):
            differ.append(name)
        elif all(ages):
            alike.append(name)
    if len(alike) == len(shared):
        return []
    listed = first_of([repr(visible(name)) for name in shared], MAX_LISTED)
    why = "and nothing but the name says so"
    if differ:
        first = differ[0]
        facts = "; ".join(_said(told[number][first], labels[number]) for number in where[first][:MAX_LISTED])
        why = f"though ages or sexes of {len(differ)} of them differ between files ('{visible(first)}': {facts})"
    anew = ""
    if numbered(shared):
        same = all(set(donors) == set(told[0]) for donors in told)
        anew = (
            f" Demultiplexers give such names anew in each pool{', and all files have the same ones' if same else ''}."
        )
    return [
        f"{len(shared)} of {len(names)} {SEVERAL_FILES} ({listed}): each is taken for one person, {why}.{anew} If they "
        f"are different people, give the samplesheet a column {PREFIX} (such as the pool), which is put before the "
        "names of a file's donors"
    ]


def _said(facts: tuple[set[float], set[str]], label: str) -> str:
    ages, sexes = facts
    texts = [*(f"{age:g} years" for age in sorted(ages)), *sorted(sexes)]
    return f"{' '.join(map(visible, texts)) or 'neither'} in '{visible(label)}'"
