#!/usr/bin/env python3
"""Which gene sets hold more of the called genes of one cell type than chance, rising and falling genes apart.

In: `de.tsv` and a GMT file. Out: `ora_up.tsv` and `ora_down.tsv`, one row a set with at least one called
gene, and `ora_summary.json`. The background is the genes that were tested: against all genes, every set that
the cell type expresses at all would look enriched.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from immune_aging.statistics.gene_sets import (
    MAX_SIZE,
    MIN_SIZE,
    by_symbol,
    measured_sets,
    read_gmt,
    why_no_sets,
)
from immune_aging.statistics.overrepresentation import (
    ALPHA,
    COLUMNS,
    ENRICHR_URL,
    called_genes,
    enrich,
    enrich_by_service,
)
from immune_aging.task.checkpoints import read_tsv, require_columns, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run
from immune_aging.task.skipped import write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--de", required=True, help="de.tsv of the cell type")
    parser.add_argument("--gene-sets", required=True, help="GMT file")
    parser.add_argument(
        "--backend", default="local", choices=["local", "enrichr"], help="who tests (default: %(default)s)"
    )
    parser.add_argument("--enrichr-library", default="MSigDB_Hallmark_2020", help="for enrichr (default: %(default)s)")
    parser.add_argument("--enrichr-url", default=ENRICHR_URL, help="of the service (default: %(default)s)")
    parser.add_argument(
        "--min-size", type=int, default=MIN_SIZE, help="fewest tested genes of a set (default: %(default)s)"
    )
    parser.add_argument(
        "--max-size", type=int, default=MAX_SIZE, help="most tested genes of a set (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="a cell type without a result is an error")
    parser.add_argument("--output-up", type=Path, required=True, help="ora_up.tsv")
    parser.add_argument("--output-down", type=Path, required=True, help="ora_down.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="ora_summary.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if not 1 <= args.min_size <= args.max_size:
        raise BadInput(f"--min-size {args.min_size} --max-size {args.max_size}: must be 1 <= min <= max")

    table = read_tsv(args.de, dtype={"gene_id": str, "symbol": str})
    require_columns(table, ["gene_id", "symbol", "log2_fold_change", "stat", "p_value", "padj"], args.de)
    symbols, counts = by_symbol(table)
    background = list(symbols["symbol"])
    sets = read_gmt(args.gene_sets)
    tested = measured_sets(sets, background, min_size=args.min_size, max_size=args.max_size)
    called = called_genes(table, background)
    facts = {
        "backend": args.backend,
        **counts,
        "n_called_up": len(called["up"]),
        "n_called_down": len(called["down"]),
    }
    outputs = {"up": args.output_up, "down": args.output_down}
    if args.backend == "local":
        facts |= {"n_sets_in": len(sets), "n_sets_tested": len(tested)}
    else:
        facts |= {"library": args.enrichr_library}

    nothing_to_test = not background or (args.backend == "local" and not tested)
    if nothing_to_test or not any(called.values()):
        found_none = f"no gene with padj <= {ALPHA} among {len(background)} tested symbols"
        reason = why_no_sets(counts) if nothing_to_test else found_none
        # That no gene changes is a finding, not a failure: it is no error under --strict.
        strict = args.strict and nothing_to_test
        write_skipped(
            reason,
            tables=dict.fromkeys(outputs.values(), COLUMNS),
            summary=args.summary,
            strict=strict,
            facts=facts,
        )
    else:
        for direction, genes in called.items():
            if not genes:
                result = pd.DataFrame(columns=list(COLUMNS))
            elif args.backend == "local":
                result = enrich(genes, tested, background)
            else:
                try:
                    result = enrich_by_service(genes, args.enrichr_library, background, url=args.enrichr_url)
                except ConnectionError as error:
                    sys.exit(f"ERROR: {error}")
            facts[f"n_sets_{direction}"] = int((result["padj"] <= ALPHA).sum())
            write_tsv(result, outputs[direction])
        write_json({"status": "done", "reason": "", **facts}, args.summary)
    write_versions("overrepresentation", ["gseapy", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
