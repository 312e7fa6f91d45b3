"""Log rates of shallow samples are not shifted by the depth that they have."""

import numpy as np
import pytest

from depth import log_rates, mean_rates
from immune_aging.prediction.age_features import log_cpm


def test_a_gene_at_its_mean_has_its_mean_at_any_depth_and_no_counts_mean_the_training_mean():
    train = np.array([[100, 900], [300, 2700]])
    rates = mean_rates(train)
    assert np.allclose(log_rates(train, rates), np.log2([1e5, 9e5]))
    assert np.allclose(log_rates(np.zeros((1, 2)), rates), np.log2([1e5, 9e5]))


@pytest.mark.parametrize("share", [0.1, 0.02])
def test_thinning_moves_the_mean_over_genes_of_voom_but_not_of_log_rates(share):
    rng = np.random.default_rng(0)
    rates = rng.dirichlet(np.full(800, 0.7))
    counts = rng.poisson(20_000 * rates, size=(40, 800))
    kept = counts.mean(axis=0) >= 5
    rates = mean_rates(counts)[kept]
    thin, library = rng.binomial(counts, share), counts.sum(axis=1)
    own = np.column_stack([counts[:, kept], library - counts[:, kept].sum(axis=1)])  # the last column: all other genes
    thinned = np.column_stack([thin[:, kept], thin.sum(axis=1) - thin[:, kept].sum(axis=1)])
    rates = np.append(rates, 1 - rates.sum())
    shift = {
        "voom": (log_cpm(thinned) - log_cpm(own)).mean(),
        "rates": (log_rates(thinned, rates) - log_rates(own, rates)).mean(),
    }
    assert abs(shift["rates"]) < 0.15
    if share < 0.05:
        assert abs(shift["voom"]) > 0.5
