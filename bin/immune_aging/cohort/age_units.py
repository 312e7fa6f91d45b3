"""The unit of ages in a column of its own, as the Human Cell Atlas, GEO and curated cohorts give it: 24 and 'month'."""

import re

import pandas as pd

from immune_aging.cohort.hostile_names import visible
from immune_aging.cohort.missing_text import means_missing

# In lower case. With the ids of the Units Ontology, which HCA's tables have beside the words.
YEARS = frozenset(
    ("year", "years", "yr", "yrs", "y", "a", "jahre", "jahr", "ans", "years old", "uo:0000036", "year(s)", "in years")
)
OTHER_UNITS = {
    "month": ("month", "months", "mo", "mos", "m", "mth", "mths", "uo:0000035", "month(s)", "in months"),
    "week": ("week", "weeks", "wk", "wks", "w", "uo:0000034", "week(s)", "in weeks"),
    "day": ("day", "days", "d", "uo:0000033", "day(s)", "in days"),
}  # fmt: skip
_UNIT_OF = {spelling: unit for unit, spellings in OTHER_UNITS.items() for spelling in spellings}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


def column_of_units(column: str, names: list[str]) -> str:
    """The column that tells the unit of an age, by its name: age_unit, ageUnits, age.unit, unit_age; '' for none.

    >>> column_of_units("organism_age", ["sex", "organism_age_unit"])
    'organism_age_unit'
    """

    def letters(name: str) -> str:
        return re.sub(r"[^a-z]", "", name.casefold())

    own = letters(re.sub(r"(?i)[\W_]*value$", "", column))
    wanted = {f"{own}unit", f"{own}units", f"unit{own}", f"unitof{own}", f"unitsof{own}"}
    return next((name for name in names if letters(name) in wanted), "")


def unit_of(text: str) -> str:
    """'year', 'month', 'week' or 'day'; another text as it is.

    >>> unit_of("Months"), unit_of("UO:0000036"), unit_of("fortnight")
    ('month', 'year', 'fortnight')
    """
    plain = text.strip().casefold()
    return "year" if plain in YEARS else _UNIT_OF.get(plain, plain)


def with_units(ages: pd.Series, obs: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """A column of ages in which numbers have the unit that another column gives them: '24 month'; and a note.

    Years stay as they are, and so does text that is more than a number.

    Parameters
    ----------
    ages
        The column, named.
    obs
        The table that it is of.
    """
    name = column_of_units(str(ages.name), [str(one) for one in obs.columns])
    if not name:
        return ages, []
    texts = obs[name].astype(object)
    units = texts.map(lambda text: "" if pd.isna(text) or means_missing(str(text)) else unit_of(str(text)))
    told = (units != "") & (units != "year")
    plain = ages.astype(object).map(lambda value: "" if pd.isna(value) else re.sub(r"\.0$", "", str(value).strip()))
    changed = told & plain.map(lambda text: bool(_NUMBER.fullmatch(text)))
    if not changed.any():
        return ages, []
    found = ages.astype(object).map(lambda value: value if pd.isna(value) else str(value))
    found = found.where(~changed, plain + " " + units)
    listed = ", ".join(repr(visible(str(text))) for text in sorted(set(texts[changed].map(str))))
    return found.rename(ages.name).astype("category"), [
        f"--age_column {ages.name}: its numbers have the units of column '{name}' ({listed}), and years elsewhere"
    ]
