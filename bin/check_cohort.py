#!/usr/bin/env python3
"""Check that a cohort can be analysed, from its metadata and a sample of its counts, and write down what it holds.

In: the cohort's h5ad. Out: `cells.parquet` (row, cell_id, donor_id, cell_type; one row a cell of the file),
`donors.parquet` (donor_id, age_years, sex, and every obs column that is constant within donors), `genes.parquet`
(position, gene_id, symbol) and `check.json` (where the counts are, what is missing). All problems found are
reported at once.
"""

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import VARYING, write_json, write_parquet, write_versions
from cohort_file import Counts, column_names, find_counts, nearest, open_cohort, read_table, symbols_of, unchanged
from command_line import BadInput, run
from hostile_names import clean_genes, clean_labels

NO_SYMBOLS = "the file gives no gene symbols: steps that need them leave out what they cannot do"
ROLES = ("donor", "cell_type", "age", "sex")

# "45-year-old stage", "45-year-old human stage", "45-year-old", "45 years", "45 y", "45"
_YEARS = re.compile(
    r"(\d+(?:\.\d+)?)(?:[\s-]*(?:years?|yrs?|y)(?:[\s-]*old)?)?(?:\s+human)?(?:\s+stage)?", re.IGNORECASE
)
_MONTHS = re.compile(r"(\d+(?:\.\d+)?)[\s-]*months?[\s-]*old(?:\s+human)?(?:\s+stage)?", re.IGNORECASE)
OLDEST_YEARS = 130
# Human genes are ENSG; every other species has letters in between, like ENSMUSG of the mouse.
_ENSEMBL_ID = re.compile(r"ENS([A-Z]*)G\d+(\.\d+)?")
_MOUSE_MITOCHONDRIAL = re.compile(r"mt-[A-Z][a-z]?\w*")
OWN_COLUMNS = ("donor_id", "age_years", "sex", "age_text", VARYING)  # of donors.parquet; the cohort's own give way


def age_in_years(value: object) -> float:
    """Age in years from a number or from development_stage text; NaN where none is given.

    >>> age_in_years("45-year-old human stage")
    45.0
    """
    if isinstance(value, str):
        text = value.strip()
        if match := _YEARS.fullmatch(text):
            years = float(match[1])
        elif match := _MONTHS.fullmatch(text):
            years = float(match[1]) / 12
        else:
            return float("nan")
    else:
        years = float("nan") if pd.isna(value) else float(value)
    return years if 0 <= years <= OLDEST_YEARS else float("nan")


def varies_within_donors(obs: pd.DataFrame, donors: pd.Series) -> pd.DataFrame:
    """Which columns of `obs` have more than one value (missing is one) within each donor: donors x columns, sorted."""
    varies = {}
    for column in obs.columns:
        codes = pd.Series(pd.factorize(obs[column])[0])  # -1 where missing
        spread = codes.groupby(donors.to_numpy()).agg(["min", "max"])
        varies[column] = spread["min"] != spread["max"]
    return pd.DataFrame(varies)


def plain(column: pd.Series) -> pd.Series:
    """A column as numbers or text that any Parquet reader knows, missing values kept."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype == object:
        return column.map(lambda value: value if pd.isna(value) else str(value))
    return column


def donor_table(obs: pd.DataFrame, *, donor: str, age: str, sex: str) -> tuple[pd.DataFrame, list[str]]:
    """One row a donor, sorted by donor id.

    Parameters
    ----------
    obs
        Cells x metadata; `donor`, `age` and `sex` name its columns.

    Returns
    -------
    The table (donor_id, age_years, sex, age_text, every column constant within donors, and in `varies_within_donor`
    the names of those that are not constant within this donor, as a JSON list), and the problems found.
    """
    obs = obs[obs[donor].notna()]
    donors = obs[donor].astype(str)
    problems = []
    for column in (age, sex):
        n_values = obs[column].astype(object).groupby(donors.to_numpy()).nunique(dropna=True)
        several = n_values[n_values > 1]
        if len(several):
            name, n = several.index[0], several.iloc[0]
            values = ", ".join(map(repr, sorted(obs.loc[donors == name, column].dropna().astype(str).unique())[:3]))
            more = f", and {len(several) - 1} more donors like it" if len(several) > 1 else ""
            problems.append(f"column '{column}': donor '{name}' has {n} values ({values}){more}; a donor must have one")
    varies = varies_within_donors(obs, donors)
    keep = [column for column in obs.columns if not varies[column].any() and column not in OWN_COLUMNS]
    first = obs.assign(__donor=donors).drop_duplicates("__donor")
    table = pd.DataFrame({"donor_id": first["__donor"].to_numpy(dtype=object)})
    table["age_years"] = [age_in_years(value) for value in first[age]]
    table["sex"] = [value if pd.isna(value) else str(value) for value in first[sex]]
    table["age_text"] = [value if pd.isna(value) else str(value) for value in first[age]]
    names = varies.columns.astype(str)
    table[VARYING] = [json.dumps(names[row].tolist()) for row in varies.loc[table["donor_id"]].to_numpy(dtype=bool)]
    extra = pd.DataFrame({column: plain(first[column].reset_index(drop=True)) for column in keep})
    table = pd.concat([table, extra], axis=1)
    return table.sort_values("donor_id", kind="stable", ignore_index=True), problems


def repeated(names: np.ndarray) -> str:
    """The first name that occurs twice; '' if none does."""
    duplicate = pd.Index(names).duplicated()
    return str(names[duplicate.argmax()]) if duplicate.any() else ""


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
        The donors' table; None where the donors' column is missing.
    notes
        What was changed in names of donors and cell types.
    """

    obs: pd.DataFrame
    var: pd.DataFrame
    layer: str | None
    counts: Counts | None
    donors: pd.DataFrame | None
    notes: tuple[str, ...] = ()


def other_species(gene_ids: np.ndarray, symbols: np.ndarray) -> str:
    """A gene that shows that the cohort is of another species than human; '' if most genes do not."""
    ids = pd.Series(gene_ids, dtype=object)
    prefixes = ids.str.extract(_ENSEMBL_ID, expand=True)[0].dropna()
    foreign = prefixes[prefixes != ""]
    if len(foreign) > len(prefixes) / 2:
        return str(ids[foreign.index[0]])
    mitochondrial = [name for name in symbols if _MOUSE_MITOCHONDRIAL.fullmatch(name)]
    return mitochondrial[0] if mitochondrial and not any(name.startswith("MT-") for name in symbols) else ""


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
    """What is wrong with the columns of donors and cell types: no value in any cell, or one column for two things."""
    problems = []
    for role in ("donor", "cell_type"):
        if columns[role] in obs and len(obs) and obs[columns[role]].isna().all():
            problems.append(f"--{role}_column {columns[role]}: has no value in any cell; name another column")
    for i, role in enumerate(ROLES):
        same = [other for other in ROLES[:i] if columns[other] == columns[role]]
        if same:
            problems.append(
                f"--{role}_column {columns[role]}: is --{same[0]}_column as well; name a column for each of them"
            )
    return problems


def examine(source: Path, *, columns: Mapping[str, str], counts_layer: str) -> tuple[Cohort, list[str]]:
    """Read a cohort's metadata and a sample of its counts.

    Parameters
    ----------
    columns
        Name of the obs column of each of `ROLES`.
    counts_layer
        'auto', 'X', 'raw.X' or the name of a layer.

    Returns
    -------
    What was found, and everything that is wrong with it, a text each.

    Raises
    ------
    BadInput
        The file is no h5ad, or its tables cannot be read.
    """
    with open_cohort(source) as file:
        names = column_names(file, "obs")
        problems = [
            f"--{role}_column {columns[role]}: obs has no such column, {nearest(columns[role], names)}"
            for role in ROLES
            if columns[role] not in names
        ]
        obs, layer, counts = read_table(file, "obs"), None, None
        var, notes = read_table(file, "var"), []
        for role, what in (("donor", "donor"), ("cell_type", "cell type")):
            if columns[role] in obs:
                obs[columns[role]], changes = clean_labels(obs[columns[role]], what=what)
                notes += changes
        if not len(obs) or not len(var):
            problems.append(f"it holds {len(obs)} cells and {len(var)} genes; give a cohort with both")
        else:
            try:
                layer, counts = find_counts(file, source, counts_layer=counts_layer)
                var = read_table(file, counts.var_path)
            except BadInput as error:
                problems.append(str(error).removeprefix(f"{source}: "))
    labels, donors = label_problems(obs, columns), None
    if len(obs) and columns["donor"] in names and not labels:
        lacking = {columns[role]: np.nan for role in ("age", "sex") if columns[role] not in names}
        donors, donor_problems = donor_table(
            obs.assign(**lacking), donor=columns["donor"], age=columns["age"], sex=columns["sex"]
        )
        problems += donor_problems
        if not donor_problems and len(donors) and columns["age"] in names and donors["age_years"].isna().all():
            example = donors["age_text"].dropna().unique()[:3]
            problems.append(
                f"--age_column {columns['age']}: no value is an age ({', '.join(map(repr, example))}); it takes "
                "years as a number or text like '45-year-old stage'"
            )
    cohort = Cohort(obs, var, layer, counts, donors, tuple(notes))
    return cohort, problems + labels + (name_problems(cohort) if len(obs) and len(var) else [])


def cell_table(cohort: Cohort, columns: Mapping[str, str]) -> pd.DataFrame:
    """One row a cell of the file: row, cell_id, donor_id, cell_type; text or missing."""
    text = {
        role: cohort.obs[columns[role]].astype(object).map(lambda value: value if pd.isna(value) else str(value))
        for role in ("donor", "cell_type")
    }
    return pd.DataFrame(
        {
            "row": np.arange(len(cohort.obs), dtype=np.int64),
            "cell_id": cohort.obs.index.astype(str).to_numpy(dtype=object),
            "donor_id": text["donor"].to_numpy(),
            "cell_type": text["cell_type"].to_numpy(),
        }
    )


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where in a cohort's file the counts and the donors are."""
    parser.add_argument("--counts-layer", default="auto")
    parser.add_argument("--donor-column", default="donor_id")
    parser.add_argument("--cell-type-column", default="cell_type")
    parser.add_argument("--age-column", default="development_stage")
    parser.add_argument("--sex-column", default="sex")


def columns_of(args: argparse.Namespace) -> dict[str, str]:
    """Name of the obs column of each of `ROLES`, from the options."""
    return {role: getattr(args, f"{role}_column") for role in ROLES}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="h5ad")
    parser.add_argument("--sha256", default="", help="of the cohort; a file that is another by now is refused")
    add_column_options(parser)
    parser.add_argument("--output-cells", type=Path, required=True)
    parser.add_argument("--output-donors", type=Path, required=True)
    parser.add_argument("--output-genes", type=Path, required=True)
    parser.add_argument("--output-check", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    source, columns = args.cohort.resolve(), columns_of(args)
    with unchanged(source, args.sha256):
        cohort, problems = examine(source, columns=columns, counts_layer=args.counts_layer)
    if problems:
        raise BadInput(f"{source}: " + " | ".join(problems))
    cells, notes = cell_table(cohort, columns), list(cohort.notes)
    gene_ids, symbols = clean_genes(cohort.var.index.astype(str).to_numpy(dtype=object), symbols_of(cohort.var))
    write_parquet(cells, args.output_cells)
    write_parquet(cohort.donors, args.output_donors)
    write_parquet(
        pd.DataFrame({"position": np.arange(len(gene_ids)), "gene_id": gene_ids, "symbol": symbols}), args.output_genes
    )
    n_symbols = int((symbols != "").sum())
    if not n_symbols:
        notes.append(NO_SYMBOLS)
    check = {
        "counts_layer": cohort.layer,
        "counts": vars(cohort.counts),
        "n_cells": cohort.counts.n_cells,
        "n_genes": cohort.counts.n_genes,
        "n_donors": len(cohort.donors),
        "n_cell_types": int(cells["cell_type"].nunique()),
        "n_symbols": n_symbols,
        "notes": notes,
    }
    write_json(check, args.output_check)
    write_versions("check_cohort", ["anndata", "h5py", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
