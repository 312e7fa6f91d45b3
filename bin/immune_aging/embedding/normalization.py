"""Counts per cell, scaled to one total and put on a logarithmic scale."""

import numpy as np
from scipy import sparse


def log_normalize(counts: sparse.csr_matrix, selected: np.ndarray, *, target_sum: float) -> sparse.csr_matrix:
    """log(1 + count / total of the cell * `target_sum`), selected genes only.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    selected
        Boolean, one value a gene.
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
