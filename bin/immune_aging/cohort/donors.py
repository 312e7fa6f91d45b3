"""What is known of each donor, or of each sample of a donor: one row for each, from the rows of its cells."""

import json

import numpy as np
import pandas as pd

from immune_aging.cohort.ages import MIDPOINT, age_in_years, unit_of_column
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING

# Columns of donors.parquet; the cohort's own give way.
OWN_COLUMNS = ("donor_id", SAMPLE_OF_DONOR, "age_years", "sex", "age_text", VARYING)
# What the cohort's own columns of these names are called where they are not what is taken for age or sex.
AS_GIVEN = {"age_years": "age_years_as_given", "sex": "sex_as_given"}

LARGEST_ROUNDED = 1e6  # a larger number may be an id
LARGEST_WHOLE = 2**53  # from where 64-bit floats skip whole numbers


def sample_key(table: pd.DataFrame) -> list[str]:
    """Columns that tell whose a row is: the donor, and the sample where donors have samples of their own."""
    return ["donor_id", SAMPLE_OF_DONOR] if SAMPLE_OF_DONOR in table else ["donor_id"]


def factorized(column: pd.Series) -> tuple[np.ndarray, pd.Index | np.ndarray]:
    """A number for each value of a column, -1 where it is missing, and the values."""
    if isinstance(column.dtype, pd.core.arrays.masked.BaseMaskedDtype):  # pandas would set what is masked
        column = column.astype(object)
    return pd.factorize(column)


def at_32_bits(values: np.ndarray) -> np.ndarray:
    """Numbers whose fractions have the digits of 32 bits: 46.3 of one file is 46.299999237 in another.

    >>> at_32_bits(np.array([46.3, 46.299999237060547, 7.0])).tolist()
    [46.29999923706055, 46.29999923706055, 7.0]
    """
    values = np.array(values, dtype=float)
    fraction = (values != np.rint(values)) & (np.abs(values) < LARGEST_ROUNDED)
    values[fraction] = values[fraction].astype(np.float32)
    return values


def without_rounding(column: pd.Series) -> pd.Series:
    """A column as it is compared: fractions `at_32_bits`, anything else as it is."""
    if not isinstance(column.dtype, np.dtype) or column.dtype.kind != "f":
        return column
    return pd.Series(at_32_bits(column.to_numpy()), index=column.index, name=column.name)


def varies_within_donors(obs: pd.DataFrame, donors: pd.Series) -> pd.DataFrame:
    """Which columns of `obs` have more than one value (missing is one) within each donor: donors x columns, sorted."""
    varies = {}
    for column in obs.columns:
        codes = pd.Series(factorized(without_rounding(obs[column]))[0])
        spread = codes.groupby(donors.to_numpy()).agg(["min", "max"])
        varies[column] = spread["min"] != spread["max"]
    return pd.DataFrame(varies)


def plain(column: pd.Series) -> pd.Series:
    """A column as numbers or text that any Parquet reader knows, missing values kept."""
    if isinstance(column.dtype, pd.CategoricalDtype | pd.core.arrays.masked.BaseMaskedDtype):
        is_levels = isinstance(column.dtype, pd.CategoricalDtype)
        dtype = column.cat.categories.dtype if is_levels else column.dtype
        dtype = dtype.numpy_dtype if isinstance(dtype, pd.core.arrays.masked.BaseMaskedDtype) else dtype
        if dtype.kind in "iub" and column.isna().any():  # neither whole numbers nor booleans have room for a gap
            long = dtype.kind != "b" and bool((column.dropna().astype(dtype).abs() > LARGEST_WHOLE).any())
            dtype = np.dtype(object) if dtype.kind == "b" or long else np.dtype(float)
        column = column.astype(dtype)
    if column.dtype == object:
        return column.map(lambda value: value if pd.isna(value) else str(value))
    return column


def _several_values(values: pd.Series, keys: pd.DataFrame, *, remedy: str) -> list[str]:
    """What is wrong with a column that has more than one value, missing ones apart, within a donor or a sample.

    Parameters
    ----------
    keys
        Whose each value is: the donor, or the donor and the sample.
    remedy
        How the message ends.
    """
    compared = without_rounding(values).astype(object)
    n_values = compared.groupby([keys[column].to_numpy() for column in keys]).nunique(dropna=True)
    several = n_values[n_values > 1]
    if not len(several):
        return []
    name = several.index[0] if isinstance(several.index[0], tuple) else (several.index[0],)
    own = (keys == list(name)).all(axis=1).to_numpy()
    shown = ", ".join(map(repr, sorted(values[own].dropna().astype(str).unique())[:3]))
    what = f"donor '{name[0]}'" if len(name) == 1 else f"sample '{name[1]}' of donor '{name[0]}'"
    kind = "donors" if len(name) == 1 else "samples"
    more = f", and {len(several) - 1} more {kind} like it" if len(several) > 1 else ""
    return [f"column '{values.name}': {what} has {several.iloc[0]} values ({shown}){more}; {remedy}"]


def not_told(table: pd.DataFrame, fact: str) -> bool:
    """Whether no row of a table of donors tells `age_years` or `sex`, as where --age_column or --sex_column is none.

    Where a column of ages is named, a cohort in which no age can be read is refused.
    """
    return fact in table and len(table) > 0 and bool(table[fact].isna().all())


def ages_of(values: pd.Series, *, column: str, age_ranges: str) -> list[float]:
    """Ages in years of what a column of ages holds; NaN where that is none."""
    per_year, _ = unit_of_column(column)
    return [age_in_years(value, per_year=per_year, age_ranges=age_ranges) for value in values]


def donor_table(
    obs: pd.DataFrame,
    *,
    donor: str,
    age: str | None = None,
    sex: str | None = None,
    sample: str | None = None,
    age_ranges: str = MIDPOINT,
) -> tuple[pd.DataFrame, list[str]]:
    """One row per donor, sorted by donor id; with `sample` one row per sample of a donor, sorted by both.

    A donor's samples may differ in age, and must not differ in sex. Without a column of ages or sexes all of them are
    missing, and a column of the cohort that has the name of ours is kept under its name of `AS_GIVEN`.

    Parameters
    ----------
    obs
        Cells x metadata; `donor`, `age`, `sex` and `sample` name its columns, None stands for no column.
    age_ranges
        What becomes of ages given as intervals: 'midpoint' or 'drop'.

    Returns
    -------
    The table (donor_id, sample_of_donor where there are samples, age_years, sex, age_text, every column constant
    within donors or samples, and in `varies_within_donor` the names of those that are not constant within this one, as
    a JSON list), and the problems found.
    """
    obs = obs[obs[donor].notna() & (True if sample is None else obs[sample].notna())]
    unused = [name for name, column in (("age_years", age), ("sex", sex)) if column is None]
    given = [name for name in unused if name in obs and obs[name].notna().any()]
    obs = obs.rename(columns={name: AS_GIVEN[name] for name in given if AS_GIVEN[name] not in obs})
    no_values = pd.Series(np.nan, index=obs.index, dtype=object)
    ages, sexes = (no_values if column is None else obs[column] for column in (age, sex))
    keys = pd.DataFrame({"donor_id": obs[donor].astype(str)})
    if sample is not None:
        keys[SAMPLE_OF_DONOR] = obs[sample].astype(str)
    one = "a donor must have one" if sample is None else "a sample must have one"
    remedy = f"{one}, or name its samples with --sample_column" if sample is None else one
    problems = _several_values(ages, keys, remedy=remedy)
    problems += _several_values(sexes, keys[["donor_id"]], remedy="a donor must have one")
    # The columns of the key in order, so that rows are sorted by donor, then by sample.
    number = keys.groupby(list(keys), sort=True).ngroup()
    varies = varies_within_donors(obs, number)
    keep = [column for column in obs.columns if not varies[column].any() and column not in OWN_COLUMNS]
    places = number.reset_index(drop=True).drop_duplicates().sort_values().index
    first, ages, sexes = obs.iloc[places], ages.iloc[places], sexes.iloc[places]
    table = keys.iloc[places].reset_index(drop=True).astype(object)
    table["age_years"] = ages_of(ages, column=age or "", age_ranges=age_ranges)
    table["sex"] = pd.Series([value if pd.isna(value) else str(value) for value in sexes], dtype=object)
    if sample is not None:  # a donor's sex is known if one of its samples tells it
        told = table.dropna(subset="sex").drop_duplicates("donor_id").set_index("donor_id")["sex"]
        table["sex"] = table["sex"].where(table["sex"].notna(), table["donor_id"].map(told))
    table["age_text"] = pd.Series([value if pd.isna(value) else str(value) for value in ages], dtype=object)
    names = varies.columns.astype(str)
    table[VARYING] = [json.dumps(names[row].tolist()) for row in varies.to_numpy(dtype=bool)]
    extra = pd.DataFrame({column: plain(first[column].reset_index(drop=True)) for column in keep})
    return pd.concat([table, extra], axis=1), problems


def one_per_donor(samples: pd.DataFrame) -> pd.DataFrame:
    """The donors of a table of samples, one row each: the mean age of a donor's samples, and what they agree in.

    A table that has one row per donor already is returned as it is.

    Parameters
    ----------
    samples
        As of `donor_table`.
    """
    if SAMPLE_OF_DONOR not in samples:
        return samples
    varies = varies_within_donors(samples, samples["donor_id"])
    keep = [name for name in samples if name in OWN_COLUMNS or not varies[name].any()]
    donors = samples[keep].drop(columns=SAMPLE_OF_DONOR).drop_duplicates("donor_id", ignore_index=True)
    groups = samples.groupby("donor_id", sort=True)
    donors["age_years"] = donors["donor_id"].map(groups["age_years"].mean())
    if VARYING in samples:
        own = [name for name in samples if name not in OWN_COLUMNS]
        between = {donor: [name for name in own if varies.loc[donor, name]] for donor in varies.index}
        within = {
            donor: [name for listed in rows if isinstance(listed, str) for name in json.loads(listed)]
            for donor, rows in groups[VARYING]
        }
        donors[VARYING] = [
            json.dumps(list(dict.fromkeys([*within[donor], *between[donor]]))) for donor in donors["donor_id"]
        ]
    return donors


def match(cells: pd.DataFrame, facts: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns of a table of donors, or of samples, for each of `cells`; missing where the table has no such row.

    Parameters
    ----------
    cells
        donor_id, and sample_of_donor where `facts` has it.
    """
    key = sample_key(facts)
    wanted = cells[key].astype(object).reset_index(drop=True)
    return wanted.merge(facts[[*key, *columns]], on=key, how="left", validate="many_to_one")[columns]


def repeated(names: np.ndarray) -> str:
    """The first name that occurs twice; '' if none does."""
    duplicate = pd.Index(names).duplicated()
    return str(names[duplicate.argmax()]) if duplicate.any() else ""
