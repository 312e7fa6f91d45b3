"""Weighted linear models of the log expression of all genes at once, as limma fits them."""

from dataclasses import dataclass

import numpy as np

# The correlation within batches is a trimmed mean over genes: this many leave it a standard error below .01. Each costs
# samples cubed, so that above some 460 samples fewer are used, and never fewer than the second.
CORRELATION_GENES, LEAST_CORRELATION_GENES = 500, 50
CORRELATION_COST = 5e10
BLOCK_GENES, BLOCK_VALUES = 256, 20_000_000  # fitted at once: at most so many genes, and genes x samples x coefficients


@dataclass(frozen=True)
class WeightedExpression:
    """Log expression with the precision of each value, ready for any weighted linear model.

    Attributes
    ----------
    expression
        log2 counts per million, genes x samples.
    weights
        Precision of each value, genes x samples.
    library
        Effective library size of each sample (TMM).
    correlation
        Of two samples of one batch, in the residuals; None where no batch is a random effect.
    whitener
        Samples x samples; takes that correlation out of weighted values. None where there is none.
    """

    expression: np.ndarray
    weights: np.ndarray
    library: np.ndarray
    correlation: float | None
    whitener: np.ndarray | None


def weighted_expression(
    counts: np.ndarray, matrix: np.ndarray, *, block: np.ndarray | None = None
) -> WeightedExpression:
    """voom: log-CPM with TMM library sizes, and the weights that its mean-variance trend gives.

    Parameters
    ----------
    counts
        Samples x genes, raw, no sample empty.
    matrix
        Samples x coefficients.
    block
        Batch of each sample, whose samples share a correlation (limma's duplicateCorrelation); None for none.

    References
    ----------
    Law, Chen, Shi, Smyth (2014), Genome Biology 15:R29; Robinson, Oshlack (2010), Genome Biology 11:R25; Smyth,
    Michaud, Scott (2005), Bioinformatics 21:2067.
    """
    import pylimma
    from edgepython import calc_norm_factors, make_dgelist

    genes_by_samples = counts.T.astype(float)
    tmm = calc_norm_factors(make_dgelist(genes_by_samples))["samples"]["norm.factors"].to_numpy()
    library = genes_by_samples.sum(axis=0) * tmm
    # A fixed span of .5, as limma's own default has been and R's reference in benchmarks/ has it.
    voom = pylimma.voom(genes_by_samples, matrix, lib_size=library, adaptive_span=False)
    if block is None:
        return WeightedExpression(voom["E"], voom["weights"], library, None, None)
    # As limma's manual has it: weights, correlation, weights that know it, correlation.
    known = {"block": block, "correlation": _consensus_correlation(voom, matrix, block)}
    voom = pylimma.voom(genes_by_samples, matrix, lib_size=library, adaptive_span=False, **known)
    correlation = _consensus_correlation(voom, matrix, block)
    return WeightedExpression(voom["E"], voom["weights"], library, correlation, whitening(block, correlation))


def _consensus_correlation(voom: dict, matrix: np.ndarray, block: np.ndarray) -> float:
    """Limma's duplicateCorrelation over at most `CORRELATION_GENES` genes, evenly through the table."""
    import pylimma

    n_genes = len(voom["E"])
    affordable = max(LEAST_CORRELATION_GENES, min(CORRELATION_GENES, int(CORRELATION_COST / len(matrix) ** 3)))
    chosen = np.unique(np.linspace(0, n_genes - 1, min(n_genes, affordable)).round().astype(int))
    found = pylimma.duplicate_correlation(voom["E"][chosen], matrix, block=block, weights=voom["weights"][chosen])
    return float(found["consensus_correlation"])


def whitening(block: np.ndarray, correlation: float) -> np.ndarray:
    """Inverse of the lower Cholesky factor of the samples' correlation, samples x samples."""
    same = block[:, None] == block[None, :]
    return np.linalg.inv(np.linalg.cholesky(np.where(same, correlation, 0.0) + (1 - correlation) * np.eye(len(block))))


def contrast_as_coefficient(matrix: np.ndarray, contrast: np.ndarray) -> tuple[np.ndarray, int]:
    """The same model with the contrast as one of its coefficients, so that its standard error is exact.

    Returns
    -------
    Samples x coefficients, and the column whose coefficient is the contrast.
    """
    column = int(np.flatnonzero(contrast)[0])
    turn = np.eye(len(contrast))
    turn[column] = contrast
    return matrix @ np.linalg.inv(turn), column


def weighted_fits(
    expression: np.ndarray,
    weights: np.ndarray,
    matrix: np.ndarray,
    *,
    whiten: np.ndarray | None = None,
    residuals: bool = False,
) -> dict[str, np.ndarray]:
    """Weighted least squares of every gene at once, as limma's lmFit returns them.

    pylimma's own loop decomposes a samples x samples matrix for each gene: 0.5 s per gene with 982 samples. The
    columns are of order 1 and of full rank here, so the normal equations are well conditioned.

    Parameters
    ----------
    expression, weights
        Genes x samples.
    matrix
        Samples x coefficients.
    whiten
        Samples x samples; takes the correlation within batches out of weighted values. None where there is none.
    residuals
        Also give the weighted (and whitened) residuals, genes x samples: as large as `expression`.
    """
    root = np.sqrt(weights)
    n_genes, (n_samples, n_coefficients) = len(expression), matrix.shape
    coefficients, stdev = np.empty((2, n_genes, n_coefficients))
    sigma = np.empty(n_genes)
    kept = np.empty((n_genes, n_samples)) if residuals else None
    at_once = max(1, min(BLOCK_GENES, BLOCK_VALUES // matrix.size))
    for start in range(0, n_genes, at_once):
        rows = slice(start, start + at_once)
        y = root[rows] * expression[rows]
        x = root[rows][:, :, None] * matrix
        if whiten is not None:
            y, x = y @ whiten.T, whiten @ x
        inverse = np.linalg.inv(x.transpose(0, 2, 1) @ x)
        beta = (inverse @ (x.transpose(0, 2, 1) @ y[:, :, None]))[:, :, 0]
        left = y - (x @ beta[:, :, None])[:, :, 0]
        coefficients[rows], sigma[rows] = beta, np.sqrt((left**2).sum(axis=1) / (n_samples - n_coefficients))
        stdev[rows] = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2))
        if kept is not None:
            kept[rows] = left
    fit = {
        "coefficients": coefficients,
        "stdev_unscaled": stdev,
        "sigma": sigma,
        "df_residual": np.full(n_genes, float(n_samples - n_coefficients)),
        "Amean": expression.mean(axis=1),
    }
    return fit if kept is None else fit | {"residuals": kept}
