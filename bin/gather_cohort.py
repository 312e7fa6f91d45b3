#!/usr/bin/env python3
"""Put the files of a cohort together: one h5ad with all cells, the genes of all files or of any, and the counts alone.

In: `files.json` (LIST_FILES), the files themselves in its order (h5ad, Cell Ranger's `.h5`, zarr stores and folders
with a matrix.mtx, these also packed), the names of the columns of donors, cell types, ages and sexes, and a table of
gene symbols. Out: an h5ad with counts as CSR in X, symbols in `var`, every column that any file or the sheet has in
`obs`, and in `uns` what a person should know of how it was made. Names of cells that several files have are told apart;
genes that not all have are counted, and left out or, in a union, kept with the cells whose files measure them; a sheet
that contradicts a file is refused.

Memory: the table of cells, and one block of counts.
"""

import argparse
import tempfile
from pathlib import Path

from immune_aging.cohort.columns import add_column_options, columns_of
from immune_aging.cohort.gathering import put_together, read_parts, summary_of, write_gathered
from immune_aging.cohort.gene_symbols import read_symbol_table
from immune_aging.cohort.samplesheet import listed_files
from immune_aging.task.checkpoints import read_json, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=Path, required=True, help="files.json")
    parser.add_argument("--parts", type=Path, nargs="+", required=True, help="the files, in the order of files.json")
    parser.add_argument("--digests", nargs="*", default=[], help="sha256 of each of the files")
    parser.add_argument("--genes", choices=("intersection", "union"), required=True, help="of several files")
    add_column_options(parser)
    parser.add_argument("--gene-symbols", type=Path, help="TSV of gene id and symbol")
    parser.add_argument("--without-counts", action="store_true", help="for a check alone: write no counts")
    parser.add_argument("--output", type=Path, required=True, help="h5ad")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    listing, table = read_json(args.files), read_symbol_table(args.gene_symbols)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="made-", dir=args.output.parent) as folder:
        parts = read_parts(
            listed_files(listing), args.parts, args.digests, counts_layer=args.counts_layer,
            round_counts=args.round_counts, table=table, folder=Path(folder),
        )  # fmt: skip
        where, union = listing["where"], args.genes == "union"
        cohort = put_together(parts, columns=columns_of(args), table=table, where=where, union=union)
        said = [*listing["notes"], *summary_of(cohort, where=where)]
        write_gathered(args.output, cohort, where=where, files=said, with_counts=not args.without_counts)
    write_versions("gather_cohort", ["anndata", "h5py", "isal", "pandas", "scipy", "zarr"], args.versions)


if __name__ == "__main__":
    run(main)
