"""Counts per cell, scaled to one total and put on a logarithmic scale."""

# Own code: scanpy takes 2 to 4 CPU s to import per shard, for three lines.

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from immune_aging.cohort.shard_file import Shard, donor_counts


def log_normalize(counts: sparse.csr_matrix, selected: np.ndarray, *, target_sum: float) -> sparse.csr_matrix:
    """log(1 + count / total of the cell * `target_sum`), selected genes only.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    selected
        Boolean, one value per gene.
    target_sum
        Total of every cell after scaling. A cell without counts stays empty.
    """
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    kept = sparse.csr_matrix(counts[:, selected])
    kept.sort_indices()
    scale = np.repeat(target_sum / np.maximum(totals, 1), np.diff(kept.indptr))
    return sparse.csr_matrix(
        (np.log1p(kept.data * scale).astype(np.float32), kept.indices, kept.indptr), shape=kept.shape
    )


def normalized_donors(
    shard: Shard, kept: np.ndarray, selected: np.ndarray, *, target_sum: float
) -> Iterator[sparse.csr_matrix]:
    """`log_normalize` of a shard's kept cells, one donor's counts in memory at a time.

    Parameters
    ----------
    kept
        Boolean, one value per cell of the shard.

    Yields
    ------
    First an empty matrix of the same type and genes, so that there is one even without cells; then one per donor.
    """
    yield sparse.csr_matrix((0, int(selected.sum())), dtype=np.float32)
    for _, rows, counts in donor_counts(shard):
        yield log_normalize(counts[kept[rows]], selected, target_sum=target_sum)
