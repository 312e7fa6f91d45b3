"""Doublet scores: the scrublet package's own to the last bit, its threshold skimage's."""

import warnings

import numpy as np
import pytest
import scrublet
from scipy import sparse
from skimage.filters import threshold_minimum

from immune_aging.cells import doublets
from immune_aging.task.command_line import limit_threads


def donor(seed, *, cells=150, genes=900, types=3):
    """Counts of one donor (CSR, 16 bits): cell types with their own genes, and a few true doublets."""
    random = np.random.default_rng(seed)
    means = random.gamma(0.3, 1.5, genes) * np.where(random.random((types, genes)) < 0.1, 8, 1)
    counts = random.poisson(means[random.integers(0, types, cells)] * random.uniform(0.5, 2, cells)[:, None])
    counts[: cells // 15] += counts[-(cells // 15) :]
    return sparse.csr_matrix(counts.astype(np.uint16))


def packages_own(counts, seed):
    """Scores and calls of scrublet 0.2.3 with exact neighbours."""
    with warnings.catch_warnings(), limit_threads(1):
        warnings.simplefilter("ignore")
        reference = scrublet.Scrublet(
            sparse.csc_matrix(counts.astype(np.float64)), expected_doublet_rate=0.06, random_state=seed
        )
        scores, calls = reference.scrub_doublets(use_approx_neighbors=False, verbose=False)
    return reference, scores, calls


@pytest.mark.parametrize("seed", range(6))
def test_scores_threshold_and_calls_are_the_packages_own(seed):
    counts = donor(seed, cells=120 + 60 * seed, types=1 + seed % 4)
    reference, scores, calls = packages_own(counts, seed)
    with limit_threads(1):
        ours = doublets.score_doublets(counts, expected_rate=0.06, seed=seed)
    np.testing.assert_array_equal(ours.cells, scores)
    np.testing.assert_array_equal(ours.simulated, reference.doublet_scores_sim_)
    if calls is None:
        assert ours.threshold is None and ours.calls is None
    else:
        assert ours.threshold == reference.threshold_
        np.testing.assert_array_equal(ours.calls, calls)


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_skimages(seed):
    random = np.random.default_rng(seed)
    scores = np.concatenate([random.beta(2, 30, 400), random.beta(20, 30, random.integers(1, 300))])
    if seed % 3 == 0:
        scores = np.round(scores, 2)  # few levels, as scores of few neighbours have
    try:
        expected = threshold_minimum(scores)
    except RuntimeError:
        expected = None
    assert doublets.threshold_between_modes(scores) == expected


def test_some_of_these_thresholds_exist_and_one_mode_has_none():
    random = np.random.default_rng(0)
    two = np.concatenate([random.beta(2, 30, 400), random.beta(20, 30, 300)])
    assert 0.1 < doublets.threshold_between_modes(two) < 0.4
    falling = np.repeat(np.linspace(0, 1, doublets.HISTOGRAM_BINS), np.arange(doublets.HISTOGRAM_BINS, 0, -1))
    assert doublets.threshold_between_modes(falling) is None


def test_doublets_of_two_types_score_higher_than_their_parents():
    counts = donor(3, cells=400, types=2).toarray()
    random = np.random.default_rng(0)
    pairs = random.choice(400, (20, 2), replace=False)
    mixed = np.concatenate([counts, counts[pairs[:, 0]] + counts[pairs[:, 1]]])
    scores = doublets.score_doublets(sparse.csr_matrix(mixed), expected_rate=0.06, seed=0).cells
    assert np.median(scores[400:]) > 2 * np.median(scores[:400])


def test_too_few_variable_genes_are_refused_and_few_take_fewer_components():
    counts = donor(1, cells=200, genes=40)
    with pytest.raises(ValueError, match="variable genes are too few for 10 components"):
        doublets.score_doublets(counts, expected_rate=0.06, seed=0)
    few = donor(1, cells=200, genes=220)
    n_genes = len(doublets.variable_genes(sparse.csc_matrix(few, dtype=float), few.sum(axis=1).A1.astype(float)))
    assert 10 < n_genes <= 30
    assert np.isfinite(doublets.score_doublets(few, expected_rate=0.06, seed=0).cells).all()
