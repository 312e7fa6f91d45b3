#!/usr/bin/env python3
"""Put the quality control of all shards together and decide which cell types have enough samples.

In: the cell tables and summaries of QC_CELLS, the table of cell types and the donors. Out: `cells.parquet` (all
cells that the cohort filter kept), `summary.tsv` (cells lost by each rule, so that they add up), `rules.tsv` (what each
rule removes alone, only it, and all together, with the thresholds), `rule_combinations.tsv`,
`doublets.tsv` (how each donor's doublets were called), the final `cell_types.tsv`, and `qc.json`.
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.cells.losses import (
    bounds_in_force,
    combination_table,
    doublet_table,
    losses,
    qc_summary,
    require_kept_cells,
    rule_table,
)
from immune_aging.samples.sample_rules import final_cell_types, samples_of_cells
from immune_aging.task.checkpoints import read_json, read_parquet, write_json, write_parquet, write_tsv, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="one table per shard")
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="one qc.json per shard")
    parser.add_argument("--cell-types", type=Path, required=True)
    parser.add_argument("--min-cells-per-sample", type=int, required=True)
    parser.add_argument("--min-depth-share", type=float, required=True)
    parser.add_argument("--min-samples-per-type", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for what is published")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells = pd.concat([read_parquet(path) for path in sorted(args.cells, key=lambda p: p.name)], ignore_index=True)
    require_kept_cells(cells)
    summaries = [read_json(path) for path in sorted(args.summaries, key=lambda p: p.name)]
    samples = samples_of_cells(cells, min_cells=args.min_cells_per_sample, min_depth_share=args.min_depth_share)
    types = final_cell_types(
        read_parquet(args.cell_types), samples, min_cells=args.min_cells_per_sample,
        min_samples=args.min_samples_per_type,
    )  # fmt: skip
    lost, doublets = losses(cells), doublet_table(cells, summaries)
    write_parquet(cells, args.output / "qc/cells.parquet")
    write_tsv(lost, args.output / "qc/summary.tsv")
    write_tsv(rule_table(cells, bounds_in_force(summaries)), args.output / "qc/rules.tsv")
    write_tsv(combination_table(cells), args.output / "qc/rule_combinations.tsv")
    write_tsv(doublets, args.output / "qc/doublets.tsv")
    write_tsv(types, args.output / "cohort/cell_types.tsv")
    write_json(qc_summary(lost, doublets, summaries), args.output / "qc/qc.json")
    write_versions("merge_qc", ["pandas", "pyarrow"], args.versions)


if __name__ == "__main__":
    run(main)
