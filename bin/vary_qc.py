#!/usr/bin/env python3
"""Apply other quality control to cells that were measured already: one variant of the sensitivity analysis.

In: the cell tables of QC_CELLS, with metrics and doublet scores, the cell types of the cohort filter, the donors, the
thresholds in force, and what the variant changes. Out: the same cell tables with other `kept` and `reason`, one per
shard in which a cell is left, and a table that says which file is which shard; the cell types under the variant; and a
summary of what it gains and loses.

Nothing is measured again. Scrublet's scores are those of the run itself, so a cell that only a milder threshold lets in
has none and is never called a doublet; the summary counts such cells.
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.cells.qc_rules import add_bound_options, fixed_bounds
from immune_aging.cells.thresholds import group_of_donors
from immune_aging.cells.variants import parse_changes, variant_summary, varied_bounds, varied_doublets, vary
from immune_aging.samples.sample_rules import final_cell_types, samples_of_cells
from immune_aging.task.checkpoints import (
    read_parquet,
    write_file_table,
    write_json,
    write_parquet,
    write_tsv,
    write_versions,
)
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="the cell table of each shard")
    parser.add_argument("--shards", nargs="+", required=True, help="the id of each of these shards")
    parser.add_argument("--cell-types", type=Path, required=True, help="cell types after the cohort filter")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--thresholds", type=Path, help="a table with each donor's own bounds")
    add_bound_options(parser)
    parser.add_argument("--mad-group", required=True)
    parser.add_argument("--min-cells-per-sample", type=int, required=True)
    parser.add_argument("--min-depth-share", type=float, required=True)
    parser.add_argument("--min-samples-per-type", type=int, required=True)
    parser.add_argument("--variant", required=True, help="its id")
    parser.add_argument("--changes", nargs="+", required=True, help="NAME=VALUE")
    parser.add_argument("--output", type=Path, default=Path(), help="folder; a table has its own name there")
    parser.add_argument("--output-files", type=Path, required=True, help=".tsv: id and file of each shard")
    parser.add_argument("--output-cell-types", type=Path, required=True, help=".tsv")
    parser.add_argument("--output-summary", type=Path, required=True, help=".json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    if len(args.cells) != len(args.shards):
        raise BadInput("--cells, --shards: differ in number; give the id of each shard")
    changes = parse_changes(args.changes)
    table = read_parquet(args.thresholds) if args.thresholds else None
    shards = dict(sorted(zip(args.shards, args.cells, strict=True)))
    parts = [read_parquet(path) for path in shards.values()]
    cells = pd.concat(parts, ignore_index=True)
    groups = group_of_donors(read_parquet(args.donors), args.mad_group) if "mad_cutoff" in changes else None
    bounds = varied_bounds(cells, changes, fixed=fixed_bounds(args), table=table, groups=groups)
    varied = vary(cells, bounds, varied_doublets(cells, changes))

    start, files = 0, {}
    for (shard, path), part in zip(shards.items(), parts, strict=True):
        own = varied.iloc[start : start + len(part)]
        start += len(part)
        if own["kept"].any():
            files[shard] = args.output / path.name
            write_parquet(own.reset_index(drop=True), files[shard])
    write_file_table(files, args.output_files)
    samples = samples_of_cells(varied, min_cells=args.min_cells_per_sample, min_depth_share=args.min_depth_share)
    types = final_cell_types(
        read_parquet(args.cell_types), samples, min_cells=args.min_cells_per_sample,
        min_samples=args.min_samples_per_type,
    )  # fmt: skip
    write_tsv(types, args.output_cell_types)
    summary = variant_summary(cells, varied, samples, types)
    write_json({"variant": args.variant, "changes": changes, **summary}, args.output_summary)
    write_versions("vary_qc", ["numpy", "pandas", "pyarrow"], args.versions)


if __name__ == "__main__":
    run(main)
