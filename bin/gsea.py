#!/usr/bin/env python3
"""Which gene sets move with age in one cell type: a test that allows for co-expression, beside preranked enrichment.

In: `de.tsv`, voom's fit of its genes, and a GMT file. Out: `gsea.tsv`, one row per set, and `gsea_summary.json`. p and
q are those of camera on voom's fit; enrichment scores and leading edges are of the primary engine's statistic, and the
preranked test's own p and q, which take genes for independent, stand beside them.
"""

import argparse
from pathlib import Path

from immune_aging.statistics.enrichment import COLUMNS, enrichment_facts, enrichment_table, set_test_table
from immune_aging.statistics.gene_fits import read_gene_fits
from immune_aging.statistics.gene_sets import by_symbol, checked_sizes, measured_sets, read_gmt, why_no_sets
from immune_aging.statistics.joint_tests import why_no_direction
from immune_aging.statistics.preranked import no_warnings, permutation_floor, prerank, rank_symbols
from immune_aging.statistics.some_files import of_all_files
from immune_aging.task.checkpoints import read_tsv, require_columns, write_json, write_tsv, write_versions
from immune_aging.task.command_line import limit_threads, run
from immune_aging.task.skipped import write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--de", required=True, help="de.tsv of the cell type")
    parser.add_argument("--fits", required=True, help="voom's fit of its genes, of the same task (h5)")
    parser.add_argument("--gene-sets", required=True, help="GMT file")
    parser.add_argument("--min-size", type=int, required=True, help="fewest measured genes of a set")
    parser.add_argument("--max-size", type=int, required=True, help="most measured genes of a set")
    parser.add_argument("--permutations", type=int, required=True, help="gene permutations of the preranked test")
    parser.add_argument("--seed", type=int, required=True, help="of the permutations")
    parser.add_argument("--strict", action="store_true", help="a cell type without a result is an error")
    parser.add_argument("--threads", type=int, required=True, help="threads")
    parser.add_argument("--output", type=Path, required=True, help="gsea.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="gsea_summary.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    sizes = checked_sizes(args.min_size, args.max_size)
    table = of_all_files(read_tsv(args.de, dtype={"gene_id": str, "symbol": str}))
    require_columns(table, ["gene_id", "symbol", "stat", "p_value"], args.de)
    fits = read_gene_fits(args.fits)
    genes, counts = by_symbol(table)
    sets = read_gmt(args.gene_sets)
    tested = measured_sets(sets, genes["symbol"], **sizes)
    no_direction = why_no_direction(table)
    draws = {"permutations": args.permutations, "seed": args.seed}
    facts = {**counts, "n_sets_in": len(sets), "n_sets_tested": len(tested), **draws}
    if tested and not no_direction:
        ranking = rank_symbols(genes.set_index("symbol")["stat"])
        with limit_threads(args.threads) as threads, no_warnings():
            preranked = prerank(ranking, tested, **draws, threads=threads)
        tests, said = set_test_table(fits.of(genes["gene_id"]), genes["symbol"].tolist(), tested)
        result = enrichment_table(preranked, tests)
        facts |= {**said, "preranked_floor": permutation_floor(args.permutations), **enrichment_facts(result)}
        facts["n_tied_statistics"] = int(ranking.duplicated().sum())
        write_tsv(result, args.output)
        write_json({"status": "done", "reason": "", **facts}, args.summary)
    else:
        reason = no_direction or why_no_sets(counts)
        strict = args.strict and not no_direction
        write_skipped(reason, tables={args.output: COLUMNS}, summary=args.summary, strict=strict, facts=facts)
    write_versions("gsea", ["gseapy", "h5py", "hdf5plugin", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
