#!/usr/bin/env python3
"""Check that a cohort can be analysed, from its metadata and a sample of its counts, and write down what it holds.

In: the cohort's h5ad. Out: `cells.parquet` (row, cell_id, donor_id, cell_type; one row a cell of the file),
`donors.parquet` (donor_id, age_years, sex, and every obs column that is constant within donors), `genes.parquet`
(position, gene_id, symbol) and `check.json` (where the counts are, what is missing). All problems found are
reported at once.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import (
    symbols_of,
    unchanged,
)
from immune_aging.cohort.columns import add_column_options, columns_of
from immune_aging.cohort.examination import NO_SYMBOLS, cell_table, examine
from immune_aging.cohort.hostile_names import clean_genes
from immune_aging.task.checkpoints import write_json, write_parquet, write_versions
from immune_aging.task.command_line import BadInput, run


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
