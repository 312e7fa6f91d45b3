#!/usr/bin/env python3
"""Stream the counts of the kept cells once from the cohort's file into shards of whole donors.

In: the cohort's h5ad, the kept cells with their shard (FILTER_COHORT), the genes. Out: one h5ad per shard (raw counts
as CSR of unsigned integers; rows sorted by donor, then barcode; genes that no kept cell expresses left out), a table
that says which file is which shard, and `genes.json` with the count of genes. Every value is proved to be a count on
the way.

Memory: one block of the input while reading, a shard's genes and counts while writing.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.cohort_file import Counts
from immune_aging.cohort.shard_file import canonical_order
from immune_aging.cohort.splitting import split_counts, split_summary
from immune_aging.task.checkpoints import read_json, read_parquet, write_file_table, write_json, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--sha256", default="", help="of the cohort; a file that is another by now is refused")
    parser.add_argument("--check", type=Path, required=True, help="check.json")
    parser.add_argument("--cells", type=Path, required=True, help="kept cells with their shard")
    parser.add_argument("--genes", type=Path, required=True, help="genes.parquet")
    parser.add_argument("--prefix", required=True, help="shards become PREFIX_shard-NNN_step-split_counts.h5ad")
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    check = read_json(args.check)
    cells, genes = canonical_order(read_parquet(args.cells)), read_parquet(args.genes)
    split = split_counts(
        args.cohort.resolve(), Counts(**check["counts"]), cells, genes,
        sha256=args.sha256, layer=check["counts_layer"], prefix=args.prefix,
    )  # fmt: skip
    write_file_table(split.shards, Path(f"{args.prefix}_all_step-split_files.tsv"))
    write_json(split_summary(split, genes=genes, n_cells=len(cells)), args.output_summary)
    write_versions("split_cohort", ["h5py", "isal", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
