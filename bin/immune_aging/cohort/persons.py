"""Whether donors look like samples of the same persons, by their names and by what is known of them."""

import re

import pandas as pd

from immune_aging.cohort.donors import OWN_COLUMNS, not_told
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR

# What is left of a donor's name without the part that would tell a person's samples apart.
STEMS = (
    r"(.*[^\W_])[\W_]+[^\W_]+",  # P1_t0, P1-control, 101 stim
    r"[^\W_]+[\W_]+(.+)",  # t0_P1, stim.101
    r"(.*\d)[A-Za-z]+\d*",  # P1a, P1T0
    r"[A-Za-z]+(\d+)",  # ctrl101, stim101
)
MIN_PERSONS = 3  # with fewer, one age and one sex in each may be chance


def persons_by_name(donors: pd.DataFrame) -> pd.Series | None:
    """The person of each donor, if names say that there are fewer persons than donors; None where they do not.

    Of a cohort whose every donor is called `donor 1` and so on, all share a stem; so the donors of a stem must be of
    one age and one sex, in each of at least `MIN_PERSONS` stems with several donors, and the stems must not all be of
    the same age. In ordinary cohorts, ages within a stem differ.

    Parameters
    ----------
    donors
        One row per donor: donor_id, age_years, sex.
    """
    known = donors[donors["age_years"].notna()]
    for pattern in STEMS:
        found = known["donor_id"].astype(str).map(lambda name, at=pattern: re.fullmatch(at, name))
        stems = found.dropna().map(lambda match: match[1])
        several = stems[stems.map(stems.value_counts()) > 1]
        own = known.loc[several.index].groupby(several)
        n_persons, sizes = own.ngroups, own.size()
        if n_persons < MIN_PERSONS or sizes.max() > n_persons:
            continue
        facts = own[["age_years", "sex"]].nunique(dropna=False)
        if (facts == 1).all(axis=None) and own["age_years"].first().nunique() > 1:
            return several
    return None


def persons_by_condition(donors: pd.DataFrame) -> tuple[pd.Series, str] | None:
    """The person of each donor of a cohort without ages, and the column by which a person's samples differ; or None.

    Names alone say little: donors A1 to B3 may be of two hospitals. But where every stem has the same endings, and a
    column of the cohort has a level for each ending, as `condition` has for ctrl101, stim101, ctrl107, ..., each stem
    is probably a person who was sampled under all conditions.

    Parameters
    ----------
    donors
        One row per donor: donor_id and the donor's columns.
    """
    names = donors["donor_id"].astype(str)
    for pattern in STEMS:
        found = names.map(lambda name, at=pattern: re.fullmatch(at, name))
        if found.isna().any():
            continue
        stems = found.map(lambda match: match[1])
        endings = found.map(lambda match: f"{match[0][: match.start(1)]}|{match[0][match.end(1) :]}")
        table = pd.crosstab(stems, endings)
        if min(table.shape) < 2 or len(table) < MIN_PERSONS or not (table == 1).all(axis=None):
            continue
        for column in donors.columns.difference(list(OWN_COLUMNS), sort=False):
            pairs = pd.DataFrame({"ending": endings, "level": donors[column].astype(str)}).drop_duplicates()
            if len(pairs) == table.shape[1] and pairs["level"].is_unique:
                return stems, str(column)
    return None


def notes_on_persons(donors: pd.DataFrame) -> list[str]:
    """A note that asks whether donors are samples of one person; none where they do not look like it.

    Parameters
    ----------
    donors
        One row per donor, or per sample of a donor: then the question is settled.
    """
    if SAMPLE_OF_DONOR in donors:
        return []
    alike = "they are of one age and sex"
    persons = persons_by_name(donors)
    if persons is None and not_told(donors, "age_years") and (found := persons_by_condition(donors)):
        persons, column = found
        alike = f"each stem has one for each '{column}'"
    if persons is None:
        return []
    names = donors.loc[persons.index, "donor_id"].astype(str)
    first = names[persons == persons.sort_values().iloc[0]]
    return [
        f"donors {' and '.join(repr(name) for name in first.iloc[:2])} look like samples of one person: their names "
        f"share a stem, and {alike}; so do {len(names)} donors of {persons.nunique()} stems. Every "
        "test takes donors for independent, so if they are, name the person with --donor_column and the sample with "
        "--sample_column"
    ]
