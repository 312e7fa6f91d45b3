#!/usr/bin/env python3
"""What changes in the called genes when quality control or the design is another: all variants against the run itself.

In: `de.tsv` and `de_summary.json` of every variant and cell type, the run itself being the variant `base`; the run's
samples; the summaries of VARY_QC. Out: `sensitivity.tsv`, one row per variant and cell type; `cells.tsv`, the cells
that a variant loses and gains; `genes.parquet`, every gene of every variant; and a figure.
"""

import argparse
from pathlib import Path

from immune_aging.figures.sensitivity import draw
from immune_aging.figures.style import save_drawing
from immune_aging.statistics.sensitivity import (
    TEXT,
    base_sizes,
    cell_table,
    gene_table,
    listed_variants,
    sensitivity_table,
)
from immune_aging.task.checkpoints import read_json, read_tsv, write_parquet, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="de.tsv of each label")
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="de_summary.json of each label")
    parser.add_argument("--labels", nargs="+", required=True, help="VARIANT/CELL_TYPE_ID of each table")
    parser.add_argument("--samples", type=Path, required=True, help="samples.tsv of the run")
    parser.add_argument("--variants", type=Path, required=True, help="id and changes of each variant (JSON list)")
    parser.add_argument("--varied", type=Path, nargs="*", default=[], help="summaries of VARY_QC")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    if not len(args.tables) == len(args.summaries) == len(args.labels):
        raise BadInput("--tables, --summaries, --labels: differ in number; give one of each for each label")
    labels = [tuple(label.split("/")) for label in args.labels]
    tables = dict(zip(labels, (read_tsv(path, dtype=TEXT) for path in args.tables), strict=True))
    summaries = dict(zip(labels, map(read_json, args.summaries), strict=True))
    varied = {summary["variant"]: summary for summary in map(read_json, args.varied)}
    variants = listed_variants(read_json(args.variants))
    samples = read_tsv(args.samples, dtype={"cell_type": str, "donor_id": str})
    table = sensitivity_table(tables, summaries, variants, base_sizes(samples), varied)
    write_tsv(table, args.output / "sensitivity.tsv")
    write_parquet(gene_table(tables, variants), args.output / "genes.parquet")
    write_tsv(cell_table(varied), args.output / "cells.tsv")
    save_drawing(draw(table), args.output / "figures/sensitivity")
    write_versions("sensitivity", ["matplotlib", "numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
