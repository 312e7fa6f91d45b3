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


def top_sets(gsea: pd.DataFrame, n: int) -> pd.DataFrame:
    """Up to `n` gene sets of either direction that are surest, those that go up first."""
    order = gsea.sort_values(["q_value", "p_value", "gene_set"], kind="stable")
    return pd.concat([order[order["nes"] > 0].head(n), order[order["nes"] < 0].head(n)])
