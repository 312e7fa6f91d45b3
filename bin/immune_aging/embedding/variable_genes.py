"""The genes of the embedding, chosen from the ranks of all donors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cells.gene_lists import nuisance_reason
from immune_aging.task.checkpoints import read_parquet, require_columns
from immune_aging.task.command_line import BadInput

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
