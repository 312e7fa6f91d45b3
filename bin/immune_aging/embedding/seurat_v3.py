"""The seurat_v3 ranking of genes by variance, donor by donor.

Stuart et al. 2019, doi:10.1016/j.cell.2019.05.031. The numbers equal scanpy's
`highly_variable_genes(flavor="seurat_v3", batch_key=...)` where its loess can be fitted, to the rounding of that fit:
counts are added up in the same order, and ties are broken by the same sort. What scanpy does in one call is
cut in two here, so that donors can lie in different shards: the statistics of a donor, and the merge.
"""

# Own code: scanpy takes 2 to 4 CPU s to import per shard, and needs all donors in memory.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.embedding.loess import SingularFit, loess

MIN_CELLS = 3  # of a donor: with fewer, a variance says nothing
MIN_VARIABLE_GENES = 10  # of a donor: with one, loess crashes the process; with six, it fails
# Donors with few cells have few distinct means, where loess finds "near singularities" (scanpy #1504). A
# jitter of the log10 mean parts them; but a tiny one can yield fits that are off by decades (1e6 at 1e-10, a
# tenth of that at a jitter ten times as large). So a fit is believed when the next larger jitter gives the
# same.
JITTERS = (1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SAME_FIT = 0.1  # log10 of the variance
MAX_OVERSHOOT = 1.0  # a fit without jitter stays within one decade of the range of the variances


@dataclass(frozen=True)
class DonorRanking:
    """What one donor says about its genes: their counts, normalised variances, or None and the reason for it."""

    n_cells: int
    sums: np.ndarray
    variance_norm: np.ndarray | None
    jitter: float = 0.0
    reason: str = ""


def sums_and_squares(counts: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares of each gene (cells x genes); exact, counts being integers."""
    values, genes = counts.data.astype(np.float64), counts.indices.astype(np.intp)  # bincount would, both times
    return (
        np.bincount(genes, weights=values, minlength=counts.shape[1]),
        np.bincount(genes, weights=values * values, minlength=counts.shape[1]),
    )


def mean_and_variance(sums: np.ndarray, squares: np.ndarray, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance of each gene from its sum and sum of squares over the cells."""
    mean = sums / n_cells
    return mean, (squares / n_cells - mean**2) * (n_cells / (n_cells - 1))


def _loess_or_none(x: np.ndarray, y: np.ndarray, span: float) -> np.ndarray | None:
    try:
        fitted = loess(x, y, span=span)
    except SingularFit:
        import skmisc.loess

        model = skmisc.loess.loess(x, y, span=span, degree=2)
        try:
            model.fit()
        except ValueError:
            return None
        fitted = model.outputs.fitted_values
    return fitted if np.all((fitted >= y.min() - MAX_OVERSHOOT) & (fitted <= y.max() + MAX_OVERSHOOT)) else None


def fit_loess(x: np.ndarray, y: np.ndarray, *, span: float) -> tuple[np.ndarray, float]:
    """Expected log10 variance at each log10 mean, by local quadratic regression.

    Returns
    -------
    The fitted values and the jitter of `x` that they needed (0 nearly always); the draw is
    the same in every run.

    Raises
    ------
    ValueError
        If neither the plain fit nor any jitter can be believed.
    """
    fitted = _loess_or_none(x, y, span)
    if fitted is not None:
        return fitted, 0.0
    noise = np.random.default_rng(0).uniform(-1, 1, len(x))
    smaller = None
    for i, jitter in enumerate(JITTERS):
        fitted = _loess_or_none(x + jitter * noise, y, span)
        if smaller is not None and fitted is not None and np.abs(fitted - smaller).max() < SAME_FIT:
            return smaller, JITTERS[i - 1]
        smaller = fitted
    raise ValueError("loess finds no stable fit")


def clipped_sums(
    counts: sparse.csr_matrix, limit: np.ndarray, sums: np.ndarray, squares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and sum of squares of each gene's counts, each count at most the gene's `limit`.

    Only genes with a count above their limit are added up again, entry by entry in the order of the cells; the others'
    are those of `sums` and `squares`, which `sums_and_squares` found.
    """
    touched = np.zeros(counts.shape[1], dtype=bool)
    touched[counts.indices[counts.data > limit[counts.indices]]] = True
    entries = touched[counts.indices]
    genes = counts.indices[entries]
    values = np.minimum(counts.data[entries].astype(np.float64), limit[genes])
    again = np.bincount(genes, weights=values, minlength=len(touched))
    again_squares = np.bincount(genes, weights=values * values, minlength=len(touched))
    return np.where(touched, again, sums), np.where(touched, again_squares, squares)


def rank_donor(counts: sparse.csr_matrix, *, span: float) -> DonorRanking:
    """Normalised variance of each gene within one donor.

    Parameters
    ----------
    counts
        Cells x genes, raw counts of one donor.
    span
        Share of the genes that each local regression sees.
    """
    n_cells = counts.shape[0]
    sums, squares = sums_and_squares(counts)
    if n_cells < MIN_CELLS:
        return DonorRanking(n_cells, sums, None, reason=f"fewer than {MIN_CELLS} cells")
    mean, variance = mean_and_variance(sums, squares, n_cells)
    variable = variance > 0
    if variable.sum() < MIN_VARIABLE_GENES:
        return DonorRanking(n_cells, sums, None, reason=f"fewer than {MIN_VARIABLE_GENES} variable genes")
    expected = np.zeros(len(mean))
    try:
        expected[variable], jitter = fit_loess(np.log10(mean[variable]), np.log10(variance[variable]), span=span)
    except ValueError as error:
        return DonorRanking(n_cells, sums, None, reason=str(error))
    expected_sd = np.sqrt(10**expected)
    clipped, clipped_squares = clipped_sums(counts, expected_sd * np.sqrt(n_cells) + mean, sums, squares)
    # The order of operations is scanpy's: another order changes last digits, and with them ranks.
    variance_norm = (1 / ((n_cells - 1) * np.square(expected_sd))) * (
        n_cells * np.square(mean) + clipped_squares - 2 * clipped * mean
    )
    return DonorRanking(n_cells, sums, variance_norm, jitter)


def top_ranks(variance_norm: np.ndarray, n_top_genes: int) -> np.ndarray:
    """Ranks of one donor's genes, 0 the most variable; NaN beyond the first `n_top_genes`."""
    ranks = np.argsort(np.argsort(-variance_norm)).astype(np.float32)
    ranks[ranks >= n_top_genes] = np.nan
    return ranks


def median_ignoring_nan(ranks: np.ndarray) -> np.ndarray:
    """Median of each column over its numbers; NaN where it has none."""
    ordered = np.sort(ranks, axis=0)  # NaN last
    n = np.sum(~np.isnan(ranks), axis=0)
    columns = np.arange(ranks.shape[1])
    low, high = (
        ordered[np.maximum(n - 1, 0) // 2, columns],
        ordered[np.minimum(n // 2, len(ranks) - 1), columns],
    )
    return np.where(n > 0, (low.astype(np.float64) + high) / 2, np.nan)


# Which of the columns of `merge_donors` decides first, by flavour, as scanpy sorts.
ORDERS = {"seurat_v3": ("rank", "n_donors"), "pearson_residuals": ("n_donors", "rank")}


def merge_donors(variances_norm: Sequence[np.ndarray], *, n_top_genes: int, flavor: str = "seurat_v3") -> pd.DataFrame:
    """Rank genes over all donors.

    Parameters
    ----------
    variances_norm
        Each donor's variances (genes), donors in the order of their ids.
    n_top_genes
        How many genes to mark; a donor votes with its own first `n_top_genes`.
    flavor
        One of `ORDERS`.

    Returns
    -------
    One row per gene, in the order given: `rank` (median over the donors that have it among
    their first), `n_donors` (how many these are), `variance_norm` (mean over all donors), `top` (among the
    first `n_top_genes`: by rank and number of donors as `ORDERS` has it, then order of genes).
    """
    ranks = np.stack([top_ranks(values, n_top_genes) for values in variances_norm])
    total = np.zeros(ranks.shape[1])
    for values in variances_norm:
        total += values
    table = pd.DataFrame(
        {
            "rank": median_ignoring_nan(ranks),
            "n_donors": np.sum(~np.isnan(ranks), axis=0),
            "variance_norm": total / len(variances_norm),
        }
    )
    first = list(ORDERS[flavor])
    order = table.sort_values(first, ascending=[name == "rank" for name in first], na_position="last").index
    return table.assign(top=np.isin(np.arange(len(table)), order[:n_top_genes]))
