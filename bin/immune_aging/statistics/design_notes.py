"""What a person should know of a design before believing its effects: few degrees of freedom, codes, collinearity."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from immune_aging.statistics.contrasts import VERSUS, Contrast, Model, matching_term
from immune_aging.statistics.formulas import quoted

# From this variance inflation on a note says that other terms leave little of the tested one.
MAX_INFLATION = 10.0
# A column of consecutive whole numbers, so many of them, may be a code: a batch, a run.
CODE_LEVELS = range(3, 31)
# Other whole numbers, so few of them, may be codes, too: sites 1, 2, 4 and 7.
FEW_LEVELS = range(3, 11)


def notes_on(
    model: Model, matrix: pd.DataFrame, contrasts: Sequence[Contrast], *, test_term: str, usual_df: int, chosen: bool
) -> list[str]:
    """All notes on a design.

    Parameters
    ----------
    matrix
        Samples x coefficients, of full rank.
    contrasts
        Of its columns, the leading one first.
    usual_df
        Residual degrees of freedom that a design has, unless fewer are allowed.
    chosen
        Whether the user named the compared levels.
    """
    return [
        *notes_of_few_degrees(matrix, usual_df=usual_df),
        *notes_of_compared_levels(test_term, contrasts, chosen=chosen),
        *notes_of_codes(model),
        *notes_of_numbers_as_text(model),
        *notes_of_collinearity(model, matrix, contrasts[0], test_term=test_term),
    ]


def notes_of_few_degrees(matrix: pd.DataFrame, *, usual_df: int) -> list[str]:
    """A warning where hardly any degree of freedom is left to estimate a gene's own variance from."""
    left = len(matrix) - matrix.shape[1]
    if left >= usual_df:
        return []
    return [
        f"{len(matrix)} samples for {matrix.shape[1]} coefficients leave {left} residual degrees of freedom: variances "
        "are nearly those of the other genes, and a gene that varies more than these is called too easily"
    ]


def notes_of_codes(model: Model) -> list[str]:
    """Columns of a few whole numbers that enter as a slope, though they may be codes of a batch or a group."""
    notes = []
    for name in model.formula.columns:
        values = model.values[name]
        if name in ("age", "age_years") or name in model.factors:
            continue
        levels = np.sort(values.unique())
        if (levels != np.floor(levels)).any() or len(levels) > len(values) / 2:
            continue
        consecutive = levels[0] in (0, 1) and np.array_equal(levels, levels[0] + np.arange(len(levels)))
        if len(levels) in (CODE_LEVELS if consecutive else FEW_LEVELS):
            notes.append(
                f"'{name}' has {len(levels)} values, {levels[0]:g} to {levels[-1]:g}, and enters as a slope; if they "
                f"are codes, as of a batch or a group, write C({quoted(name)}) in --design"
            )
    return notes


def notes_of_numbers_as_text(model: Model) -> list[str]:
    """Columns of text that enter as a factor of many levels, though all of their values are numbers."""
    notes = []
    for name in model.factors:
        levels = model.values[name].unique()
        numbers = pd.to_numeric(pd.Series(levels, dtype=object), errors="coerce")
        measured = len(levels) > max(FEW_LEVELS) or (numbers != np.floor(numbers)).any()
        if model.values[name].dtype != float and numbers.notna().all() and measured:
            notes.append(
                f"'{name}' is text in the file, so it enters as a factor of {len(levels)} levels, though all of its "
                "values are numbers; if it measures something, save it as numbers"
            )
    return notes


def variance_inflation(matrix: np.ndarray, weights: np.ndarray, kept: np.ndarray) -> float:
    """How much the other columns of a design inflate the variance of a contrast.

    Parameters
    ----------
    matrix
        Samples x coefficients, of full rank.
    weights
        Of the coefficients.
    kept
        Which columns the contrast needs; without all others its variance is what it is compared with.
    """

    def variance(columns: np.ndarray, own: np.ndarray) -> float:
        return float(own @ np.linalg.solve(columns.T @ columns, own))

    return variance(matrix, weights) / variance(matrix[:, kept], weights[kept])


def notes_of_collinearity(model: Model, matrix: pd.DataFrame, contrast: Contrast, *, test_term: str) -> list[str]:
    """A warning where the other terms of the design leave little of the tested one."""
    tested = set(model.columns_in(matching_term(model, test_term)))
    kept = np.zeros(matrix.shape[1], dtype=bool)
    kept[0] = True
    for factors, places in model.terms.items():
        kept[places] |= bool(set(model.columns_in(factors)) & tested)
    inflation = variance_inflation(matrix.to_numpy(), contrast.weights, kept | (contrast.weights != 0))
    if inflation < MAX_INFLATION:
        return []
    return [
        f"the other terms of '{model.formula.fixed}' nearly determine '{test_term}': its variance is {inflation:.0f} "
        "times what it would be without them, and its effects are hardly known; leave a term out"
    ]


def notes_of_compared_levels(test_term: str, contrasts: Sequence[Contrast], *, chosen: bool) -> list[str]:
    """Which levels are compared where the user did not say, and which table holds which contrast."""
    if len(contrasts) < 2:
        one = contrasts[0]
        if chosen or not one.level:
            return []
        return [
            f"'{test_term}': effects are those of '{one.level}' against '{one.reference}'; "
            f"--contrast '{one.reference}{VERSUS}{one.level}' turns them round"
        ]
    return [
        f"'{test_term}' has {len(contrasts) + 1} levels: de.tsv holds {contrasts[0].name}, de_contrasts.tsv every "
        "level against the reference; --contrast names another"
    ]
