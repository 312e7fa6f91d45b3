#!/usr/bin/env python3
"""Which gene sets move with age in one cell type: preranked enrichment on the primary engine's statistic.

In: `de.tsv` and a GMT file. Out: `gsea.tsv`, one row a set, and `gsea_summary.json`.
"""

import argparse
import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import read_tsv, require_columns, write_json, write_tsv, write_versions
from command_line import BadInput, limit_threads, run
from gene_sets import MAX_SIZE, MIN_SIZE, GeneSets, by_symbol, measured_sets, read_gmt, why_no_sets
from skipped import write_skipped

COLUMNS = ("gene_set", "es", "nes", "p_value", "q_value", "size", "leading_edge")
FDR = 0.05


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Silence gseapy's log: it warns of ties, whose order is fixed here and which the summary counts."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


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
    The columns of gsea.tsv. `p_value` is at least 1 / (permutations + 1): a permutation test knows no smaller
    one. `leading_edge`: symbols, most extreme first, joined by semicolons.

    References
    ----------
    Subramanian et al. (2005), PNAS 102:15545; Fang, Liu, Peltz (2023), Bioinformatics 39:btac757.
    """
    import gseapy

    codes = {symbol: f"G{i}" for i, symbol in enumerate(ranking.index)}
    symbols = {code: symbol for symbol, code in codes.items()}
    result = gseapy.prerank(
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
    table = pd.DataFrame(
        {
            "gene_set": result["Term"].astype(str),
            "es": result["ES"].astype(float),
            "nes": result["NES"].astype(float),
            "p_value": result["NOM p-val"].astype(float).clip(lower=1 / (permutations + 1)),
            "q_value": result["FDR q-val"].astype(float),
            "size": [len(sets[name]) for name in result["Term"]],
            "leading_edge": [
                ";".join(symbols[code] for code in genes.split(";") if code) for genes in result["Lead_genes"]
            ],
        }
    )
    order = table.assign(extreme=-table["nes"].abs()).sort_values(
        ["q_value", "p_value", "extreme", "gene_set"], kind="stable"
    )
    return order[list(COLUMNS)].reset_index(drop=True)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--de", required=True, help="de.tsv of the cell type")
    parser.add_argument("--gene-sets", required=True, help="GMT file")
    parser.add_argument(
        "--min-size", type=int, default=MIN_SIZE, help="fewest measured genes of a set (default: %(default)s)"
    )
    parser.add_argument(
        "--max-size", type=int, default=MAX_SIZE, help="most measured genes of a set (default: %(default)s)"
    )
    parser.add_argument("--permutations", type=int, default=1000, help="gene permutations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the permutations (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="a cell type without a result is an error")
    parser.add_argument("--threads", type=int, default=1, help="threads (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="gsea.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="gsea_summary.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if not 1 <= args.min_size <= args.max_size:
        raise BadInput(f"--min-size {args.min_size} --max-size {args.max_size}: must be 1 <= min <= max")

    table = read_tsv(args.de, dtype={"gene_id": str, "symbol": str})
    require_columns(table, ["gene_id", "symbol", "stat", "p_value"], args.de)
    genes, counts = by_symbol(table)
    sets = read_gmt(args.gene_sets)
    tested = measured_sets(sets, genes["symbol"], min_size=args.min_size, max_size=args.max_size)
    facts = counts | {
        "n_sets_in": len(sets),
        "n_sets_tested": len(tested),
        "permutations": args.permutations,
        "seed": args.seed,
    }
    if tested:
        ranking = rank_symbols(genes.set_index("symbol")["stat"])
        with limit_threads(args.threads) as threads, no_warnings():
            result = prerank(ranking, tested, permutations=args.permutations, seed=args.seed, threads=threads)
        significant = result["q_value"] < FDR
        facts |= {
            "n_up": int((significant & (result["nes"] > 0)).sum()),
            "n_down": int((significant & (result["nes"] < 0)).sum()),
            "n_tied_statistics": int(ranking.duplicated().sum()),
        }
        write_tsv(result, args.output)
        write_json({"status": "done", "reason": "", **facts}, args.summary)
    else:
        reason = why_no_sets(counts)
        write_skipped(reason, tables={args.output: COLUMNS}, summary=args.summary, strict=args.strict, facts=facts)
    write_versions("gsea", ["gseapy", "numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
