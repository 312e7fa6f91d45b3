"""Samples that do not belong with the others are told by their residuals alone."""

import numpy as np

from immune_aging.statistics.designs import build_design
from immune_aging.statistics.sample_outliers import are_outliers, residual_ratios
from inputs.statistics_inputs import simulate_samples


def test_low_depth_or_an_extreme_age_makes_no_outlier():
    adata, _ = simulate_samples(n_donors=60)
    counts = adata.X.toarray()[:, :360]
    counts[5] = np.random.default_rng(1).binomial(counts[5].astype(int), 0.1)
    obs = adata.obs.copy()
    obs.loc[obs.index[9], "age_years"] = 120.0
    assert not are_outliers(residual_ratios(counts, build_design(obs).matrix)).any()
