#!/usr/bin/env python3
"""The age of each donor by published clocks of cell types: linear in log expression.

In: the shards with their quality control, the donors, the clocks. Out: `clock_ages.tsv` and `clock_metrics.tsv`.

Clocks differ in what they take for a donor's expression.

- A clock of the scImmuAging family (Li et al. 2025, doi:10.1038/s43587-025-00819-z) draws pseudocells, means over 15
  cells of log(1 + counts per 10,000), and averages its prediction over them. It is linear, so what that converges to is
  the prediction for the mean over all cells of the donor. That is computed here: exact, and without a random number.
  It cannot be had from pseudobulk sums, since the mean of logarithms is not the logarithm of the mean.
- GRNimmuneClock (https://github.com/janursa/GRNimmuneClock) takes log(1 + counts per million) of the donor's sums over
  all cells of the clock's type, as its example's counts and values show. Its models come as pickles, which
  `estimator_file.py` reads without running them.
"""

import argparse
from pathlib import Path

import pandas as pd
from scipy import sparse

from immune_aging.prediction.clock_files import read_clocks, weight_matrix
from immune_aging.prediction.clocks import AGES, METRICS, clock_metrics, predict_donors
from immune_aging.task.checkpoints import (
    check_same_cells,
    read_h5ad,
    read_parquet,
    read_tsv,
    require_columns,
    write_json,
    write_tsv,
    write_versions,
)
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="counts of the shards (h5ad)")
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="their quality control, in the same order")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--clocks", type=Path, required=True, help="a wheel of clocks, or a folder of wheels and CSV")
    parser.add_argument("--cell-types", type=Path, required=True, help="which clock is for which cell type (tsv)")
    parser.add_argument("--min-cells", type=int, default=10, help="fewer cells of a donor are left out")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if len(args.shards) != len(args.cells):
        raise BadInput(f"--shards, --cells: {len(args.shards)} and {len(args.cells)} files; give one of each a shard")

    clocks = read_clocks(args.clocks)
    own = args.clocks / "cell_types.tsv"
    table = own if own.is_file() else args.cell_types
    types = read_tsv(table, dtype=str)
    require_columns(types, ["cell_type", "clock"], table)
    types_of = {name: set(types.loc[types["clock"] == name, "cell_type"]) for name in clocks}
    parts, facts, seen = [], {}, set()
    for shard_path, cells_path in zip(args.shards, args.cells, strict=True):
        shard = read_h5ad(shard_path)
        cells = read_parquet(cells_path, ["cell_id", "donor_id", "cell_type", "kept"])
        check_same_cells(shard.obs_names, cells["cell_id"], shard_path, cells_path)
        cells = cells.astype({"cell_type": str})
        seen |= set(cells.loc[cells["kept"], "cell_type"])
        symbols = shard.var["symbol"] if "symbol" in shard.var else pd.Series("", index=shard.var_names)
        weights, facts = weight_matrix(clocks, shard.var_names, symbols)
        counts = sparse.csr_matrix(shard.X)
        for column, (name, clock) in enumerate(clocks.items()):
            rows = (cells["kept"] & cells["cell_type"].isin(types_of[name])).to_numpy()
            own = predict_donors(counts[rows], cells.loc[rows, "donor_id"], clock, weights[:, column])
            parts.append(own.assign(clock=name))
    predicted = pd.concat(parts)
    ages = read_parquet(args.donors, ["donor_id", "age_years"]).astype({"donor_id": str})
    rows = predicted.merge(ages, on="donor_id", how="left").sort_values(["clock", "donor_id"])
    few = rows["n_cells"] < args.min_cells
    metrics = []
    for name in clocks:
        mine = rows["clock"] == name
        row = {
            "clock": name,
            "cell_types": ";".join(sorted(seen & types_of[name])),
            "n_donors_few_cells": int((mine & few).sum()),
        }
        metrics.append(row | facts[name] | clock_metrics(rows[mine & ~few]))
    write_tsv(rows.loc[~few, list(AGES)], args.output / "clock_ages.tsv")
    write_tsv(pd.DataFrame(metrics, columns=list(METRICS)), args.output / "clock_metrics.tsv")
    without = sorted(set(clocks) - set(rows["clock"]))
    notes = [f"clock {name}: no cell type of this cohort is its own; name it in cell_types.tsv" for name in without]
    notes += [
        f"clock {name}: the cohort has none of its genes, so all its ages are its intercept; does it have symbols?"
        for name in clocks
        if facts[name]["n_genes_missing"] == facts[name]["n_genes"]
    ]
    write_json({"clocks": len(clocks), "notes": notes}, args.output / "clocks.json")
    write_versions("published_clocks", ["anndata", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
