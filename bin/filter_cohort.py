#!/usr/bin/env python3
"""Choose the donors and cell types that the analysis keeps, count every loss with its reason, and plan the shards.

In: `cells.parquet` and `donors.parquet` of CHECK_COHORT. Out: the kept cells with their shard, the dropped ones with
their reason, `donors.tsv`, beside it `samples.tsv` where donors have several samples, the table of cell types,
`filtering.json` (the funnel). Rules, in this order:

1. cells without a donor, a sample (where samples are told apart) or a cell type go;
2. samples and donors without a known age go (unless --age_column is none), then donors with fewer cells than the
   given percentile over donors;
3. where `min_donor_fraction` is in force, cell types stay that have at least `min_cells_per_type` cells in at least
   that share of these donors;
4. with `--analysed-donors common` donors who lack one of these cell types altogether go, as do the cells of the other
   cell types.

With `each` all cells that are left after 2 go on, those of a cell type that 3 leaves out as well: a donor's
doublets and thresholds are found among all its cells, whatever is analysed.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.filtering import add_rule_options, choose_by_options, filtered, funnel, rules_in_force
from immune_aging.task.checkpoints import read_parquet, write_json, write_parquet, write_tsv, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--donors", type=Path, required=True)
    add_rule_options(parser)
    parser.add_argument("--output-cells", type=Path, required=True)
    parser.add_argument("--output-dropped", type=Path, required=True)
    parser.add_argument("--output-cell-types", type=Path, required=True)
    parser.add_argument("--output-donors", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells, donors = read_parquet(args.cells), read_parquet(args.donors)
    chosen = choose_by_options(cells, donors, args)
    found = filtered(cells, donors, chosen, min_cells=args.min_cells_per_type, cells_per_shard=args.cells_per_shard)
    write_parquet(found.kept, args.output_cells)
    write_parquet(found.dropped, args.output_dropped)
    write_parquet(found.cell_types, args.output_cell_types)
    write_tsv(found.donors, args.output_donors)
    if found.samples is not None:
        write_tsv(found.samples, args.output_donors.with_name("samples.tsv"))
    write_json({"rules": rules_in_force(args, chosen), **funnel(found)}, args.output_summary)
    write_versions("filter_cohort", ["numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
