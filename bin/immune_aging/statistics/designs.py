"""Design matrices from a formula over donor columns, checked before anything is fitted."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.task.checkpoints import VARYING
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

DEFAULT_DESIGN = "~ sex + age"
DEFAULT_WITHOUT_SEX = "~ age"
VERSUS = " vs "  # in a named contrast: LEVEL vs REFERENCE
# `age` in a formula is the column of ages in years, whatever the cohort's own column was called.
ALIASES = {"age": "age_years"}
MIN_RESIDUAL_DF = 3  # under it neither engine can tell a variance from a dispersion prior


@dataclass(frozen=True)
class Contrast:
    """One comparison of the tested term.

    Attributes
    ----------
    name
        'per SD' of a numeric term, else 'LEVEL against REFERENCE'.
    level, reference
        The compared levels; '' of a numeric term.
    weights
        Of the design's coefficients, not 0 at `coefficient`.
    coefficient
        A column of the design that holds it.
    """

    name: str
    level: str
    reference: str
    weights: np.ndarray
    coefficient: str


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
    test_term
        The tested donor column.
    contrasts
        What is tested of it, the leading one first: one of a numeric column, each level against the reference of
        a categorical one.
    mean, sd
        Of the tested column in its own unit over these samples, before scaling; NaN for a categorical one.
    notes
        What was changed and why, for a person.
    """

    matrix: pd.DataFrame
    formula: str
    test_term: str
    contrasts: tuple[Contrast, ...]
    mean: float
    sd: float
    notes: tuple[str, ...]

    @property
    def coefficient(self) -> str:
        """The column of `matrix` that the leading contrast tests."""
        return self.contrasts[0].coefficient


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


def as_labels(column: pd.Series) -> pd.Series:
    """A column as text, whole numbers without a decimal point; missing or empty is None."""

    def label(value: object) -> str | None:
        if pd.isna(value) or value == "":
            return None
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    return column.astype(object).map(label)


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
                f"--design: '{name}' is no donor column; there are: "
                f"{', '.join(sorted(str(one) for one in samples.columns if one != VARYING))}"
            )
        column = samples[source]
        values[name] = column.astype(float) if _is_numeric(column) else as_labels(column)
    return pd.DataFrame(values, index=samples.index)


def refuse_varying_columns(samples: pd.DataFrame, columns: Collection[str]) -> None:
    """Raise `CannotFit` where a donor column of the design has more than one value within a donor.

    Parameters
    ----------
    samples
        `varies_within_donor` lists (JSON) the columns of the cohort that vary within that donor; it may lack.
    """
    if VARYING not in samples:
        return
    for donor, listed in zip(samples["donor_id"], samples[VARYING], strict=True):
        varying = set(json.loads(listed)) if isinstance(listed, str) and listed else set()
        for name in columns:
            if ALIASES.get(name, name) in varying:
                raise CannotFit(
                    f"donor column '{name}' of the design varies within donor '{donor}'; a sample is one donor, so "
                    "give each donor one value, or make donors of its parts"
                )


def aliased_term(model: pd.DataFrame, formula: str) -> str:
    """The first term of a formula whose columns follow from the terms before it; '' if none does."""
    seen = np.empty((len(model), 0))
    for term, columns in model.model_spec.term_indices.items():
        joined = np.column_stack([seen, model.iloc[:, list(columns)].to_numpy(dtype=float)])
        scale = np.linalg.norm(joined, axis=0)
        if np.linalg.matrix_rank(joined / np.where(scale > 0, scale, 1)) < joined.shape[1]:
            return str(term)
        seen = joined
    return ""


def contrasts_of(tested: pd.Series, matrix: pd.DataFrame, *, formula: str, contrast: str) -> tuple[Contrast, ...]:
    """What to test of a term: one contrast of a numeric column, each level against the reference of another.

    Parameters
    ----------
    tested
        The donor column (named), float or text.
    contrast
        'LEVEL vs REFERENCE', or '' for all levels against the first.

    Raises
    ------
    BadInput
        The term has no coefficient of its own; a contrast is named for a numeric term or not in this form.
    CannotFit
        These samples lack a level of the named contrast.
    """
    term, numeric = str(tested.name), tested.dtype == float
    levels = [] if numeric else sorted(tested.unique())
    names = [term] if numeric else [f"{term}[T.{level}]" for level in levels[1:]]
    absent = [name for name in names if name not in matrix]
    if absent:
        have = ", ".join(matrix.columns)
        raise BadInput(f"--test_term '{term}': has no coefficient of its own in '{formula}' ({have}); add it as a term")

    def weights(level: str, reference: str) -> np.ndarray:
        return (matrix.columns == f"{term}[T.{level}]") * 1.0 - (matrix.columns == f"{term}[T.{reference}]")

    if numeric:
        if contrast:
            raise BadInput(f"--contrast '{contrast}': '{term}' is a number, which has no levels; leave it out")
        return (Contrast("per SD", "", "", (matrix.columns == term) * 1.0, term),)
    pairs = [(level, levels[0]) for level in levels[1:]]
    if contrast:
        level, _, reference = contrast.partition(VERSUS)
        if not level or not reference or level == reference:
            raise BadInput(f"--contrast '{contrast}': write it 'LEVEL{VERSUS}REFERENCE', two levels of '{term}'")
        for name in (level, reference):
            if name not in levels:
                raise CannotFit(f"contrast '{contrast}': '{term}' has no '{name}' in these samples, only {levels}")
        pairs = [(level, reference)]
    return tuple(
        Contrast(
            f"{level} against {reference}",
            level,
            reference,
            weights(level, reference),
            f"{term}[T.{level}]" if level != levels[0] else f"{term}[T.{reference}]",
        )
        for level, reference in pairs
    )


def build_design(
    samples: pd.DataFrame,
    *,
    formula: str = DEFAULT_DESIGN,
    test_term: str = "age",
    contrast: str = "",
    batch: str = "",
    min_samples: int = 0,
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
        One row per sample; the donor columns of the formula, `age` standing for `age_years`.
    contrast
        'LEVEL vs REFERENCE' of a categorical `test_term`; '' tests each level against the first.
    batch
        Donor column to add to the formula as a factor, numbers too; '' adds none.

    Raises
    ------
    BadInput
        The formula is wrong, names no donor column, or does not hold `test_term`.
    CannotFit
        These samples cannot carry the design: a term is constant, a column varies within a donor, the columns are
        collinear, a level of the named contrast lacks, or too few samples are left.
    """
    columns = formula_columns(formula)
    if test_term not in columns:
        raise BadInput(f"--test_term '{test_term}': is not in the design '{formula}'; it has: {', '.join(columns)}")
    refuse_varying_columns(samples, [*columns, batch])
    values, left_out = complete_values(samples, columns, batch=batch)
    if len(values) < min_samples:
        raise CannotFit(f"{len(values)} samples; at least {min_samples} are needed")
    formula, dropped = formula_these_samples_carry(values, formula, test_term=test_term)
    if batch:
        formula += f" + {batch if batch.isidentifier() else f'`{batch}`'}"
    matrix = scaled_matrix(values, formula)
    tested = values[test_term]
    contrasts = contrasts_of(tested, matrix, formula=formula, contrast=contrast)
    mean, sd = (float(tested.mean()), float(tested.std())) if tested.dtype == float else (np.nan, np.nan)
    notes = (*left_out, *dropped, *notes_of_several_contrasts(test_term, contrasts))
    return Design(matrix, formula, test_term, contrasts, mean, sd, notes)


def complete_values(samples: pd.DataFrame, columns: Sequence[str], *, batch: str) -> tuple[pd.DataFrame, list[str]]:
    """The design's donor columns, of the samples that have a value in each of them, and a note of the others.

    Parameters
    ----------
    batch
        A further column, which is read as a factor; '' for none.
    """
    values = donor_values(samples, columns)
    if batch:
        values[batch] = as_labels(samples[batch])
    missing = values.isna()
    incomplete = missing.any(axis=1)
    if not incomplete.any():
        return values, []
    first = values.columns[missing.any()][0]
    note = f"{int(incomplete.sum())} samples left out: no value for a design column ('{first}')"
    return values[~incomplete], [note]


def formula_these_samples_carry(values: pd.DataFrame, formula: str, *, test_term: str) -> tuple[str, list[str]]:
    """The formula, the default one without sex where only one sex has samples; and a note of that.

    Parameters
    ----------
    values
        Every donor column that the design will use, batch included.

    Raises
    ------
    CannotFit
        Another column has one value in all samples.
    """
    constant = [name for name in values if values[name].nunique() < 2]
    if constant == ["sex"] and test_term != "sex" and is_default(formula):
        return DEFAULT_WITHOUT_SEX, [f"sex dropped from the design: all samples are '{values['sex'].iloc[0]}'"]
    if constant:
        raise CannotFit(f"design '{formula}': '{constant[0]}' has one value in all {len(values)} samples")
    return formula, []


def is_default(formula: str) -> bool:
    """Whether this is the pipeline's own design rather than one that the user wrote."""
    return formula.split() == DEFAULT_DESIGN.split()


def scaled_matrix(values: pd.DataFrame, formula: str) -> pd.DataFrame:
    """The design matrix of a formula, samples x coefficients, its numeric columns with mean 0 and SD 1.

    Raises
    ------
    BadInput
        The formula cannot be evaluated.
    CannotFit
        The samples are too few for its coefficients, or its columns are collinear.
    """
    from formulaic import model_matrix

    try:
        model = model_matrix(formula, values, na_action="raise")
        matrix = pd.DataFrame(model.astype(float))
    except Exception as error:  # a function in the formula may fail in any way
        raise BadInput(f"--design '{formula}': cannot be evaluated: {str(error).splitlines()[0]}") from error
    for name in matrix:
        if name in values or not matrix[name].isin([0, 1]).all():
            matrix[name] = (matrix[name] - matrix[name].mean()) / matrix[name].std()
    residual_df = len(matrix) - matrix.shape[1]
    if residual_df < MIN_RESIDUAL_DF:
        raise CannotFit(f"{len(matrix)} samples for {matrix.shape[1]} coefficients of '{formula}': too few")
    if np.linalg.matrix_rank(matrix.to_numpy()) < matrix.shape[1]:
        raise CannotFit(
            f"design '{formula}' is not of full rank: in these samples '{aliased_term(model, formula)}' follows from "
            "the terms before it"
        )
    return matrix


def notes_of_several_contrasts(test_term: str, contrasts: Sequence[Contrast]) -> list[str]:
    """Which table holds which contrast, where there are several."""
    if len(contrasts) < 2:
        return []
    return [
        f"'{test_term}' has {len(contrasts) + 1} levels: de.tsv holds {contrasts[0].name}, de_contrasts.tsv every "
        "level against the reference; --contrast names another"
    ]
