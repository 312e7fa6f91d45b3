#!/usr/bin/env python3
"""Expression in each kept cell of a shard of the genes that the reader asked for.

In: a shard of raw counts, its quality control. Out: a Parquet table: cell_id, and one column per gene found, the
log(1 + counts per `--target-sum`) that the embedding is built from. Genes that the cohort does not hold have none.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.shard_file import read_kept, read_shard
from immune_aging.embedding.gene_expression import asked
from immune_aging.embedding.normalization import normalized_donors
from immune_aging.task.checkpoints import write_parquet, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--genes", required=True, help="symbols or ids, comma-separated")
    parser.add_argument("--target-sum", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard = read_shard(args.shard)
    kept = read_kept(shard, args.cells)
    wanted = [gene.strip() for gene in args.genes.split(",") if gene.strip()]
    places = asked(np.asarray(shard.gene_ids, dtype=object), np.asarray(shard.symbols, dtype=object), wanted)
    selected = np.zeros(len(shard.gene_ids), dtype=bool)
    selected[list(places.values())] = True
    blocks = normalized_donors(shard, kept, selected, target_sum=args.target_sum)
    # Columns of the blocks are in the order of the genes in the shard, as places are.
    values = pd.DataFrame(np.concatenate([block.toarray() for block in blocks]), columns=list(places))
    values.insert(0, "cell_id", np.asarray(shard.cell_ids, dtype=object)[kept])
    write_parquet(values, args.output)
    write_versions("gene_expression", ["numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
