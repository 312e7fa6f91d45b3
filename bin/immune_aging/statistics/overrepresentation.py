"""Over-representation of gene sets among called genes."""

from collections.abc import Callable, Collection, Mapping

import numpy as np
import pandas as pd

from immune_aging.statistics.gene_sets import GeneSets
from immune_aging.statistics.multiple_testing import ALPHA, adjusted_p_values

COLUMNS = ("gene_set", "overlap", "size", "odds_ratio", "p_value", "padj", "genes")


def called_genes(table: pd.DataFrame, background: Collection[str], *, alpha: float = ALPHA) -> dict[str, list[str]]:
    """Symbols of the called genes (padj <= alpha), sorted: `up` with age and `down`.

    Two genes with one symbol may be called in both directions; then the symbol stands in both lists.
    """
    called = table[(table["padj"] <= alpha) & table["symbol"].isin(set(background))]
    lfc = called["log2_fold_change"]
    return {"up": sorted(set(called["symbol"][lfc > 0])), "down": sorted(set(called["symbol"][lfc < 0]))}


def enrich(genes: Collection[str], sets: GeneSets, background: Collection[str]) -> pd.DataFrame:
    """One-sided Fisher test of each set, with Benjamini-Hochberg over all sets tested.

    Parameters
    ----------
    genes
        Called symbols, all in `background`.
    sets
        Symbols of each set, all in `background`.

    Returns
    -------
    The columns of ora_*.tsv for the sets with at least one called gene. The odds ratio has 0.5 added to each
    cell (Haldane-Anscombe), so that it is finite where a set is called whole.
    """
    from scipy.stats import hypergeom

    query, total, drawn = set(genes), len(set(background)), len(set(genes))
    rows = []
    for name, members in sets.items():
        hits = sorted(query.intersection(members))
        both, size = len(hits), len(members)
        odds = (both + 0.5) * (total - size - drawn + both + 0.5) / ((size - both + 0.5) * (drawn - both + 0.5))
        p_value = hypergeom.sf(both - 1, total, size, drawn)
        rows.append((name, both, size, odds, p_value, np.nan, ";".join(hits)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["padj"] = adjusted_p_values(table["p_value"].to_numpy())
    return table[table["overlap"] > 0].sort_values(["p_value", "gene_set"], kind="stable", ignore_index=True)


def enrich_both_directions(
    called: Mapping[str, Collection[str]], enrichment: Callable[[Collection[str]], pd.DataFrame]
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The table of rising and that of falling genes, empty where there are none, and their numbers of called sets.

    Parameters
    ----------
    called
        As of `called_genes`.
    enrichment
        Makes the columns of ora_*.tsv from symbols.
    """
    tables = {way: enrichment(genes) if genes else pd.DataFrame(columns=list(COLUMNS)) for way, genes in called.items()}
    return tables, {f"n_sets_{way}": int((table["padj"] <= ALPHA).sum()) for way, table in tables.items()}


def why_nothing_is_called(background: Collection[str]) -> str:
    """The reason for empty tables where genes were tested and none of them changes."""
    return f"no gene with padj <= {ALPHA} among {len(background)} tested symbols"
