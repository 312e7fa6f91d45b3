"""Genes with few counts are not tested."""

import numpy as np

from immune_aging.statistics.designs import build_design
from immune_aging.statistics.expressed_genes import expressed_genes
from inputs.statistics_inputs import simulate_samples


def test_low_counts_are_filtered_as_edger_does():
    adata, _ = simulate_samples(n_donors=30, depth=6)
    counts, matrix = adata.X.toarray(), build_design(adata.obs).matrix
    x = matrix.to_numpy()
    leverage = np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x)
    n_min = 1 / leverage.max()
    n_min = min(10 + (n_min - 10) * 0.7 if n_min > 10 else n_min, 40)
    library = counts.sum(axis=1)
    cpm = counts / library[:, None] * 1e6
    enough = (cpm >= 5 / np.median(library) * 1e6).sum(axis=0) >= n_min - 1e-9
    expected = enough & (counts.sum(axis=0) >= 15)
    assert 50 < expected.sum() < 350
    np.testing.assert_array_equal(expressed_genes(counts, matrix), expected)
