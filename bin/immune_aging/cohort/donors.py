"""What is known of each donor: one row per donor, from the rows of its cells."""

import json

import numpy as np
import pandas as pd

from immune_aging.cohort.ages import age_in_years
from immune_aging.task.checkpoints import VARYING

OWN_COLUMNS = ("donor_id", "age_years", "sex", "age_text", VARYING)  # of donors.parquet; the cohort's own give way


def varies_within_donors(obs: pd.DataFrame, donors: pd.Series) -> pd.DataFrame:
    """Which columns of `obs` have more than one value (missing is one) within each donor: donors x columns, sorted."""
    varies = {}
    for column in obs.columns:
        codes = pd.Series(pd.factorize(obs[column])[0])  # -1 where missing
        spread = codes.groupby(donors.to_numpy()).agg(["min", "max"])
        varies[column] = spread["min"] != spread["max"]
    return pd.DataFrame(varies)


def plain(column: pd.Series) -> pd.Series:
    """A column as numbers or text that any Parquet reader knows, missing values kept."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype == object:
        return column.map(lambda value: value if pd.isna(value) else str(value))
    return column


def donor_table(obs: pd.DataFrame, *, donor: str, age: str, sex: str) -> tuple[pd.DataFrame, list[str]]:
    """One row per donor, sorted by donor id.

    Parameters
    ----------
    obs
        Cells x metadata; `donor`, `age` and `sex` name its columns.

    Returns
    -------
    The table (donor_id, age_years, sex, age_text, every column constant within donors, and in `varies_within_donor`
    the names of those that are not constant within this donor, as a JSON list), and the problems found.
    """
    obs = obs[obs[donor].notna()]
    donors = obs[donor].astype(str)
    problems = []
    for column in (age, sex):
        n_values = obs[column].astype(object).groupby(donors.to_numpy()).nunique(dropna=True)
        several = n_values[n_values > 1]
        if len(several):
            name, n = several.index[0], several.iloc[0]
            values = ", ".join(map(repr, sorted(obs.loc[donors == name, column].dropna().astype(str).unique())[:3]))
            more = f", and {len(several) - 1} more donors like it" if len(several) > 1 else ""
            problems.append(f"column '{column}': donor '{name}' has {n} values ({values}){more}; a donor must have one")
    varies = varies_within_donors(obs, donors)
    keep = [column for column in obs.columns if not varies[column].any() and column not in OWN_COLUMNS]
    first = obs.assign(__donor=donors).drop_duplicates("__donor")
    table = pd.DataFrame({"donor_id": first["__donor"].to_numpy(dtype=object)})
    table["age_years"] = [age_in_years(value) for value in first[age]]
    table["sex"] = [value if pd.isna(value) else str(value) for value in first[sex]]
    table["age_text"] = [value if pd.isna(value) else str(value) for value in first[age]]
    names = varies.columns.astype(str)
    table[VARYING] = [json.dumps(names[row].tolist()) for row in varies.loc[table["donor_id"]].to_numpy(dtype=bool)]
    extra = pd.DataFrame({column: plain(first[column].reset_index(drop=True)) for column in keep})
    table = pd.concat([table, extra], axis=1)
    return table.sort_values("donor_id", kind="stable", ignore_index=True), problems


def repeated(names: np.ndarray) -> str:
    """The first name that occurs twice; '' if none does."""
    duplicate = pd.Index(names).duplicated()
    return str(names[duplicate.argmax()]) if duplicate.any() else ""
