"""What is expected of called genes is what they truly are, and what another study of the same genes finds."""

import numpy as np
import pytest
from scipy.stats import norm

from immune_aging.statistics.effect_shrinkage import mixture_weights, shrink


def study(*, null: float, spread: float, seed: int, n: int = 8000):
    """True effects, their estimates and the errors, as of a study of 100 donors."""
    rng = np.random.default_rng(seed)
    true = np.where(rng.random(n) < null, 0.0, rng.normal(0, spread, n))
    se = np.exp(rng.normal(np.log(0.05), 0.4, n))
    return true, true + rng.normal(0, se), se, rng


@pytest.mark.parametrize(("null", "spread"), [(0.9, 0.2), (0.5, 0.05), (0.0, 0.03)])
def test_called_genes_are_as_large_as_expected_though_their_estimates_are_larger(null, spread):
    rows = []
    for seed in range(4):
        true, effect, se, rng = study(null=null, spread=spread, seed=seed)
        posterior = shrink(effect, se)
        called = np.abs(effect / se) > 3
        other_se = 1.5 * se
        again = np.sign(effect) * (true + rng.normal(0, other_se))
        found = again / other_se > norm.isf(0.05)
        chance = signed_chance(posterior, effect, other_se)
        sizes = [(np.sign(effect) * values)[called].mean() for values in (effect, posterior.expected, true)]
        rows.append([*sizes, found[called].mean(), chance[called].mean(), called.sum()])
    size, expected, truth, found, chance, n_called = np.mean(rows, axis=0)
    assert size > 1.1 * truth, "the winner's curse is there"
    assert abs(expected - truth) < 0.15 * truth
    assert abs(found - chance) < 3 * np.sqrt(0.25 / (len(rows) * n_called))


def signed_chance(posterior, effect, other_se):
    """How probable it is that a study with these errors finds each gene at one-sided p < .05 with the same sign."""
    bound = norm.isf(0.05) * other_se
    up = posterior.chance_above(bound, other_se)
    down = 1 - posterior.chance_above(-bound, other_se)
    return np.where(effect > 0, up, down)


def test_effects_of_chance_alone_are_expected_to_be_none():
    _, effect, se, _ = study(null=1.0, spread=1.0, seed=2)
    called = np.abs(effect / se) > 3
    assert np.abs(effect[called]).mean() > 0.15 and np.abs(shrink(effect, se).expected[called]).mean() < 0.01


def test_a_normal_prior_gives_the_textbook_posterior():
    """All true effects from N(0, 0.2^2): the mean is the estimate times 0.04 / (0.04 + se^2)."""
    _, effect, se, _ = study(null=0.0, spread=0.2, seed=3)
    wanted = effect * 0.04 / (0.04 + se**2)
    assert np.corrcoef(shrink(effect, se).expected, wanted)[0, 1] > 0.999
    assert np.abs(shrink(effect, se).expected - wanted).max() < 0.08


def test_the_weights_are_those_of_two_distributions_far_apart():
    log_density = np.log(np.array([[1, 1e-12]] * 300 + [[1e-12, 1]] * 100))
    np.testing.assert_allclose(mixture_weights(log_density), [0.75, 0.25], atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_few_genes_are_no_error(n):
    posterior = shrink(np.full(n, 0.3), np.full(n, 0.1))
    assert len(posterior.expected) == n and np.isfinite(posterior.expected).all()
