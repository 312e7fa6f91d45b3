"""Which genes of one cell type change: from its samples to its tables, and what a reader must be careful about."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.batches import Batches, choose_batches
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import Design, as_labels, build_design
from immune_aging.statistics.empty_samples import without_empty_samples
from immune_aging.statistics.expression_tests import compare_genes, result_columns
from immune_aging.statistics.gene_fits import GeneFits, no_fits
from immune_aging.statistics.sample_outliers import OUTLIER_RATIO, without_outliers
from immune_aging.task.skipped import CannotFit

# Under this number PyDESeq2's false discovery rate was measured at .02 to .10, depending on the genes'
# variances.
CALIBRATED_FROM_SAMPLES = 60


@dataclass(frozen=True)
class Question:
    """What is asked of a cell type's samples.

    Attributes
    ----------
    formula, test_term, contrast
        The design over donor columns, the column to test, and 'LEVEL vs REFERENCE' of a categorical one or ''.
    pool_column, pool_effect
        As `column` and `effect` of `choose_batches`.
    min_samples
        Fewer samples cannot be tested.
    keep_outliers
        Keep samples that do not belong with the others.
    method
        The primary engine.
    options
        Of DESeq2.
    """

    formula: str
    test_term: str
    contrast: str
    pool_column: str
    pool_effect: str
    min_samples: int
    keep_outliers: bool
    method: str
    options: DeseqOptions


@dataclass(frozen=True)
class Answer:
    """What the tests say of a cell type.

    Attributes
    ----------
    leading
        de.tsv: the leading contrast, one row per tested gene. None where the samples do not carry the question.
    contrasts
        de_contrasts.tsv: every contrast one after another. None where there is only one.
    facts
        The summary, except `status` and `reason`.
    fits
        Voom's fit of the leading contrast, of the genes of `leading`; of no gene where there is no result.
    reason
        Why there is no result; '' where there is one.
    """

    leading: pd.DataFrame | None
    contrasts: pd.DataFrame | None
    facts: dict
    fits: GeneFits
    reason: str = ""


def analyse_cell_type(table: CellTypeSamples, question: Question) -> Answer:
    """Choose the samples, the batch and the design, and test every gene.

    Parameters
    ----------
    table
        One cell type's samples.
    """
    facts = {
        "cell_type": table.cell_type,
        "n_samples_in": len(table.samples),
        "design": question.formula,
        "test_term": question.test_term,
    }
    empty: list[dict] = []
    outliers: list[dict] = []
    try:
        if table.samples["donor_id"].duplicated().any():
            raise CannotFit("donors have several samples, which are not independent; these tests take them to be")
        if not question.keep_outliers:
            table, empty = without_empty_samples(table, lambda samples: design_of(samples, question))
            table, outliers = without_outliers(table, design_of(table.samples, question))
            facts["outlier_samples"] = outliers
        facts["batches"] = asdict(batches_of(table.samples, question))
        # Once more: without the outliers, and by the design with its batch, other genes may be tested.
        table, more = without_empty_samples(table, lambda samples: full_design(samples, question)[0])
        empty += more
        facts["empty_samples"] = empty
        design, batches = full_design(table.samples, question)
        facts |= design_facts(design, batches)
        block = random_blocks(table.samples.loc[design.matrix.index], batches)
        result, numbers, fits = compare_genes(
            table, design, method=question.method, options=question.options, block=block
        )
    except CannotFit as reason:
        return Answer(None, None, facts, no_fits(), str(reason))
    facts |= {**numbers, "warnings": cautions(design, batches, outliers=outliers, empty=empty)}
    columns = result_columns(question.options)
    leading = result.loc[result["contrast"] == design.contrasts[0].name, columns]
    return Answer(leading, result[["contrast", *columns]] if len(design.contrasts) > 1 else None, facts, fits)


def design_of(samples: pd.DataFrame, question: Question, *, batch: str = "") -> Design:
    """The design that was asked for, of these samples, with this batch as a term; raises as `build_design`."""
    return build_design(
        samples,
        formula=question.formula,
        test_term=question.test_term,
        contrast=question.contrast,
        batch=batch,
        min_samples=question.min_samples,
    )


def batches_of(samples: pd.DataFrame, question: Question) -> Batches:
    """How the batch of these samples enters; raises as `choose_batches`."""
    return choose_batches(
        samples,
        formula=question.formula,
        test_term=question.test_term,
        contrast=question.contrast,
        column=question.pool_column,
        effect=question.pool_effect,
    )


def full_design(samples: pd.DataFrame, question: Question) -> tuple[Design, Batches]:
    """The design of these samples with the batch where it is a term, and how the batch enters."""
    batches = batches_of(samples, question)
    return design_of(samples, question, batch=batches.column if batches.use == "fixed" else ""), batches


def random_blocks(samples: pd.DataFrame, batches: Batches) -> pd.Series | None:
    """The batch of each sample where it is a random effect.

    Raises
    ------
    CannotFit
        A sample has none, or there is nothing to estimate a correlation from.
    """
    if batches.use != "random":
        return None
    labels = as_labels(samples[batches.column])
    if labels.isna().any():
        raise CannotFit(f"'{batches.column}' is unknown for {int(labels.isna().sum())} of {len(labels)} samples")
    if not 2 <= labels.nunique() < len(labels):
        raise CannotFit(f"'{batches.column}' has {labels.nunique()} levels in {len(labels)} samples: no random effect")
    return labels


def design_facts(design: Design, batches: Batches) -> dict:
    """What the summary says of the design."""
    return {
        "design": design.formula,
        "test_term": design.test_term,
        "contrast": design.contrasts[0].name,
        "test_term_mean": design.mean,
        "test_term_sd": design.sd,
        "batches": asdict(batches),
    }


def batch_note(batches: Batches) -> str:
    """What a reader must know of the batch; '' where the cohort has none."""
    if not batches.column:
        return ""
    use = {
        "fixed": f"'{batches.column}' is a term of the design",
        "random": f"'{batches.column}' is a random effect in voom and left out of PyDESeq2",
        "none": f"'{batches.column}' was not added to the design",
    }
    return f"{use[batches.use]}: {batches.reason}"


def cautions(
    design: Design,
    batches: Batches,
    *,
    outliers: Sequence[Mapping[str, Any]] = (),
    empty: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """What a reader must know of these samples before trusting the calls.

    Parameters
    ----------
    outliers, empty
        The samples that `without_outliers` and `without_empty_samples` left out.
    """
    notes = list(design.notes)
    if empty:
        notes.append(
            f"{len(empty)} samples left out: no counts in the tested genes (donor '{empty[0]['donor_id']}'"
            f"{', ...' if len(empty) > 1 else ''})"
        )
    if outliers:
        worst = max(outliers, key=lambda one: one["residuals"])
        notes.append(
            f"{len(outliers)} samples left out as outliers: their residuals are at least {OUTLIER_RATIO} times those "
            f"of the median sample (donor '{worst['donor_id']}': {worst['residuals']:.1f} times)"
        )
    if len(design.matrix) < CALIBRATED_FROM_SAMPLES:
        notes.append(
            f"{len(design.matrix)} samples: under {CALIBRATED_FROM_SAMPLES} PyDESeq2's false discovery rate "
            "can reach twice its nominal level; rely on the robust calls"
        )
    note = batch_note(batches)
    return [*notes, note] if note else notes
