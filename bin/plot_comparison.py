#!/usr/bin/env python3
"""Draw the cell types side by side: composition with age, gene sets, genes that age alike, and power.

In: published trees with `composition/` and `comparison/`; what is not there or has no rows is not drawn. Out:
figures.
"""

import argparse
from pathlib import Path

from immune_aging import results
from immune_aging.figures.comparison import draw_comparison
from immune_aging.figures.composition import draw_composition
from immune_aging.figures.style import save_drawings
from immune_aging.task.checkpoints import write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets composition/ and comparison/")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    published = results.open(*args.published)
    save_drawings(draw_composition(published), args.output / "composition/figures")
    save_drawings(draw_comparison(published), args.output / "comparison/figures")
    write_versions("plot_comparison", ["matplotlib", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
