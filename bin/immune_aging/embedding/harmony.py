"""Components corrected for batches by Harmony."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import match
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput

CELLS_PER_CLUSTER, MAX_CLUSTERS, MIN_CLUSTERS = 30, 100, 2  # harmonypy's defaults, but never below two clusters
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
    """Batch of each cell, as text: a column of the cells, or of their donors (of the donors' samples).

    Raises
    ------
    BadInput
        If neither table has the column, or a donor of the cells has no value in it.
    """
    if column in ("donor_id", SAMPLE_OF_DONOR, "cell_type") and column in cells:
        return cells[column].astype(str).to_numpy(dtype=object)
    if column not in donors.columns:
        raise BadInput(f"{donors_path}: no column '{column}' for --batch_column; it has: {', '.join(donors.columns)}")
    values = match(cells, donors, [column])[column]
    missing = sorted(set(cells["donor_id"][values.isna().to_numpy()]))
    if missing:
        raise BadInput(
            f"{donors_path}: column '{column}': no value for donor '{missing[0]}' ({len(missing)} such "
            f"donors in {cells_path}); fill it in or choose another --batch_column"
        )
    return match(cells, donors.assign(**{column: donors[column].astype(str)}), [column])[column].to_numpy(dtype=object)


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


def correct(
    components: np.ndarray, batches: np.ndarray, *, column: str, max_iterations: int, seed: int, threads: int
) -> tuple[np.ndarray, dict]:
    """Take batch differences out; with one batch there are none, and the components pass through.

    Parameters
    ----------
    components
        Cells x components, 32 bits.
    batches
        Batch of each cell.
    column
        Its name, for the notes.
    max_iterations, seed, threads
        As `harmonize` takes them.

    Returns
    -------
    The corrected components, and what is said of them: n_batches, notes, and how the fit went.
    """
    n_batches = len(np.unique(batches.astype(str)))
    if n_batches == 1:
        note = f"one batch only ('{column}'): the principal components are passed on as they are"
        return components, {"n_batches": n_batches, "notes": [note]}
    fit = harmonize(components, batches, max_iterations=max_iterations, seed=seed, threads=threads)
    summary = {
        "n_batches": n_batches,
        "notes": [] if fit.converged else [f"not converged after {max_iterations} iterations"],
        "converged": fit.converged,
        "iterations": len(fit.objective) - 1,
        "objective": fit.objective,
    }
    return fit.embedding, summary
