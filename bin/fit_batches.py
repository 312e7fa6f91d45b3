#!/usr/bin/env python3
"""Fit the shifts of Harmony's batches on all cells, and correct the sketch's cells by them.

In: the sums of all shards, the terms that Harmony left of the sketch, the sketch's `pca.parquet`, its cells and
`donors.parquet`. Out: the terms of all cells, and the sketch's corrected components (cell_id, H1..), on which
neighbours, UMAP and clusters rest.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.embedding.batch_terms import (
    added_up,
    corrected_cells,
    fitted_terms,
    read_sums,
    read_terms,
    write_terms,
)
from immune_aging.embedding.harmony import corrected_table
from immune_aging.embedding.projection import batches_of_shard
from immune_aging.task.checkpoints import read_parquet, write_parquet, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sums", type=Path, nargs="+", required=True, help="one file per shard")
    parser.add_argument("--terms", type=Path, required=True, help="of Harmony's batches in the sketch")
    parser.add_argument("--pca", type=Path, required=True, help="the sketch's")
    parser.add_argument("--cells", type=Path, required=True, help="table of the sketch's cells")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--batch-column", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-terms", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    of_sketch = read_terms(args.terms)
    paths = sorted(args.sums, key=lambda path: path.name)
    terms = fitted_terms(added_up((read_sums(path) for path in paths), of_sketch), of_sketch.centroids)
    pca = read_parquet(args.pca)
    batches = batches_of_shard(pca["cell_id"], args.pca, args.cells, args.donors, args.batch_column)
    corrected = corrected_cells(pca.drop(columns="cell_id").to_numpy(dtype=np.float32), batches, terms)
    write_parquet(pd.concat([pca[["cell_id"]], corrected_table(corrected)], axis=1), args.output)
    write_terms(terms, args.output_terms)
    write_versions("fit_batches", ["h5py", "numba", "numpy"], args.versions)


if __name__ == "__main__":
    run(main)
