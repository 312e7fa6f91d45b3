#!/usr/bin/env python3
"""Take batch differences out of the principal components with Harmony (Korsunsky et al. 2019).

In: `pca.parquet`, the cells' quality control (donor of each cell), `donors.parquet` (any other batch column).
Out: `harmony.parquet` (cell_id, H1..) and `harmony.json` (batches, objective by iteration, convergence). With
one batch there is nothing to take out: the components pass through, and the summary says so.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import (
    check_same_cells,
    read_parquet,
    require_columns,
    write_json,
    write_parquet,
    write_versions,
)
from command_line import BadInput, limit_threads, run

CELLS_PER_CLUSTER, MAX_CLUSTERS, MIN_CLUSTERS = (
    30,
    100,
    2,
)  # harmonypy's defaults, but never below two clusters
TOLERANCE = 1e-2  # harmonypy's epsilon_harmony: relative gain of the objective below which it has converged


@dataclass(frozen=True)
class Harmonized:
    """Corrected components (cells x components); the objective before and after each iteration."""

    embedding: np.ndarray
    objective: list[float]
    converged: bool


def batches_of(
    cells: pd.DataFrame, donors: pd.DataFrame, column: str, *, cells_path: Path, donors_path: Path
) -> np.ndarray:
    """Batch of each cell, as text: a column of the cells, or of their donors.

    Raises
    ------
    BadInput
        If neither table has the column, or a donor of the cells has no value in it.
    """
    if column in ("donor_id", "cell_type"):
        return cells[column].astype(str).to_numpy(dtype=object)
    if column not in donors.columns:
        raise BadInput(f"{donors_path}: no column '{column}' for --batch_column; it has: {', '.join(donors.columns)}")
    values = donors.set_index("donor_id")[column]
    missing = sorted(set(cells["donor_id"]) - set(values.dropna().index))
    if missing:
        raise BadInput(
            f"{donors_path}: column '{column}': no value for donor '{missing[0]}' ({len(missing)} such "
            f"donors in {cells_path}); fill it in or choose another --batch_column"
        )
    return cells["donor_id"].map(values.astype(str)).to_numpy(dtype=object)


def harmonize(
    embedding: np.ndarray, batches: np.ndarray, *, max_iterations: int, seed: int, threads: int
) -> Harmonized:
    """Run Harmony.

    Parameters
    ----------
    embedding
        Cells x components.
    batches
        Batch of each cell; at least two different ones.
    max_iterations, seed
        Harmony stops earlier where it converges; the seed starts its clustering.
    threads
        The result is the same for any number.
    """
    import harmonypy

    n_clusters = max(MIN_CLUSTERS, min(round(len(embedding) / CELLS_PER_CLUSTER), MAX_CLUSTERS))
    fit = harmonypy.run_harmony(
        np.ascontiguousarray(embedding.T), pd.DataFrame({"batch": batches}), "batch", nclust=n_clusters,
        max_iter_harmony=max_iterations, epsilon_harmony=TOLERANCE, random_state=seed, ncores=threads,
        verbose=False,
    )  # fmt: skip
    corrected = np.asarray(fit.Z_corr)  # cells x components since harmonypy 2
    objective = [float(value) for value in fit.objective_harmony]
    before, after = objective[-2:]
    converged = len(objective) - 1 < max_iterations or abs(before - after) < TOLERANCE * abs(before)
    return Harmonized(corrected.astype(np.float32), objective, converged)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pca", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of all cells")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--batch-column", default="donor_id")
    parser.add_argument("--max-iterations", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    pca = read_parquet(args.pca)
    cells = read_parquet(args.cells, ["cell_id", "donor_id", "cell_type", "kept"])
    cells = cells[cells["kept"]].reset_index(drop=True)
    check_same_cells(pca["cell_id"], cells["cell_id"], args.pca, args.cells)
    donors = read_parquet(args.donors)
    require_columns(donors, ["donor_id"], args.donors)
    batches = batches_of(cells, donors, args.batch_column, cells_path=args.cells, donors_path=args.donors)
    components = pca.drop(columns="cell_id").to_numpy(dtype=np.float32)
    summary = {
        "batch_column": args.batch_column,
        "n_batches": len(np.unique(batches.astype(str))),
        "notes": [],
    }
    if summary["n_batches"] == 1:
        corrected = components
        summary["notes"].append(
            f"one batch only ('{args.batch_column}'): the principal components are passed on as they are"
        )
    else:
        with limit_threads(args.threads) as threads:
            fit = harmonize(components, batches, max_iterations=args.max_iterations, seed=args.seed, threads=threads)
        corrected = fit.embedding
        summary |= {
            "converged": fit.converged,
            "iterations": len(fit.objective) - 1,
            "objective": fit.objective,
        }
        if not fit.converged:
            summary["notes"].append(f"not converged after {args.max_iterations} iterations")
    names = [f"H{i + 1}" for i in range(corrected.shape[1])]
    write_parquet(pd.concat([pca[["cell_id"]], pd.DataFrame(corrected, columns=names)], axis=1), args.output)
    write_json(summary, args.output_summary)
    write_versions("harmony", ["harmonypy", "numpy"], args.versions)


if __name__ == "__main__":
    run(main)
