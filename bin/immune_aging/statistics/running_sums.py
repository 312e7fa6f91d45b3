"""The running sum of a gene set along a ranked list, as in preranked GSEA."""

from collections.abc import Collection

import numpy as np
import pandas as pd


def running_sum(ranking: pd.Series, genes: Collection[str]) -> np.ndarray:
    """The running sum of enrichment with weight 1 at each rank; its extreme is the enrichment score.

    Parameters
    ----------
    ranking
        Statistic of each symbol, in order of rank (`preranked.rank_symbols`).
    genes
        Symbols of the set; those that are not ranked do not count. At least one is, and not all.

    References
    ----------
    Subramanian et al. (2005), PNAS 102:15545.
    """
    inside = ranking.index.isin(genes)
    weights = np.where(inside, ranking.abs().to_numpy(), 0.0)
    return np.cumsum(weights / weights.sum() - ~inside / (~inside).sum())


def directions(gsea: pd.DataFrame) -> pd.Series:
    """`up` or `down` of each set of gsea.tsv: as its test says, else by the sign of its score."""
    by_score = pd.Series(np.where(gsea["nes"] > 0, "up", "down"), gsea.index)
    return gsea["direction"].where(gsea["direction"].isin(["up", "down"]), by_score)


def surest_first(gsea: pd.DataFrame) -> pd.DataFrame:
    """The sets of gsea.tsv by q and p; those without a set test last, by those of the preranked test."""
    order = ["q_value", "p_value", "q_value_preranked", "p_value_preranked", "gene_set"]
    return gsea.sort_values(order, kind="stable")


def top_sets(gsea: pd.DataFrame, n: int) -> pd.DataFrame:
    """Up to `n` gene sets of either direction that are surest, those that go up first."""
    order = surest_first(gsea)
    way = directions(order)
    return pd.concat([order[way == "up"].head(n), order[way == "down"].head(n)])
