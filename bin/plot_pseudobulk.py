#!/usr/bin/env python3
"""Draw the sizes of the pseudobulk samples: cells by donor and cell type, and the least number needed.

In: `samples.tsv`. Out: a figure.
"""

import argparse
from pathlib import Path

from immune_aging.figures.samples import draw
from immune_aging.figures.style import save_drawing
from immune_aging.task.checkpoints import read_tsv, require_columns, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=Path, required=True, help="samples.tsv")
    parser.add_argument("--min-cells-per-sample", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    samples = read_tsv(args.samples, dtype={"sample_id": str, "donor_id": str, "cell_type": str, "reason": str})
    require_columns(samples, ["sample_id", "cell_type", "n_cells", "kept"], args.samples)
    save_drawing(draw(samples, min_cells=args.min_cells_per_sample), args.output / "sample_sizes")
    write_versions("plot_pseudobulk", ["matplotlib", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
