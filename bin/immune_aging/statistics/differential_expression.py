"""Which genes of one cell type change: from its samples to its tables, and what a reader must be careful about."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics import curves, some_files, within_levels
from immune_aging.statistics.batches import Batches, choose_batches
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import Design, as_labels, build_design
from immune_aging.statistics.empty_samples import without_empty_samples
from immune_aging.statistics.expression_tests import (
    METHODS,
    compare_genes,
    count_calls,
    refuse_empty_samples,
    result_columns,
)
from immune_aging.statistics.formulas import source_column
from immune_aging.statistics.gene_fits import GeneFits, no_fits
from immune_aging.statistics.independent_rows import IndependentRows, independent_rows
from immune_aging.statistics.joined_zeros import joined_zeros
from immune_aging.statistics.random_terms import are_in_the_design, asked_besides_donors, group_labels, told_apart
from immune_aging.statistics.repeated_samples import ONE_EACH, Repeats, are_repeated, share_between
from immune_aging.statistics.sample_outliers import OUTLIER_RATIO, count_unjudged, without_outliers
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

# What is done with several samples of a donor, for a reader.
REPEATS_SAID = {
    "sum": "a donor's samples were summed, so that donors are what is counted",
    "fixed": "each donor is a term of the design, so that its samples are compared with each other",
    "random": "the donor is a random effect, which PyDESeq2 has none of",
}
VOOM_ALONE = "; voom tests alone, so that no gene is robust"
# Under this number PyDESeq2's false discovery rate was measured at .02 to .10, depending on the genes'
# variances.
CALIBRATED_FROM_SAMPLES = 60
# Share of the tested term's information from between correlated groups above which a note says what one correlation for
# all genes does: with half of the genes alike in all groups .08 of null genes had p < .05 in 20 groups, .18 in 4.
MOSTLY_BETWEEN = 0.5


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
    by_column
        A column of levels, within each of which the effect is wanted, too; '' for none.
    age_spline
        Functions of a spline of age, which is tested, too; 0 for none.
    cohort_levels
        As of `CellTypeSamples`, from which they are taken.
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
    by_column: str = ""
    age_spline: int = 0
    cohort_levels: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
    further
        Tables of what else was asked: 'by_level' (`within_levels.COLUMNS`), 'curve' and 'curve_points'
        (`curves.COLUMNS`, `curves.POINT_COLUMNS`); without rows where the samples do not carry it.
    """

    leading: pd.DataFrame | None
    contrasts: pd.DataFrame | None
    facts: dict
    fits: GeneFits
    reason: str = ""
    further: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def analyse_cell_type(table: CellTypeSamples, question: Question) -> Answer:
    """Choose the samples, the batch and the design, and test every gene.

    Genes that not all files of the cohort measure are in the tables of contrasts alone.

    Parameters
    ----------
    table
        One cell type's samples.
    """
    answer = analyse_genes(some_files.without_further_genes(table), question)
    if table.some_files is None or answer.leading is None:
        return answer
    further, said = genes_of_some_files(table, question, answer)
    n_samples = answer.facts["n_samples"]
    leading = some_files.joined(answer.leading, [rows for rows, _ in further], n_samples=n_samples)
    contrasts = answer.contrasts
    if contrasts is not None:
        parts = []
        for name, part in contrasts.groupby("contrast", sort=False):
            own = [rows[rows["contrast"] == name] for _, rows in further]
            parts.append(some_files.joined(part, own, n_samples=n_samples))
        contrasts = pd.concat(parts, ignore_index=True)
    facts = answer.facts | some_files.numbers_with(answer.facts, said, count_calls(leading))
    facts["n_padj_missing"] = int(leading["padj"].isna().sum())
    facts["warnings"] = [*facts["warnings"], some_files.caution(said, n_samples=n_samples)]
    return replace(answer, leading=leading, contrasts=contrasts, facts=facts | {"genes_of_some_files": said})


def genes_of_some_files(
    table: CellTypeSamples, question: Question, answer: Answer
) -> tuple[list[tuple[pd.DataFrame, pd.DataFrame]], dict]:
    """Test the genes that not all files measure, each among the samples that were measured for it.

    Parameters
    ----------
    answer
        Of the other genes, whose question these must answer, too.

    Returns
    -------
    Of each set of samples in which such genes could be tested, the rows of de.tsv and of all contrasts; and what the
    summary says.
    """
    assert table.some_files is not None, "the table has such genes"
    question = replace(question, by_column="", age_spline=0)
    found, said = [], []
    for number, subset in enumerate(some_files.subsets(table)):
        rows, facts, reason = None, {}, ""
        if number >= some_files.MAX_SUBSETS:
            reason = f"only the {some_files.MAX_SUBSETS} largest groups of genes with the same samples are tested"
        elif subset.n_countable:
            own = answer_of_some(subset.table, question)
            facts, reason = own.facts, own.reason
            if own.leading is not None and facts["contrast"] != answer.facts["contrast"]:
                reason = f"their samples compare {facts['contrast']}"
            elif own.leading is not None:
                every = own.leading.assign(contrast=facts["contrast"]) if own.contrasts is None else own.contrasts
                rows, contrasts = (
                    some_files.rows_of(result, subset.gene_ids, facts, answer.facts) for result in (own.leading, every)
                )
                found.append((rows, contrasts))
        said.append(some_files.facts_of(subset, facts, rows, reason))
    return found, some_files.summary(said, n_genes=len(table.some_files.symbols))


def answer_of_some(table: CellTypeSamples, question: Question) -> Answer:
    """As `analyse_genes`, of some of the samples: a question that all can be asked may name what these have not."""
    try:
        return analyse_genes(table, question)
    except BadInput as reason:
        return Answer(None, None, {}, no_fits(), str(reason))


def analyse_genes(table: CellTypeSamples, question: Question) -> Answer:
    """Choose the samples, the batch and the design, and test the genes that all samples are measured for.

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
    question = replace(question, cohort_levels=table.cohort_levels)
    empty: list[dict] = []
    outliers: list[dict] = []
    n_unjudged = 0
    try:
        rows = rows_to_test(table, question)
        table, repeats = rows.table, rows.repeats
        designer = partial(design_of_rows, rows=rows, question=question)
        if repeats.use != "none":
            facts["repeated_samples"] = asdict(repeats)
        # Joint tests hold their rate in voom (.04), not quite in PyDESeq2 (.067 with 60 samples): docs/decisions/0024.
        # PyDESeq2 has no random effects: what differs between ten pools had p < .05 in .21 of null genes (voom .04).
        first = designer(table.samples)
        random_term = asked_besides_donors(first, table.samples)
        if repeats.voom_alone or random_term or not first.signed:
            question = replace(question, method="voom")
        if not question.keep_outliers:
            table, empty = without_empty_samples(table, designer)
            judged_by = designer(table.samples)
            table, outliers = without_outliers(table, judged_by)
            n_unjudged = count_unjudged(judged_by)
            facts["outlier_samples"] = outliers
        facts["batches"] = asdict(batches_of(rows.described(table.samples), question))
        # Once more: without the outliers, and by the design with its batch, other genes may be tested.
        table, more = without_empty_samples(table, lambda samples: full_design(samples, question, rows)[0])
        empty += more
        facts["empty_samples"] = empty
        design, batches = full_design(table.samples, question, rows)
        facts |= design_facts(design, batches)
        own, must = table.samples.loc[design.matrix.index], question.pool_effect == "random"
        block, batches = random_blocks(own, design, batches, repeats, must=must)
        facts["batches"] = asdict(batches)
        result, numbers, fits = compare_genes(
            table,
            design,
            method=question.method,
            options=question.options,
            block=block,
            engines=("voom",) if repeats.voom_alone else METHODS,
        )
    except CannotFit as reason:
        return Answer(None, None, facts, no_fits(), str(reason), further=no_further_tables(question))
    further, said = further_questions(replace(rows, table=table), design, result, question, block=block)
    facts |= said
    warnings = [
        *design.notes,
        *notes_of_samples(empty=empty, outliers=outliers, n_unjudged=n_unjudged),
        *note_of_one_correlation(design, block),
        *cautions(design, batches, repeats=repeats, random_term=random_term),
        *joined_zeros(table),
    ]
    facts |= {**numbers, "warnings": warnings}
    columns = result_columns(question.options, joint=not design.signed)
    leading = result.loc[result["contrast"] == design.contrasts[0].name, columns]
    contrasts = result[["contrast", *columns]] if len(design.contrasts) > 1 else None
    return Answer(leading, contrasts, facts, fits, further=further)


def rows_to_test(table: CellTypeSamples, question: Question) -> IndependentRows:
    """The rows that the question's tests take; raises as `build_design` and `choose_batches`."""
    build = partial(design_of, question=question)
    if question.pool_effect not in ("fixed", "random") or not are_repeated(table.samples):
        return independent_rows(table, build)
    asked = batches_of(table.samples, question)
    return independent_rows(
        table,
        build,
        batch=asked.column if asked.use == "fixed" else "",
        further=[asked.column] if asked.use == "random" else [],
    )


def design_of_rows(samples: pd.DataFrame, *, rows: IndependentRows, question: Question, batch: str = "") -> Design:
    """The design that was asked for, of (some of) the rows; raises as `design_of`."""
    return rows.design(design_of(rows.described(samples), question=question, batch=batch))


def no_further_tables(question: Question) -> dict[str, pd.DataFrame]:
    """The tables of `Answer.further` without rows."""
    wanted: dict[str, Sequence[str]] = {"by_level": within_levels.COLUMNS} if question.by_column else {}
    if question.age_spline:
        wanted |= {"curve": curves.COLUMNS, "curve_points": curves.POINT_COLUMNS}
    return {name: pd.DataFrame(columns=list(columns)) for name, columns in wanted.items()}


def further_questions(
    rows: IndependentRows, design: Design, result: pd.DataFrame, question: Question, *, block: pd.Series | None
) -> tuple[dict[str, pd.DataFrame], dict]:
    """What else was asked of the same genes and samples: the tables of `Answer.further`, and facts of each.

    Parameters
    ----------
    rows
        Those that are left.
    design
        Of the leading question, batch included.
    result
        Its genes.
    block
        Group of each sample whose samples are correlated, for voom; None for none.
    """
    tables, facts = no_further_tables(question), {}
    table = rows.table
    tested = table.gene_ids.isin(result["gene_id"])
    genes = pd.DataFrame({"gene_id": table.gene_ids[tested], "symbol": table.symbols.to_numpy()[tested]})

    def inputs(of: Design, table: CellTypeSamples) -> tuple[np.ndarray, np.ndarray | None]:
        names = of.matrix.index
        counts = table.counts[np.ix_(table.samples.index.get_indexer(names), np.flatnonzero(tested))]
        refuse_empty_samples(counts, names, " in the tested genes")
        return counts, None if block is None else block.reindex(names).to_numpy(dtype=str)

    if question.by_column:
        try:
            own, of_levels, levels = design_within_levels(rows, design, question)
            counts, blocks = inputs(of_levels, own)
            tables["by_level"] = within_levels.effects_by_level(counts, genes, of_levels, levels, block=blocks)
            facts["by_column"] = within_levels.facts(tables["by_level"], of_levels, levels, column=question.by_column)
        except CannotFit as reason:
            facts["by_column"] = {"column": question.by_column, "status": "skipped", "reason": str(reason)}
    if question.age_spline:
        try:
            curve = curves.with_curve(design, table.samples, df=question.age_spline)
            counts, blocks = inputs(curve.design, table)
            tables["curve"], tables["curve_points"] = curves.age_curves(counts, genes, curve, block=blocks)
            facts["age_spline"] = curves.facts(tables["curve"], df=question.age_spline)
        except CannotFit as reason:
            facts["age_spline"] = {"df": question.age_spline, "status": "skipped", "reason": str(reason)}
    return tables, facts


def design_within_levels(
    rows: IndependentRows, design: Design, question: Question
) -> tuple[CellTypeSamples, Design, list[str]]:
    """The design of the effects within levels, by the rule that the leading question has for samples of a donor.

    Parameters
    ----------
    design
        Of the leading question: its batch is in this one, too.

    Returns
    -------
    The rows, the design, and the levels.
    """
    own = rows.with_levels(question.by_column)
    samples = own.described(own.table.samples)
    asked = design_of(samples, question=question, batch=design.batch)
    by = question.by_column
    by_level, levels = within_levels.design_by_level(samples, asked, by=by, contrast=question.contrast)
    of_rows = own.design(by_level)
    if own.of_samples:  # of which there may be enough where there are few donors
        known = own.table.samples.loc[of_rows.matrix.index, source_column(by, samples)]
        within_levels.refuse_small_levels(as_labels(known), by=by)
    return own.table, of_rows, levels


def design_of(samples: pd.DataFrame, *, question: Question, batch: str = "") -> Design:
    """The design that was asked for, of these samples, with this batch as a term; raises as `build_design`."""
    return build_design(
        samples,
        formula=question.formula,
        test_term=question.test_term,
        contrast=question.contrast,
        batch=batch,
        min_samples=question.min_samples,
        few_pairs=True,
        cohort_levels=question.cohort_levels,
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


def full_design(samples: pd.DataFrame, question: Question, rows: IndependentRows) -> tuple[Design, Batches]:
    """The design of (some of) the rows with the batch where it is a term, and how the batch enters."""
    batches = batches_of(rows.described(samples), question)
    batch = batches.column if batches.use == "fixed" else ""
    return design_of_rows(samples, rows=rows, question=question, batch=batch), batches


def random_blocks(
    samples: pd.DataFrame, design: Design, batches: Batches, repeats: Repeats, *, must: bool = False
) -> tuple[pd.Series | None, Batches]:
    """The group of each sample whose samples are correlated: its donor, the formula's random term, or its batch.

    Voom takes one such column. A batch that was to be another, or whose levels follow from the design, is left out.

    Parameters
    ----------
    must
        The batch was asked for as a random effect, so that it may not be left out.

    Returns
    -------
    The groups, None where there are none; how the batch enters now.

    Raises
    ------
    CannotFit
        A sample has no group, there is nothing to estimate a correlation from, two groups are asked for, or the tested
        term cannot be told from the groups.
    """
    asked = asked_besides_donors(design, samples)
    if repeats.use == "random" and asked:
        raise CannotFit(f"donors have several samples, so that they are a random effect; '{asked}' cannot be another")
    column = "donor_id" if repeats.use == "random" else asked
    if batches.use == "random" and column:
        taken = "the donor" if repeats.use == "random" else f"'{asked}'"
        if must:
            raise CannotFit(f"{taken} is a random effect; '{batches.column}' (pool_effect random) cannot be another")
        batches = replace(batches, use="none", reason=f"{taken} is a random effect, and there can be one only")
    if not column and batches.use != "random":
        return None, batches
    labels = group_labels(samples, column or batches.column)
    if not column and not must and are_in_the_design(design, labels):
        reason = (
            f"confounded: what differs between the levels of '{batches.column}' follows from the terms of the design"
        )
        return None, replace(batches, use="none", reason=reason)
    return told_apart(design, labels, column or batches.column), batches


def note_of_one_correlation(design: Design, block: pd.Series | None) -> list[str]:
    """A warning where groups are compared with each other, by a correlation within them that is that of all genes."""
    if block is None:
        return []
    labels = block.loc[design.matrix.index].to_numpy(dtype=str)
    if share_between(design, labels) < MOSTLY_BETWEEN:
        return []
    return [
        f"'{design.test_term}' differs mostly between the {len(set(labels))} groups whose samples are correlated, and "
        "voom takes one correlation for all genes: a gene whose groups differ more than most genes' do is called too "
        "easily"
    ]


def design_facts(design: Design, batches: Batches) -> dict:
    """What the summary says of the design."""
    return {
        "design": design.formula,
        "test_term": design.test_term,
        "contrast": design.contrasts[0].name,
        "meaning": design.meaning,
        "signed": design.signed,
        "unit": design.unit,
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


def notes_of_samples(
    *, empty: Sequence[Mapping[str, Any]], outliers: Sequence[Mapping[str, Any]], n_unjudged: int
) -> list[str]:
    """Which samples were left out, and how many nobody could judge.

    Parameters
    ----------
    empty, outliers, n_unjudged
        Of `without_empty_samples` and `without_outliers`.
    """
    notes = []
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
    if n_unjudged:
        notes.append(
            f"{n_unjudged} samples could not be judged as outliers: a term of the design has each for itself (the only "
            "sample of its donor or of a level), so that they have no residuals"
        )
    return notes


def cautions(design: Design, batches: Batches, *, repeats: Repeats = ONE_EACH, random_term: str = "") -> list[str]:
    """What a reader must know of how samples were tested before trusting the calls.

    Parameters
    ----------
    random_term
        The column of the formula's random term, where that is not the donor; '' for none.
    """
    notes = []
    if random_term:
        notes.append(
            f"'{random_term}' is a random effect, so that voom leads; PyDESeq2 has none, and takes the samples of one "
            f"'{random_term}' for independent of each other"
        )
    if repeats.use in REPEATS_SAID:
        notes.append(f"{repeats.reason}: {REPEATS_SAID[repeats.use]}{VOOM_ALONE if repeats.voom_alone else ''}")
    notes += repeats.notes
    if len(design.matrix) < CALIBRATED_FROM_SAMPLES and not repeats.voom_alone:
        notes.append(
            f"{len(design.matrix)} samples: under {CALIBRATED_FROM_SAMPLES} PyDESeq2's false discovery rate "
            "can reach twice its nominal level; rely on the robust calls"
        )
    note = batch_note(batches)
    return [*notes, note] if note else notes
