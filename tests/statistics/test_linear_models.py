"""Weighted linear models of all genes at once equal those of pylimma."""

import numpy as np

from immune_aging.statistics.linear_models import weighted_fits, whitening


def test_least_squares_of_all_genes_at_once_are_pylimmas():
    import pylimma

    rng = np.random.default_rng(0)
    expression, weights = rng.normal(size=(300, 20)), rng.uniform(0.5, 3, (300, 20))
    matrix = np.column_stack([np.ones(20), rng.integers(0, 2, 20), rng.normal(size=20)])
    block = np.repeat(["a", "b", "c", "d"], 5)
    for options, whiten in (({}, None), ({"block": block, "correlation": 0.3}, whitening(block, 0.3))):
        theirs = pylimma.lm_fit({"E": expression, "weights": weights}, matrix, **options)
        ours = weighted_fits(expression, weights, matrix, whiten=whiten)
        for name in ("coefficients", "stdev_unscaled", "sigma", "df_residual"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, err_msg=name)
