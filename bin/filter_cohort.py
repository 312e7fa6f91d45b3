#!/usr/bin/env python3
"""Choose the donors and cell types that the analysis keeps, count every loss with its reason, and plan the shards.

In: `cells.parquet` and `donors.parquet` of CHECK_COHORT. Out: the kept cells with their shard, the dropped ones with
their reason, `donors.tsv`, the table of cell types, `filtering.json` (the funnel). Rules, in this order:

1. cells without a donor or a cell type go;
2. donors without a known age go, then donors with fewer cells than the given percentile over donors;
3. cell types stay that have at least `min_cells_per_type` cells in at least `min_donor_fraction` of these donors;
4. donors who lack one of these cell types altogether go.
"""

import argparse
from pathlib import Path

import numpy as np

from immune_aging.cohort.filtering import cell_type_rows, choose, plan_shards
from immune_aging.task.checkpoints import (
    read_parquet,
    write_json,
    write_parquet,
    write_tsv,
    write_versions,
)
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--donors", type=Path, required=True)
    parser.add_argument("--donor-percentile", type=float, default=1.0)
    parser.add_argument("--min-cells-per-type", type=int, default=10)
    parser.add_argument("--min-donor-fraction", type=float, default=0.95)
    parser.add_argument("--cells-per-shard", type=int, default=50_000)
    parser.add_argument("--output-cells", type=Path, required=True)
    parser.add_argument("--output-dropped", type=Path, required=True)
    parser.add_argument("--output-cell-types", type=Path, required=True)
    parser.add_argument("--output-donors", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells, donors = read_parquet(args.cells), read_parquet(args.donors)
    chosen = choose(
        cells,
        donors,
        donor_percentile=args.donor_percentile,
        min_cells=args.min_cells_per_type,
        min_fraction=args.min_donor_fraction,
    )
    cell_reason, reasons, kept_types, table = chosen.cells, chosen.donors, chosen.types, chosen.table
    labelled = cells[cell_reason == ""]
    n_cells = labelled["donor_id"].value_counts()

    donor_kept, type_kept = reasons == "", set(kept_types.index[kept_types])
    unlabelled = cell_reason != ""
    donor_out = ~unlabelled & ~cells["donor_id"].isin(donor_kept.index[donor_kept])
    cell_reason[donor_out] = "donor left out: " + cells.loc[donor_out, "donor_id"].map(reasons).replace(
        {r"^(no|lacks) .*": "lacks a cell type kept", r"^fewer.*": "too few cells"}, regex=True
    )
    type_out = ~unlabelled & ~donor_out & ~cells["cell_type"].isin(type_kept)
    cell_reason[type_out] = "cell type in too few donors"

    kept = cells[cell_reason == ""]
    shards = plan_shards(kept["donor_id"].value_counts(), cells_per_shard=args.cells_per_shard)
    kept = kept.assign(shard=kept["donor_id"].map(shards).astype(np.int64))
    write_parquet(kept.reset_index(drop=True), args.output_cells)
    write_parquet(cells.assign(reason=cell_reason)[cell_reason != ""].reset_index(drop=True), args.output_dropped)

    donor_rows = donors[["donor_id", "age_years", "sex"]].assign(
        n_cells=n_cells.reindex(donors["donor_id"], fill_value=0).to_numpy(),
        n_cells_kept=kept["donor_id"].value_counts().reindex(donors["donor_id"], fill_value=0).to_numpy(),
        kept=donor_kept.to_numpy(),
        reason=reasons.to_numpy(),
    )
    write_tsv(donor_rows, args.output_donors)

    type_rows = cell_type_rows(labelled, table, kept_types, min_cells=args.min_cells_per_type)
    write_parquet(type_rows, args.output_cell_types)
    write_json(
        {
            "rules": {
                "donor_percentile": args.donor_percentile,
                "min_cells_of_a_donor": chosen.cut,
                "min_cells_per_type": args.min_cells_per_type,
                "min_donor_fraction": args.min_donor_fraction,
            },
            "cells": {
                "input": len(cells),
                "lost": cell_reason[cell_reason != ""].value_counts().sort_index().to_dict(),
                "kept": len(kept),
            },
            "donors": {
                "input": len(donors),
                "lost": reasons[reasons != ""].value_counts().sort_index().to_dict(),
                "kept": int(donor_kept.sum()),
            },
            "cell_types": {
                "input": len(type_rows),
                "lost": {"in too few donors": int((~type_rows["kept"]).sum())},
                "kept": int(type_rows["kept"].sum()),
            },
            "shards": int(shards.max()) + 1,
        },
        args.output_summary,
    )
    write_versions("filter_cohort", ["numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
