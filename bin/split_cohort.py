#!/usr/bin/env python3
"""Stream the counts of the kept cells once from the cohort's file into shards of whole donors.

In: the cohort's h5ad, the kept cells with their shard (FILTER_COHORT), the genes. Out: one h5ad a shard (raw counts
as CSR of unsigned integers; rows sorted by donor, then barcode; genes that no kept cell expresses left out) and
`genes.json` with their count. Every value is proved to be a count on the way.

Memory: one block of the input while reading, a shard's genes and counts while writing.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from immune_aging.cohort.cohort_file import Counts, open_cohort, unchanged
from immune_aging.cohort.shard_file import canonical_order, write_shard
from immune_aging.cohort.spool import spool_counts
from immune_aging.task.checkpoints import read_json, read_parquet, write_json, write_versions
from immune_aging.task.command_line import BadInput, run


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
    counts = Counts(**check["counts"])
    cells, genes = canonical_order(read_parquet(args.cells)), read_parquet(args.genes)
    with tempfile.TemporaryDirectory(prefix="spool-", dir=".") as folder:
        source = args.cohort.resolve()
        with unchanged(source, args.sha256), open_cohort(source) as file:
            spools, totals = spool_counts(file, counts, cells, Path(folder), where=f"cohort: {check['counts_layer']}")
        expressed = totals > 0
        if not expressed.any():
            raise BadInput(
                f"cohort: {check['counts_layer']} holds no count in any kept cell; give raw counts with --counts_layer"
            )
        columns = np.where(expressed, np.cumsum(expressed) - 1, -1).astype(np.int32)
        for shard, spool in enumerate(spools):
            here = cells[cells["shard"] == shard]
            blocks = spool.take_blocks(len(here), columns)
            path = Path(f"{args.prefix}_shard-{shard:03d}_step-split_counts.h5ad")
            write_shard(path, blocks, here[["cell_id", "donor_id", "cell_type"]], genes[expressed])
    write_json(
        {
            "genes": {
                "input": counts.n_genes,
                "lost": {"expressed in no kept cell": int((~expressed).sum())},
                "kept": int(expressed.sum()),
            },
            "cells": len(cells),
            "counts": int(totals.sum()),
            "shards": len(spools),
        },
        args.output_summary,
    )
    write_versions("split_cohort", ["h5py", "isal", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
