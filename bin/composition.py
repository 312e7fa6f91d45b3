#!/usr/bin/env python3
"""Which cell types become more or less frequent with age, told apart from those whose share only gives way.

In: the table of pseudobulk samples (cells of each donor and cell type, donor columns) and the table of cell
types. Out: `proportions.tsv`, one row per donor and cell type; `composition.tsv`, one row per cell type; and a
summary.

Shares add up to one: where one cell type grows, all others lose share without doing anything. So a cell type is
compared with the others: its log abundance minus a weighted mean of those of all, in which cell types that move
by themselves have little or no weight. Which those are is uncertain, and the intervals hold that. What becomes of
its plain share stands in columns of its own.
"""

import argparse
from pathlib import Path

from immune_aging.statistics.composition import COLUMNS, PROPORTIONS, compare_donors, read_cells, read_ids
from immune_aging.task.checkpoints import write_json, write_tsv, write_versions
from immune_aging.task.command_line import limit_threads, run
from immune_aging.task.skipped import CannotFit, write_skipped

PACKAGES = ["anndata", "formulaic", "numpy", "pandas", "pylimma", "scipy", "statsmodels"]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pseudobulk", type=Path, required=True, help="table of all samples (h5ad)")
    parser.add_argument("--cell-types", type=Path, required=True, help="cell_types.tsv")
    parser.add_argument("--design", required=True, help="formula over donor columns")
    parser.add_argument("--test-term", required=True, help="donor column to test")
    parser.add_argument("--contrast", required=True, help="'LEVEL vs REFERENCE' of a categorical term, or ''")
    parser.add_argument("--min-samples", type=int, required=True, help="fewer donors are skipped")
    parser.add_argument("--strict", action="store_true", help="a composition that cannot be tested is an error")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables and the summary")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    samples = read_cells(args.pseudobulk)
    ids = read_ids(args.cell_types, samples, source=args.pseudobulk)
    paths = {args.output / "proportions.tsv": PROPORTIONS, args.output / "composition.tsv": COLUMNS}
    summary = args.output / "composition_summary.json"
    question = {"formula": args.design, "test_term": args.test_term, "contrast": args.contrast}
    question |= {"min_samples": args.min_samples}
    try:
        with limit_threads(1):
            shares, table, numbers = compare_donors(samples, ids, **question)
    except CannotFit as reason:
        write_skipped(str(reason), tables=paths, summary=summary, strict=args.strict, facts={"design": args.design})
    else:
        write_tsv(shares, args.output / "proportions.tsv")
        write_tsv(table, args.output / "composition.tsv")
        write_json({"status": "done", "reason": "", **numbers}, summary)
    write_versions("composition", PACKAGES, args.versions)


if __name__ == "__main__":
    run(main)
