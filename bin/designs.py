#!/usr/bin/env python3
"""Design matrices from a formula over donor columns, checked before anything is fitted."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from command_line import BadInput
from skipped import CannotFit

DEFAULT_DESIGN = "~ sex + age"
DEFAULT_WITHOUT_SEX = "~ age"
# `age` in a formula is the column of ages in years, whatever the cohort's own column was called.
ALIASES = {"age": "age_years"}
MIN_RESIDUAL_DF = 3  # under it neither engine can tell a variance from a dispersion prior


@dataclass(frozen=True)
class Design:
    """A design matrix of full rank and what the tested column means.

    Attributes
    ----------
    matrix
        Samples x coefficients, float, index sample_id. Numeric donor columns have mean 0 and SD 1 in these
        samples.
    formula
        The formula in use, without dropped terms.
    coefficient
        The tested column of `matrix`.
    test_term, reference, level
        The tested donor column; for a categorical one the level that is compared with the reference, else ''.
    mean, sd
        Of the tested column in its own unit over these samples, before scaling; NaN for a categorical one.
    notes
        What was changed and why, for a person.
    """

    matrix: pd.DataFrame
    formula: str
    coefficient: str
    test_term: str
    reference: str
    level: str
    mean: float
    sd: float
    notes: tuple[str, ...]


def formula_columns(formula: str) -> list[str]:
    """Donor columns that a one-sided formula with an intercept asks for, sorted.

    Raises
    ------
    BadInput
        The formula cannot be parsed, has a response or no intercept.
    """
    from formulaic import Formula

    if not formula.strip().startswith("~"):
        raise BadInput(f"--design '{formula}': must begin with '~', like '{DEFAULT_DESIGN}'")
    try:
        parsed = Formula(formula)
        terms = [str(term) for term in parsed]
    except Exception as error:  # the parser raises many kinds, and marks the place with terminal colours
        reason = str(error).splitlines()[0]
        raise BadInput(f"--design '{formula}': not a formula ({reason}); write it like '{DEFAULT_DESIGN}'") from error
    if "1" not in terms:
        raise BadInput(f"--design '{formula}': has no intercept; leave out '0' or '- 1'")
    return sorted(map(str, parsed.required_variables))


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def donor_values(samples: pd.DataFrame, columns: Collection[str]) -> pd.DataFrame:
    """The named donor columns of `samples`: numbers as float, anything else as text; missing stays missing.

    Raises
    ------
    BadInput
        A column is not there.
    """
    values = {}
    for name in columns:
        source = ALIASES.get(name, name)
        if source not in samples:
            raise BadInput(
                f"--design: '{name}' is no donor column; there are: {', '.join(sorted(map(str, samples.columns)))}"
            )
        column = samples[source]
        values[name] = (
            column.astype(float) if _is_numeric(column) else column.astype(object).where(column.notna(), None)
        )
        if not _is_numeric(column):
            values[name] = values[name].map(lambda x: None if x is None or x == "" else str(x))
    return pd.DataFrame(values, index=samples.index)


def build_design(
    samples: pd.DataFrame, *, formula: str = DEFAULT_DESIGN, test_term: str = "age", min_samples: int = 0
) -> Design:
    """Build the design matrix of one cell type's samples.

    Numeric columns are scaled to mean 0 and SD 1 (n - 1) over these samples, so that an effect is per SD of
    age *within the cell type* and the fit is well conditioned (years against SD units moved PyDESeq2's p by
    up to .017). Categorical columns get treatment coding against their first level in alphabetical order.

    In the default design, `sex` is dropped, and this noted, where only one sex has samples. In a design that
    the user wrote nothing is dropped: a term that is constant skips the cell type.

    Parameters
    ----------
    samples
        One row a sample; the donor columns of the formula, `age` standing for `age_years`.

    Raises
    ------
    BadInput
        The formula is wrong, names no donor column, or does not hold `test_term`.
    CannotFit
        These samples cannot carry the design: a term is constant, the columns are collinear, a categorical
        `test_term` has more than two levels, or too few samples are left.
    """
    from formulaic import model_matrix

    columns = formula_columns(formula)
    if test_term not in columns:
        raise BadInput(f"--test-term '{test_term}': is not in the design '{formula}'; it has: {', '.join(columns)}")
    values = donor_values(samples, columns)
    notes = []
    missing = values.isna().any(axis=1)
    if missing.any():
        first = values.columns[values.isna().any()][0]
        notes.append(f"{int(missing.sum())} samples left out: no value for a design column ('{first}')")
        values = values[~missing]
    if len(values) < min_samples:
        raise CannotFit(f"{len(values)} samples; at least {min_samples} are needed")
    constant = [name for name in columns if values[name].nunique() < 2]
    if constant == ["sex"] and test_term != "sex" and formula.split() == DEFAULT_DESIGN.split():
        only = values["sex"].iloc[0]
        formula, constant = DEFAULT_WITHOUT_SEX, []
        notes.append(f"sex dropped from the design: all samples are '{only}'")
    if constant:
        raise CannotFit(f"design '{formula}': '{constant[0]}' has one value in all {len(values)} samples")

    tested = values[test_term]
    numeric = tested.dtype == float
    levels = [] if numeric else sorted(tested.unique())
    if len(levels) > 2:
        raise CannotFit(
            f"--test-term '{test_term}' has {len(levels)} levels ({', '.join(levels[:3])}...); only two can be compared"
        )
    try:
        matrix = pd.DataFrame(model_matrix(formula, values, na_action="raise").astype(float))
    except Exception as error:  # a function in the formula may fail in any way
        raise BadInput(f"--design '{formula}': cannot be evaluated: {str(error).splitlines()[0]}") from error
    for name in matrix:
        if name in values or not matrix[name].isin([0, 1]).all():
            matrix[name] = (matrix[name] - matrix[name].mean()) / matrix[name].std()
    residual_df = len(matrix) - matrix.shape[1]
    if residual_df < MIN_RESIDUAL_DF:
        raise CannotFit(f"{len(matrix)} samples for {matrix.shape[1]} coefficients of '{formula}': too few")
    if np.linalg.matrix_rank(matrix.to_numpy()) < matrix.shape[1]:
        raise CannotFit(f"design '{formula}' is not of full rank: one term follows from the others in these samples")
    coefficient = test_term if not levels else f"{test_term}[T.{levels[1]}]"
    if coefficient not in matrix:
        have = ", ".join(matrix.columns)
        raise BadInput(
            f"--test-term '{test_term}': has no coefficient of its own in '{formula}' ({have}); add it as a term"
        )
    reference, level = levels or ("", "")
    mean, sd = (float(tested.mean()), float(tested.std())) if numeric else (np.nan, np.nan)
    return Design(matrix, formula, coefficient, test_term, reference, level, mean, sd, tuple(notes))
