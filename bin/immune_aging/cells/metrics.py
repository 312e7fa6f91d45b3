"""Metrics of quality control of each cell: genes, counts, percentages of classes of genes."""

# Own code: scanpy takes 2 to 4 CPU s to import per shard, for one product of matrices.

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cells.gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal


def gene_classes(symbols: np.ndarray) -> pd.DataFrame | None:
    """Which genes are mitochondrial, ribosomal, hemoglobin: booleans, genes x mito, ribo, hb; None without symbols."""
    if not (symbols != "").any():
        return None
    return pd.DataFrame(
        {"mito": is_mitochondrial(symbols), "ribo": is_ribosomal(symbols), "hb": is_hemoglobin(symbols)}
    )


def qc_metrics(counts: sparse.csr_matrix, classes: pd.DataFrame | None) -> pd.DataFrame:
    """QC metrics of cells, as `scanpy.pp.calculate_qc_metrics` defines them.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    classes
        `gene_classes` of the genes.

    Returns
    -------
    n_genes, n_counts and pct_mito, pct_ribo, pct_hb (0-100; NaN where no gene has a symbol; 0 in an empty cell).
    """
    n_genes = counts.shape[1]
    member = np.ones((n_genes, 1)) if classes is None else np.column_stack([np.ones(n_genes), classes.to_numpy(float)])
    sums = counts.astype(np.float64) @ member
    totals = sums[:, 0].astype(np.int64)
    metrics = pd.DataFrame({"n_genes": np.diff(counts.indptr).astype(np.int64), "n_counts": totals})
    for column, name in enumerate(("mito", "ribo", "hb"), start=1):
        share = np.full(len(totals), np.nan)
        if classes is not None:
            share = np.divide(100 * sums[:, column], totals, out=np.zeros(len(totals)), where=totals > 0)
        metrics[f"pct_{name}"] = share
    return metrics
