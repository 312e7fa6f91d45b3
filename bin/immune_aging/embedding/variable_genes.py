"""The genes of the embedding, chosen from the ranks of all donors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cells.gene_lists import nuisance_reason
from immune_aging.cohort.shard_file import Shard, donor_counts
from immune_aging.embedding.seurat_v3 import DonorRanking
from immune_aging.task.checkpoints import read_parquet, require_columns
from immune_aging.task.command_line import BadInput, Progress

DONOR = "donor:"


def rank_shard(
    shard: Shard, kept: np.ndarray, rank: Callable[[sparse.csr_matrix], DonorRanking]
) -> dict[str, DonorRanking]:
    """Rank the genes within each donor of a shard that has kept cells; one donor's counts are in memory at a time.

    Parameters
    ----------
    kept
        Whether quality control kept the cell, one value per cell of the shard.
    rank
        Of the kept cells' counts of one donor, cells x genes.
    """
    rankings = {}
    progress = Progress(len(shard.cell_ids), unit="cells", label="ranking genes")
    for donor, rows, counts in donor_counts(shard):
        if kept[rows].any():
            rankings[donor] = rank(counts[kept[rows]])
        progress.advance(rows.stop - rows.start)
    progress.close()
    return rankings


def ranking_table(shard: Shard, rankings: Mapping[str, DonorRanking]) -> pd.DataFrame:
    """One row per gene: gene_id, symbol, n_counts of all donors, and the normalised variances of each, `donor:<id>`."""
    n_counts = sum(
        (of.sums.astype(np.int64) for of in rankings.values()), np.zeros(len(shard.gene_ids), dtype=np.int64)
    )
    columns = {"gene_id": shard.gene_ids, "symbol": shard.symbols, "n_counts": n_counts}
    ranked = {f"{DONOR}{name}": of.variance_norm for name, of in rankings.items() if of.variance_norm is not None}
    return pd.DataFrame(columns | ranked)


def donor_summaries(rankings: Mapping[str, DonorRanking]) -> list[dict]:
    """What is said of each donor: donor_id, n_cells, jitter, and the reason if it ranks no genes."""
    return [
        {"donor_id": name, "n_cells": of.n_cells, "jitter": of.jitter, "reason": of.reason}
        for name, of in rankings.items()
    ]


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


def why_no_donor_ranks(donors: Sequence[Mapping]) -> str:
    """Why there is no ranking at all, from the `donor_summaries` of all shards."""
    left_out = [row for row in donors if row["reason"]]
    if not left_out:
        return "no donor can rank genes: no cell passed quality control"
    return f"no donor can rank genes: all {len(left_out)} donors were left out ({left_out[0]['reason']})"


def selection_summary(table: pd.DataFrame, genes: pd.DataFrame, donors: Sequence[Mapping], *, n_top_genes: int) -> dict:
    """What genes.json says: genes by what became of them, donors left out or fitted with a jitter, notes.

    Parameters
    ----------
    table
        Of `select`.
    genes
        gene_id, symbol, n_counts.
    donors
        The `donor_summaries` of all shards, in the order in which they are to be listed.
    """
    became = table["reason"].where(table["reason"] != "", "selected")
    return {
        "n_top_genes": n_top_genes,
        "genes": became.value_counts(sort=False).sort_index().to_dict(),
        "donors": len(donors),
        "donors_left_out": [row for row in donors if row["reason"]],
        "donors_with_jitter": [
            {"donor_id": row["donor_id"], "jitter": row["jitter"]} for row in donors if row["jitter"]
        ],
        "notes": notes_on(genes, n_top_genes=n_top_genes),
    }
