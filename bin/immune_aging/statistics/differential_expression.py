"""Which genes of one cell type change: from its samples to its tables, and what a reader must be careful about."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.batches import Batches, choose_batches
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import Design, as_labels, build_design
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
    terms = {"formula": question.formula, "test_term": question.test_term, "contrast": question.contrast}
    outliers: list[dict] = []
    try:
        if not question.keep_outliers:
            plain = build_design(table.samples, **terms, min_samples=question.min_samples)
            table, outliers = without_outliers(table, plain)
            facts["outlier_samples"] = outliers
        batches = choose_batches(table.samples, **terms, column=question.pool_column, effect=question.pool_effect)
        facts["batches"] = asdict(batches)
        fixed = batches.column if batches.use == "fixed" else ""
        design = build_design(table.samples, **terms, batch=fixed, min_samples=question.min_samples)
        facts |= design_facts(design, batches)
        block = random_blocks(table.samples.loc[design.matrix.index], batches)
        result, numbers, fits = compare_genes(
            table, design, method=question.method, options=question.options, block=block
        )
    except CannotFit as reason:
        return Answer(None, None, facts, no_fits(), str(reason))
    facts |= {**numbers, "warnings": cautions(design, batches, outliers)}
    columns = result_columns(question.options)
    leading = result.loc[result["contrast"] == design.contrasts[0].name, columns]
    return Answer(leading, result[["contrast", *columns]] if len(design.contrasts) > 1 else None, facts, fits)


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


def cautions(design: Design, batches: Batches, left_out: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What a reader must know of these samples before trusting the calls."""
    notes = list(design.notes)
    if left_out:
        worst = max(left_out, key=lambda one: one["residuals"])
        notes.append(
            f"{len(left_out)} samples left out as outliers: their residuals are at least {OUTLIER_RATIO} times those "
            f"of the median sample (donor '{worst['donor_id']}': {worst['residuals']:.1f} times)"
        )
    if len(design.matrix) < CALIBRATED_FROM_SAMPLES:
        notes.append(
            f"{len(design.matrix)} samples: under {CALIBRATED_FROM_SAMPLES} PyDESeq2's false discovery rate "
            "can reach twice its nominal level; rely on the robust calls"
        )
    note = batch_note(batches)
    return [*notes, note] if note else notes
