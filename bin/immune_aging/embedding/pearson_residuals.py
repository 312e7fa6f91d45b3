"""The ranking of genes by the variance of their analytic Pearson residuals, donor by donor.

Lause, Berens & Kobak 2021, doi:10.1186/s13059-021-02451-7: residuals of a negative binomial with one overdispersion for
all genes, whose mean is the product of the cell's and the gene's share of all counts, clipped at the root of the number
of cells. The numbers of a donor equal those of scanpy's `experimental.pp.highly_variable_genes` on that donor alone.
With several batches scanpy clips all at the root of the first one's cells (scverse/scanpy#4138); here each donor
has its own.
"""

# Own code: scanpy takes 2 to 4 CPU s to import per shard, and needs all donors in memory.

import numba
import numpy as np
from scipy import sparse

from immune_aging.embedding.seurat_v3 import (
    MIN_CELLS,
    MIN_VARIABLE_GENES,
    DonorRanking,
    mean_and_variance,
    sums_and_squares,
)

THETA = 100.0  # overdispersion of all genes, as in the paper and in scanpy


@numba.njit(error_model="numpy")
def _residual_variances(
    indptr: np.ndarray, cells: np.ndarray, values: np.ndarray, of_gene: np.ndarray, of_cell: np.ndarray
) -> np.ndarray:
    """Variance of each gene's clipped residuals; cell by cell in scanpy's order, so that ranks are the same.

    Parameters
    ----------
    indptr, cells, values
        The counts by gene (CSC, cells sorted).
    of_gene, of_cell
        Sums of the genes and of the cells.
    """
    n_cells, total = len(of_cell), of_cell.sum()
    clip = np.sqrt(n_cells)
    residuals, found = np.empty(n_cells), np.zeros(len(of_gene))
    for gene in range(len(of_gene)):
        if of_gene[gene] == 0:
            continue
        place, sum_of_residuals = indptr[gene], 0.0
        for cell in range(n_cells):
            value = 0.0
            if place < indptr[gene + 1] and cells[place] == cell:
                value = values[place]
                place += 1
            mean = of_gene[gene] * of_cell[cell] / total
            residuals[cell] = min(max((value - mean) / np.sqrt(mean + mean * mean / THETA), -clip), clip)
            sum_of_residuals += residuals[cell]
        mean_residual, squares = sum_of_residuals / n_cells, 0.0
        for cell in range(n_cells):
            difference = residuals[cell] - mean_residual
            squares += difference * difference
        found[gene] = squares / n_cells
    return found


def residual_variances(counts: sparse.csr_matrix) -> np.ndarray:
    """Variance of each gene's residuals over the cells of one donor; 0 for a gene without a count.

    Parameters
    ----------
    counts
        Cells x genes, raw counts; each cell has some.
    """
    by_gene = sparse.csc_matrix(counts, dtype=np.float64)
    by_gene.sort_indices()
    of_gene, of_cell = (np.asarray(by_gene.sum(axis=axis)).ravel() for axis in (0, 1))
    return _residual_variances(by_gene.indptr, by_gene.indices, by_gene.data, of_gene, of_cell)


def rank_donor(counts: sparse.csr_matrix) -> DonorRanking:
    """Variance of the residuals of each gene within one donor.

    Parameters
    ----------
    counts
        Cells x genes, raw counts of one donor.
    """
    n_cells = counts.shape[0]
    sums, squares = sums_and_squares(counts)
    if n_cells < MIN_CELLS:
        return DonorRanking(n_cells, sums, None, reason=f"fewer than {MIN_CELLS} cells")
    if (mean_and_variance(sums, squares, n_cells)[1] > 0).sum() < MIN_VARIABLE_GENES:
        return DonorRanking(n_cells, sums, None, reason=f"fewer than {MIN_VARIABLE_GENES} variable genes")
    with_counts = np.diff(counts.indptr) > 0  # a cell without any has no residuals
    return DonorRanking(n_cells, sums, residual_variances(counts[with_counts]))
