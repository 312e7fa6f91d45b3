"""Preranked gene set enrichment analysis."""

import contextlib
import logging
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from immune_aging.statistics.gene_sets import GeneSets

COLUMNS = ("gene_set", "es", "nes", "p_value_preranked", "q_value_preranked", "size", "leading_edge")


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Silence gseapy's log: it warns of ties, whose order is fixed here and which the summary counts."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def permutation_floor(permutations: int) -> float:
    """The smallest p that preranked GSEA can tell from 0.

    It compares a set's score with the permuted scores of the same sign, which are about half of them, so a p of 0
    means less than 1 / (permutations / 2 + 1): .002 with a thousand. Its q is a ratio of two such shares, pooled over
    sets; below this floor it rests on single permutations.
    """
    return 2 / (permutations + 2)


def rank_symbols(statistics: Mapping[str, float] | pd.Series) -> pd.Series:
    """Symbols from the most increasing to the most decreasing; equal statistics in alphabetical order."""
    ranking = pd.Series(statistics, dtype=float)
    return ranking.iloc[np.lexsort((ranking.index.astype(str), -ranking.to_numpy()))]


def prerank(
    ranking: pd.Series, sets: GeneSets, *, permutations: int = 1000, seed: int = 0, threads: int = 1
) -> pd.DataFrame:
    """Preranked GSEA with weight 1, gene permutations from `seed`; the same for any number of threads.

    Genes go into gseapy under codes: it would change the case of symbols where most of them are not
    upper-case, and joins genes with a character that a symbol may hold.

    Parameters
    ----------
    ranking
        Statistic of each symbol, in order of rank (`rank_symbols`).
    sets
        Symbols of each set, all of them in `ranking`.

    Returns
    -------
    `COLUMNS`. No p or q is below `permutation_floor`. `leading_edge`: symbols, most extreme first, joined by
    semicolons.

    References
    ----------
    Subramanian et al. (2005), PNAS 102:15545; Fang, Liu, Peltz (2023), Bioinformatics 39:btac757.
    """
    import gseapy

    codes = {symbol: f"G{i}" for i, symbol in enumerate(ranking.index)}
    symbols = {code: symbol for symbol, code in codes.items()}
    result: pd.DataFrame = gseapy.prerank(
        rnk=pd.DataFrame({"gene": list(symbols), "stat": ranking.to_numpy()}),
        gene_sets={name: [codes[gene] for gene in genes] for name, genes in sorted(sets.items())},
        min_size=1,
        max_size=len(ranking),
        permutation_num=permutations,
        ascending=None,
        threads=threads,
        outdir=None,
        no_plot=True,
        seed=seed,
    ).res2d
    floor = permutation_floor(permutations)
    table = pd.DataFrame(
        {
            "gene_set": result["Term"].astype(str),
            "es": result["ES"].astype(float),
            "nes": result["NES"].astype(float),
            "p_value_preranked": result["NOM p-val"].astype(float).clip(lower=floor),
            "q_value_preranked": result["FDR q-val"].astype(float).clip(lower=floor),
            "size": [len(sets[name]) for name in result["Term"]],
            "leading_edge": [
                ";".join(symbols[code] for code in genes.split(";") if code) for genes in result["Lead_genes"]
            ],
        }
    )
    order = table.assign(extreme=-table["nes"].abs()).sort_values(
        ["q_value_preranked", "p_value_preranked", "extreme", "gene_set"], kind="stable"
    )
    return order[list(COLUMNS)].reset_index(drop=True)
