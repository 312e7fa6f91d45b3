"""Folds of donors: who is held out when, known from a donor's name alone."""

import hashlib
from collections.abc import Sequence

import numpy as np


def fold_of(donor_id: str, *, repeat: int, n_folds: int, seed: int, level: str = "") -> int:
    """The fold that holds a donor out, from the donor's name alone.

    So a donor is in the same fold in every cell type, model and penalty, and predictions of several cell
    types can be combined without a leak. The price: folds differ a little in size.

    Parameters
    ----------
    level
        'inner' for the folds within the training donors of a fold.
    """
    digest = hashlib.sha256(f"{seed}/{repeat}/{level}{'/' if level else ''}{donor_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % n_folds


def fold_table(donor_ids: Sequence[str], *, n_repeats: int, n_folds: int, seed: int, level: str = "") -> np.ndarray:
    """Fold of each donor in each repeat, repeats x donors."""
    return np.array(
        [[fold_of(d, repeat=r, n_folds=n_folds, seed=seed, level=level) for d in donor_ids] for r in range(n_repeats)],
        dtype=int,
    )
