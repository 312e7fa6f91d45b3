#!/usr/bin/env python3
"""Choose the genes that build the embedding: the most variable over all donors, without nuisance genes.

In: the per-donor normalised variances of all shards (RANK_GENES) and their summaries. Out: `genes.tsv`, all
genes in the order of the input with rank, selection and reason; `genes.json`, donors left out and what could
not be done. Nuisance genes go after the first n are taken, so fewer than n are selected.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import read_json, read_parquet, require_columns, write_json, write_tsv, write_versions
from command_line import BadInput, run
from gene_lists import nuisance_reason
from seurat_v3 import merge_donors

DONOR = "donor:"


def join_shards(paths: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Put the tables of all shards together.

    Returns
    -------
    gene_id, symbol and n_counts (over all shards); and each donor's normalised variances, in
    the order of donor ids.
    """
    genes, donors, first = None, {}, None
    for path in sorted(paths, key=lambda path: path.name):
        table = read_parquet(path)
        require_columns(table, ["gene_id", "symbol", "n_counts"], path)
        if genes is None:
            genes, first = table[["gene_id", "symbol", "n_counts"]], path
        elif not genes["gene_id"].equals(table["gene_id"]):
            raise BadInput(f"{path}: column 'gene_id' differs from that of {first}; rank all shards of one cohort anew")
        else:
            genes = genes.assign(n_counts=genes["n_counts"] + table["n_counts"])
        for column in table.columns:
            if column.startswith(DONOR):
                donors[column.removeprefix(DONOR)] = table[column].to_numpy()
    return genes, dict(sorted(donors.items()))


def select(genes: pd.DataFrame, ranked: pd.DataFrame) -> pd.DataFrame:
    """Decide on each gene and say why.

    Parameters
    ----------
    genes
        gene_id, symbol, n_counts.
    ranked
        Of `merge_donors`, row by row the same genes.

    Returns
    -------
    gene_id, symbol, rank, n_donors, variance_norm, selected, reason.
    """
    reason = np.where(ranked["top"], nuisance_reason(genes["symbol"]), "not variable enough")
    reason = np.where(genes["n_counts"] > 0, reason, "not expressed")
    return pd.concat([genes[["gene_id", "symbol"]], ranked[["rank", "n_donors", "variance_norm"]]], axis=1).assign(
        selected=reason == "", reason=reason
    )


def notes_on(genes: pd.DataFrame, *, n_top_genes: int) -> list[str]:
    """What a reader of the selection has to know."""
    notes = []
    if not (genes["symbol"] != "").any():
        notes.append("no gene symbols: nuisance genes could not be recognised and were not taken out")
    n_expressed = int((genes["n_counts"] > 0).sum())
    if n_top_genes >= n_expressed:
        notes.append(f"{n_expressed} genes are expressed, not more than the {n_top_genes} asked for: all were taken")
    return notes


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=Path, nargs="+", required=True, help="a table a shard")
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="a summary a shard")
    parser.add_argument("--n-top-genes", type=int, default=3000)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    genes, variances_norm = join_shards(args.ranks)
    donors = sorted(
        (row for path in args.summaries for row in read_json(path)["donors"]), key=lambda row: row["donor_id"]
    )
    left_out = [row for row in donors if row["reason"]]
    if not variances_norm:
        why = (
            f"all {len(left_out)} donors were left out ({left_out[0]['reason']})"
            if left_out
            else "no cell passed quality control"
        )
        raise BadInput(f"{args.ranks[0]}: no donor can rank genes: {why}; loosen the thresholds of quality control")
    table = select(genes, merge_donors(list(variances_norm.values()), n_top_genes=args.n_top_genes))
    write_tsv(table, args.output)
    write_json(
        {
            "n_top_genes": args.n_top_genes,
            "genes": table["reason"]
            .where(table["reason"] != "", "selected")
            .value_counts(sort=False)
            .sort_index()
            .to_dict(),
            "donors": len(donors),
            "donors_left_out": left_out,
            "donors_with_jitter": [
                {"donor_id": row["donor_id"], "jitter": row["jitter"]} for row in donors if row["jitter"]
            ],
            "notes": notes_on(genes, n_top_genes=args.n_top_genes),
        },
        args.output_summary,
    )
    write_versions("select_genes", ["numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
