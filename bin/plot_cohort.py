#!/usr/bin/env python3
"""Draw the cohort: cells per donor with the cut, age by sex, and the cell types kept and left out.

In: `donors.tsv`, `cell_types.tsv` and, where the cohort was filtered, `filtering.json`. Out: figures.
"""

import argparse
from pathlib import Path

from immune_aging.figures.cohort import draw
from immune_aging.figures.style import save_drawings
from immune_aging.task.checkpoints import read_json, read_tsv, require_columns, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--donors", type=Path, required=True, help="donors.tsv")
    parser.add_argument("--cell-types", type=Path, required=True, help="cell_types.tsv")
    parser.add_argument("--filtering", type=Path, help="filtering.json; leave out where no cohort was filtered")
    parser.add_argument("--output", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    donors = read_tsv(args.donors, dtype={"donor_id": str, "sex": str, "reason": str})
    require_columns(donors, ["donor_id", "age_years", "sex", "n_cells", "kept", "reason"], args.donors)
    types = read_tsv(args.cell_types, dtype={"cell_type": str, "reason": str})
    require_columns(types, ["cell_type", "n_cells", "n_donors", "kept", "reason"], args.cell_types)
    cut = read_json(args.filtering)["rules"]["min_cells_of_a_donor"] if args.filtering else None
    save_drawings(draw(donors, types, cut=cut), args.output)
    write_versions("plot_cohort", ["matplotlib", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
