"""Clusters by the Leiden algorithm."""

import numpy as np
from scipy import sparse


class SeededNumbers:
    """The random numbers that igraph asks for, from numpy's legacy generator as scanpy takes them."""

    def __init__(self, seed: int):
        self._random = np.random.RandomState(seed)
        self.random, self.gauss = self._random.random_sample, self._random.normal

    def getrandbits(self, n_bits: int) -> int:
        return self._random.tomaxint() & ((1 << n_bits) - 1)

    def randint(self, low: int, high: int) -> int:
        return self._random.randint(low, high + 1)


def edges_of(graph: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Edges (n x 2) and weights of a symmetric graph, each edge once.

    Weights are doubled: scanpy hands each edge over twice, and Leiden's refinement depends on the scale of
    weights.
    """
    upper = sparse.triu(graph, k=1, format="coo")
    return np.column_stack([upper.row, upper.col]), 2 * upper.data.astype(np.float64)


def by_size(membership: np.ndarray) -> np.ndarray:
    """Renumber clusters from the largest, 0; of equals the one with the first cell comes first."""
    _, first, inverse, size = np.unique(membership, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort([first, -size])
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return number[inverse]


def leiden(graph: sparse.csr_matrix, *, resolution: float, n_iterations: int, seed: int) -> tuple[np.ndarray, float]:
    """Clusters of a weighted, undirected graph by modularity.

    Parameters
    ----------
    graph
        Connectivities, cells x cells, symmetric.
    resolution
        Higher gives more clusters.
    n_iterations
        Of the whole algorithm.
    seed
        One seed is one partition.

    Returns
    -------
    Number of each cell's cluster, 0 the largest; and the modularity (at resolution 1) of the partition.
    """
    import random

    import igraph

    edges, weights = edges_of(graph)
    network = igraph.Graph(n=graph.shape[0], edges=edges, directed=False)
    igraph.set_random_number_generator(SeededNumbers(seed))
    try:
        found = network.community_leiden(
            objective_function="modularity", weights=weights, resolution=resolution, n_iterations=n_iterations
        )
    finally:
        igraph.set_random_number_generator(random)
    return by_size(np.asarray(found.membership)), float(network.modularity(found.membership, weights=weights))
