"""Published clocks applied to the cells of each donor."""

import numpy as np
import pandas as pd
from scipy import sparse, stats

from immune_aging.prediction.clock_files import Clock

AGES = ("clock", "donor_id", "age_years", "predicted", "n_cells")
METRICS = (
    "clock", "cell_types", "n_donors", "n_donors_few_cells", "n_genes", "n_genes_missing", "weight_missing", "mae",
    "baseline_mae", "r", "spearman", "error_slope",
)  # fmt: skip
COUNTS_OF_CELL, COUNTS_OF_DONOR = 1e4, 1e6  # total before the logarithm, as the clocks were trained


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
