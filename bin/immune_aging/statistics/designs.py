"""Design matrices from a formula over donor columns, checked before anything is fitted."""

import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import AS_GIVEN, not_told
from immune_aging.samples.levels import as_text
from immune_aging.statistics.contrasts import Contrast, Model, on_scaled_columns, tested_term
from immune_aging.statistics.design_notes import notes_on
from immune_aging.statistics.formulas import (
    DEFAULT_DESIGN,
    DEFAULT_WITHOUT_SEX,
    is_default,
    is_donor,
    parse,
    quoted,
    source_column,
    term_factors,
    with_random_term,
)
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

MIN_RESIDUAL_DF = 3  # under it neither engine can tell a variance from a dispersion prior
# Of designs in which each donor is a term. Two pairs leave 1: variances are then all but those of the other genes, yet
# voom calls .056 +- .003 of null genes at p < .05 and PyDESeq2 .03 (docs/decisions/0024).
MIN_PAIRED_RESIDUAL_DF = 1


@dataclass(frozen=True)
class Design:
    """A design matrix of full rank and what the tested term means.

    Attributes
    ----------
    matrix
        Samples x coefficients, float, index sample_id. Columns of numbers have mean 0 and SD 1 in these samples.
    formula
        The formula in use, without dropped terms.
    test_term
        The tested term.
    contrasts
        What is tested of it, the leading one first: one of a numeric column, each level against the reference of
        a categorical one, a joint test of a term with several coefficients.
    mean, sd
        Of the tested column in its own unit over these samples, before scaling; NaN where it has no unit.
    notes
        What was changed and why, for a person.
    unit
        The numeric column, per SD of which the effect is, as the formula names it, or 'age'; '' where there is none.
    of_age
        Whether that is the donors' age in years.
    meaning
        One sentence: what the effect of the leading contrast is.
    random
        The column of the formula's random term; '' for none.
    batch
        The column that was added to the formula, which is a factor there whatever it holds; '' for none.
    """

    matrix: pd.DataFrame
    formula: str
    test_term: str
    contrasts: tuple[Contrast, ...]
    mean: float
    sd: float
    notes: tuple[str, ...]
    unit: str = ""
    of_age: bool = False
    meaning: str = ""
    random: str = ""
    batch: str = ""

    @property
    def signed(self) -> bool:
        """Whether the leading contrast has a direction."""
        return self.contrasts[0].signed


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def as_labels(column: pd.Series) -> pd.Series:
    """A column as text, whole numbers without a decimal point; missing or empty is None."""

    def label(value: object) -> str | None:
        if pd.isna(value) or value == "":
            return None
        return as_text(value)

    return column.astype(object).map(label)


def donor_values(samples: pd.DataFrame, columns: Collection[str]) -> pd.DataFrame:
    """The named donor columns of `samples`: numbers as float, anything else as text; missing stays missing.

    Raises
    ------
    BadInput
        A column is not there.
    """
    values = {}
    untold = [name for name in columns if is_untold(samples, name)]
    for name in [*(one for one in columns if one not in untold), *untold]:  # what is no column at all is said first
        refuse_untold(samples, name, what=f"--design: '{name}'")
        source = source_column(name, samples)
        if source not in samples:
            raise BadInput(
                f"--design: '{name}' is no donor column; there are: "
                f"{', '.join(sorted(str(one) for one in samples.columns if one != VARYING))}"
            )
        column = samples[source]
        values[name] = column.astype(float) if _is_numeric(column) else as_labels(column)
    return pd.DataFrame(values, index=samples.index)


def is_untold(samples: pd.DataFrame, name: str) -> str:
    """'age' or 'sex' where a name in a formula means that, and it is known of no donor; else ''."""
    source = source_column(name, samples)
    for fact, role in (("age_years", "age"), ("sex", "sex")):
        if not_told(samples, fact) and (source == fact or (source == role and role not in samples)):
            return role
    return ""


def refuse_untold(samples: pd.DataFrame, name: str, *, what: str) -> None:
    """Raise `BadInput` where a name in a formula, or of a parameter, means ages or sexes that no donor has.

    Parameters
    ----------
    what
        How the message begins.
    """
    if role := is_untold(samples, name):
        raise BadInput(f"{what}: is known of no donor, as with --{role}_column none; leave it out")


def varies_somewhere(samples: pd.DataFrame, column: str) -> bool:
    """Whether a column of the cohort varies within some donor, so that the samples do not have it."""
    if VARYING not in samples:
        return False
    return bool(samples[VARYING].astype(str).str.contains(json.dumps(column), regex=False).any())


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
            if source_column(name, samples) in varying:
                remedy = (
                    "so --sample_column does not tell all of its samples apart: join the columns that do to one"
                    if SAMPLE_OF_DONOR in samples
                    else "give each donor one value, or tell its samples apart with --sample_column"
                )
                raise CannotFit(f"donor column '{name}' of the design varies within donor '{donor}'; {remedy}")


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


def build_design(
    samples: pd.DataFrame,
    *,
    formula: str = DEFAULT_DESIGN,
    test_term: str = "age",
    contrast: str = "",
    batch: str = "",
    min_samples: int = 0,
    few_pairs: bool = False,
    cohort_levels: Mapping[str, Sequence[str]] | None = None,
) -> Design:
    """Build the design matrix of one cell type's samples.

    The formula is evaluated on the columns as they are. After that the columns of numbers are scaled to mean 0 and SD 1
    (n - 1) over these samples, so that the fit is well conditioned (years against SD units moved PyDESeq2's p by
    up to .017); the contrasts are those of `contrasts.tested_term`, which no coding changes. Categorical columns get
    treatment coding against their first level in alphabetical order.

    In the default design, `sex` is dropped, and this noted, where only one sex has samples, or none is told. In a
    design that the user wrote nothing is dropped: a term that is constant skips the cell type.

    Parameters
    ----------
    samples
        One row per sample; the donor columns of the formula, which `source_column` finds: `age` is `age_years`.
    contrast
        'LEVEL vs REFERENCE' of a categorical `test_term`; '' tests each level against the first.
    batch
        Donor column to add to the formula as a factor, numbers too; '' adds none.
    few_pairs
        Allow `MIN_PAIRED_RESIDUAL_DF` where each donor is a term: for tests that learn variances from many genes.
    cohort_levels
        As of `CellTypeSamples`: what is compared are levels of the whole cohort, or these samples are refused.

    Raises
    ------
    BadInput
        The formula is wrong, names no donor column, or does not hold `test_term`.
    CannotFit
        These samples cannot carry the design: a term is constant, a column varies within a donor, the columns are
        collinear, a level of the named contrast lacks, or too few samples are left.
    """
    formula, without = default_without_sex(samples, formula)
    asked = parse(formula)
    term_factors(asked, test_term)
    random = [asked.random] if asked.random else []
    refuse_varying_columns(samples, [*asked.columns, *random, batch])
    values, left_out = complete_values(samples, [*asked.columns, *random], batch=batch)
    if len(values) < min_samples:
        raise CannotFit(f"{len(values)} samples; at least {min_samples} are needed")
    fixed, dropped = formula_these_samples_carry(
        values[[name for name in values if name not in random or name in asked.columns]],
        asked.fixed,
        test_term=test_term,
        default=is_default(formula, samples),
    )
    if batch:
        fixed += f" + {quoted(batch)}"
    model = evaluated(values, fixed)
    sources = {name: source_column(name, samples) for name in asked.columns}
    of_cohort = {name: levels for name, source in sources.items() if (levels := (cohort_levels or {}).get(source))}
    model = replace(model, cohort_levels=of_cohort)
    paired = few_pairs and any(is_donor(name, samples) for name in asked.columns)
    matrix, means, sds = scaled_matrix(model, min_residual_df=MIN_PAIRED_RESIDUAL_DF if paired else MIN_RESIDUAL_DF)
    tested = tested_term(model, test_term, contrast=contrast)
    contrasts = tuple(scaled_contrast(one, means, sds) for one in tested.contrasts)
    doubts = notes_on(model, matrix, contrasts, test_term=test_term, usual_df=MIN_RESIDUAL_DF, chosen=bool(contrast))
    return Design(
        matrix,
        with_random_term(fixed, asked.random),
        test_term,
        contrasts,
        tested.mean,
        tested.sd,
        (*left_out, *without, *dropped, *doubts),
        unit=shown_unit(tested.unit_column, samples),
        of_age=bool(tested.unit_column) and source_column(tested.unit_column, samples) == "age_years",
        meaning=tested.meaning,
        random=asked.random,
        batch=batch,
    )


def scaled_contrast(contrast: Contrast, means: np.ndarray, sds: np.ndarray) -> Contrast:
    """A contrast of the coefficients of a model as one of those of its scaled columns (`scaled_matrix`)."""
    joint = None if contrast.hypothesis is None else on_scaled_columns(contrast.hypothesis, means, sds)
    return replace(contrast, weights=on_scaled_columns(contrast.weights, means, sds), hypothesis=joint)


def shown_unit(column: str, samples: pd.DataFrame) -> str:
    """The tested numeric column for a reader: `age` is the donors' age, however the formula calls it, and no other."""
    if not column:
        return ""
    if source_column(column, samples) == "age_years":
        return "age"
    return f"column '{column}'" if column == "age" else column


def complete_values(samples: pd.DataFrame, columns: Sequence[str], *, batch: str) -> tuple[pd.DataFrame, list[str]]:
    """The design's donor columns, of the samples that have a value in each of them, and a note of the others.

    Parameters
    ----------
    batch
        A further column, or one of these, which is read as a factor; '' for none.
    """
    values = donor_values(samples, [name for name in columns if name != batch])
    refuse_infinite(values)
    if batch:
        values[batch] = as_labels(samples[batch])
    missing = values.isna()
    incomplete = missing.any(axis=1)
    if not incomplete.any():
        return values, []
    first = values.columns[missing.any()][0]
    note = f"{int(incomplete.sum())} samples left out: no value for a design column ('{first}')"
    return values[~incomplete], [note]


def refuse_infinite(values: pd.DataFrame) -> None:
    """Raise `CannotFit` where a number is infinite, as the logarithm of 0 is."""
    for name in values.select_dtypes(float):
        infinite = values[name][np.isinf(values[name])]
        if len(infinite):
            raise CannotFit(
                f"donor column '{name}' is infinite ({infinite.iloc[0]}) in {len(infinite)} of {len(values)} samples "
                f"('{infinite.index[0]}', ...); give a number, or leave the value empty"
            )


def default_without_sex(samples: pd.DataFrame, formula: str) -> tuple[str, list[str]]:
    """The formula, the default one without sex where no donor's is told; and a note of that."""
    if formula.split() != DEFAULT_DESIGN.split() or not not_told(samples, "sex") or AS_GIVEN["sex"] in samples:
        return formula, []
    return DEFAULT_WITHOUT_SEX, ["no donor's sex is known: the default design has age alone"]


def formula_these_samples_carry(
    values: pd.DataFrame, formula: str, *, test_term: str, default: bool
) -> tuple[str, list[str]]:
    """The formula, the default one without sex where only one sex has samples; and a note of that.

    Parameters
    ----------
    values
        Every donor column that the design will use, batch included.
    default
        Whether the formula is the pipeline's own.

    Raises
    ------
    CannotFit
        Another column has one value in all samples.
    """
    constant = [name for name in values if values[name].nunique() < 2]
    if constant == ["sex"] and test_term != "sex" and default:
        return DEFAULT_WITHOUT_SEX, [f"sex dropped from the design: all samples are '{values['sex'].iloc[0]}'"]
    if constant:
        raise CannotFit(f"design '{formula}': '{constant[0]}' has one value in all {len(values)} samples")
    return formula, []


def evaluated(values: pd.DataFrame, formula: str) -> Model:
    """A formula without a random term evaluated on its columns; `BadInput` where it cannot be."""
    from formulaic import model_matrix
    from formulaic.errors import DataMismatchWarning

    parsed = parse(formula)
    columns = values[list(parsed.columns)]
    try:
        with warnings.catch_warnings():
            # Samples of a level that C(column, levels=[...]) leaves out would count as those of the reference level.
            warnings.simplefilter("error", DataMismatchWarning)
            # Without a context formulaic would offer this module's own names as functions.
            matrix = model_matrix(parsed.plain, parsed.with_plain_names(columns), na_action="raise", context={})
    except Exception as error:  # a function in the formula may fail in any way
        reason = parsed.shown(str(error).splitlines()[0])
        if "not among the provided levels" in reason:
            raise CannotFit(f"design '{formula}': no sample has the reference level that it names") from error
        raise BadInput(f"--design '{formula}': cannot be evaluated: {reason}") from error
    return Model(parsed, columns, matrix)


def scaled_columns(model: Model) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The design matrix, samples x coefficients, its columns of numbers with mean 0 and SD 1.

    Returns
    -------
    The matrix; what was taken from each column, and by what it was divided.

    Raises
    ------
    CannotFit
        A column of numbers is constant.
    """
    formula = model.formula
    matrix = pd.DataFrame(model.matrix.astype(float)).rename(columns=formula.shown)
    means, sds = np.zeros(matrix.shape[1]), np.ones(matrix.shape[1])
    for place, name in enumerate(matrix):
        column = matrix[name]
        if name in formula.columns or not column.isin([0, 1]).all():
            if n := int((~np.isfinite(column)).sum()):
                n_of = f"{n} of {len(matrix)}"
                raise CannotFit(f"design '{formula.fixed}': '{name}' is not a finite number in {n_of} samples")
            means[place], sds[place] = column.mean(), column.std()
            if not np.isfinite(sds[place]) or sds[place] == 0:
                raise CannotFit(f"design '{formula.fixed}': '{name}' has one value in all {len(matrix)} samples")
            matrix[name] = (column - means[place]) / sds[place]
    return matrix, means, sds


def collinearity(model: Model) -> str:
    """Why a model that is not of full rank cannot be fitted."""
    fixed = model.formula.fixed
    alias = model.formula.shown(aliased_term(model.matrix, fixed))
    return f"design '{fixed}' is not of full rank: in these samples '{alias}' follows from the terms before it"


def scaled_matrix(
    model: Model, *, min_residual_df: int = MIN_RESIDUAL_DF
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """As `scaled_columns`, of full rank.

    Raises
    ------
    CannotFit
        The samples are too few for its coefficients, or its columns are collinear.
    """
    matrix, means, sds = scaled_columns(model)
    if len(matrix) - matrix.shape[1] < min_residual_df:
        fixed = model.formula.fixed
        raise CannotFit(f"{len(matrix)} samples for {matrix.shape[1]} coefficients of '{fixed}': too few")
    if np.linalg.matrix_rank(matrix.to_numpy()) < matrix.shape[1]:
        raise CannotFit(collinearity(model))
    return matrix, means, sds
