"""Weights of the graph of neighbours: scanpy's and umap-learn's numbers, and what UMAP's definition says of them."""

import functools

import anndata
import numpy as np
import pytest
import scanpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from immune_aging.embedding.fuzzy_graph import connectivities, memberships
from immune_aging.embedding.neighbors import distance_matrix, find_neighbors
from small_cohorts import clouds


def neighbors_of(points, k):
    indices, distances, _ = find_neighbors(points, k, exact_cells=10**9, min_recall=0.98, seed=0)
    return indices, distances


@functools.cache  # and umap-learn imported where it is used: compiling either is no part of collecting tests
def graph():
    """Points, their neighbours, distances and weights."""
    points = clouds()
    indices, distances = neighbors_of(points, 15)
    return points, indices, distances, connectivities(indices, distances)


def test_weights_are_scanpys_to_the_last_bit_for_the_same_neighbours():
    points, neighbors, lengths, weights = graph()

    class Given:
        """A transformer that hands scanpy these neighbours."""

        def __init__(self, **kwargs):
            self.kwargs = kwargs

        def get_params(self, deep=True):
            return {"n_neighbors": 15}

        def fit_transform(self, _):
            indptr = np.arange(len(neighbors) + 1) * 15
            return sparse.csr_matrix((lengths.ravel(), neighbors.ravel(), indptr), shape=(len(neighbors),) * 2)

    cohort = anndata.AnnData(np.zeros((len(points), 1), dtype=np.float32), obsm={"X_h": points})
    scanpy.pp.neighbors(cohort, n_neighbors=15, use_rep="X_h", transformer=Given())
    theirs = sparse.csr_matrix(cohort.obsp["connectivities"])
    theirs.sort_indices()
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(weights, part), getattr(theirs, part))
    assert weights.dtype == theirs.dtype == np.float32
    assert abs(distance_matrix(neighbors, lengths) - cohort.obsp["distances"]).max() == 0


@pytest.mark.parametrize("k", [2, 3, 30])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_weights_are_umap_learns_to_the_last_bit_at_any_scale(k, scale):
    points = (clouds(cells=700, seed=k) * scale).astype(np.float32)
    indices, distances = neighbors_of(points, k)
    given = {"knn_indices": indices, "knn_dists": distances}
    import umap.umap_

    theirs, _, _ = umap.umap_.fuzzy_simplicial_set(sparse.coo_matrix((700, 1)), k, None, None, **given)
    np.testing.assert_array_equal(connectivities(indices, distances).toarray(), theirs.toarray())


def test_weights_are_umap_learns_where_many_cells_are_at_one_place():
    """Its bandwidth is a thousandth of a mean there, which it adds up in 32 bits and any order: equal to rounding."""
    points = np.random.default_rng(0).integers(0, 3, (800, 4)).astype(np.float32)
    indices, distances = neighbors_of(points, 20)
    given = {"knn_indices": indices, "knn_dists": distances}
    import umap.umap_

    theirs, _, _ = umap.umap_.fuzzy_simplicial_set(sparse.coo_matrix((800, 1)), 20, None, None, **given)
    np.testing.assert_allclose(connectivities(indices, distances).toarray(), theirs.toarray(), rtol=1e-5, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40))
def test_memberships_sum_up_to_the_logarithm_of_the_neighbours(seed, k):
    """What the bandwidth is for; the nearest belongs entirely, and none less than a nearer one."""
    steps = np.random.default_rng(seed).uniform(0.2, 1, (20, k)).astype(np.float32)
    distances = np.cumsum(steps, axis=1) - steps[:, :1]
    found = memberships(distances, float(distances.mean()))
    assert (found[:, 0] == 1).all() and (np.diff(found, axis=1) <= 0).all() and found.min() > 0
    np.testing.assert_allclose(found.sum(axis=1), np.log2(k), atol=1e-4)


def test_weights_are_symmetric_and_no_cell_has_one_with_itself():
    weights = graph()[-1]
    assert abs(weights - weights.T).max() == 0
    assert weights.data.min() > 0 and weights.data.max() <= 1
    assert weights.diagonal().sum() == 0
    assert np.diff(weights.indptr).min() >= 14


def test_a_pair_weighs_as_much_as_either_of_two_independent_memberships():
    indices = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0]])
    distances = np.array([[0, 1, 2], [0, 1, 1.5], [0, 1.5, 2]], dtype=np.float32)
    one_way = memberships(distances, float(distances.mean()))
    a, b = one_way[1, 1], one_way[2, 0]
    assert connectivities(indices, distances)[1, 2] == pytest.approx(a + b - a * b, rel=1e-6)


def test_arguments_stay_as_they_are():
    _, neighbors, lengths, _ = graph()
    indices, distances = neighbors.copy(), lengths.copy()
    connectivities(indices, distances)
    np.testing.assert_array_equal(indices, neighbors)
    np.testing.assert_array_equal(distances, lengths)
