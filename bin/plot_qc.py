#!/usr/bin/env python3
"""Draw the quality control: metrics by cell type with thresholds, counts against genes, cells lost by reason.

In: `cells.parquet` of all cells that the cohort filter kept. Out: figures.
"""

import argparse
from pathlib import Path

from immune_aging.cells.qc_rules import add_bound_options, fixed_bounds
from immune_aging.figures.qc_metrics import metrics_of
from immune_aging.figures.quality_control import draw
from immune_aging.figures.style import save_drawings
from immune_aging.task.checkpoints import read_parquet, require_columns, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True, help="cells.parquet")
    add_bound_options(parser)
    parser.add_argument("--thresholds", type=Path, help="a table with each donor's own thresholds")
    parser.add_argument("--output", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    thresholds = vars(fixed_bounds(args))
    metrics = metrics_of(thresholds, read_parquet(args.thresholds) if args.thresholds else None)
    columns = ["cell_type", *(metric.column for metric in metrics), "is_doublet", "kept", "reason"]
    cells = read_parquet(args.cells)
    require_columns(cells, columns, args.cells)
    cells = cells[columns].astype({"cell_type": "category", "reason": "category"})
    save_drawings(draw(cells, metrics), args.output)
    write_versions("plot_qc", ["matplotlib", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
