#!/usr/bin/env python3
"""Take batch differences out of the principal components with Harmony (Korsunsky et al. 2019).

In: `pca.parquet`, the cells' quality control (donor of each cell), `donors.parquet` (any other batch column).
Out: `harmony.parquet` (cell_id, H1..) and `harmony.json` (batches, objective by iteration, convergence). With
one batch there is nothing to take out: the components pass through, and the summary says so. Where the cells are a
sketch of a larger cohort, also the terms (`batch_terms.py`) by which the others will be corrected.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import sample_key
from immune_aging.embedding.batch_terms import write_terms
from immune_aging.embedding.harmony import batches_of, correct, corrected_table
from immune_aging.task.checkpoints import (
    check_same_cells,
    read_parquet,
    require_columns,
    write_json,
    write_parquet,
    write_versions,
)
from immune_aging.task.command_line import limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pca", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of all cells")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--batch-column", required=True)
    parser.add_argument("--max-iterations", type=int, default=10)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--output-terms", type=Path, help="by which other cells of the same batches are corrected")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    pca = read_parquet(args.pca)
    donors = read_parquet(args.donors)
    require_columns(donors, ["donor_id"], args.donors)
    cells = read_parquet(args.cells, ["cell_id", *sample_key(donors), "cell_type", "kept"])
    cells = cells[cells["kept"]].reset_index(drop=True)
    check_same_cells(pca["cell_id"], cells["cell_id"], args.pca, args.cells)
    batches = batches_of(cells, donors, args.batch_column, cells_path=args.cells, donors_path=args.donors)
    components = pca.drop(columns="cell_id").to_numpy(dtype=np.float32)
    with limit_threads(args.threads) as threads:
        corrected, summary, terms = correct(
            components, batches, column=args.batch_column, max_iterations=args.max_iterations, seed=args.seed,
            threads=threads, with_terms=args.output_terms is not None,
        )  # fmt: skip
    write_parquet(pd.concat([pca[["cell_id"]], corrected_table(corrected)], axis=1), args.output)
    if terms is not None:
        write_terms(terms, args.output_terms)
    write_json({"batch_column": args.batch_column, **summary}, args.output_summary)
    write_versions("harmony", ["harmonypy", "numpy"], args.versions)


if __name__ == "__main__":
    run(main)
