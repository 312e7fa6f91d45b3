"""What is right and wrong with a cohort: its cells, donors, genes and labels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from immune_aging.cohort.ages import MIDPOINT, age_notes, code_like, no_age_problem, note_stand_ins, other_meaning
from immune_aging.cohort.cell_origins import mixed_kinds, other_species_of_cells, second_copies
from immune_aging.cohort.cohort_file import (
    ENSEMBL_ID,
    Counts,
    column_names,
    nearest,
    open_cohort,
    read_table,
    source_texts,
    symbols_of,
)
from immune_aging.cohort.count_evidence import Found, find_counts
from immune_aging.cohort.donor_doubts import (
    donor_doubts,
    missing_kept,
    numbers_for_names,
    several_facts_remedy,
    spelt_alike_elsewhere,
)
from immune_aging.cohort.donor_facts import with_donor_table
from immune_aging.cohort.donors import OWN_COLUMNS, donor_table, not_told, repeated
from immune_aging.cohort.donors_of_files import SEVERAL_FILES
from immune_aging.cohort.doublet_labels import read_calls
from immune_aging.cohort.gathering import called, gathered_counts, notes_of_gathering
from immune_aging.cohort.gene_symbols import GeneNames
from immune_aging.cohort.hostile_names import LABELLED
from immune_aging.cohort.number_codes import note_far_codes, without_missing_numbers
from immune_aging.cohort.same_cells import repeated_cells
from immune_aging.cohort.sex_by_genes import counts_by_donor, sex_doubts
from immune_aging.cohort.table_encodings import UNREADABLE
from immune_aging.cohort.tidy_labels import tidied
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput

ROLES = ("donor", "cell_type", "age", "sex")
_MOUSE_MITOCHONDRIAL = re.compile(r"mt-[A-Z][a-z]?\w*")

MAX_TEXTS = 10  # ages that cannot be read, in a note
# A converter that loses the levels of a factor leaves their numbers (mojaveazure/seurat-disk#138).
CODES = (
    "--age_column {column}: its {n} values are consecutive whole numbers from 0 or 1 on, as a converter leaves codes "
    "of categories; give the ages in years, or write them as text like '5 years' if they are"
)
CODES_PERHAPS = (
    "--age_column {column}: its {n} values are consecutive whole numbers from 0 or 1 on and are taken for years; check "
    "that they are no codes of categories"
)


@dataclass(frozen=True)
class Cohort:
    """What a cohort's file holds, as far as it can be read.

    Attributes
    ----------
    obs, var
        Its tables; `var` is that of the matrix with the counts.
    layer, counts
        The name of that matrix and where it is; None where none holds counts.
    donors
        One row per donor, or per sample of a donor where these are told apart; None where a column for that is missing.
    beside
        The table of genes of X, where the counts are elsewhere and have a table of their own.
    notes
        What was changed in names of donors, samples and cell types.
    source
        What the file says of itself (`source_texts`).
    called
        How messages call the cohort.
    """

    obs: pd.DataFrame
    var: pd.DataFrame
    layer: str | None
    counts: Counts | None
    donors: pd.DataFrame | None
    beside: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    source: dict[str, str] = field(default_factory=dict)
    called: str = ""


@dataclass(frozen=True)
class Matrix:
    """The genes of a matrix; its name and place where it holds the counts; genes of X where that is another one."""

    var: pd.DataFrame
    layer: str | None = None
    counts: Counts | None = None
    beside: pd.DataFrame | None = None


def other_species(gene_ids: np.ndarray, symbols: np.ndarray) -> str:
    """A gene that shows that the cohort is of another species than human; '' if most genes do not."""
    ids = pd.Series(gene_ids, dtype=object)
    found = ids.str.extract(f"({ENSEMBL_ID})", expand=False).dropna()
    # Human genes are ENSG; every other species has letters in between, like ENSMUSG of the mouse.
    foreign = found[~found.str.match(r"ENSG\d")]
    if len(foreign) > len(found) / 2:
        return str(ids[foreign.index[0]])
    mitochondrial = [name for name in symbols if _MOUSE_MITOCHONDRIAL.fullmatch(name)]
    return mitochondrial[0] if mitochondrial and not any(name.startswith("MT-") for name in symbols) else ""


def column_problems(columns: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """What is wrong with columns that are not among the `names` of the file's, each with what may have been meant."""
    without = {role: f" (--{role}_column none, where the cohort does not tell it)" for role in ("age", "sex")}
    return [
        f"--{role}_column {column}: obs has no such column, {nearest(column, list(names))}{without.get(role, '')}"
        for role, column in columns.items()
        if column not in names
    ]


def notes_on_unused(columns: Mapping[str, str]) -> list[str]:
    """What is left out of a run whose cohort has no ages, or no sexes."""
    left_out = {
        "age": "age prediction, immune age, published clocks, curves of age and figures of ages are left out",
        "sex": "figures by sex are left out, and the default design has age alone",
    }
    if "age" not in columns:
        left_out["sex"] = "figures by sex are left out"
    return [f"--{role}_column none: {what}" for role, what in left_out.items() if role not in columns]


def name_problems(cohort: Cohort) -> list[str]:
    """What is wrong with the names of cells and genes, and with how many there are."""
    problems = []
    n_cells, n_genes = len(cohort.obs), len(cohort.var)
    counts, layer = cohort.counts, cohort.layer
    if counts and (n_cells, n_genes) != (counts.n_cells, counts.n_genes):
        problems.append(
            f"{layer} is {counts.n_cells} x {counts.n_genes}, but obs and var name {n_cells} cells and {n_genes} "
            "genes; write the file anew with anndata"
        )
    for table, names, what in ((cohort.obs, "obs", "cells"), (cohort.var, "var", "genes")):
        if name := repeated(table.index.astype(str).to_numpy(dtype=object)):
            problems.append(
                f"{names} names: '{name}' occurs twice; make the {what} unique with adata.{names}_names_make_unique()"
            )
    gene = other_species(cohort.var.index.astype(str).to_numpy(dtype=object), symbols_of(cohort.var))
    if gene:
        problems.append(
            f"var names: '{gene}' is no human gene; gene lists and gene sets are of human genes, so give human genes "
            "(or their orthologues)"
        )
    return problems


def label_problems(obs: pd.DataFrame, columns: Mapping[str, str]) -> list[str]:
    """What is wrong with the columns of names: no value in any cell, or one column for two things."""
    problems = []
    for role in LABELLED:
        if columns.get(role) in obs and len(obs) and obs[columns[role]].isna().all():
            problems.append(f"--{role}_column {columns[role]}: has no value in any cell; name another column")
    for i, role in enumerate(columns):
        # The age at each visit may well tell the visits apart.
        others = [other for other in list(columns)[:i] if (other, role) != ("age", "sample")]
        same = [other for other in others if columns[other] == columns[role]]
        if same:
            problems.append(
                f"--{role}_column {columns[role]}: is --{same[0]}_column as well; name a column for each of them"
            )
    return problems


def key_problems(donors: pd.DataFrame) -> list[str]:
    """Two samples whose names cannot be told apart once donor and sample are joined by a bar.

    Parameters
    ----------
    donors
        One row per donor, or per sample of a donor.
    """
    if SAMPLE_OF_DONOR not in donors:
        return []
    name = repeated((donors["donor_id"] + "|" + donors[SAMPLE_OF_DONOR]).to_numpy(dtype=object))
    return [f"two samples of different donors would be called '{name}'; rename the donors without '|'"] if name else []


def age_doubts(donors: pd.DataFrame, column: str, *, age_ranges: str, numbers: bool) -> tuple[list[str], list[str]]:
    """What is wrong with the ages of donors, and what is to be noted of how they were read.

    Parameters
    ----------
    donors
        One row per donor, or per sample of a donor, as of `donor_table`.
    column
        That the ages come from.
    numbers
        The names of cell types are numbers, too: a converter may have lost all names.
    """
    texts = donors["age_text"].dropna().tolist()
    if donors["age_years"].isna().all():
        return [no_age_problem(texts, column=column)], []
    codes = code_like(texts)
    if codes == "codes" or (codes and numbers):
        return [CODES.format(column=column, n=len(set(texts)))], []
    notes = age_notes(texts, column=column, age_ranges=age_ranges)
    notes += note_stand_ins(donors["age_years"].tolist(), column=column)
    return [], [*notes, CODES_PERHAPS.format(column=column, n=len(set(texts)))] if codes else notes


def unknown_ages(donors: pd.DataFrame) -> list[str]:
    """A note on donors, or samples of donors, whose age is not known; none where no age is used."""
    unknown = donors[donors["age_years"].isna()]
    if not len(unknown) or not_told(donors, "age_years"):
        return []
    texts = ", ".join(repr(str(text)) for text in unknown["age_text"].fillna("no value").unique()[:MAX_TEXTS])
    what = "samples" if SAMPLE_OF_DONOR in donors else "donors"
    hint = other_meaning(unknown["age_text"].dropna().tolist())
    more = f"; {hint}" if hint else ""
    return [f"{len(unknown)} of {len(donors)} {what} have no known age ({texts}) and are left out{more}"]


def label_doubts(
    obs: pd.DataFrame, donors: pd.DataFrame, columns: Mapping[str, str], *, age_ranges: str
) -> tuple[list[str], list[str]]:
    """What is wrong with, and what is to be noted of, ages, donors and cell types that can be read.

    Parameters
    ----------
    obs
        Cells, as `tidied` gives them.
    donors
        One row per donor, or per sample of a donor, as of `donor_table`.
    """
    kinds = obs[columns["cell_type"]].cat.categories if columns["cell_type"] in obs else []
    numbers = numbers_for_names(list(kinds))
    problems: list[str] = []
    notes: list[str] = []
    if columns.get("age") in obs:
        problems, notes = age_doubts(donors, columns["age"], age_ranges=age_ranges, numbers=numbers)
    if numbers:
        notes.append(
            f"column '{columns['cell_type']}': all cell types are numbers; if they are no clusters, a converter has "
            "lost their names"
        )
    origins = [*second_copies(obs), *mixed_kinds(obs, columns)]
    own = [*OWN_COLUMNS, columns.get("age", "")]  # an age that is not known is noted with the ages
    levels = [*missing_kept(donors, own), *note_far_codes(donors, own), *spelt_alike_elsewhere(donors, own)]
    notes += [*donor_doubts(obs, donors, columns), *origins, *levels]
    return problems + other_species_of_cells(obs), notes


def selected_genes(var: pd.DataFrame) -> list[str]:
    """A note where all genes are marked as variable, so that the file holds a selection of the measured ones."""
    if "highly_variable" not in var or not (var["highly_variable"].astype(str).str.casefold() == "true").all():
        return []
    return [
        f"all {len(var)} genes are marked 'highly_variable': the file seems to hold these alone, so that totals, "
        "mitochondrial shares and gene sets are those of a selection; give all genes"
    ]


def doubts_of_counts(
    file: h5py.File, counts: Counts, var: pd.DataFrame, obs: pd.DataFrame, columns: Mapping[str, str]
) -> list[str]:
    """What the counts of a file say against its labels: cells that are there twice, donors of the other sex.

    None where the file's parts do not fit, or hold no values (`--check_only` of several files).
    """
    if (len(obs), len(var)) != (counts.n_cells, counts.n_genes) or columns["donor"] not in obs:
        return []
    if counts.layout != "dense" and "indices" not in file[counts.path]:
        return []
    notes = [*selected_genes(var), *repeated_cells(file, counts, obs, donor=columns["donor"])]
    if columns.get("sex") not in obs:
        return notes
    donors = obs[columns["donor"]].astype(object)
    told = obs[[columns["sex"]]].set_axis(["sex"], axis=1).astype(object).assign(donor=donors)
    sexes = told.dropna().drop_duplicates("donor").set_index("donor")["sex"]
    return notes + sex_doubts(counts_by_donor(file, counts, var, donors), sexes.to_dict())


def read_labels(
    file: h5py.File, columns: Mapping[str, str], *, donor_facts: Path | None
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The cells of a file as `tidied` gives them; what is wrong with their columns, and what is to be noted.

    Parameters
    ----------
    donor_facts
        A table of facts about donors that the file need not have; None for none.
    """
    table = read_table(file, "obs")
    broken = table.attrs.get(UNREADABLE, {})
    table, wrong, joining = with_donor_table(table, donor_facts, columns)
    names = list(dict.fromkeys([*column_names(file, "obs"), *table.columns]))
    problems = wrong + column_problems(columns, names)
    problems += [
        f"obs: cannot be read ({why}) in column '{name}'; copy or download the file again, or write it anew "
        "with anndata"
        for name, why in broken.items()
        if name in columns.values()
    ]
    obs, changes = tidied(table, columns)
    notes = [*notes_on_unused(columns), *joining, *changes]
    if others := [f"'{name}' ({why})" for name, why in broken.items() if name not in columns.values()]:
        notes.append(f"columns of cells that cannot be read are left out: {', '.join(others[:MAX_TEXTS])}")
    return obs, problems, notes


def with_counts(file: h5py.File, matrix: Matrix, found: Found) -> Matrix:
    """The matrix in which the counts were found, with its own genes."""
    if found.counts.var_path == "var":
        return replace(matrix, layer=found.layer, counts=found.counts)
    return Matrix(read_table(file, found.counts.var_path), found.layer, found.counts, beside=matrix.var)


def examined_donors(
    obs: pd.DataFrame, columns: Mapping[str, str], *, age_ranges: str, gathered: Sequence[str] = ()
) -> tuple[pd.DataFrame | None, list[str], list[str]]:
    """The table of donors, None where a column for it is missing; what is wrong with it, and what is to be noted.

    Parameters
    ----------
    obs
        Cells, as `tidied` gives them.
    gathered
        What was noted while several files were put together: it may say why donors have several ages.
    """
    if not len(obs) or not {columns["donor"], columns.get("sample", columns["donor"])} <= set(obs.columns):
        return None, [], []
    lacking = {columns[role]: np.nan for role in ("age", "sex") if columns.get(role, "") not in [*obs, ""]}
    donors, problems = donor_table(
        obs.assign(**lacking), donor=columns["donor"], age=columns.get("age"), sex=columns.get("sex"),
        sample=columns.get("sample"), age_ranges=age_ranges,
    )  # fmt: skip
    named = problems + key_problems(donors)
    if problems:
        of_files = [note for note in gathered if SEVERAL_FILES in note]
        return donors, [*named, *filter(None, [several_facts_remedy(obs, columns), *of_files])], []
    if not len(donors):
        return donors, named, []
    donors, changes = without_missing_numbers(donors, [*OWN_COLUMNS, columns.get("age", "")])
    wrong, doubtful = label_doubts(obs, donors, columns, age_ranges=age_ranges)
    return donors, named + wrong, [*changes, *doubtful]


def examine(
    source: Path,
    *,
    columns: Mapping[str, str],
    counts_layer: str,
    age_ranges: str = MIDPOINT,
    round_counts: bool = False,
    donor_facts: Path | None = None,
) -> tuple[Cohort, list[str]]:
    """Read a cohort's metadata and a sample of its counts.

    Parameters
    ----------
    columns
        Name of the obs column of each of `ROLES`, and of `sample` where donors have several; age and sex have none
        where they are not used.
    counts_layer
        'auto', 'X', 'raw.X' or the name of a layer.
    age_ranges
        What becomes of ages given as intervals: 'midpoint' or 'drop'.
    round_counts
        Counts that are fractions may be rounded.
    donor_facts
        A table of facts about donors that the file need not have; None for none.

    Returns
    -------
    What was found, and everything that is wrong with it, a text each.

    Raises
    ------
    BadInput
        The file is no h5ad, or its tables cannot be read.
    """
    with open_cohort(source) as file:
        gathered, name, source_says = notes_of_gathering(file), called(file, source), source_texts(file)
        obs, problems, notes = read_labels(file, columns, donor_facts=donor_facts)
        notes = [*(gathered or []), *notes]
        matrix = Matrix(read_table(file, "var"))
        if not len(obs) or not len(matrix.var):
            problems.append(f"it holds {len(obs)} cells and {len(matrix.var)} genes; give a cohort with both")
        else:
            try:
                if gathered is None:
                    found = find_counts(file, source, counts_layer=counts_layer, round_counts=round_counts)
                else:
                    found = Found("X", gathered_counts(file), ())
                matrix = with_counts(file, matrix, found)
                notes += [*found.notes, *doubts_of_counts(file, found.counts, matrix.var, obs, columns)]
            except BadInput as error:
                problems.append(str(error).removeprefix(f"{source}: "))
    labels = label_problems(obs, columns)
    donors, wrong, doubtful = (
        (None, [], []) if labels else examined_donors(obs, columns, age_ranges=age_ranges, gathered=gathered or [])
    )
    cohort = Cohort(
        obs, matrix.var, matrix.layer, matrix.counts, donors, matrix.beside, (*notes, *doubtful), source_says, name
    )
    names = name_problems(cohort) if len(obs) and len(matrix.var) else []
    return cohort, [*problems, *wrong, *labels, *names]


def cell_table(cohort: Cohort, columns: Mapping[str, str]) -> pd.DataFrame:
    """One row per cell of the file: row, cell_id, donor_id, sample_of_donor if named, cell_type; text or missing."""
    text = {
        role: cohort.obs[columns[role]].astype(object).map(lambda value: value if pd.isna(value) else str(value))
        for role in LABELLED
        if role in columns
    }
    return pd.DataFrame(
        {
            "row": np.arange(len(cohort.obs), dtype=np.int64),
            "cell_id": cohort.obs.index.astype(str).to_numpy(dtype=object),
            "donor_id": text["donor"].to_numpy(),
            **({SAMPLE_OF_DONOR: text["sample"].to_numpy()} if "sample" in text else {}),
            "cell_type": text["cell_type"].to_numpy(),
        }
    )


def with_calls(cohort: Cohort, column: str) -> tuple[Cohort, np.ndarray | None, list[str]]:
    """The doublets that a column of cells calls.

    Returns
    -------
    The cohort with notes on how the column was read; the call of each cell, None where no column is named or it is not
    there; what is wrong with it.
    """
    if not column:
        return cohort, None, []
    names = [str(name) for name in cohort.obs.columns]
    if column not in cohort.obs:
        return cohort, None, [f"--doublet_column {column}: obs has no such column, {nearest(column, names)}"]
    others = [name for name in names if name != column]
    calls, problems, notes = read_calls(cohort.obs[column].rename(column), others=others)
    return replace(cohort, notes=(*cohort.notes, *notes)), calls, problems


def gene_table(genes: GeneNames) -> pd.DataFrame:
    """One row per feature of the matrix with the counts: position, gene_id, symbol and left_out.

    A symbol is '' where unknown; left_out is '' for genes, and says what anything else is, or that not all files of the
    cohort measure a gene.
    """
    return pd.DataFrame(
        {"position": np.arange(len(genes.ids)), "gene_id": genes.ids, "symbol": genes.symbols, "left_out": genes.kinds}
    )


def check_summary(cohort: Cohort, cells: pd.DataFrame, genes: GeneNames) -> dict:
    """What check.json says: where the counts are, how much of everything there is, what the file says, and notes.

    Parameters
    ----------
    cells
        Of `cell_table`.
    genes
        How the genes of the matrix with the counts are called.
    """
    assert cohort.counts is not None and cohort.donors is not None, "a cohort without problems has both"
    of_samples = {"n_samples_of_donors": len(cohort.donors)} if SAMPLE_OF_DONOR in cohort.donors else {}
    return {
        "counts_layer": cohort.layer,
        "counts": vars(cohort.counts),
        "n_cells": cohort.counts.n_cells,
        "n_genes": cohort.counts.n_genes,
        "n_donors": int(cohort.donors["donor_id"].nunique()),
        **of_samples,
        "n_cell_types": int(cells["cell_type"].nunique()),
        "n_symbols": genes.n_symbols,
        "n_symbols_from_table": genes.n_from_table,
        "source": cohort.source,
        "notes": [*cohort.notes, *unknown_ages(cohort.donors), *genes.notes],
    }
