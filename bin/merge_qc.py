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

from immune_aging.cells.losses import bounds_in_force, combination_table, final_cell_types, losses, rule_table
from immune_aging.task.checkpoints import read_json, read_parquet, write_json, write_parquet, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="a table a shard")
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="a qc.json a shard")
    parser.add_argument("--cell-types", type=Path, required=True)
    parser.add_argument("--min-cells-per-sample", type=int, default=10)
    parser.add_argument("--min-samples-per-type", type=int, default=10)
    parser.add_argument("--output", type=Path, required=True, help="folder for what is published")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells = pd.concat([read_parquet(path) for path in sorted(args.cells, key=lambda p: p.name)], ignore_index=True)
    if not cells["kept"].any():
        table = losses(cells).query("rule not in ('kept', 'all')").sort_values("cells")
        worst = table.iloc[-1]
        raise BadInput(
            f"quality control: none of {len(cells)} cells is left; {worst['cells']} had {worst['rule']}; "
            "set the thresholds (--min_genes, --min_counts, ...) to suit this cohort"
        )
    summaries = [read_json(path) for path in sorted(args.summaries, key=lambda p: p.name)]
    how = {donor: text for summary in summaries for donor, text in summary["donors"].items()}
    by_donor = cells.groupby("donor_id").agg(
        n_cells=("kept", "size"), n_scored=("doublet_score", "count"), n_doublets=("is_doublet", "sum")
    )
    by_donor["how"] = by_donor.index.map(how)
    rates = {donor: rate for one in summaries for donor, rate in one.get("expected_doublet_rates", {}).items()}
    by_donor["expected_rate"] = by_donor.index.map(rates)

    types = final_cell_types(
        read_parquet(args.cell_types), cells, min_cells=args.min_cells_per_sample, min_samples=args.min_samples_per_type
    )
    summary = losses(cells)
    notes = list(dict.fromkeys(note for one in summaries for note in one["notes"]))
    unscored = by_donor["how"].str.startswith("not scored")
    if unscored.any():
        notes.append(
            f"{int(unscored.sum())} of {len(by_donor)} donors were not scored for doublets: see qc/doublets.tsv"
        )
    write_parquet(cells, args.output / "qc/cells.parquet")
    write_tsv(summary, args.output / "qc/summary.tsv")
    write_tsv(rule_table(cells, bounds_in_force(summaries)), args.output / "qc/rules.tsv")
    write_tsv(combination_table(cells), args.output / "qc/rule_combinations.tsv")
    write_tsv(by_donor.reset_index(), args.output / "qc/doublets.tsv")
    write_tsv(types, args.output / "cohort/cell_types.tsv")
    lost = summary[~summary["rule"].isin(["kept", "all"])].set_index("rule")["alone"]
    write_json(
        {
            "cells": {"input": len(cells), "lost": lost[lost > 0].to_dict(), "kept": int(cells["kept"].sum())},
            "notes": notes,
        },
        args.output / "qc/qc.json",
    )
    write_versions("merge_qc", ["pandas", "pyarrow"], args.versions)


if __name__ == "__main__":
    run(main)
