"""What makes a run impossible, or not what was asked, said before any step runs."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import nearest
from immune_aging.cohort.columns import NO_COLUMN
from immune_aging.cohort.donors import not_told, one_per_donor
from immune_aging.statistics.batches import AUTO, NONE, find_column
from immune_aging.statistics.curves import with_curve
from immune_aging.statistics.designs import Design, build_design
from immune_aging.statistics.formulas import DEFAULT_DESIGN
from immune_aging.statistics.gene_sets import measured_sets, read_gmt
from immune_aging.statistics.independent_rows import refuse_levels_of_samples
from immune_aging.statistics.repeated_samples import choose_repeats
from immune_aging.statistics.within_levels import design_by_level
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit


def column_problem(donors: pd.DataFrame, column: str, parameter: str) -> str:
    """Why a donor column that a parameter names cannot be used; '' where it can."""
    for fact, role in (("age_years", "age"), ("sex", "sex")):
        if column == fact and not_told(donors, fact):
            return f"--{parameter} {column}: is known of no donor, as with --{role}_column none; name another column"
    if column in donors:
        return ""
    listed = donors[VARYING].astype(str).str.contains(f'"{column}"', regex=False) if VARYING in donors else []
    if np.any(listed):
        donor = donors.loc[listed, "donor_id"].iloc[0]
        return f"--{parameter} {column}: varies within donor '{donor}'; give each donor one value"
    return f"--{parameter} {column}: is no donor column, {nearest(column, [one for one in donors if one != VARYING])}"


def design_problems(
    donors: pd.DataFrame,
    designs: Sequence[str],
    *,
    test_term: str,
    contrast: str,
    min_samples: int,
    by_column: str = "",
    age_spline: int = 0,
) -> tuple[list[str], list[str]]:
    """What is wrong with design formulas for these donors, and what will be changed in the first of them.

    Parameters
    ----------
    by_column, age_spline
        What else is asked of the first design; '' and 0 for nothing.
    """
    problems: list[str] = []
    notes: list[str] = []
    for i, formula in enumerate(designs):
        try:
            design = build_design(
                donors,
                formula=formula,
                test_term=test_term,
                contrast=contrast,
                min_samples=min_samples,
                few_pairs=True,
            )
            if i == 0:
                notes += design.notes
                problems += further_problems(
                    donors, design, contrast=contrast, by_column=by_column, age_spline=age_spline
                )
        except BadInput as error:
            problems.append(str(error) if i == 0 else f"--sensitivity: {error}")
        except CannotFit as error:
            problems.append(f"--design '{formula}': no cell type can be tested: {error}")
    return problems, notes


def further_problems(
    donors: pd.DataFrame, design: Design, *, contrast: str, by_column: str, age_spline: int
) -> list[str]:
    """Why effects by level, or curves, cannot be had of these donors."""
    problems = []
    if by_column:
        try:
            design_by_level(donors, design, by=by_column, contrast=contrast)
            refuse_levels_of_samples(donors, choose_repeats(donors, design), by_column)
        except (BadInput, CannotFit) as error:
            text = str(error)
            problems.append(text if text.startswith("--") else f"--by_column '{by_column}': {text}")
    if age_spline:
        try:
            with_curve(design, donors, df=age_spline)
        except (BadInput, CannotFit) as error:
            text = str(error)
            problems.append(text if text.startswith("--") else f"--age_spline {age_spline}: {text}")
    return problems


def donor_problems(donors: pd.DataFrame, *, n_all: int, min_samples: int, age_column: str) -> list[str]:
    """Why the statistics cannot be done with the donors, or samples, that the cohort filter leaves of `n_all`."""
    what = "samples" if SAMPLE_OF_DONOR in donors else "donors"
    if len(donors) < min_samples:
        return [
            f"{len(donors)} of {n_all} {what} are left by the cohort filter, but a cell type needs "
            f"{min_samples} samples; give more donors, lower --min_samples_per_type, or end before with --stop_after"
        ]
    ages = donors["age_years"]
    if age_column != NO_COLUMN and ages.nunique() < 2:
        return [
            f"--age_column {age_column}: all {len(donors)} {what} are {ages.iloc[0]:g} years old; ages must differ "
            "(--age_column none for a question that is not about age)"
        ]
    return []


def gene_set_findings(path: Path, symbols: np.ndarray, *, min_size: int, max_size: int) -> tuple[list[str], list[str]]:
    """What is wrong with the gene sets for these genes, and what is to be noted of them."""
    try:
        sets = read_gmt(path)
    except BadInput as error:
        return [f"--gene_sets {error}"], []
    known = sorted(set(symbols) - {""})
    if not known:
        return [], []
    example = next(iter(sets.values()))[0]
    if not measured_sets(sets, known, min_size=1, max_size=len(known)):
        problem = (
            f"--gene_sets {path.name}: none of its genes ('{example}', ...) is among the cohort's {len(known)} symbols "
            f"('{known[0]}', ...); give gene sets of the same kind of names"
        )
        return [problem], []
    n_sets = len(measured_sets(sets, known, min_size=min_size, max_size=max_size))
    return [], [] if n_sets else [f"no gene set has {min_size} to {max_size} genes in the cohort: none is tested"]


def batch_problem(donors: pd.DataFrame, column: str) -> str:
    """Why Harmony cannot take out the effect of a donor column; '' where it can."""
    if column in ("donor_id", "cell_type"):
        return ""
    problem = column_problem(donors, column, "batch_column")
    if problem or donors[column].notna().all():
        return problem
    donor = donors.loc[donors[column].isna(), "donor_id"].iloc[0]
    return f"--batch_column {column}: has no value for donor '{donor}'; fill it in or name another column"


def unnamed_question(args: argparse.Namespace) -> str:
    """What to say where there are no ages, and the run would ask about age because nothing else was named; else ''."""
    if args.age_column != NO_COLUMN:
        return ""
    design = args.designs[0]
    asks_age = args.test_term == "age" and not re.search(r"\bage\b", design)
    if design.split() != DEFAULT_DESIGN.split() and not asks_age:
        return ""
    return (
        "--age_column none: the question must be named, because the default one is about age; give --design and "
        "--test_term, like --design '~ donor + condition' --test_term condition"
    )


def run_problems(
    donors: pd.DataFrame, args: argparse.Namespace, *, n_all: int, names_only: bool
) -> tuple[list[str], list[str]]:
    """What is wrong with the parameters that name donor columns, for the donors that are left, and notes.

    Parameters
    ----------
    names_only
        Something else is wrong with the donors: only look for columns that are not there.
    """
    problems: list[str] = []
    notes: list[str] = []
    if args.cohort and args.mad_group:
        problems.append(column_problem(donors, args.mad_group, "mad_group"))
    if args.cohort and args.doublet_rate_column:
        problems.append(column_problem(donors, args.doublet_rate_column, "doublet_rate_column"))
    if args.cohort and "embedding" in args.parts:
        problems.append(batch_problem(donors, args.batch_column))
    if "statistics" in args.parts:
        if not names_only:
            few = donor_problems(donors, n_all=n_all, min_samples=args.min_samples_per_type, age_column=args.age_column)
            problems += few
            names_only = bool(few)  # with few donors, or donors of one age, every design fails for that reason
        if args.pool_column not in (AUTO, NONE):
            try:
                find_column(donors, args.pool_column)
            except BadInput as error:
                problems.append(str(error))
        unnamed = unnamed_question(args)
        found, notes = (
            ([unnamed], [])
            if unnamed
            else design_problems(
                donors,
                args.designs,
                test_term=args.test_term,
                contrast=args.contrast,
                min_samples=args.min_samples_per_type,
                by_column=args.by_column,
                age_spline=args.age_spline,
            )
        )
        known = ("is no donor column", "not a formula", unnamed or "not a formula")
        problems += [one for one in found if not names_only or any(text in one for text in known)]
        if args.age_column != NO_COLUMN:
            people = one_per_donor(donors)
            wanted = [one for one in args.acceleration_columns if one != "sex" or not not_told(donors, "sex")]
            problems += [column_problem(people, column, "acceleration_columns") for column in wanted]
    return [problem for problem in problems if problem], notes
