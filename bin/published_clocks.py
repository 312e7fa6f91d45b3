#!/usr/bin/env python3
"""The age of each donor by published clocks of single cells: linear in mean log expression, by cell type.

In: the shards with their quality control, the donors, a table of coefficients for each clock. Out: `clock_ages.tsv`
and `clock_metrics.tsv`.

A clock of the scImmuAging family (Li et al. 2025, doi:10.1038/s43587-025-00819-z) draws pseudocells, means over 15
cells of log(1 + counts per 10,000), and averages its prediction over them. It is linear, so what that converges to is
the prediction for the mean over all cells of the donor. That is computed here: exact, and without a random number. It
cannot be had from pseudobulk sums, since the mean of logarithms is not the logarithm of the mean.
"""

import argparse
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse, stats

from checkpoints import (
    check_same_cells,
    read_h5ad,
    read_parquet,
    read_tsv,
    require_columns,
    write_json,
    write_tsv,
    write_versions,
)
from command_line import BadInput, run

AGES = ("clock", "donor_id", "age_years", "predicted", "n_cells")
METRICS = (
    "clock", "cell_types", "n_donors", "n_donors_few_cells", "n_genes", "n_genes_missing", "weight_missing", "mae",
    "baseline_mae", "r", "spearman", "error_slope",
)  # fmt: skip
TARGET_SUM = 1e4  # counts per cell before the logarithm, as the clocks were trained
INTERCEPTS = ("Intercept", "(Intercept)")
FOLDER = "scImmuAging"  # where a wheel of omniage keeps the tables


@dataclass(frozen=True)
class Clock:
    """Age = intercept + sum of weight x mean log expression; `weights` by gene (Ensembl id or symbol)."""

    intercept: float
    weights: pd.Series


def parse_clock(text, source: str) -> Clock:
    """A clock from an open table with the columns gene and coef, one row of which is the intercept."""
    try:
        table = pd.read_csv(text, dtype={"gene": str})
        table["coef"] = table["coef"].astype(float)
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise BadInput(f"{source}: is no table of the columns gene and coef ({error})") from error
    require_columns(table, ["gene", "coef"], source)
    intercept = table["gene"].isin(INTERCEPTS)
    if intercept.sum() != 1 or not np.isfinite(table["coef"]).all():
        raise BadInput(
            f"{source}: {intercept.sum()} rows named Intercept, or a coef that is no number; give one and all"
        )
    weights = table[~intercept].set_index("gene")["coef"]
    if weights.index.has_duplicates or weights.empty:
        twice = weights.index[weights.index.duplicated()]
        raise BadInput(f"{source}: {'gene ' + twice[0] + ' stands there twice' if len(twice) else 'no gene'}")
    return Clock(float(table.loc[intercept, "coef"].iloc[0]), weights)


def read_clocks(path: Path) -> dict[str, Clock]:
    """Clocks by name: every CSV of a folder, or those that the wheel of the package omniage holds."""
    clocks = {}
    if path.is_dir():
        for file in sorted(path.glob("*.csv")):
            with file.open() as text:
                clocks[file.stem] = parse_clock(text, str(file))
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if Path(name).parent.name == FOLDER and name.endswith(".csv"):
                    with archive.open(name) as text:
                        clocks[Path(name).stem] = parse_clock(text, f"{path}:{name}")
    if not clocks:
        raise BadInput(f"{path}: holds no clock; give a folder of CSV files (gene, coef) or a wheel of omniage")
    return clocks


def weight_matrix(
    clocks: Mapping[str, Clock], gene_ids: pd.Index, symbols: pd.Series
) -> tuple[np.ndarray, dict[str, dict]]:
    """Weights of the table's genes (genes x clocks) and, by clock, what is missing of it.

    Genes are matched by id, and by symbol where that finds more. A gene that was never seen in the cohort is missing
    and counts as 0, which its log expression is.
    """
    weights, facts = np.zeros((len(gene_ids), len(clocks))), {}
    for column, (name, clock) in enumerate(clocks.items()):
        found = []
        for names in (gene_ids, pd.Index(symbols.to_numpy(dtype=object))):
            own = clock.weights.reindex(names).fillna(0.0).to_numpy()
            found.append(np.where(names.duplicated(), 0.0, own))
        best = max(found, key=lambda own: (own != 0).sum())
        weights[:, column] = best
        used = clock.weights != 0
        size = np.abs(clock.weights[used]).sum()
        facts[name] = {
            "n_genes": int(used.sum()),
            "n_genes_missing": int(used.sum() - (best != 0).sum()),
            "weight_missing": float(1 - np.abs(best).sum() / size),
        }
    return weights, facts


def score_cells(counts: sparse.csr_matrix, weights: np.ndarray) -> np.ndarray:
    """Weighted log(1 + counts per 10,000) of each cell, cells x clocks, without intercepts."""
    total = np.asarray(counts.sum(axis=1)).ravel()
    genes = np.flatnonzero(weights.any(axis=1))
    used = sparse.csr_matrix(counts[:, genes], dtype=np.float64)
    row = np.repeat(np.arange(used.shape[0]), np.diff(used.indptr))
    logs = np.log1p(used.data * (TARGET_SUM / total[row]))
    return sparse.csr_matrix((logs, used.indices, used.indptr), shape=used.shape) @ weights[genes]


def sum_scores(scores: np.ndarray, donors: pd.Series, of_clock: pd.Series, clocks: Sequence[str]) -> pd.DataFrame:
    """Sum of scores and number of cells by clock and donor.

    Parameters
    ----------
    scores
        Cells x clocks.
    of_clock
        Name of the clock for each cell's type, NaN where there is none.
    """
    column = of_clock.map({name: i for i, name in enumerate(clocks)})
    known = column.notna().to_numpy()
    own = scores[known, column[known].to_numpy(dtype=int)]
    rows = pd.DataFrame({"clock": of_clock[known], "donor_id": donors[known].astype(str), "score": own})
    return rows.groupby(["clock", "donor_id"], sort=True)["score"].agg(["sum", "size"]).reset_index()


def clock_metrics(ages: pd.DataFrame) -> dict[str, float]:
    """How well one clock tells the donors of known age: years, correlations, regression to the mean."""
    known = ages[ages["age_years"].notna()]
    true, predicted = known["age_years"].to_numpy(dtype=float), known["predicted"].to_numpy(dtype=float)
    row = {"n_donors": len(known)}
    if len(known) > 2 and np.ptp(true) > 0 and np.ptp(predicted) > 0:
        row |= {
            "mae": np.abs(predicted - true).mean(),
            "baseline_mae": np.abs(true - np.median(true)).mean(),
            "r": np.corrcoef(true, predicted)[0, 1],
            "spearman": stats.spearmanr(true, predicted).statistic,
            "error_slope": np.polyfit(true, predicted - true, 1)[0],
        }
    return row


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="counts of the shards (h5ad)")
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="their quality control, in the same order")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--clocks", type=Path, required=True, help="folder of CSV files, or a wheel of omniage")
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
    clock_of = types.drop_duplicates("cell_type").set_index("cell_type")["clock"]
    clock_of = clock_of[clock_of.isin(list(clocks))]
    parts, facts, seen = [], {}, set()
    for shard_path, cells_path in zip(args.shards, args.cells, strict=True):
        shard = read_h5ad(shard_path)
        cells = read_parquet(cells_path, ["cell_id", "donor_id", "cell_type", "kept"])
        check_same_cells(shard.obs_names, cells["cell_id"], shard_path, cells_path)
        cells = cells.astype({"cell_type": str})
        symbols = shard.var["symbol"] if "symbol" in shard.var else pd.Series("", index=shard.var_names)
        weights, facts = weight_matrix(clocks, shard.var_names, symbols)
        rows = (cells["kept"] & cells["cell_type"].isin(clock_of.index)).to_numpy()
        chosen = cells[rows].reset_index(drop=True)
        seen |= set(chosen["cell_type"])
        scores = score_cells(sparse.csr_matrix(shard.X)[rows], weights)
        parts.append(sum_scores(scores, chosen["donor_id"], chosen["cell_type"].map(clock_of), list(clocks)))
    sums = pd.concat(parts).groupby(["clock", "donor_id"], sort=True).sum().reset_index()
    ages = read_parquet(args.donors, ["donor_id", "age_years"]).astype({"donor_id": str})
    rows = sums.merge(ages, on="donor_id", how="left")
    intercept = rows["clock"].map({name: clock.intercept for name, clock in clocks.items()})
    rows = rows.assign(predicted=intercept + rows["sum"] / rows["size"], n_cells=rows["size"])
    few = rows["n_cells"] < args.min_cells
    metrics = []
    for name in clocks:
        mine = rows["clock"] == name
        named = sorted(cell_type for cell_type in seen if clock_of[cell_type] == name)
        row = {"clock": name, "cell_types": ";".join(named), "n_donors_few_cells": int((mine & few).sum())}
        metrics.append(row | facts[name] | clock_metrics(rows[mine & ~few]))
    write_tsv(rows.loc[~few, list(AGES)], args.output / "clock_ages.tsv")
    write_tsv(pd.DataFrame(metrics, columns=list(METRICS)), args.output / "clock_metrics.tsv")
    without = sorted(set(clocks) - set(rows["clock"]))
    notes = [f"clock {name}: no cell type of this cohort is its own; name it in cell_types.tsv" for name in without]
    write_json({"clocks": len(clocks), "notes": notes}, args.output / "clocks.json")
    write_versions("published_clocks", ["anndata", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
