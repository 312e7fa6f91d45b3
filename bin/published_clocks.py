#!/usr/bin/env python3
"""The age of each donor by published clocks of cell types: linear in log expression.

In: the shards with their quality control and the donors, or a table of samples; what their file says of itself; the
clocks. Out: `clock_ages.tsv`, `clock_metrics.tsv`, and `clocks.json`, which says what each clock was trained on and
whether that was this cohort.

Clocks differ in what they take for a donor's expression.

- A clock of the scImmuAging family (Li et al. 2025, doi:10.1038/s43587-025-00819-z) draws pseudocells, means over 15
  cells of log(1 + counts per 10,000), and averages its prediction over them. It is linear, so what that converges to is
  the prediction for the mean over all cells of the donor. That is computed here: exact, and without a random number.
  It cannot be had from pseudobulk sums, since the mean of logarithms is not the logarithm of the mean: for a table of
  samples such a clock is left out, and a note says so.
- GRNimmuneClock (https://github.com/janursa/GRNimmuneClock) takes log(1 + counts per million) of the donor's sums over
  all cells of the clock's type, as its example's counts and values show. Its models come as pickles, which
  `estimator_file.py` reads without running them.

Where donors have several samples, a donor's cells are those of all of them, and its true age is their mean.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.donors import one_per_donor, sample_key
from immune_aging.prediction.clock_files import Clock, read_clocks, weight_matrix
from immune_aging.prediction.clocks import (
    AGES,
    age_table,
    clock_notes,
    metric_table,
    predict_clocks,
    read_types_of_clocks,
)
from immune_aging.prediction.training_cohorts import (
    read_cohort_rules,
    read_trained_on,
    recognise,
    training_notes,
    training_of,
)
from immune_aging.task.checkpoints import (
    check_same_cells,
    read_h5ad,
    read_json,
    read_parquet,
    write_json,
    write_tsv,
    write_versions,
)
from immune_aging.task.command_line import BadInput, run


def of_shards(
    shards: list[Path], qc: list[Path], clocks: dict[str, Clock], types_of: dict[str, set[str]]
) -> tuple[pd.DataFrame, set[str], dict]:
    """Ages of the donors of all shards; the cell types of the kept cells; what is missing of each clock."""
    parts, facts, seen = [], {}, set()
    for shard_path, cells_path in zip(shards, qc, strict=True):
        shard = read_h5ad(shard_path)
        cells = read_parquet(cells_path, ["cell_id", "donor_id", "cell_type", "kept"])
        check_same_cells(shard.obs_names, cells["cell_id"], shard_path, cells_path)
        cells = cells.astype({"cell_type": str})
        seen |= set(cells.loc[cells["kept"], "cell_type"])
        symbols = shard.var["symbol"] if "symbol" in shard.var else pd.Series("", index=shard.var_names)
        weights, facts = weight_matrix(clocks, shard.var_names, symbols)
        used = cells["kept"].to_numpy()
        parts.append(
            predict_clocks(sparse.csr_matrix(shard.X), cells.assign(n_cells=1), used, clocks, weights, types_of)
        )
    return pd.concat(parts), seen, facts


def of_table(
    path: Path, clocks: dict[str, Clock], types_of: dict[str, set[str]]
) -> tuple[pd.DataFrame, pd.DataFrame, set[str], dict]:
    """Ages of the donors of a table of samples; the donors; the table's cell types; what is missing of each clock."""
    table = read_h5ad(path)
    samples = table.obs.assign(n_cells=table.obs.get("n_cells", np.nan))
    samples = samples.astype({"donor_id": str, "cell_type": str})
    weights, facts = weight_matrix(clocks, table.var_names, table.var["symbol"])
    taken = [number for number, clock in enumerate(clocks.values()) if clock.of_sums]
    predicted = predict_clocks(
        sparse.csr_matrix(table.X),
        samples,
        np.ones(len(samples), dtype=bool),
        {name: clock for name, clock in clocks.items() if clock.of_sums},
        weights[:, taken],
        types_of,
    )
    donors = one_per_donor(samples.drop_duplicates(sample_key(samples)).reset_index(drop=True))
    return predicted, donors.drop_duplicates("donor_id"), set(samples["cell_type"]), facts


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, nargs="+", default=[], help="counts of the shards (h5ad)")
    parser.add_argument("--cells", type=Path, nargs="+", default=[], help="their quality control, in the same order")
    parser.add_argument("--donors", type=Path, help="donors.parquet")
    parser.add_argument("--table", type=Path, help="pseudobulk table of all samples (h5ad), in place of these three")
    parser.add_argument("--check", type=Path, required=True, help="check.json: what the cohort's file says of itself")
    parser.add_argument("--clocks", type=Path, required=True, help="a wheel of clocks, or a folder of wheels and CSV")
    parser.add_argument("--cell-types", type=Path, required=True, help="which clock is for which cell type (tsv)")
    parser.add_argument("--trained-on", type=Path, required=True, help="which clock was trained on which cohorts (tsv)")
    parser.add_argument("--cohorts", type=Path, required=True, help="how these cohorts are recognised (tsv)")
    parser.add_argument("--min-cells", type=int, required=True, help="fewer cells of a donor are left out")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if len(args.shards) != len(args.cells):
        raise BadInput(f"--shards, --cells: {len(args.shards)} and {len(args.cells)} files; give one of each per shard")
    if bool(args.table) == bool(args.shards) or bool(args.shards) != bool(args.donors):
        raise BadInput("--table, --shards: give a table of samples, or shards with --cells and --donors")

    clocks = read_clocks(args.clocks)
    own = args.clocks / "cell_types.tsv"
    types_of = read_types_of_clocks(own if own.is_file() else args.cell_types, clocks)
    if args.table:
        predicted, donors, seen, facts = of_table(args.table, clocks, types_of)
    else:
        predicted, seen, facts = of_shards(args.shards, args.cells, clocks, types_of)
        donors = one_per_donor(read_parquet(args.donors))
    rows = age_table(predicted, donors[["donor_id", "age_years"]])
    few = rows["n_cells"] < args.min_cells
    metrics = metric_table(rows, few, types_of=types_of, seen=seen, facts=facts)
    # Which cohort this is can be known by what its file says of itself, or by how its donors are called.
    this = recognise(read_cohort_rules(args.cohorts), donors, read_json(args.check).get("source", {}))
    told = {name: clock for name, clock in clocks.items() if name in set(rows["clock"])}
    training = training_of(told, read_trained_on(args.trained_on), this)
    notes = clock_notes(clocks, set(told), facts, sums_alone=bool(args.table), training=training_notes(training))
    write_tsv(rows.loc[~few, list(AGES)], args.output / "clock_ages.tsv")
    write_tsv(metrics, args.output / "clock_metrics.tsv")
    write_json(
        {"clocks": len(clocks), "training": {name: vars(one) for name, one in training.items()}, "notes": notes},
        args.output / "clocks.json",
    )
    write_versions("published_clocks", ["anndata", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
