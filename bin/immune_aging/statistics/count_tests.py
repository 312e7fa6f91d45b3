"""The two tests of pseudobulk counts: DESeq2's negative binomial Wald test and limma-voom's moderated t."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

ALPHA = 0.05
# filterByExpr's own 10 costs 40 % of the true hits at 60 donors and gains nothing in false ones.
MIN_COUNT = 5
# The median of ratios stands on the genes without a zero. With fewer than this, or half of a small table,
# all genes are used.
MIN_GENES_WITHOUT_ZERO = 100
COOKS = ("deseq2", "all", "off")
REFERENCES = ("auto", "normal", "t")
# From this number of samples on (50 donors, of whom a few have no sample) Wald statistics are referred to a t
# distribution. With 25 that costs a quarter of the power, and the calls of both engines hold their rate without it.
T_FROM_SAMPLES = 45
# The correlation within batches is a trimmed mean over genes: this many leave it a standard error below .01.
CORRELATION_GENES = 500
# An outlier sample: its residuals are this many times those of the median sample, and so far from it in SDs (by the
# MAD, of logs). In four cell types of 27 to 40 real donors no sample reaches both (largest 1.5 times, 3.7 SDs).
OUTLIER_RATIO, OUTLIER_SDS = 1.5, 5.0
RESULT_COLUMNS = ("base_mean", "log2_fold_change", "lfc_se", "stat", "p_value", "padj")


@dataclass(frozen=True)
class DeseqOptions:
    """What of DESeq2 can be chosen.

    Attributes
    ----------
    cooks
        'deseq2': outliers are judged, as R does, where 3 or more samples have the same covariates, so never with a
        numeric one; 'all': in any design; 'off'.
    independent_filtering
        Leave genes of low mean count out of the adjustment where that yields more calls.
    reference
        Null distribution of the Wald statistics: 'normal', DESeq2's default; 't', its option useT, with the degrees of
        freedom of `moderated_df`; 'auto', t from `T_FROM_SAMPLES` samples on.
    shrink
        Add `lfc_shrunken` (apeGLM's prior) of the leading contrast.
    """

    cooks: str = "deseq2"
    independent_filtering: bool = True
    reference: str = "auto"
    shrink: bool = False


DEFAULTS = DeseqOptions()


def expressed_genes(counts: np.ndarray, design: pd.DataFrame) -> np.ndarray:
    """Genes with enough counts to test, by edgeR's filterByExpr with `MIN_COUNT`.

    Parameters
    ----------
    counts
        Samples x genes, raw.
    design
        Samples x coefficients.

    Returns
    -------
    Boolean mask of genes.

    References
    ----------
    Chen, Lun, Smyth (2016), F1000Research 5:1438.
    """
    from edgepython import filter_by_expr

    return filter_by_expr(counts.T.astype(float), design=design.to_numpy(), min_count=MIN_COUNT)


def residual_ratios(counts: np.ndarray, design: pd.DataFrame) -> np.ndarray:
    """How much larger each sample's residuals are than the median sample's.

    The root mean square over genes of the residuals of voom's weighted fit, in units of each gene's own residual SD
    and allowing for the sample's leverage.

    Parameters
    ----------
    counts
        Samples x genes, raw, genes with enough counts.
    """
    import pylimma

    matrix = design.to_numpy(dtype=float)
    voom = pylimma.voom(counts.T.astype(float), matrix)
    fit = weighted_fits(voom["E"], voom["weights"], matrix)
    left = (voom["E"] - fit["coefficients"] @ matrix.T) / fit["sigma"][:, None]
    leverage = np.einsum("ij,jk,ik->i", matrix, np.linalg.inv(matrix.T @ matrix), matrix)
    size = np.sqrt((left**2 * voom["weights"]).mean(axis=0) / np.maximum(1 - leverage, 1e-6))
    return size / np.median(size)


def are_outliers(ratios: np.ndarray) -> np.ndarray:
    """Which samples do not belong with the others, by their residuals alone, whatever their age."""
    logs = np.log(ratios)
    spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    return (ratios > OUTLIER_RATIO) & (logs > OUTLIER_SDS * spread)


def size_factor_method(counts: np.ndarray) -> str:
    """DESeq2's median of ratios, or its variant for sparse tables where too few genes are without a zero."""
    needed = min(MIN_GENES_WITHOUT_ZERO, counts.shape[1] / 2)
    return "ratio" if (counts > 0).all(axis=0).sum() >= needed else "poscounts"


def _influential(cooks: np.ndarray, counts: np.ndarray, n_coefficients: int) -> np.ndarray:
    """Genes in which one sample moves the fit too much, by DESeq2's rule without its need for replicates.

    Parameters
    ----------
    cooks, counts
        Samples x genes.
    """
    from scipy.stats import f

    cutoff = f.ppf(0.99, n_coefficients, len(counts) - n_coefficients)
    worst = cooks.argmax(axis=0)
    at_worst = counts[worst, np.arange(counts.shape[1])]
    # Three samples with more counts than the worst one: then it is no outlier.
    return (cooks.max(axis=0) > cutoff) & ((counts > at_worst).sum(axis=0) < 3)


def moderated_df(squared_logres: float, n_samples: int, n_coefficients: int) -> float:
    """Degrees of freedom of a test whose variance is shared between genes: the residual ones and the prior's.

    Where genes' dispersions scatter little around the trend, the prior knows them well and the test is near normal;
    where each gene has its own, little is known beyond its own samples. DESeq2's normal reference takes the
    dispersions as known, which let .06 to .08 of its calls be false with 50 to 100 samples.

    Parameters
    ----------
    squared_logres
        Squared scatter (by the MAD) of the log dispersions around their trend.

    References
    ----------
    Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3:3, for the prior's degrees of freedom.
    """
    from pylimma import trigamma_inverse
    from scipy.special import polygamma

    residual = n_samples - n_coefficients
    between = squared_logres - float(polygamma(1, residual / 2))
    return residual + 2 * float(np.squeeze(trigamma_inverse(between))) if between > 1e-3 else np.inf


def fit_pydeseq2(
    counts: np.ndarray, design: pd.DataFrame, contrasts: Sequence[np.ndarray], *, options: DeseqOptions = DEFAULTS
) -> list[pd.DataFrame]:
    """DESeq2's negative binomial Wald test, in this process alone.

    Worker processes are not used: with eight on two cores their start and their BLAS threads took 94 % of the
    time.

    Parameters
    ----------
    counts
        Samples x genes, raw, no sample empty.
    design
        Samples x coefficients.
    contrasts
        Weights of the coefficients; the first leads.

    Returns
    -------
    Per contrast and gene: `RESULT_COLUMNS` (p_value NaN where Cook's distance leaves a gene out, padj also where
    independent filtering does), and `lfc_shrunken` in the first where asked for. `attrs["df"]` are the degrees of
    freedom of the reference distribution, infinite for the normal one.

    References
    ----------
    Love, Huber, Anders (2014), Genome Biology 15:550; Muzellec et al. (2023), Bioinformatics 39:btad547; Zhu,
    Ibrahim, Love (2019), Bioinformatics 35:2084.
    """
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats
    from scipy.stats import t

    inference = DefaultInference(n_cpus=1)
    dataset = DeseqDataSet(
        counts=pd.DataFrame(counts, index=design.index, columns=[f"g{i}" for i in range(counts.shape[1])]),
        metadata=design[[]].copy(),
        design=design.copy(),
        size_factors_fit_type=size_factor_method(counts),
        refit_cooks=options.cooks != "off",
        inference=inference,
        quiet=True,
    )
    dataset.deseq2()
    if options.cooks == "all":
        dataset.var["_pvalue_cooks_outlier"] = _influential(dataset.layers["cooks"], counts, design.shape[1])
    with_t = options.reference == "t" or (options.reference == "auto" and len(counts) >= T_FROM_SAMPLES)
    df = moderated_df(float(dataset.uns["_squared_logres"]), *design.shape) if with_t else np.inf
    results = []
    for number, contrast in enumerate(contrasts):
        test = DeseqStats(
            dataset,
            contrast=np.asarray(contrast, dtype=float),
            alpha=ALPHA,
            cooks_filter=options.cooks != "off",
            independent_filter=options.independent_filtering,
            inference=inference,
            quiet=True,
        )
        if np.isfinite(df):
            test.run_wald_test()
            test.p_values = pd.Series(2 * t.sf(np.abs(test.statistics), df), index=test.statistics.index)
        test.summary()
        result = test.results_df.set_axis(list(RESULT_COLUMNS), axis=1).reset_index(drop=True)
        if options.shrink and number == 0:
            result["lfc_shrunken"] = _shrunken(test, dataset, np.asarray(contrast, dtype=float))
        result.attrs["df"] = df
        results.append(result)
    return results


def fit_voom(
    counts: np.ndarray,
    design: pd.DataFrame,
    contrasts: Sequence[np.ndarray],
    *,
    block: np.ndarray | None = None,
) -> list[pd.DataFrame]:
    """Limma's moderated t on voom-weighted log-CPM, with TMM library sizes.

    Parameters
    ----------
    counts, design, contrasts
        As of `fit_pydeseq2`.
    block
        Batch of each sample, whose samples share a correlation (limma's duplicateCorrelation); None for none.

    Returns
    -------
    Per contrast and gene: `RESULT_COLUMNS`; base_mean is the mean count at the mean effective library size. With
    `block`, `attrs["correlation"]` is the consensus correlation.

    References
    ----------
    Law, Chen, Shi, Smyth (2014), Genome Biology 15:R29; Robinson, Oshlack (2010), Genome Biology 11:R25;
    Phipson, Lee, Majewski, Alexander, Smyth (2016), Annals of Applied Statistics 10:946; Smyth, Michaud, Scott
    (2005), Bioinformatics 21:2067.
    """
    import pylimma
    from edgepython import calc_norm_factors, make_dgelist
    from scipy.stats import false_discovery_control

    genes_by_samples = counts.T.astype(float)
    tmm = calc_norm_factors(make_dgelist(genes_by_samples))["samples"]["norm.factors"].to_numpy()
    library = genes_by_samples.sum(axis=0) * tmm
    matrix = design.to_numpy(dtype=float)
    # A fixed span of .5, as limma's own default has been and R's reference in benchmarks/ has it.
    voom = pylimma.voom(genes_by_samples, matrix, lib_size=library, adaptive_span=False)
    correlation = None
    if block is not None:
        # As limma's manual has it: weights, correlation, weights that know it, correlation.
        correlation = _consensus_correlation(voom, matrix, block)
        known = {"block": block, "correlation": correlation}
        voom = pylimma.voom(genes_by_samples, matrix, lib_size=library, adaptive_span=False, **known)
        correlation = _consensus_correlation(voom, matrix, block)
    whiten = None if correlation is None else whitening(block, correlation)
    results = []
    base_mean = (counts / (library / library.mean())[:, None]).mean(axis=0)
    for contrast in contrasts:
        turned, column = contrast_as_coefficient(matrix, np.asarray(contrast, dtype=float))
        fit = pylimma.e_bayes(weighted_fits(voom["E"], voom["weights"], turned, whiten=whiten), robust=True)
        p_value = fit["p_value"][:, column]
        result = pd.DataFrame(
            {
                "base_mean": base_mean,
                "log2_fold_change": fit["coefficients"][:, column],
                "lfc_se": fit["stdev_unscaled"][:, column] * np.sqrt(fit["s2_post"]),
                "stat": fit["t"][:, column],
                "p_value": p_value,
                "padj": false_discovery_control(p_value, method="bh"),
            }
        )
        result.attrs["correlation"] = correlation
        results.append(result)
    return results


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
    expression: np.ndarray, weights: np.ndarray, matrix: np.ndarray, *, whiten: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Weighted least squares of every gene at once, as limma's lmFit returns them.

    pylimma's own loop decomposes a samples x samples matrix for each gene: 0.5 s a gene with 982 samples. The columns
    are of order 1 and of full rank here, so the normal equations are well conditioned.

    Parameters
    ----------
    expression, weights
        Genes x samples.
    matrix
        Samples x coefficients.
    whiten
        Samples x samples; takes the correlation within batches out of weighted values. None where there is none.
    """
    root = np.sqrt(weights)
    n_genes, (n_samples, n_coefficients) = len(expression), matrix.shape
    coefficients, stdev = np.empty((2, n_genes, n_coefficients))
    sigma = np.empty(n_genes)
    for start in range(0, n_genes, 256):  # bounds memory: a block is 256 x samples x coefficients
        rows = slice(start, start + 256)
        y = root[rows] * expression[rows]
        x = root[rows][:, :, None] * matrix
        if whiten is not None:
            y, x = y @ whiten.T, whiten @ x
        inverse = np.linalg.inv(x.transpose(0, 2, 1) @ x)
        beta = (inverse @ (x.transpose(0, 2, 1) @ y[:, :, None]))[:, :, 0]
        left = y - (x @ beta[:, :, None])[:, :, 0]
        coefficients[rows], sigma[rows] = beta, np.sqrt((left**2).sum(axis=1) / (n_samples - n_coefficients))
        stdev[rows] = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2))
    return {
        "coefficients": coefficients,
        "stdev_unscaled": stdev,
        "sigma": sigma,
        "df_residual": np.full(n_genes, float(n_samples - n_coefficients)),
        "Amean": expression.mean(axis=1),
    }


def _consensus_correlation(voom: dict, matrix: np.ndarray, block: np.ndarray) -> float:
    """Limma's duplicateCorrelation over at most `CORRELATION_GENES` genes, evenly through the table."""
    import pylimma

    n_genes = len(voom["E"])
    chosen = np.unique(np.linspace(0, n_genes - 1, min(n_genes, CORRELATION_GENES)).round().astype(int))
    found = pylimma.duplicate_correlation(voom["E"][chosen], matrix, block=block, weights=voom["weights"][chosen])
    return float(found["consensus_correlation"])


def whitening(block: np.ndarray, correlation: float) -> np.ndarray:
    """Inverse of the lower Cholesky factor of the samples' correlation."""
    same = block[:, None] == block[None, :]
    return np.linalg.inv(np.linalg.cholesky(np.where(same, correlation, 0.0) + (1 - correlation) * np.eye(len(block))))


def _shrunken(test, dataset, contrast: np.ndarray) -> np.ndarray:
    """log2 fold changes under apeGLM's heavy-tailed prior (PyDESeq2's `lfc_shrink`).

    Only a contrast that is a coefficient of the design can be shrunken; others are NaN.
    """
    if np.count_nonzero(contrast) != 1:
        return np.full(dataset.n_vars, np.nan)
    column = int(np.flatnonzero(contrast)[0])
    test.lfc_shrink(coeff=test.LFC.columns[column])
    return test.LFC.iloc[:, column].to_numpy() / np.log(2) * contrast[column]
