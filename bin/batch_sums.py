#!/usr/bin/env python3
"""Add up one shard's cells by batch and Harmony cluster, for the shifts that all cells of a batch tell.

In: the normalised shard and its quality control, `donors.parquet`, the model of the principal components and the terms
that Harmony left of the sketch. Out: the sums, HDF5: of each batch the number of its cells, their memberships in each
cluster, and their components times these.
"""

import argparse
from pathlib import Path

import numpy as np

from immune_aging.embedding.batch_terms import read_terms, summed_cells, write_sums
from immune_aging.embedding.projection import batches_of_shard, projected
from immune_aging.task.checkpoints import write_versions
from immune_aging.task.command_line import limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=Path, required=True, help="the normalised shard")
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--model", type=Path, required=True, help="of the principal components")
    parser.add_argument("--terms", type=Path, required=True, help="of Harmony's batches in the sketch")
    parser.add_argument("--batch-column", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    with limit_threads(1):
        cells = projected(args.counts, args.model)
        batches = batches_of_shard(cells["cell_id"], args.counts, args.cells, args.donors, args.batch_column)
        components = cells.drop(columns="cell_id").to_numpy(dtype=np.float32)
        sums = summed_cells(components, batches, read_terms(args.terms))
    write_sums(sums, args.output)
    write_versions("batch_sums", ["h5py", "numba", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
