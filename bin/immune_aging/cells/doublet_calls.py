"""Which of a donor's cells are called doublets, from their scores."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cells.doublets import score_doublets
from immune_aging.cohort.doublet_labels import DOUBLET, NO_CALL

SCRUBLET = "scrublet"
MIN_CELLS_FOR_SCRUBLET = 100
# A threshold found between two modes that are not there calls a large part of the donor, or next to nothing of it.
PLAUSIBLE_CALLS = (0.2, 3.0)
# In donors of few cells a plausible threshold is often too low. Measured on five cohorts of 180 cells per donor: with
# at most so many times the expected calls precision is .91 instead of .89 at the same recall (.79); with 1,000 cells
# per donor nothing changes.
MOST_CALLS = 1.75
# A cell with hardly any of its kind beside it lies among simulated doublets whatever it is. With 180 cells per donor,
# and all rare cell types among them, 20 % of these types' good cells were called, most platelets among them; with this
# rule 3 % are, and precision is .93 instead of .73 at recall .77 (.79).
MIN_CELLS_OF_TYPE = 5


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


def spared(cell_types: np.ndarray, passing: np.ndarray) -> np.ndarray:
    """Which cells of one donor are of a type too rare in it for Scrublet to judge them.

    Parameters
    ----------
    cell_types, passing
        Type of each cell, and whether it passes the thresholds.
    """
    codes, kinds = pd.factorize(cell_types)
    return np.bincount(codes[passing], minlength=len(kinds))[codes] < MIN_CELLS_OF_TYPE


def by_scrublet(
    counts: sparse.csr_matrix,
    passing: np.ndarray,
    _calls: np.ndarray | None,
    *,
    cell_types: np.ndarray | None = None,
    expected_rate: float,
    seed: int,
) -> tuple[pd.DataFrame, str]:
    """Score and call the doublets of one donor among the cells that pass the thresholds, by Scrublet.

    Parameters
    ----------
    cell_types
        Type of each cell, to call none of a type too rare to be judged; None to judge all alike.

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
    if cell_types is not None:
        called &= ~spared(cell_types, passing)
    return pd.DataFrame({"doublet_score": score, "is_doublet": called}), how


def by_column(
    _counts: sparse.csr_matrix, _passing: np.ndarray, calls: np.ndarray | None, **_options: object
) -> tuple[pd.DataFrame, str]:
    """The doublets of one donor that were called elsewhere; a cell without a call is none.

    Parameters
    ----------
    calls
        Of `read_calls`, one per cell.

    Returns
    -------
    As of `by_scrublet`, without scores.
    """
    assert calls is not None, "the shard holds the calls"
    n_missing = int((calls == NO_CALL).sum())
    how = "called elsewhere" + (f"; {n_missing} cells have no call" if n_missing else "")
    return pd.DataFrame({"doublet_score": np.full(len(calls), np.nan), "is_doublet": calls == DOUBLET}), how


def by_nothing(
    _counts: sparse.csr_matrix, passing: np.ndarray, _calls: np.ndarray | None, **_options: object
) -> tuple[pd.DataFrame, str]:
    """No doublets; returns as `by_column`."""
    none = pd.DataFrame(
        {"doublet_score": np.full(len(passing), np.nan), "is_doublet": np.zeros(len(passing), dtype=bool)}
    )
    return none, "not called, as asked for"


Caller = Callable[..., tuple[pd.DataFrame, str]]
# How the doublets of one donor are found. Each takes the donor's counts (cells x genes), which cells pass the
# thresholds, the calls made elsewhere or None, and cell_types, expected_rate and seed; it returns the score and the
# call of each cell, and how they were called.
METHODS: dict[str, Caller] = {SCRUBLET: by_scrublet, "column": by_column, "none": by_nothing}
