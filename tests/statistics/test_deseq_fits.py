"""The compiled fits give PyDESeq2's answers, and where they differ a likelihood as high."""

import numpy as np
import pandas as pd
import pytest
from pydeseq2 import utils
from pydeseq2.dds import DeseqDataSet
from pydeseq2.default_inference import DefaultInference
from pydeseq2.ds import DeseqStats
from threadpoolctl import threadpool_limits

from immune_aging.statistics import deseq_fits
from immune_aging.statistics.count_tests import COMPILED_FROM_COEFFICIENTS, COMPILED_FROM_GENES, deseq_inference

THEIRS = DefaultInference(n_cpus=1)
OURS = deseq_fits.CompiledInference()
MIN_DISP = 1e-8


def design(n_samples: int, n_pools: int = 1, seed: int = 0) -> np.ndarray:
    """Intercept, sex, standardised age, and 0/1 columns of all pools but the first."""
    rng = np.random.default_rng(seed)
    pool = rng.permutation(np.arange(n_samples) % n_pools)
    columns = [np.ones(n_samples), np.arange(n_samples) % 2, rng.normal(size=n_samples)]
    return np.column_stack([*columns, *(pool == k for k in range(1, n_pools))]).astype(float)


def draw(matrix: np.ndarray, means: np.ndarray, dispersion: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts of genes of these means, some of which change with age, and size factors."""
    rng = np.random.default_rng(seed)
    factors = rng.lognormal(0, 0.4, len(matrix))
    change = rng.normal(0, 0.3, len(means)) * (rng.random(len(means)) < 0.3)
    mu = factors[:, None] * means * np.exp(np.outer(matrix[:, 2], change))
    return rng.poisson(mu * rng.gamma(1 / dispersion, dispersion, mu.shape)), factors


def tables() -> dict:
    """Counts, size factors and design by name: ordinary, of fifteen columns, sparse, and hard cases together."""
    rng = np.random.default_rng(5)
    small, wide = design(30), design(40, n_pools=13)
    ordinary = (*draw(small, rng.lognormal(3, 1, 40), 0.1), small)
    batches = (*draw(wide, rng.lognormal(3, 1, 20), 0.1), wide)
    counts, factors = draw(wide, rng.lognormal(-0.5, 1, 45), 0.3, seed=3)
    sparse = (counts[:, counts.any(axis=0)], factors, wide)
    hard, factors = draw(small, np.array([20.0, 20.0, 1e6, 1e4, 300.0, 5.0]), 0.2, seed=4)
    hard[:, 0] = 0
    hard[3, 0] = 7  # nothing but in one sample
    hard[:, 1] = 10 * factors.round()  # less scattered than Poisson
    hard[:, 4] = np.where(small[:, 1] > 0, hard[:, 4], 0)  # nothing in one sex
    hard[7, 5] = 100_000  # one sample far out
    return {"ordinary": ordinary, "batches": batches, "sparse": sparse, "hard": (hard, factors, small)}


TABLES = tables()


def starting_dispersions(counts: np.ndarray, factors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """As PyDESeq2 begins: the smaller of two rough estimates, between the bounds."""
    normalised = counts / factors[:, None]
    rough = THEIRS.fit_rough_dispersions(normalised, matrix)
    moments = THEIRS.fit_moments_dispersions(normalised, factors)
    return np.clip(np.minimum(rough, moments), MIN_DISP, max(10, len(counts)))


def dispersion_loss(counts, matrix, mu, alpha, *, center=None, variance=None) -> np.ndarray:
    """What dispersions minimise, by gene, written without large terms that cancel."""
    weights = mu / (1 + mu * alpha)
    loss = 0.5 * np.linalg.slogdet(np.einsum("sg,sa,sb->gab", weights, matrix, matrix))[1]
    for gene, column in enumerate(counts.T):
        a, m = alpha[gene], mu[:, gene]
        rising = np.concatenate([[0.0], np.cumsum(np.log1p(np.arange(column.max()) * a))])
        loss[gene] += ((column + 1 / a) * np.log1p(a * m) - column * np.log(m) - rising[column]).sum()
    if center is not None:
        loss += (np.log(alpha) - np.log(center)) ** 2 / (2 * variance)
    return loss


def analyse(counts: np.ndarray, matrix: np.ndarray, inference) -> tuple[pd.DataFrame, DeseqDataSet]:
    """DESeq2 from counts to p values, as the pipeline runs it."""
    index = [f"s{i}" for i in range(len(counts))]
    frame = pd.DataFrame(matrix, index=index, columns=[f"c{i}" for i in range(matrix.shape[1])])
    table = pd.DataFrame(counts, index=index, columns=[f"g{i}" for i in range(counts.shape[1])])
    dataset = DeseqDataSet(
        counts=table,
        metadata=frame[[]],
        design=frame,
        size_factors_fit_type="poscounts",
        inference=inference,
        quiet=True,
    )
    dataset.deseq2()
    test = DeseqStats(dataset, contrast=np.eye(matrix.shape[1])[2], inference=inference, quiet=True)
    test.summary()
    return test.results_df, dataset


@pytest.mark.filterwarnings("ignore:The dispersion trend curve")
@pytest.mark.parametrize("name", ["ordinary", "batches"])
def test_fold_changes_and_p_values_equal_pydeseq2(name):
    counts, _, matrix = TABLES[name]
    ours, theirs = analyse(counts, matrix, OURS)[0], analyse(counts, matrix, THEIRS)[0]
    np.testing.assert_allclose(ours["log2FoldChange"], theirs["log2FoldChange"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(np.log10(ours["pvalue"]), np.log10(theirs["pvalue"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", TABLES)
def test_coefficients_means_and_leverages_equal_pydeseq2_at_the_same_dispersion(name):
    counts, factors, matrix = TABLES[name]
    alpha = np.full(counts.shape[1], 0.1)
    ours = OURS.irls(counts, factors, matrix, alpha, 0.5, 1e-8)
    theirs = THEIRS.irls(counts, factors, matrix, alpha, 0.5, 1e-8)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-9)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9)
    np.testing.assert_allclose(ours[2], theirs[2], atol=1e-9)
    assert (ours[3] == theirs[3]).all()


@pytest.mark.parametrize("prior", [False, True], ids=["gene-wise", "with the prior"])
@pytest.mark.parametrize("name", TABLES)
def test_dispersions_equal_pydeseq2_or_are_as_likely(name, prior):
    counts, factors, matrix = TABLES[name]
    start = starting_dispersions(counts, factors, matrix)
    mu = THEIRS.irls(counts, factors, matrix, start, 0.5, 1e-8)[1]
    if prior:
        start = np.full(len(start), 0.15)
    extra = {"prior_disp_var": 0.5, "prior_reg": True} if prior else {}
    arguments = counts, matrix, mu, start, MIN_DISP, float(max(10, len(counts)))
    ours, theirs = OURS.alpha_mle(*arguments, **extra)[0], THEIRS.alpha_mle(*arguments, **extra)[0]
    by_prior = {"center": start, "variance": 0.5} if prior else {}
    loss, their_loss = (dispersion_loss(counts, matrix, mu, one, **by_prior) for one in (ours, theirs))
    # With a million counts the loss itself has rounding errors of 1e-6 and more.
    assert (loss <= their_loss + 1e-6 + 1e-13 * np.abs(their_loss)).all()
    # Below 1e-5 the likelihood is flat, and PyDESeq2's rounding decides where its search stops.
    clear = (theirs > 1e-5) & (loss > their_loss - 1e-9)
    np.testing.assert_allclose(np.log(ours[clear]), np.log(theirs[clear]), atol=1e-5)


def test_a_gene_no_more_scattered_than_poisson_keeps_the_lowest_dispersion():
    counts, factors, matrix = TABLES["sparse"]
    start = starting_dispersions(counts, factors, matrix)
    mu = OURS.irls(counts, factors, matrix, start, 0.5, 1e-8)[1]
    found, converged = OURS.alpha_mle(counts, matrix, mu, start, MIN_DISP, 40.0)
    at_bound = start == MIN_DISP
    assert at_bound.sum() > 5
    assert (found[at_bound] < 1.01 * MIN_DISP).all()
    assert converged[at_bound].all()


def test_a_failed_search_falls_back_on_pydeseq2s_grid(monkeypatch):
    counts, factors, matrix = TABLES["ordinary"]
    mu = OURS.irls(counts, factors, matrix, np.full(40, 0.1), 0.5, 1e-8)[1]
    expected = OURS.alpha_mle(counts, matrix, mu, np.full(40, 0.1), MIN_DISP, 30.0)[0]
    kernel = deseq_fits._fit_dispersions

    def failing(*arguments):
        found, losses, converged = kernel(*arguments[:-1], False)  # ends where it starts
        return found, losses, converged & ~arguments[-1]

    monkeypatch.setattr(deseq_fits, "_fit_dispersions", failing)
    found, converged = OURS.alpha_mle(counts, matrix, mu, np.full(40, 0.1), MIN_DISP, 30.0)
    assert not converged.any()
    clear = expected > 1e-3
    np.testing.assert_allclose(np.log(found[clear]), np.log(expected[clear]), atol=0.005)  # the grid's step is .0044
    assert (found[~clear] < 0.1).all()


def test_a_diverging_gene_is_fitted_by_pydeseq2_itself():
    counts, factors, matrix = TABLES["ordinary"]
    arguments = counts[:, :5], factors, matrix, np.full(5, 0.1), 0.5, 1e-8
    # As if 2 were too large for a coefficient: four of the five have a larger intercept.
    ours, theirs = (one.irls(*arguments, max_beta=2.0, min_beta=-2.0) for one in (OURS, THEIRS))
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_a_design_without_full_rank_gives_pydeseq2s_coefficients():
    counts, factors, matrix = TABLES["ordinary"]
    double = np.column_stack([matrix, matrix[:, 1]])
    ours, theirs = (one.irls(counts, factors, double, np.full(40, 0.1), 0.5, 1e-8) for one in (OURS, THEIRS))
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    np.testing.assert_allclose(ours[0][:, 2], theirs[0][:, 2], atol=1e-5)


def test_groups_alone_start_from_the_means_of_a_linear_model():
    counts, factors, matrix = TABLES["hard"]
    ours, theirs = (one.lin_reg_mu(counts, factors, matrix[:, :2], 0.5) for one in (OURS, THEIRS))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("alternative", [None, "greaterAbs", "lessAbs", "greater", "less"])
def test_wald_statistics_equal_pydeseq2_for_every_alternative(alternative):
    counts, factors, matrix = TABLES["batches"]
    alpha = np.full(counts.shape[1], 0.1)
    beta, mu = OURS.irls(counts, factors, matrix, alpha, 0.5, 1e-8)[:2]
    beta[3], mu = np.nan, mu.copy()
    mu[:, 3] = np.nan  # a gene without counts
    contrast = np.eye(matrix.shape[1])[2] - 0.5 * np.eye(matrix.shape[1])[4]
    ridge = 1e-6 * np.eye(matrix.shape[1])
    arguments = matrix, alpha, beta, mu, ridge, contrast, 0.1, alternative
    ours, theirs = OURS.wald_test(*arguments), THEIRS.wald_test(*arguments)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["ordinary", "sparse"])
def test_shrunken_fold_changes_are_as_likely_as_pydeseq2s(name):
    counts, factors, matrix = TABLES[name]
    counts = counts[:, :12]
    size, scale = np.full(counts.shape[1], 8.0), 0.2
    arguments = matrix, counts, size, np.log(factors), 15, scale, "L-BFGS-B", 2
    ours, theirs = (one.lfc_shrink_nbinom_glm(*arguments) for one in (OURS, THEIRS))
    assert ours[2].all()
    for gene in range(counts.shape[1]):
        model = matrix, counts[:, gene], size[gene], np.log(factors), 15, scale, 2
        assert utils.nbinomFn(ours[0][gene], *model) <= utils.nbinomFn(theirs[0][gene], *model) + 1e-8
    np.testing.assert_allclose(ours[0][:, 2], theirs[0][:, 2], atol=0.02)


def test_a_gene_has_the_same_bytes_alone_and_among_others(monkeypatch):
    counts, factors, matrix = TABLES["batches"]
    alpha = starting_dispersions(counts, factors, matrix)
    monkeypatch.setattr(deseq_fits, "BLOCK", 7)
    together = OURS.irls(counts, factors, matrix, alpha, 0.5, 1e-8)
    dispersions = OURS.alpha_mle(counts, matrix, together[1], alpha, MIN_DISP, 40.0)[0]
    for gene in (0, 6, 7, 19):
        one = slice(gene, gene + 1)
        alone = OURS.irls(counts[:, one], factors, matrix, alpha[one], 0.5, 1e-8)
        assert alone[0].tobytes() == together[0][one].tobytes()
        assert OURS.alpha_mle(counts[:, one], matrix, alone[1], alpha[one], MIN_DISP, 40.0)[0] == dispersions[gene]


def test_results_have_the_same_bytes_with_one_and_two_threads():
    counts, _, matrix = TABLES["ordinary"]
    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            results.append(analyse(counts, matrix, OURS)[0].to_numpy().tobytes())
    assert results[0] == results[1]


def test_a_table_of_two_genes_can_be_fitted():
    counts, _, matrix = TABLES["ordinary"]
    result, dataset = analyse(counts[:, :2], matrix, OURS)
    assert np.isfinite(result["pvalue"]).all()
    assert (dataset.var["dispersions"] >= MIN_DISP).all()


def test_a_table_that_is_fitted_sooner_than_the_kernels_compile_is_left_to_pydeseq2():
    few = COMPILED_FROM_COEFFICIENTS - 1
    assert type(deseq_inference(COMPILED_FROM_GENES - 1, few)) is DefaultInference
    assert isinstance(deseq_inference(COMPILED_FROM_GENES, few), deseq_fits.CompiledInference)
    assert isinstance(deseq_inference(2, COMPILED_FROM_COEFFICIENTS), deseq_fits.CompiledInference)


def test_another_optimiser_than_the_default_is_refused():
    counts, _, matrix = TABLES["ordinary"]
    with pytest.raises(ValueError, match="only 'L-BFGS-B'"):
        OURS.alpha_mle(counts, matrix, counts + 1.0, np.full(40, 0.1), MIN_DISP, 30.0, optimizer="BFGS")
