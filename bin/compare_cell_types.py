#!/usr/bin/env python3
"""What the cell types have in common: genes and gene sets that age alike, and what each cell type could have shown.

In: the published trees of DIFFERENTIAL_EXPRESSION and GSEA. Out: `shared_ageing.tsv`, one row per gene that at least
two cell types were tested for; `gsea_nes.tsv`, gene sets x cell types; `power.tsv`, the smallest effect that each
cell type would show; and a summary.
"""

import argparse
from pathlib import Path

from immune_aging import results
from immune_aging.statistics.comparison import SHARED, compare_cell_types
from immune_aging.task.checkpoints import write_json, write_tsv, write_versions
from immune_aging.task.command_line import limit_threads, run
from immune_aging.task.skipped import write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees of all cell types")
    parser.add_argument("--strict", action="store_true", help="fewer than two cell types with a result are an error")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables and the summary")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shared, summary = args.output / "shared_ageing.tsv", args.output / "comparison_summary.json"
    with limit_threads(1):
        found = compare_cell_types(results.open(*args.published), source=args.published[0])
    write_tsv(found.power, args.output / "power.tsv")
    write_tsv(found.sets, args.output / "gsea_nes.tsv")
    if found.shared is None:
        tables = {shared: SHARED}
        write_skipped(found.reason, tables=tables, summary=summary, strict=args.strict, facts=found.facts)
    else:
        write_tsv(found.shared, shared)
        write_json({"status": "done", "reason": "", **found.facts}, summary)
    write_versions("compare_cell_types", ["numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
