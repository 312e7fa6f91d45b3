#!/usr/bin/env python3
"""Choose the genes that build the embedding: the most variable over all donors, without nuisance genes.

In: the per-donor variances of all shards (RANK_GENES or RANK_RESIDUALS) and their summaries. Out: `genes.tsv`, all
genes in the order of the input with rank, selection and reason; `genes.json`, donors left out and what could
not be done. Nuisance genes go after the first n are taken, so fewer than n are selected.
"""

import argparse
from pathlib import Path

from immune_aging.embedding.seurat_v3 import ORDERS, merge_donors
from immune_aging.embedding.variable_genes import join_shards, select, selection_summary, why_no_donor_ranks
from immune_aging.task.checkpoints import read_json, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=Path, nargs="+", required=True, help="one table per shard")
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="one summary per shard")
    parser.add_argument("--flavor", choices=tuple(ORDERS), required=True, help="by which the genes were ranked")
    parser.add_argument("--n-top-genes", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    genes, variances_norm = join_shards(args.ranks)
    donors = sorted(
        (row for path in args.summaries for row in read_json(path)["donors"]), key=lambda row: row["donor_id"]
    )
    if not variances_norm:
        raise BadInput(f"{args.ranks[0]}: {why_no_donor_ranks(donors)}; loosen the thresholds of quality control")
    ranked = merge_donors(list(variances_norm.values()), n_top_genes=args.n_top_genes, flavor=args.flavor)
    table = select(genes, ranked)
    write_tsv(table, args.output)
    write_json(selection_summary(table, genes, donors, n_top_genes=args.n_top_genes), args.output_summary)
    write_versions("select_genes", ["numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
