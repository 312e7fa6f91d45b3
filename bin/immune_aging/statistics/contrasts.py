"""What a tested term means: linear functions of a design's coefficients, taken at a reference grid.

A coefficient means what its coding makes of it: beside an interaction the coefficient of age is the slope in the
reference sex, beside I(age**2) the slope at age 0. So what is tested is a difference between predictions, as R's
emmeans and emtrends have it: numeric columns stand at their mean, the levels of other factors have equal weights.

References
----------
Searle, Speed, Milliken (1980), The American Statistician 34:216; Lenth, the R package emmeans.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from immune_aging.samples.levels import as_text
from immune_aging.statistics.formulas import Formula, term_factors
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

if TYPE_CHECKING:
    from formulaic import ModelMatrix

VERSUS = " vs "  # in a named contrast: LEVEL vs REFERENCE
PER_SD = "per SD"
AGAINST = " against "  # in the name of a contrast: LEVEL against REFERENCE
# Slopes are central differences over this share of the column's SD; exact for lines and parabolas.
STEP = 1e-3
# Percentiles between which the effect of a term of several columns is shown.
LOW_PERCENTILE, HIGH_PERCENTILE = 10, 90
DIGITS = 9  # of weights, which are of order 1: what differences leave behind these is rounding
ORDERED_LEVELS = re.compile(r"\blevels\s*=")
AS_FACTOR = re.compile(r"C\(\s*(column_\d+_)\s*[,)]")  # C(run): a column that is a factor whatever its type


@dataclass(frozen=True)
class Contrast:
    """One question about the tested term.

    Attributes
    ----------
    name
        'per SD' of a numeric term, 'LEVEL against REFERENCE' of a factor, else in words what is compared.
    level, reference
        The compared levels; '' of what compares no levels.
    weights
        Of the design's coefficients: the effect that is shown.
    hypothesis
        Hypotheses x coefficients, all of them tested at once to be 0; None where `weights` is what is tested.
    """

    name: str
    level: str
    reference: str
    weights: np.ndarray
    hypothesis: np.ndarray | None = None

    @property
    def signed(self) -> bool:
        """Whether the test has a direction: one hypothesis, that of the effect shown."""
        return self.hypothesis is None

    @property
    def hypotheses(self) -> np.ndarray:
        """What is tested, hypotheses x coefficients."""
        return self.weights[None, :] if self.hypothesis is None else self.hypothesis


@dataclass(frozen=True)
class Tested:
    """What is tested of a term.

    Attributes
    ----------
    contrasts
        The leading one first; weights of the coefficients of the model as it was evaluated, not scaled.
    mean, sd
        Of the tested numeric column in its own unit, before scaling; NaN where there is none.
    unit_column
        That column, as the formula names it; '' where there is none.
    meaning
        One sentence: what the effect of the leading contrast is.
    """

    contrasts: tuple[Contrast, ...]
    mean: float
    sd: float
    unit_column: str
    meaning: str


@dataclass(frozen=True)
class Model:
    """A formula evaluated on samples.

    Attributes
    ----------
    formula
        The formula.
    values
        Samples x columns under the names of the samples, numbers as float, factors as text.
    matrix
        Samples x coefficients, as the library has it.
    cohort_levels
        Of columns that hold few values: those of the whole cohort, as text, in ascending order. Empty where the
        samples are the cohort's.
    """

    formula: Formula
    values: pd.DataFrame
    matrix: "ModelMatrix"
    cohort_levels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def terms(self) -> dict[frozenset[str], list[int]]:
        """Columns of the matrix of each term, by the term's factors under the library's names."""
        found = self.matrix.model_spec.term_indices.items()
        return {frozenset(str(factor) for factor in term.factors): list(places) for term, places in found}

    @property
    def factors(self) -> list[str]:
        """Columns that enter as factors."""
        as_factor = set(AS_FACTOR.findall(self.formula.plain))
        return [
            name
            for name in self.formula.columns
            if self.values[name].dtype != float or self.formula.plain_name(name) in as_factor
        ]

    def levels(self, column: str) -> list:
        """Levels of a factor, or values of a number, in order: the reference is the first."""
        present = {as_text(level): level for level in sorted(self.values[column].unique())}
        return [present[name] for name in self.in_order(column, list(present))]

    def in_order(self, column: str, levels: Sequence[str]) -> list[str]:
        """Levels of a factor in the order that the formula gives them, the reference that it names before all others.

        `C(arm, levels=["none", "low", "high"])` orders, `C(arm, Treatment("none"))` and `C(arm, contr.SAS)` name a
        reference. Where the formula does neither, the order stays as it is.
        """
        for factor, coding in self.matrix.model_spec.factor_contrasts.items():
            if self.simple_column(str(factor)) != column:
                continue
            ordered = list(levels)
            if ORDERED_LEVELS.search(str(factor)):
                place = {as_text(level): number for number, level in enumerate(coding.levels)}
                ordered.sort(key=lambda level: place.get(level, len(place)))
            reference = reference_of(coding.contrasts, ordered)
            return [reference, *(level for level in ordered if level != reference)]
        return list(levels)

    def columns_in(self, factors: frozenset[str]) -> list[str]:
        """The samples' columns that a term's factors name."""
        names = re.findall(r"column_(\d+)_", " ".join(sorted(factors)))
        return sorted({self.formula.columns[int(name)] for name in names})

    def simple_column(self, factor: str) -> str:
        """The samples' column that a factor of a term is: itself, or as a factor by `C()`; '' of other functions."""
        as_factor = AS_FACTOR.match(factor)
        name = as_factor[1] if as_factor else factor
        return self.formula.shown(name) if re.fullmatch(r"column_\d+_", name) else ""

    def column_in_function(self, factor: str) -> str:
        """The first column that a function within a term takes; '' where the factor is a column itself."""
        names = [] if self.simple_column(factor) else self.columns_in(frozenset([factor]))
        return names[0] if names else ""

    def rows(self, points: pd.DataFrame) -> np.ndarray:
        """Rows of the model matrix at any points, points x coefficients."""
        with np.errstate(all="ignore"):
            return self.matrix.model_spec.get_model_matrix(self.formula.with_plain_names(points)).to_numpy(dtype=float)


def reference_of(coding: object, levels: Sequence[str]) -> str:
    """The level that a coding of the library compares the others with: the one it names, the last for SAS coding."""
    from formulaic.transforms.contrasts import SASContrasts, TreatmentContrasts
    from formulaic.utils.sentinels import UNSET

    if isinstance(coding, TreatmentContrasts) and coding.base is not UNSET:
        return as_text(coding.base)
    return levels[-1] if isinstance(coding, SASContrasts) else levels[0]


def averaged_rows(model: Model, points: pd.DataFrame) -> np.ndarray:
    """Rows of the model matrix at points of some columns, averaged over a grid of the others.

    Of the others, the factors that share a term with the points' columns run over their levels, each with the same
    weight; numeric ones stand at their mean. Factors that share no term with them cancel in every difference.

    Parameters
    ----------
    points
        One row per point, the columns that are set.

    Returns
    -------
    Points x coefficients.
    """
    given = set(points.columns)
    sharing: set[str] = set()
    for factors in model.terms:
        columns = set(model.columns_in(factors))
        if columns & given:
            sharing |= columns
    others = [name for name in model.formula.columns if name not in given]
    axes = []
    for name in others:
        if name not in model.factors:
            axes.append([model.values[name].mean()])
        else:
            levels = model.levels(name)
            axes.append(levels if name in sharing else levels[:1])
    grid = pd.DataFrame(list(itertools.product(*axes)), columns=others)
    whole = points.reset_index(drop=True).merge(grid, how="cross") if others else points
    rows = model.rows(whole[list(model.formula.columns)].astype(model.values.dtypes[list(model.formula.columns)]))
    return rows.reshape(len(points), len(grid) if others else 1, -1).mean(axis=1)


def difference(
    model: Model,
    columns: Sequence[str],
    pairs: Mapping[str, tuple[object, object]],
    *,
    at: Mapping[str, object] | None = None,
) -> np.ndarray:
    """Weights of the coefficients in a difference of differences, over each column between two values or per SD.

    Parameters
    ----------
    columns
        The columns that vary.
    pairs
        The two values of those that are compared at two values: a level and its reference.
    at
        Values at which further columns stand; averaged over all others.
    """
    ends = []
    for name in columns:
        if name in pairs:
            level, reference = pairs[name]
            ends.append([(level, 1.0), (reference, -1.0)])
        else:
            mean, sd = model.values[name].mean(), model.values[name].std()
            ends.append([(mean + STEP * sd, 0.5 / STEP), (mean - STEP * sd, -0.5 / STEP)])
    corners = list(itertools.product(*ends))
    points = pd.DataFrame([[value for value, _ in corner] for corner in corners], columns=list(columns))
    points = points.assign(**(at or {}))
    signs = np.array([np.prod([weight for _, weight in corner]) for corner in corners])
    return signs @ averaged_rows(model, points)


def matching_term(model: Model, test_term: str) -> frozenset[str]:
    """The factors of the model's term that is to be tested.

    Raises
    ------
    BadInput
        The design has no such term.
    """
    formula = model.formula
    wanted = term_factors(formula, test_term)
    if wanted not in model.terms:
        terms = [":".join(sorted(map(formula.shown, one))) for one in model.terms if one != frozenset("1")]
        mixed = [one for one in terms if test_term in one]
        what = "has no coefficient of its own in" if mixed else "is not a term of the design"
        raise BadInput(f"--test_term '{test_term}': {what} '{formula.text}'; it has: {', '.join(terms)}")
    return wanted


def averaged_over(model: Model, columns: Sequence[str]) -> str:
    """In words, over which factors an effect of these columns is averaged, and what stands at its mean."""
    given = set(columns)
    factors: set[str] = set()
    numbers: set[str] = set()
    for one in model.terms:
        term = set(model.columns_in(one))
        if not term & given:
            continue
        for name in term - given:
            (factors if name in model.factors else numbers).add(name)
        numbers |= {model.column_in_function(factor) for factor in one} & given - set(model.factors)
    parts = [f"averaged over the levels of '{name}'" for name in sorted(factors)]
    parts += [f"at the mean of '{name}'" for name in sorted(numbers)]
    return f", {' and '.join(parts)}" if parts else ""


def named_pair(contrast: str, term: str, levels: Sequence[str]) -> tuple[str, str]:
    """Level and reference of a contrast that the user named; raises as `tested_term`."""
    level, _, reference = contrast.partition(VERSUS)
    if not level or not reference or level == reference:
        raise BadInput(f"--contrast '{contrast}': write it 'LEVEL{VERSUS}REFERENCE', two levels of '{term}'")
    for name in (level, reference):
        if name not in levels:
            raise CannotFit(f"contrast '{contrast}': '{term}' has no '{name}' in these samples, only {list(levels)}")
    return level, reference


def compared_levels(model: Model, column: str, *, contrast: str) -> list[tuple[object, object]]:
    """Each level of a factor with the first, or the two that the user named; raises as `tested_term`."""
    levels = {as_text(level): level for level in model.levels(column)}
    if contrast:
        level, reference = named_pair(contrast, column, list(levels))
        return [(levels[level], levels[reference])]
    refuse_other_levels(model, column, needed=2)
    first, *others = levels.values()
    return [(level, first) for level in others]


def refuse_other_levels(model: Model, column: str, *, needed: int | None = None) -> None:
    """Raise `CannotFit` where these samples lack a level that the cohort's question is about.

    Without this check a cell type that has no sample of the reference level would compare two other levels, under the
    same words as the other cell types.

    Parameters
    ----------
    needed
        How many levels the question is about, the reference first; None for all.
    """
    present = [as_text(level) for level in model.levels(column)]
    asked = model.in_order(column, model.cohort_levels.get(column, present))[:needed]
    missing = [level for level in asked if level not in present]
    if missing:
        what = f"compare '{asked[1]}' with '{asked[0]}'" if needed == 2 else f"compare all levels of '{column}'"
        raise CannotFit(
            f"these samples cannot {what} as the whole cohort can: none has the '{column}' '{missing[0]}'"
            + ("; --contrast names two other levels" if needed == 2 and len(present) > 1 else "")
        )


def factor_contrasts(model: Model, column: str, *, contrast: str) -> Tested:
    """Each level of a factor against the first, or the two that the user named."""
    contrasts = tuple(
        Contrast(
            f"{as_text(level)}{AGAINST}{as_text(reference)}",
            as_text(level),
            as_text(reference),
            difference(model, [column], {column: (level, reference)}),
        )
        for level, reference in compared_levels(model, column, contrast=contrast)
    )
    meaning = f"log2 fold change of '{column}', {contrasts[0].name}{averaged_over(model, [column])}"
    return Tested(contrasts, np.nan, np.nan, "", meaning)


def has_two_values(model: Model, column: str) -> bool:
    """Whether a number tells two groups apart, as 0 and 1 do: these are compared, since no SD of them means anything.

    Ages stay ages, whatever their number.
    """
    levels = model.cohort_levels.get(column, model.levels(column))
    return len(levels) == 2 and column not in ("age", "age_years")


def numeric_contrast(model: Model, column: str) -> Tested:
    """The slope of a numeric column at its mean, per SD."""
    values = model.values[column]
    weights = difference(model, [column], {})
    meaning = f"log2 fold change per SD of '{column}'{averaged_over(model, [column])}"
    only = Contrast(PER_SD, "", "", weights)
    return Tested((only,), float(values.mean()), float(values.std()), column, meaning)


def interaction_contrast(model: Model, columns: Sequence[str], *, test_term: str) -> Tested:
    """How effects differ: the difference of slopes or of differences, of several levels all at once."""
    factors = [name for name in columns if name in model.factors]
    numbers = [name for name in columns if name not in model.factors]
    choices = []
    for name in factors:
        refuse_other_levels(model, name)
        levels = model.levels(name)
        choices.append([(name, (level, levels[0])) for level in levels[1:]])
    rows, labels = [], []
    for pairs in itertools.product(*choices):
        rows.append(difference(model, columns, dict(pairs)))
        labels.append(" and ".join(f"{as_text(level)} minus {as_text(first)}" for _, (level, first) in pairs))
    slope = f"per SD of '{numbers[0]}'" if len(numbers) == 1 else " and ".join(f"per SD of '{one}'" for one in numbers)
    what = f"difference of the effects {slope}".rstrip() if numbers else "difference of differences"
    meaning = f"{what}{': ' + labels[-1] if labels[-1] else ''}{averaged_over(model, columns)}"
    name = ", ".join(filter(None, [labels[-1], slope.replace("'", "")])) or test_term
    unit = numbers[0] if len(numbers) == 1 else ""
    mean, sd = (float(model.values[unit].mean()), float(model.values[unit].std())) if unit else (np.nan, np.nan)
    hypothesis = None if len(rows) == 1 else np.array(rows)
    if hypothesis is not None:
        meaning += f"; the test asks whether any of the {len(rows)} differences is not 0"
    return Tested((Contrast(name, "", "", rows[-1], hypothesis),), mean, sd, unit, meaning)


def function_contrast(model: Model, wanted: frozenset[str]) -> Tested:
    """What a term with a function adds: its own coefficient, or all of its coefficients at once.

    Where the term's columns also stand in interactions, its coefficients are averaged over the levels there.
    """
    columns = model.columns_in(wanted)
    name = model.formula.shown(":".join(sorted(wanted)))
    own = np.zeros(model.matrix.shape[1], dtype=bool)
    for factors, places in model.terms.items():
        own[places] |= wanted <= factors
    first, *more = model.terms[wanted]
    pairs, label = ends_of(model, columns)
    effect = difference(model, columns, pairs)
    if not more and not set(columns) & set(model.factors):
        values = model.matrix.iloc[:, first].to_numpy(dtype=float)
        mean, sd = float(values.mean()), float(values.std(ddof=1))
        rows = np.where(own, averaged_rows(model, model.values[columns]), 0)
        largest = rows[np.abs(rows[:, first]).argmax()]
        weights = largest / largest[first] * sd
        meaning = f"log2 fold change per SD of '{name}', the other terms held equal"
        return Tested((Contrast(PER_SD, "", "", weights),), mean, sd, name, meaning)
    meaning = f"expected log2 difference, {label}"
    if not more:
        return Tested((Contrast(label, "", "", np.where(own, effect, 0)),), np.nan, np.nan, "", meaning)
    # The rows are the term's contributions at the samples' values: all are 0 if and only if its coefficients are.
    rows = np.where(own, averaged_rows(model, model.values[columns].drop_duplicates()), 0)
    scale = np.linalg.norm(rows, axis=0)
    _, size, turned = np.linalg.svd(rows / np.where(scale > 0, scale, 1), full_matrices=False)
    hypothesis = turned[size > size[0] * 1e-8] * scale
    meaning += f"; the test asks whether any of the {len(hypothesis)} coefficients of '{name}' is not 0"
    return Tested((Contrast(label, "", "", effect, hypothesis),), np.nan, np.nan, "", meaning)


def ends_of(model: Model, columns: Sequence[str]) -> tuple[dict[str, tuple[object, object]], str]:
    """Between which values the effect of some columns is shown: high and low percentile, last level and first.

    Returns
    -------
    The two values of each column; the same in words.
    """
    pairs: dict[str, tuple[object, object]] = {}
    words = []
    for name in columns:
        if name in model.factors:
            levels = model.levels(name)
            pairs[name] = (levels[-1], levels[0])
            words.append(f"{as_text(levels[-1])} minus {as_text(levels[0])}")
        else:
            low, high = np.percentile(model.values[name], [LOW_PERCENTILE, HIGH_PERCENTILE])
            pairs[name] = (high, low)
            words.append(
                f"{high:.4g} minus {low:.4g} ({HIGH_PERCENTILE}th and {LOW_PERCENTILE}th percentile) of {name}"
            )
    return pairs, ", ".join(words)


def tested_term(model: Model, test_term: str, *, contrast: str) -> Tested:
    """What to test of a term.

    Parameters
    ----------
    test_term
        A term of the formula, as it is written there; the factors of an interaction in any order.
    contrast
        'LEVEL vs REFERENCE' of a factor, or '' for all levels against the first.

    Raises
    ------
    BadInput
        The design has no such term; a contrast is named for a term that has no levels, or not in this form.
    CannotFit
        These samples lack a level of the named contrast.
    """
    wanted = matching_term(model, test_term)
    columns = model.columns_in(wanted)
    simple = all(model.simple_column(factor) for factor in wanted)
    if simple and len(wanted) == 1 and (columns[0] in model.factors or has_two_values(model, columns[0])):
        return factor_contrasts(model, columns[0], contrast=contrast)
    if contrast:
        why = "is a number, which has no levels" if simple and len(wanted) == 1 else "compares no two levels"
        raise BadInput(f"--contrast '{contrast}': '{test_term}' {why}; leave it out")
    if simple and len(wanted) == 1:
        return numeric_contrast(model, columns[0])
    if simple:
        return interaction_contrast(model, columns, test_term=test_term)
    return function_contrast(model, wanted)


def on_scaled_columns(weights: np.ndarray, means: np.ndarray, sds: np.ndarray) -> np.ndarray:
    """Weights of the coefficients of a matrix whose columns were centred and scaled; the first is the intercept.

    Parameters
    ----------
    weights
        Of the coefficients of the matrix as it was; the last axis runs over them.
    means, sds
        What was taken from each column, and by what it was divided after that.
    """
    shifted = (weights - weights[..., :1] * means) / sds
    shifted[..., 0] = weights[..., 0]
    return np.round(shifted, DIGITS) + 0.0
