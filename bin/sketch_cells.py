#!/usr/bin/env python3
"""Draw the cells that the embedding of a large cohort is computed on, by donor and cell type.

In: `cells.parquet`. Out: the rows of it that were drawn (cell_id, donor_id, sample_of_donor where there is one,
cell_type, kept), in its order, and `sketch.json`. Both files are read and written in blocks; what is held of each cell
is three numbers.
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.cohort.donors import sample_key
from immune_aging.embedding.sketch import drawn_rows, labels_of, sketch_summary
from immune_aging.task.checkpoints import (
    SAMPLE_OF_DONOR,
    parquet_blocks,
    write_json,
    write_parquet,
    write_versions,
)
from immune_aging.task.command_line import run

COLUMNS = ("cell_id", "donor_id", SAMPLE_OF_DONOR, "cell_type", "kept")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True, help="quality control of all cells")
    parser.add_argument("--embedding-cells", type=int, required=True, help="cells to draw; fewer than were kept")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    labels = labels_of(parquet_blocks(args.cells, COLUMNS, optional=[SAMPLE_OF_DONOR]), seed=args.seed)
    rows = drawn_rows(labels, args.embedding_cells)
    drawn, start = [], 0
    for block in parquet_blocks(args.cells, COLUMNS, optional=[SAMPLE_OF_DONOR]):
        kept = block[block["kept"]]
        here = rows[(rows >= start) & (rows < start + len(kept))] - start
        drawn.append(kept.iloc[here])
        start += len(kept)
    table = pd.concat(drawn, ignore_index=True)
    write_parquet(table[["cell_id", *sample_key(table), "cell_type", "kept"]], args.output)
    write_json(sketch_summary(labels, rows), args.output_summary)
    write_versions("sketch_cells", ["numpy", "pandas", "pyarrow"], args.versions)


if __name__ == "__main__":
    run(main)
