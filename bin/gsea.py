#!/usr/bin/env python3
"""Which gene sets move with age in one cell type: preranked enrichment on the primary engine's statistic.

In: `de.tsv` and a GMT file. Out: `gsea.tsv`, one row a set, and `gsea_summary.json`.
"""

import argparse
from pathlib import Path

from immune_aging.statistics.gene_sets import (
    MAX_SIZE,
    MIN_SIZE,
    by_symbol,
    measured_sets,
    read_gmt,
    why_no_sets,
)
from immune_aging.statistics.preranked import COLUMNS, FDR, no_warnings, prerank, rank_symbols
from immune_aging.task.checkpoints import read_tsv, require_columns, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, limit_threads, run
from immune_aging.task.skipped import write_skipped


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
