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
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import VARYING, write_json, write_parquet, write_versions
from cohort_file import column_names, find_counts, nearest, open_cohort, read_table, symbols_of, unchanged
from command_line import BadInput, run
from hostile_names import clean_genes, clean_labels

# "45-year-old stage", "45-year-old human stage", "45-year-old", "45 years", "45 y", "45"
_YEARS = re.compile(
    r"(\d+(?:\.\d+)?)(?:[\s-]*(?:years?|yrs?|y)(?:[\s-]*old)?)?(?:\s+human)?(?:\s+stage)?", re.IGNORECASE
)
_MONTHS = re.compile(r"(\d+(?:\.\d+)?)[\s-]*months?[\s-]*old(?:\s+human)?(?:\s+stage)?", re.IGNORECASE)
OLDEST_YEARS = 130
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


def donor_table(
    obs: pd.DataFrame, *, donor: str, age: str, sex: str, path: str | Path
) -> tuple[pd.DataFrame, list[str]]:
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
    for column in {age, sex}:
        n_values = obs[column].astype(object).groupby(donors.to_numpy()).nunique(dropna=True)
        for name, n in n_values[n_values > 1].head(3).items():
            values = ", ".join(map(repr, sorted(obs.loc[donors == name, column].dropna().astype(str).unique())[:3]))
            problems.append(f"column '{column}': donor '{name}' has {n} values ({values}); a donor must have one")
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


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="h5ad")
    parser.add_argument("--sha256", default="", help="of the cohort; a file that is another by now is refused")
    parser.add_argument("--counts-layer", default="auto")
    parser.add_argument("--donor-column", default="donor_id")
    parser.add_argument("--cell-type-column", default="cell_type")
    parser.add_argument("--age-column", default="development_stage")
    parser.add_argument("--sex-column", default="sex")
    parser.add_argument("--output-cells", type=Path, required=True)
    parser.add_argument("--output-donors", type=Path, required=True)
    parser.add_argument("--output-genes", type=Path, required=True)
    parser.add_argument("--output-check", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    source = args.cohort.resolve()
    with unchanged(source, args.sha256), open_cohort(source) as file:
        names = column_names(file, "obs")
        wanted = {
            "donor_column": args.donor_column,
            "cell_type_column": args.cell_type_column,
            "age_column": args.age_column,
            "sex_column": args.sex_column,
        }
        problems = [
            f"--{parameter} {column}: obs has no such column, {nearest(column, names)}"
            for parameter, column in wanted.items()
            if column not in names
        ]
        layer, counts = None, None
        try:
            layer, counts = find_counts(file, source, counts_layer=args.counts_layer)
        except BadInput as error:
            problems.append(str(error).removeprefix(f"{source}: "))
        if problems:
            raise BadInput(f"{source}: " + " | ".join(problems))
        obs, var = read_table(file, "obs"), read_table(file, counts.var_path)

    cell_ids, gene_ids = obs.index.astype(str).to_numpy(dtype=object), var.index.astype(str).to_numpy(dtype=object)
    notes = []
    for column, what in ((args.donor_column, "donor"), (args.cell_type_column, "cell type")):
        obs[column], changes = clean_labels(obs[column], what=what)
        notes += changes
    if (len(cell_ids), len(gene_ids)) != (counts.n_cells, counts.n_genes):
        problems.append(
            f"{layer} is {counts.n_cells} x {counts.n_genes}, but obs and var name {len(cell_ids)} cells and "
            f"{len(gene_ids)} genes; write the file anew with anndata"
        )
    if not len(cell_ids) or not len(gene_ids):
        problems.append(f"it holds {len(cell_ids)} cells and {len(gene_ids)} genes; give a cohort with both")
    if name := repeated(cell_ids):
        problems.append(f"obs names: '{name}' occurs twice; make them unique with adata.obs_names_make_unique()")
    if name := repeated(gene_ids):
        problems.append(f"var names: '{name}' occurs twice; make them unique with adata.var_names_make_unique()")
    donors, donor_problems = donor_table(
        obs, donor=args.donor_column, age=args.age_column, sex=args.sex_column, path=source
    )
    problems += donor_problems
    if not donor_problems and len(donors) and donors["age_years"].isna().all():
        example = donors["age_text"].dropna().unique()[:3]
        problems.append(
            f"--age_column {args.age_column}: no value is an age ({', '.join(map(repr, example))}); it takes "
            "years as a number or text like '45-year-old stage'"
        )
    if problems:
        raise BadInput(f"{source}: " + " | ".join(problems))

    symbols = symbols_of(var)
    gene_ids, symbols = clean_genes(gene_ids, symbols)
    text = {
        column: obs[column].astype(object).map(lambda value: value if pd.isna(value) else str(value)).to_numpy()
        for column in (args.donor_column, args.cell_type_column)
    }
    cells = pd.DataFrame(
        {
            "row": np.arange(len(cell_ids), dtype=np.int64),
            "cell_id": cell_ids,
            "donor_id": text[args.donor_column],
            "cell_type": text[args.cell_type_column],
        }
    )
    write_parquet(cells, args.output_cells)
    write_parquet(donors, args.output_donors)
    write_parquet(
        pd.DataFrame({"position": np.arange(len(gene_ids)), "gene_id": gene_ids, "symbol": symbols}), args.output_genes
    )
    n_symbols = int((symbols != "").sum())
    if not n_symbols:
        notes.append("the file gives no gene symbols: steps that need them leave out what they cannot do")
    check = {
        "counts_layer": layer,
        "counts": vars(counts),
        "n_cells": counts.n_cells,
        "n_genes": counts.n_genes,
        "n_donors": len(donors),
        "n_cell_types": int(cells["cell_type"].nunique()),
        "n_symbols": n_symbols,
        "notes": notes,
    }
    write_json(check, args.output_check)
    write_versions("check_cohort", ["anndata", "h5py", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
