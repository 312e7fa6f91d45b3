#!/usr/bin/env python3
"""One immune age for each donor from the predictions of all cell types, and what goes with ageing faster.

In: the nested predictions of every fit (PREDICT_AGE), and the cell types' pseudobulk tables for what is known of the
donors. Out: `immune_age.tsv`, its metrics, the weight of each cell type, tests of
age acceleration, a figure, a summary.

In each repeat and fold a model of models learns how to weigh the cell types from the fold's training donors alone:
from predictions by fits that saw neither the donor nor anyone of the fold. It then weighs the predictions of the
donors held out. The weights are not negative and need no tuning (stacking; Breiman 1996, Machine Learning 24:49-64).
Where each cell type was analysed in donors of its own, cell types that fewer than half of the donors have, and donors
with fewer than half of the others, are left out.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.filtering import COMMON, EACH
from immune_aging.figures.immune_age import draw
from immune_aging.figures.style import save_drawing
from immune_aging.prediction.immune_age import FILES, immune_ages, joined_fits
from immune_aging.samples.sample_obs import read_obs
from immune_aging.task.checkpoints import read_parquet, write_json, write_tsv, write_versions
from immune_aging.task.command_line import list_of, run
from immune_aging.task.skipped import CannotFit, write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=Path, nargs="*", default=[], help="nested predictions (Parquet) of each fit")
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="pseudobulk tables of the cell types")
    parser.add_argument("--columns", type=list_of(str), required=True, help="donor columns to test")
    parser.add_argument(
        "--analysed-donors", choices=(EACH, COMMON), required=True, help="in which donors the cell types were analysed"
    )
    parser.add_argument("--bootstrap", type=int, default=1000, help="draws for the intervals (default: %(default)s)")
    parser.add_argument("--seed", type=int, required=True, help="of the bootstrap")
    parser.add_argument("--strict", action="store_true", help="no immune age is an error")
    parser.add_argument("--output", type=Path, required=True, help="folder of the tables, the summary and the figure")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    summary = args.output / "immune_age_summary.json"
    options = {
        "common": args.analysed_donors == COMMON,
        "columns": args.columns,
        "n_bootstrap": args.bootstrap,
        "seed": args.seed,
    }
    try:
        fits = joined_fits([read_parquet(path) for path in sorted(args.fits, key=lambda path: path.name)])
        samples = [read_obs(path) for path in sorted(args.tables, key=lambda path: path.name)]
        made = immune_ages(fits, samples, **options)
    except CannotFit as reason:
        tables = {args.output / name: columns for name, columns in FILES.items()}
        write_skipped(str(reason), tables=tables, summary=summary, strict=args.strict)
    else:
        for name, table in made.tables.items():
            write_tsv(table, args.output / name)
        write_json({"status": "done", "reason": "", **made.facts}, summary)
        immune, metrics, weights, _ = made.tables.values()
        drawing = draw(immune, metrics, weights, n_cell_types=made.facts["n_cell_types"])
        save_drawing(drawing, args.output / "figures/immune_age")
    write_versions("immune_age", ["matplotlib", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
