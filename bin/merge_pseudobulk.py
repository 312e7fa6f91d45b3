#!/usr/bin/env python3
"""Put the pseudobulk sums of all shards together, add what is known of the donors, and part them by cell type.

In: the sums of PSEUDOBULK, the donors, the table of cell types. Out: `pseudobulk.h5ad` (samples x genes, raw sums),
`samples.tsv`, and one h5ad per kept cell type, from which the statistics fan out.
"""

import argparse
from pathlib import Path

from immune_aging.samples.pseudobulk_table import merge, write_pseudobulk
from immune_aging.task.checkpoints import read_h5ad, read_parquet, read_tsv, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=Path, nargs="+", required=True)
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--cell-types", type=Path, required=True, help="cell_types.tsv")
    parser.add_argument("--min-cells-per-sample", type=int, required=True)
    parser.add_argument("--min-depth-share", type=float, required=True, help="of the median sample's counts")
    parser.add_argument("--prefix", required=True, help="checkpoints become PREFIX_<id>_step-pseudobulk_counts.h5ad")
    parser.add_argument("--output", type=Path, required=True, help="folder for what is published")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    types = read_tsv(args.cell_types, dtype={"id": str, "cell_type": str})
    parts = [read_h5ad(path) for path in sorted(args.parts, key=lambda path: path.name)]
    table = merge(parts, read_parquet(args.donors), types)
    floors = {"min_cells": args.min_cells_per_sample, "min_depth_share": args.min_depth_share}
    write_pseudobulk(table, types, **floors, folder=args.output, prefix=args.prefix)
    write_versions("merge_pseudobulk", ["anndata", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
