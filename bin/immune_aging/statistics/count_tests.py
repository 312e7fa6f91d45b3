"""The two tests of pseudobulk counts: DESeq2's negative binomial Wald test and limma-voom's moderated t."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from immune_aging.statistics.linear_models import (
    WeightedExpression,
    contrast_as_coefficient,
    weighted_expression,
    weighted_fits,
)
from immune_aging.statistics.multiple_testing import ALPHA, adjusted_p_values

if TYPE_CHECKING:
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats
    from pydeseq2.inference import Inference

# The median of ratios stands on the genes without a zero. With fewer than this, or half of a small table,
# all genes are used.
MIN_GENES_WITHOUT_ZERO = 100
COOKS = ("deseq2", "all", "off")
REFERENCES = ("auto", "normal", "t")
# From this number of samples on (50 donors, of whom a few have no sample) Wald statistics are referred to a t
# distribution. With 25 that costs a quarter of the power, and the calls of both engines hold their rate without it.
T_FROM_SAMPLES = 45
# Compiling the fits takes 12 to 19 CPU s, in a container for each task anew: as long as PyDESeq2 needs for this many
# genes, or for some 150 with as many coefficients (75 pools of 982 donors: .1 s per gene, compiled .009).
COMPILED_FROM_GENES, COMPILED_FROM_COEFFICIENTS = 2000, 40
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


def size_factor_method(counts: np.ndarray) -> str:
    """DESeq2's median of ratios, or its variant for sparse tables where too few genes are without a zero."""
    needed = min(MIN_GENES_WITHOUT_ZERO, counts.shape[1] / 2)
    return "ratio" if (counts > 0).all(axis=0).sum() >= needed else "poscounts"


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


def deseq_inference(n_genes: int, n_coefficients: int) -> "Inference":
    """What fits DESeq2's dispersions and coefficients: compiled code, or PyDESeq2's own in this process alone.

    Worker processes are not used: with eight on two cores their start and their BLAS threads took 94 % of the
    time.
    """
    if n_genes >= COMPILED_FROM_GENES or n_coefficients >= COMPILED_FROM_COEFFICIENTS:
        from immune_aging.statistics.deseq_fits import CompiledInference

        return CompiledInference()
    from pydeseq2.default_inference import DefaultInference

    return DefaultInference(n_cpus=1)


def fit_pydeseq2(
    counts: np.ndarray,
    design: pd.DataFrame,
    contrasts: Sequence[np.ndarray],
    *,
    options: DeseqOptions = DEFAULTS,
    hypotheses: Sequence[np.ndarray | None] | None = None,
) -> list[pd.DataFrame]:
    """DESeq2's negative binomial Wald test.

    Parameters
    ----------
    counts
        Samples x genes, raw, no sample empty.
    design
        Samples x coefficients.
    contrasts
        Weights of the coefficients; the first leads.
    hypotheses
        For each contrast, hypotheses x coefficients that are tested at once in its place: `stat` is then the joint
        Wald statistic over the number of hypotheses, and the effect that of the contrast. None where the contrast
        itself is tested.

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
    inference = deseq_inference(counts.shape[1], design.shape[1])
    dataset = _deseq_dataset(counts, design, options=options, inference=inference)
    with_t = options.reference == "t" or (options.reference == "auto" and len(counts) >= T_FROM_SAMPLES)
    df = moderated_df(float(dataset.uns["_squared_logres"]), *design.shape) if with_t else np.inf
    results = []
    for number, contrast in enumerate(contrasts):
        weights = np.asarray(contrast, dtype=float)
        hypothesis = None if hypotheses is None else hypotheses[number]
        test = _wald_test(dataset, weights, df=df, options=options, inference=inference, hypothesis=hypothesis)
        result = test.results_df.set_axis(list(RESULT_COLUMNS), axis=1).reset_index(drop=True)
        if options.shrink and number == 0:
            result["lfc_shrunken"] = _shrunken(test, dataset, weights)
        result.attrs["df"] = df
        results.append(result)
    return results


def _deseq_dataset(
    counts: np.ndarray, design: pd.DataFrame, *, options: DeseqOptions, inference: "Inference"
) -> "DeseqDataSet":
    """Size factors, dispersions and coefficients of every gene, and which genes Cook's distance leaves out."""
    from pydeseq2.dds import DeseqDataSet

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
    return dataset


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


def _wald_test(
    dataset: "DeseqDataSet",
    contrast: np.ndarray,
    *,
    df: float,
    options: DeseqOptions,
    inference: "Inference",
    hypothesis: np.ndarray | None = None,
) -> "DeseqStats":
    """The Wald test of one contrast or of several hypotheses, against a t or F distribution where `df` is finite."""
    from pydeseq2.ds import DeseqStats
    from scipy.stats import chi2, f, t

    test = DeseqStats(
        dataset,
        contrast=contrast,
        alpha=ALPHA,
        cooks_filter=options.cooks != "off",
        independent_filter=options.independent_filtering,
        inference=inference,
        quiet=True,
    )
    if hypothesis is not None:
        test.run_wald_test()
        untested = test.p_values.isna() | (test.SE == 0)
        joint = joint_wald_statistics(dataset, hypothesis)
        width = len(hypothesis)
        p_values = f.sf(joint, width, df) if np.isfinite(df) else chi2.sf(joint * width, width)
        test.statistics = pd.Series(joint, index=test.p_values.index).where(~untested, test.statistics)
        test.p_values = pd.Series(p_values, index=test.p_values.index).where(~untested, test.p_values)
    elif np.isfinite(df):
        test.run_wald_test()
        test.p_values = pd.Series(2 * t.sf(np.abs(test.statistics), df), index=test.statistics.index)
    test.summary()
    return test


def joint_wald_statistics(dataset: "DeseqDataSet", hypothesis: np.ndarray) -> np.ndarray:
    """Wald statistic of several hypotheses at once over their number, one value per gene.

    With one hypothesis it is the square of DESeq2's own Wald statistic: covariance and ridge are the same.

    Parameters
    ----------
    dataset
        Fitted.
    hypothesis
        Hypotheses x coefficients, of full rank.
    """
    matrix = dataset.obsm["design_matrix"].to_numpy(dtype=float)
    coefficients = dataset.varm["LFC"].to_numpy(dtype=float)
    dispersions = dataset.var["dispersions"].to_numpy(dtype=float)
    size_factors = np.asarray(dataset.obs["size_factors"], dtype=float)
    ridge = np.diag(np.full(matrix.shape[1], 1e-6))  # PyDESeq2's own
    joint = np.full(len(coefficients), np.nan)
    known = np.flatnonzero(np.isfinite(coefficients).all(axis=1) & np.isfinite(dispersions))
    for start in range(0, len(known), 512):  # bounds memory: a block is 512 x samples
        rows = known[start : start + 512]
        means = np.exp(matrix @ coefficients[rows].T) * size_factors[:, None]
        weights = means / (1 + means * dispersions[rows])
        information = np.einsum("ng,nj,nk->gjk", weights, matrix, matrix, optimize=True)
        inverse = np.linalg.inv(information + ridge)
        covariance = hypothesis @ inverse @ information @ inverse @ hypothesis.T
        effects = coefficients[rows] @ hypothesis.T
        solved = np.linalg.solve(covariance, effects[:, :, None])[:, :, 0]
        joint[rows] = (effects * solved).sum(axis=1) / len(hypothesis)
    return joint


def _shrunken(test: "DeseqStats", dataset: "DeseqDataSet", contrast: np.ndarray) -> np.ndarray:
    """log2 fold changes under apeGLM's heavy-tailed prior (PyDESeq2's `lfc_shrink`).

    Only a contrast that is a coefficient of the design can be shrunken; others are NaN.
    """
    if np.count_nonzero(contrast) != 1:
        return np.full(dataset.n_vars, np.nan)
    column = int(np.flatnonzero(contrast)[0])
    test.lfc_shrink(coeff=test.LFC.columns[column])
    return test.LFC.iloc[:, column].to_numpy() / np.log(2) * contrast[column]


def fit_voom(
    counts: np.ndarray,
    design: pd.DataFrame,
    contrasts: Sequence[np.ndarray],
    *,
    block: np.ndarray | None = None,
    weighted: WeightedExpression | None = None,
    hypotheses: Sequence[np.ndarray | None] | None = None,
) -> list[pd.DataFrame]:
    """Limma's moderated t on voom-weighted log-CPM, with TMM library sizes.

    Parameters
    ----------
    counts, design, contrasts, hypotheses
        As of `fit_pydeseq2`; of several hypotheses `stat` is limma's moderated F.
    block
        Batch of each sample, whose samples share a correlation (limma's duplicateCorrelation); None for none.
    weighted
        `weighted_expression` of all these, where the caller has it already.

    Returns
    -------
    Per contrast and gene: `RESULT_COLUMNS`; base_mean is the mean count at the mean effective library size. With
    `block`, `attrs["correlation"]` is the consensus correlation.

    References
    ----------
    Phipson, Lee, Majewski, Alexander, Smyth (2016), Annals of Applied Statistics 10:946, and those of
    `weighted_expression`.
    """
    matrix = design.to_numpy(dtype=float)
    if weighted is None:
        weighted = weighted_expression(counts, matrix, block=block)
    base_mean = (counts / (weighted.library / weighted.library.mean())[:, None]).mean(axis=0)
    results = []
    for number, contrast in enumerate(contrasts):
        result = _moderated_t(weighted, matrix, np.asarray(contrast, dtype=float))
        hypothesis = None if hypotheses is None else hypotheses[number]
        if hypothesis is not None:
            result = result.assign(**_moderated_f(weighted, matrix, hypothesis))
        result.insert(0, "base_mean", base_mean)
        result.attrs["correlation"] = weighted.correlation
        results.append(result)
    return results


def _moderated_t(weighted: WeightedExpression, matrix: np.ndarray, contrast: np.ndarray) -> pd.DataFrame:
    """Limma's robust moderated t of one contrast: `RESULT_COLUMNS` without base_mean, one row per gene."""
    import pylimma

    turned, column = contrast_as_coefficient(matrix, contrast)
    fit = weighted_fits(weighted.expression, weighted.weights, turned, whiten=weighted.whitener)
    fit = pylimma.e_bayes(fit, robust=True)
    p_value = fit["p_value"][:, column]
    return pd.DataFrame(
        {
            "log2_fold_change": fit["coefficients"][:, column],
            "lfc_se": fit["stdev_unscaled"][:, column] * np.sqrt(fit["s2_post"]),
            "stat": fit["t"][:, column],
            "p_value": p_value,
            "padj": adjusted_p_values(p_value),
        }
    )


def _moderated_f(weighted: WeightedExpression, matrix: np.ndarray, hypothesis: np.ndarray) -> dict[str, np.ndarray]:
    """Limma's robust moderated F of several hypotheses at once: stat, p_value and padj, one value per gene.

    From the sums of squares with and without the hypotheses, which is limma's F for any coding of them.
    """
    import pylimma
    from scipy.linalg import null_space
    from scipy.stats import f

    full = weighted_fits(weighted.expression, weighted.weights, matrix, whiten=weighted.whitener)
    reduced = weighted_fits(
        weighted.expression, weighted.weights, matrix @ null_space(hypothesis), whiten=weighted.whitener
    )
    moderated = pylimma.e_bayes(full, robust=True)
    width = len(hypothesis)
    explained = reduced["sigma"] ** 2 * reduced["df_residual"] - full["sigma"] ** 2 * full["df_residual"]
    statistic = np.maximum(explained, 0) / width / moderated["s2_post"]
    p_value = f.sf(statistic, width, np.broadcast_to(moderated["df_total"], statistic.shape))
    return {"stat": statistic, "p_value": p_value, "padj": adjusted_p_values(p_value)}
