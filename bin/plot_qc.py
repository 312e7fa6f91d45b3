#!/usr/bin/env python3
"""Draw the quality control: metrics by cell type with thresholds, counts against genes, cells lost by reason.

In: `cells.parquet` of all cells that the cohort filter kept. Out: figures.
"""

import argparse
from pathlib import Path

from immune_aging.figures.quality_control import (
    bounds_text,
    metrics_of,
    plot_counts_and_genes,
    plot_losses,
    plot_violins,
)
from immune_aging.figures.style import (
    save_figure,
)
from immune_aging.task.checkpoints import read_parquet, require_columns, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True, help="cells.parquet")
    defaults = {
        "min_genes": 200,
        "max_genes": 6000,
        "min_counts": 500,
        "max_counts": 30_000,
        "max_pct_mito": 20.0,
        "max_pct_hb": 5.0,
    }
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    parser.add_argument("--thresholds", type=Path, help="a table with each donor's own thresholds")
    parser.add_argument("--output", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    thresholds = {name: getattr(args, name) for name in defaults}
    metrics = metrics_of(thresholds, read_parquet(args.thresholds) if args.thresholds else None)
    columns = ["cell_type", *(metric.column for metric in metrics), "is_doublet", "kept", "reason"]
    cells = read_parquet(args.cells)
    require_columns(cells, columns, args.cells)
    cells = cells[columns].astype({"cell_type": "category", "reason": "category"})
    n, kept = len(cells), int(cells["kept"].sum())
    bounds = bounds_text(metrics)
    save_figure(
        plot_violins(cells, metrics),
        args.output / "violins",
        title="Quality control by cell type",
        description=f"Distributions of six metrics over {n:,} cells before any was removed, by cell type. "
        "Points are medians, bars "
        f"quartiles, dashed lines the thresholds: {bounds}.",
    )
    save_figure(
        plot_counts_and_genes(cells, metrics),
        args.output / "counts_and_genes",
        title="Counts, genes and what is wrong with cells",
        description=f"Counts against genes of {n:,} cells, on log scales, coloured by density, mitochondrial "
        "share, hemoglobin share "
        f"and doublet calls ({int(cells['is_doublet'].sum()):,} doublets). Dashed lines are the thresholds: "
        f"{bounds}.",
    )
    save_figure(
        plot_losses(cells),
        args.output / "cells_lost",
        title="Cells removed by quality control",
        description=f"Quality control removed {n - kept:,} of {n:,} cells. Each bar counts the cells that "
        "broke one rule, alone or "
        "with others; a cell that broke two rules is in two bars.",
    )
    write_versions("plot_qc", ["matplotlib", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
