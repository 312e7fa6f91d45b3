#!/usr/bin/env python3
"""Which cell types become more or less frequent with age, told apart from those whose share only gives way.

In: the table of pseudobulk samples (cells of each donor and cell type, donor columns) and the table of cell
types. Out: `proportions.tsv`, one row a donor and cell type; `composition.tsv`, one row a cell type; and a
summary.

Shares add up to one: where one cell type grows, all others lose share without doing anything. So a cell type is
compared with the others: its log abundance minus a weighted mean of those of all, in which cell types that move
by themselves have little or no weight. Which those are is uncertain, and the intervals hold that. What becomes of
its plain share stands in columns of its own.
"""

import argparse
from pathlib import Path

from immune_aging.statistics.composition import COLUMNS, PROPORTIONS, compare_donors, read_cells
from immune_aging.statistics.designs import DEFAULT_DESIGN
from immune_aging.task.checkpoints import read_tsv, require_columns, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, limit_threads, run
from immune_aging.task.skipped import CannotFit, write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pseudobulk", type=Path, required=True, help="table of all samples (h5ad)")
    parser.add_argument("--cell-types", type=Path, required=True, help="cell_types.tsv")
    parser.add_argument("--design", default=DEFAULT_DESIGN, help="formula over donor columns (default: %(default)s)")
    parser.add_argument("--test-term", default="age", help="donor column to test (default: %(default)s)")
    parser.add_argument("--min-samples", type=int, default=10, help="fewer donors are skipped (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="a composition that cannot be tested is an error")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables and the summary")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    samples = read_cells(args.pseudobulk)
    types = read_tsv(args.cell_types, dtype={"id": str, "cell_type": str})
    require_columns(types, ["id", "cell_type"], args.cell_types)
    ids = types.set_index("cell_type")["id"]
    unknown = sorted(set(samples["cell_type"]) - set(ids.index))
    if unknown:
        raise BadInput(f"{args.cell_types}: has no cell type '{unknown[0]}' of {args.pseudobulk}; give both of one run")
    paths = {args.output / "proportions.tsv": PROPORTIONS, args.output / "composition.tsv": COLUMNS}
    summary = args.output / "composition_summary.json"
    try:
        with limit_threads(1):
            shares, table, numbers = compare_donors(
                samples, ids, formula=args.design, test_term=args.test_term, min_samples=args.min_samples
            )
    except CannotFit as reason:
        write_skipped(str(reason), tables=paths, summary=summary, strict=args.strict, facts={"design": args.design})
    else:
        write_tsv(shares, args.output / "proportions.tsv")
        write_tsv(table, args.output / "composition.tsv")
        write_json({"status": "done", "reason": "", **numbers}, summary)
    packages = ["anndata", "formulaic", "numpy", "pandas", "pylimma", "scipy", "statsmodels"]
    write_versions("composition", packages, args.versions)


if __name__ == "__main__":
    run(main)
