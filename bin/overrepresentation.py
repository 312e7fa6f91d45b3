#!/usr/bin/env python3
"""Which gene sets hold more of the called genes of one cell type than chance, rising and falling genes apart.

In: `de.tsv` and a GMT file. Out: `ora_up.tsv` and `ora_down.tsv`, one row per set with at least one called
gene, and `ora_summary.json`. The background is the genes that were tested: against all genes, every set that
the cell type expresses at all would look enriched.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from immune_aging.statistics.enrichr import enrich_by_service
from immune_aging.statistics.gene_sets import by_symbol, checked_sizes, measured_sets, read_gmt, why_no_sets
from immune_aging.statistics.joint_tests import why_no_direction
from immune_aging.statistics.overrepresentation import (
    COLUMNS,
    called_genes,
    enrich,
    enrich_both_directions,
    why_nothing_is_called,
)
from immune_aging.statistics.some_files import of_all_files
from immune_aging.task.checkpoints import read_tsv, require_columns, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run
from immune_aging.task.skipped import write_skipped

REQUIRED = ["gene_id", "symbol", "log2_fold_change", "stat", "p_value", "padj"]


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--de", required=True, help="de.tsv of the cell type")
    parser.add_argument("--gene-sets", required=True, help="GMT file")
    parser.add_argument("--backend", required=True, choices=["local", "enrichr"], help="who tests")
    parser.add_argument("--enrichr-library", default="MSigDB_Hallmark_2020", help="for enrichr (default: %(default)s)")
    parser.add_argument("--enrichr-url", help="of the service")
    parser.add_argument("--min-size", type=int, required=True, help="fewest tested genes of a set")
    parser.add_argument("--max-size", type=int, required=True, help="most tested genes of a set")
    parser.add_argument("--strict", action="store_true", help="a cell type without a result is an error")
    parser.add_argument("--output-up", type=Path, required=True, help="ora_up.tsv")
    parser.add_argument("--output-down", type=Path, required=True, help="ora_down.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="ora_summary.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if args.backend == "enrichr" and not args.enrichr_url:
        raise BadInput("--enrichr-url: is missing; give the address of the service for --backend enrichr")
    return args


def main(argv: list[str]) -> None:
    args = arguments(argv)
    sizes = checked_sizes(args.min_size, args.max_size)
    outputs = {"up": args.output_up, "down": args.output_down}
    table = of_all_files(read_tsv(args.de, dtype={"gene_id": str, "symbol": str}))
    require_columns(table, REQUIRED, args.de)
    symbols, counts = by_symbol(table)
    background = list(symbols["symbol"])
    called = called_genes(table, background)
    sets = read_gmt(args.gene_sets)
    facts = {"backend": args.backend, **counts, **{f"n_called_{way}": len(genes) for way, genes in called.items()}}
    if args.backend == "local":
        tested = measured_sets(sets, background, **sizes)
        facts |= {"n_sets_in": len(sets), "n_sets_tested": len(tested)}
        can_test = bool(background and tested)
        enrichment = partial(enrich, sets=tested, background=background)
    else:
        facts |= {"library": args.enrichr_library}
        can_test = bool(background)
        enrichment = partial(
            enrich_by_service, library=args.enrichr_library, background=background, url=args.enrichr_url
        )

    no_direction = why_no_direction(table)
    if can_test and any(called.values()) and not no_direction:
        try:
            results, numbers = enrich_both_directions(called, enrichment)
        except ConnectionError as error:
            sys.exit(f"ERROR: {error}")
        for way, result in results.items():
            write_tsv(result, outputs[way])
        write_json({"status": "done", "reason": "", **facts, **numbers}, args.summary)
    else:
        reason = no_direction or (why_nothing_is_called(background) if can_test else why_no_sets(counts))
        # That no gene changes is a finding, not a failure: it is no error under --strict.
        strict = args.strict and not can_test and not no_direction
        tables = dict.fromkeys(outputs.values(), COLUMNS)
        write_skipped(reason, tables=tables, summary=args.summary, strict=strict, facts=facts)
    write_versions("overrepresentation", ["gseapy", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
