"""Components corrected for batches by Harmony."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import match
from immune_aging.embedding.batch_terms import BatchTerms, batch_terms, no_terms
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput

CELLS_PER_CLUSTER, MAX_CLUSTERS, MIN_CLUSTERS = 30, 100, 2  # harmonypy's defaults, but never below two clusters
TOLERANCE = 1e-2  # harmonypy's epsilon_harmony: relative gain of the objective below which it has converged


@dataclass(frozen=True)
class Harmonized:
    """Corrected components (cells x components); the objective before and after each iteration.

    `terms` by which other cells of the same batches are corrected, if they were asked for.
    """

    embedding: np.ndarray
    objective: list[float]
    converged: bool
    terms: BatchTerms | None = None


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
    embedding: np.ndarray,
    batches: np.ndarray,
    *,
    max_iterations: int,
    seed: int,
    threads: int,
    with_terms: bool = False,
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
    with_terms
        Find the terms as well: as many numbers as cells x clusters are held for it.
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
    terms = None
    if with_terms:
        terms = batch_terms(embedding, corrected, np.asarray(fit.R), np.ascontiguousarray(fit.Y.T), batches)
    return Harmonized(corrected.astype(np.float32), objective, converged, terms)


def correct(
    components: np.ndarray,
    batches: np.ndarray,
    *,
    column: str,
    max_iterations: int,
    seed: int,
    threads: int,
    with_terms: bool = False,
) -> tuple[np.ndarray, dict, BatchTerms | None]:
    """Take batch differences out; with one batch there are none, and the components pass through.

    Parameters
    ----------
    components
        Cells x components, 32 bits.
    batches
        Batch of each cell.
    column
        Its name, for the notes.
    max_iterations, seed, threads, with_terms
        As `harmonize` takes them.

    Returns
    -------
    The corrected components; what is said of them: n_batches, notes, and how the fit went; and the terms by which other
    cells are corrected, if they were asked for.
    """
    n_batches = len(np.unique(batches.astype(str)))
    if n_batches == 1:
        note = f"one batch only ('{column}'): the principal components are passed on as they are"
        terms = no_terms(str(batches[0]), components.shape[1]) if with_terms else None
        return components, {"n_batches": n_batches, "notes": [note]}, terms
    fit = harmonize(
        components, batches, max_iterations=max_iterations, seed=seed, threads=threads, with_terms=with_terms
    )
    summary = {
        "n_batches": n_batches,
        "notes": [] if fit.converged else [f"not converged after {max_iterations} iterations"],
        "converged": fit.converged,
        "iterations": len(fit.objective) - 1,
        "objective": fit.objective,
    }
    return fit.embedding, summary, fit.terms


def corrected_table(corrected: np.ndarray) -> pd.DataFrame:
    """Corrected components (cells x components) as columns H1, H2, ..."""
    return pd.DataFrame(corrected, columns=[f"H{i + 1}" for i in range(corrected.shape[1])])
