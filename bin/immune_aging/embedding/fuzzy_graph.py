"""The weights of a graph of neighbours by UMAP: a fuzzy union of what each cell thinks of its neighbours.

McInnes et al. 2018, doi:10.48550/arXiv.1802.03426, algorithms 2 and 3, in umap-learn's precision (0.5,
`fuzzy_simplicial_set`), whose numbers these are.
"""

# Own code: umap-learn takes .9 of 6 CPU s to import, and up to 14 where pynndescent compiles.

import numba
import numpy as np
from scipy import sparse

# umap-learn's own constants
BISECTIONS, TOLERANCE = 64, 1e-5
LEAST_BANDWIDTH = 1e-3  # of a cell's mean distance to its neighbours; of all cells' mean where all its own are 0


@numba.njit(cache=True, nogil=True)
def _bandwidth(beyond: np.ndarray, target: float) -> float:
    """The scale at which memberships of neighbours that far beyond the nearest sum up to `target`, by bisection."""
    low, high, middle = 0.0, np.inf, 1.0
    for _ in range(BISECTIONS):
        total = 0.0
        for distance in beyond:
            total += np.exp(-(distance / middle))
        if abs(total - target) < TOLERANCE:
            break
        if total > target:
            high = middle
        else:
            low = middle
        middle = 2 * middle if np.isinf(high) else (low + high) / 2
    return middle


@numba.njit(cache=True, nogil=True)
def memberships(distances: np.ndarray, mean_distance: float) -> np.ndarray:
    """How much each neighbour belongs to a cell: 1 for the nearest, less the farther it is.

    Parameters
    ----------
    distances
        Cells x k, ascending, 32 bits; the first column is the cell itself.
    mean_distance
        Of all distances.

    Returns
    -------
    Cells x (k - 1), 32 bits: of the neighbours without the cell itself.
    """
    n_cells, k = distances.shape
    result = np.empty((n_cells, k - 1), dtype=np.float32)
    for i in range(n_cells):
        nearest = np.float32(0)
        for distance in distances[i]:
            if distance > 0:
                nearest = distance
                break
        beyond = np.maximum(distances[i, 1:] - nearest, np.float32(0))
        around = distances[i].mean() if nearest > 0 else mean_distance
        bandwidth = np.float32(max(_bandwidth(beyond, np.log2(k)), LEAST_BANDWIDTH * around))
        for j in range(k - 1):
            result[i, j] = np.exp(-(beyond[j] / bandwidth)) if beyond[j] > 0 else np.float32(1)
    return result


def connectivities(indices: np.ndarray, distances: np.ndarray) -> sparse.csr_matrix:
    """Weights of the edges: those of scanpy's `pp.neighbors` for the same neighbours.

    A neighbour of a that has a as its neighbour too gets the probability that at least one of the two memberships
    holds, a + b - ab.

    Parameters
    ----------
    indices, distances
        Cells x k, the cell itself first, ascending; distances in 32 bits.

    Returns
    -------
    Cells x cells, symmetric, 32 bits, sorted; cells whose membership is 0 in 32 bits are left out.
    """
    n_cells, k = indices.shape
    values = memberships(distances, float(distances.mean(dtype=np.float64)))
    indptr = np.arange(n_cells + 1, dtype=np.int64) * (k - 1)
    one_way = sparse.csr_matrix((values.ravel(), indices[:, 1:].ravel(), indptr), shape=(n_cells, n_cells))
    one_way.eliminate_zeros()
    other_way = one_way.T.tocsr()
    graph = one_way + other_way - one_way.multiply(other_way)
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph
