#!/usr/bin/env python3
"""Part the pseudobulk table that an earlier run published by cell type, as MERGE_PSEUDOBULK did.

In: `pseudobulk.h5ad`, `samples.tsv` (which samples the statistics use) and `cell_types.tsv`. Out: one h5ad per kept
cell type, from which the statistics fan out.
"""

import argparse
from pathlib import Path

from immune_aging.results import TEXT
from immune_aging.samples.pseudobulk_table import as_summed, used_samples, write_cell_types
from immune_aging.task.checkpoints import read_h5ad, read_tsv, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pseudobulk", type=Path, required=True, help="pseudobulk.h5ad")
    parser.add_argument("--samples", type=Path, required=True, help="samples.tsv")
    parser.add_argument("--cell-types", type=Path, required=True, help="cell_types.tsv")
    parser.add_argument("--prefix", required=True, help="checkpoints become PREFIX_<id>_step-pseudobulk_counts.h5ad")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    table = as_summed(read_h5ad(args.pseudobulk))
    used = used_samples(table, read_tsv(args.samples, dtype=TEXT), args.samples)
    write_cell_types(table, used, read_tsv(args.cell_types, dtype=TEXT), prefix=args.prefix)
    write_versions("split_pseudobulk", ["anndata", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
