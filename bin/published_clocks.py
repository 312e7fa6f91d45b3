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
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
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
from estimator_file import read_scaled_ridge

AGES = ("clock", "donor_id", "age_years", "predicted", "n_cells")
METRICS = (
    "clock", "cell_types", "n_donors", "n_donors_few_cells", "n_genes", "n_genes_missing", "weight_missing", "mae",
    "baseline_mae", "r", "spearman", "error_slope",
)  # fmt: skip
COUNTS_OF_CELL, COUNTS_OF_DONOR = 1e4, 1e6  # total before the logarithm, as the clocks were trained
INTERCEPTS = ("Intercept", "(Intercept)")
TABLES = "scImmuAging"  # the folder in which a wheel of omniage keeps its tables
MODELS = "grnimmuneclock/models"  # and GRNimmuneClock its models, each in a folder named for its cell type
LARGEST_MEMBER = 100 * 2**20  # bytes of a file in a wheel; the largest clock has 0.1 MB


@dataclass(frozen=True)
class Clock:
    """Age = intercept + sum of weight x log expression; `weights` by gene (Ensembl id or symbol).

    The expression is the mean over cells of log(1 + counts per 10,000), or, with `of_sums`, log(1 + counts per million)
    of the sums over cells.
    """

    intercept: float
    weights: pd.Series
    of_sums: bool = False


def make_clock(intercept: float, weights: pd.Series, source: str, *, of_sums: bool = False) -> Clock:
    """A clock, if each of its genes stands in it once."""
    if weights.index.has_duplicates or weights.empty:
        twice = weights.index[weights.index.duplicated()]
        raise BadInput(f"{source}: {'gene ' + twice[0] + ' stands there twice' if len(twice) else 'no gene'}")
    return Clock(intercept, weights, of_sums)


def parse_clock(text: bytes, source: str) -> Clock:
    """A clock from a table (CSV) with the columns gene and coef, one row of which is the intercept."""
    try:
        table = pd.read_csv(io.BytesIO(text), dtype={"gene": str})
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
    return make_clock(float(table.loc[intercept, "coef"].iloc[0]), weights, source)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a file in a wheel."""
    source = f"{archive.filename}:{name}"
    try:
        if archive.getinfo(name).file_size > LARGEST_MEMBER:
            raise BadInput(f"{source}: unpacks to more than {LARGEST_MEMBER >> 20} MB, which no clock has")
        return archive.read(name)
    except KeyError as error:
        raise BadInput(f"{source}: is not there; download the wheel again") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: encrypted, unknown packing
        raise BadInput(f"{source}: is damaged or encrypted ({error}); download the wheel again") from error


def read_grn_clock(archive: zipfile.ZipFile, folder: str) -> Clock:
    """A clock of GRNimmuneClock, of the version that its metadata.json names.

    The package multiplies the scaled expression of the genes of `feature_names_*.txt` with the coefficients of a ridge.
    """
    source = f"{archive.filename}:{folder}"
    try:
        version = json.loads(read_member(archive, f"{folder}/metadata.json"))["version"]
        genes = read_member(archive, f"{folder}/feature_names_{version}.txt").decode().split()
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{source}: names no version, or no genes, of its clock; download the wheel again") from error
    model = f"{folder}/model_{version}.pkl"
    intercept, weights = read_scaled_ridge(read_member(archive, model), f"{archive.filename}:{model}")
    if len(genes) != len(weights):
        raise BadInput(f"{source}: names {len(genes)} genes but has {len(weights)} coefficients; download it again")
    return make_clock(intercept, pd.Series(weights, index=genes), source, of_sums=True)


def read_wheel(path: Path) -> dict[str, Clock]:
    """Clocks by name in a wheel of omniage (`CD4T`, ...) or of GRNimmuneClock (`GRNimmuneClock_CD4T`, ...)."""
    if not zipfile.is_zipfile(path):
        return {}
    clocks = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            folder = Path(name).parent
            if folder.name == TABLES and name.endswith(".csv"):
                clocks[Path(name).stem] = parse_clock(read_member(archive, name), f"{path}:{name}")
            elif folder.parent == Path(MODELS) and Path(name).name == "metadata.json":
                clocks[f"GRNimmuneClock_{folder.name}"] = read_grn_clock(archive, str(folder))
    return clocks


def read_clocks(path: Path) -> dict[str, Clock]:
    """Clocks by name: those of a wheel, or of every CSV and wheel of a folder."""
    clocks: dict[str, Clock] = {}
    for file in sorted([*path.glob("*.csv"), *path.glob("*.whl")]) if path.is_dir() else [path]:
        table = path.is_dir() and file.suffix == ".csv"
        found = {file.stem: parse_clock(file.read_bytes(), str(file))} if table else read_wheel(file)
        if twice := sorted(set(found) & set(clocks)):
            raise BadInput(f"{file}: has the clock {twice[0]}, which another file has, too; take one of the two away")
        clocks |= found
    if not clocks:
        raise BadInput(
            f"{path}: holds no clock; give a wheel of omniage or grnimmuneclock, or a folder of such wheels and of CSV "
            "files (gene, coef)"
        )
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


def mean_log_expression(counts: sparse.csr_matrix, genes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Mean over each donor's cells of log(1 + counts per 10,000), donors x genes.

    Parameters
    ----------
    counts
        Cells x all genes.
    genes
        Columns to return.
    owner
        Row of the result for each cell.
    """
    total = np.asarray(counts.sum(axis=1)).ravel()
    used = sparse.csr_matrix(counts[:, genes], dtype=np.float64)
    row = np.repeat(np.arange(used.shape[0]), np.diff(used.indptr))
    logs = np.log1p(used.data * (COUNTS_OF_CELL / total[row]))
    logs = sparse.csr_matrix((logs, used.indices, used.indptr), shape=used.shape)
    return np.asarray((cells_of(owner) @ logs).todense()) / np.bincount(owner)[:, None]


def log_of_sums(counts: sparse.csr_matrix, genes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """log(1 + counts per million) of the sums over each donor's cells, donors x genes; as `mean_log_expression`."""
    total = np.bincount(owner, weights=np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel())
    sums = cells_of(owner) @ sparse.csr_matrix(counts[:, genes], dtype=np.float64)
    return np.log1p(np.asarray(sums.todense()) * (COUNTS_OF_DONOR / np.maximum(total, 1)[:, None]))


def cells_of(owner: np.ndarray) -> sparse.csr_matrix:
    """Donors x cells, 1 where the cell is the donor's."""
    shape = (owner.max(initial=-1) + 1, len(owner))
    return sparse.csr_matrix((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=shape)


def predict_donors(counts: sparse.csr_matrix, donors: pd.Series, clock: Clock, weights: np.ndarray) -> pd.DataFrame:
    """Age of each donor by one clock, from the cells of its types: donor_id, predicted, n_cells.

    Parameters
    ----------
    counts
        Cells x all genes of the cohort.
    donors
        Donor of each cell.
    weights
        The clock's weight of each gene.
    """
    owner, names = pd.factorize(donors.astype(str), sort=True)
    genes = np.flatnonzero(weights)
    expression = (log_of_sums if clock.of_sums else mean_log_expression)(counts, genes, owner)
    # Not a product of BLAS, whose order of sums in a row may depend on the number of rows: donors of the shard.
    predicted = clock.intercept + (expression * weights[genes]).sum(axis=1)
    return pd.DataFrame({"donor_id": names, "predicted": predicted, "n_cells": np.bincount(owner)})


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
