"""Which of a donor's cells are called doublets, from their scores."""

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cells.doublets import score_doublets

MIN_CELLS_FOR_SCRUBLET = 100
# A threshold found between two modes that are not there calls a large part of the donor, or next to nothing of it.
PLAUSIBLE_CALLS = (0.2, 3.0)
# In donors of few cells a plausible threshold is often too low. Measured on five cohorts of 180 cells per donor: with
# at most so many times the expected calls precision is .91 instead of .89 at the same recall (.79); with 1,000 cells
# per donor nothing changes.
MOST_CALLS = 1.75


def call_doublets(scores: np.ndarray, found: np.ndarray | None, *, expected_rate: float) -> tuple[np.ndarray, str]:
    """Doublet calls of one donor.

    Scrublet's calls stand where its threshold is plausible, the highest scores of them up to `MOST_CALLS` times the
    expected rate; else the `expected_rate` of cells with the highest scores is called. Ties at a limit are not called.

    Parameters
    ----------
    scores
        Doublet scores of the donor's cells.
    found
        Scrublet's calls, or None where it found no threshold.

    Returns
    -------
    Calls, and 'scrublet', 'scrublet, fewer' or 'expected rate'.
    """
    low, high = PLAUSIBLE_CALLS
    if found is not None and low * expected_rate <= found.mean() <= high * expected_rate:
        if found.mean() > MOST_CALLS * expected_rate:
            return found & (scores > np.quantile(scores, 1 - MOST_CALLS * expected_rate)), "scrublet, fewer"
        return found.astype(bool), "scrublet"
    return scores > np.quantile(scores, 1 - expected_rate), "expected rate"


def doublets_of_donor(
    counts: sparse.csr_matrix, passing: np.ndarray, *, expected_rate: float, seed: int
) -> tuple[pd.DataFrame, str]:
    """Score and call the doublets of one donor among the cells that pass the thresholds.

    Returns
    -------
    doublet_score (NaN where not scored) and is_doublet by cell, and how they were called or why they were not.
    """
    score, called = np.full(len(passing), np.nan), np.zeros(len(passing), dtype=bool)
    if passing.sum() < MIN_CELLS_FOR_SCRUBLET:
        how = f"not scored: fewer than {MIN_CELLS_FOR_SCRUBLET} cells"
    else:
        try:
            found = score_doublets(counts[passing], expected_rate=expected_rate, seed=seed)
            score[passing] = found.cells
            called[passing], how = call_doublets(found.cells, found.calls, expected_rate=expected_rate)
        except (ValueError, np.linalg.LinAlgError) as error:
            how = f"not scored: {' '.join(str(error).split())}"
    return pd.DataFrame({"doublet_score": score, "is_doublet": called}), how
