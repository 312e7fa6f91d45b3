#!/usr/bin/env python3
"""Draw every gene's effect in this cohort against its effect in another.

In: the published tree of COMPARE_COHORTS. Out: a figure for each other cohort that has a cell type in common.
"""

import argparse
from pathlib import Path

from immune_aging import results
from immune_aging.figures.other_cohorts import draw_other_cohorts
from immune_aging.figures.style import save_drawings
from immune_aging.task.checkpoints import write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, required=True, help="published tree with replication/")
    parser.add_argument("--output", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    save_drawings(draw_other_cohorts(results.open(args.published)), args.output)
    write_versions("plot_cohorts", ["matplotlib", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
