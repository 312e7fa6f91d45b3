"""Cells placed by the cells of a sketch: their neighbours there, by these their position on the map and clusters."""

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np
import pandas as pd

from immune_aging.embedding.fuzzy_graph import memberships
from immune_aging.embedding.neighbors import (
    BLOCK,
    MARGIN,
    RECALL_SAMPLE,
    Lists,
    divided,
    exact_candidates,
    faiss_for_every_processor,
    listed_candidates,
    nearest,
    neighbourhood,
    width_for,
)

MEDIAN_STEPS, MEDIAN_TOLERANCE = 50, 1e-3  # of the map's units, far below a pixel


@dataclass(frozen=True)
class Sketch:
    """What is known of the sketch's cells.

    Attributes
    ----------
    cell_ids
        Their names.
    components
        Cells x dimensions, 32 bits: where neighbours are searched.
    positions
        Cells x 2, on the map.
    clusters
        By resolution, the number of the cluster of each cell.
    """

    cell_ids: pd.Index
    components: np.ndarray
    positions: np.ndarray
    clusters: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SearchIndex:
    """The sketch's cells (cells x dimensions, 32 bits), and the lists in which to search; None where all are."""

    points: np.ndarray
    lists: Lists | None = None
    width: int = 0


def search_index(points: np.ndarray, k: int, *, exact_cells: int, min_recall: float, seed: int) -> SearchIndex:
    """How the k nearest of `points` are to be found: as `find_neighbors` finds those of these points themselves."""
    if len(points) <= exact_cells:
        return SearchIndex(points)
    sample = np.sort(np.random.default_rng(seed).choice(len(points), min(RECALL_SAMPLE, len(points)), replace=False))
    truth, _ = nearest(points, sample, exact_candidates(points, sample, k + MARGIN), k)
    lists = divided(points, seed=seed)
    return SearchIndex(points, lists, width_for(points, lists, truth, min_recall))


def _by_distance(asked: np.ndarray, points: np.ndarray, found: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k candidates nearest to each point asked for, by distance, then by row; infinitely far where none is."""
    found = np.sort(found, axis=1)
    difference = points[found] - asked[:, None, :]
    distance = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))
    distance[found < 0] = np.inf
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(distance, order, axis=1)


def nearest_in_sketch(
    asked: np.ndarray, index: SearchIndex, k: int, *, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The k cells of the sketch nearest to each of other cells.

    Parameters
    ----------
    asked
        Cells x dimensions, 32 bits.
    threads
        Change nothing in the result.

    Returns
    -------
    Rows of the sketch and Euclidean distances, cells x k, nearest first.
    """
    faiss, points = faiss_for_every_processor(), index.points
    n_candidates = min(k + MARGIN, len(points))
    found = None
    if index.lists is not None:
        found = listed_candidates(points, index.lists, width=index.width, n=n_candidates, threads=threads, asked=asked)
    rows, distances = np.empty((len(asked), k), dtype=np.int32), np.empty((len(asked), k), dtype=np.float32)
    for start in range(0, len(asked), BLOCK):
        block = slice(start, start + BLOCK)
        candidates = faiss.knn(asked[block], points, n_candidates)[1] if found is None else found[block]
        rows[block], distances[block] = _by_distance(asked[block], points, candidates, k)
    few = np.flatnonzero(~np.isfinite(distances).all(axis=1))
    if len(few):  # cells in lists too short to hold k
        rows[few], distances[few] = _by_distance(asked[few], points, faiss.knn(asked[few], points, n_candidates)[1], k)
    return rows, distances


def neighbour_weights(distances: np.ndarray) -> np.ndarray:
    """How much each neighbour counts for a cell, by UMAP's membership; cells x k.

    Parameters
    ----------
    distances
        Cells x k, ascending, of other cells than the cell itself.
    """
    with_itself = np.concatenate([np.zeros((len(distances), 1), dtype=np.float32), distances], axis=1)
    return memberships(with_itself, 0.0)


def voted_clusters(rows: np.ndarray, weights: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The cluster that most of a cell's neighbours are in, by weight; of equals the one with the lowest number.

    Parameters
    ----------
    rows, weights
        Cells x k: rows of the sketch, and how much each counts.
    clusters
        Number of the cluster of each cell of the sketch, shape (cells of the sketch,).
    """
    return _voted(rows, weights, clusters, int(clusters.max()) + 1)


def place(
    cell_ids: pd.Series,
    components: np.ndarray,
    sketch: Sketch,
    *,
    n_neighbors: int,
    exact_cells: int,
    min_recall: float,
    seed: int,
    threads: int = 1,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Where cells are on the sketch's map, and in which of its clusters.

    A cell of the sketch keeps its position and clusters. Another takes its position from its nearest neighbours in the
    sketch by their median, its clusters from theirs by vote.

    Parameters
    ----------
    components
        Cells x dimensions, 32 bits, as the sketch's.
    n_neighbors
        Including the cell itself.
    exact_cells, min_recall, seed
        As of `search_index`.

    Returns
    -------
    Positions, cells x 2, 32 bits; by resolution the number of each cell's cluster.
    """
    own = sketch.cell_ids.get_indexer(cell_ids)
    of_sketch = own >= 0
    k = neighbourhood(n_neighbors, len(sketch.cell_ids)) - 1
    points = np.ascontiguousarray(sketch.components)
    index = search_index(points, k, exact_cells=exact_cells, min_recall=min_recall, seed=seed)
    rows, distances = nearest_in_sketch(np.ascontiguousarray(components[~of_sketch]), index, k, threads=threads)
    weights = neighbour_weights(distances)
    positions = np.zeros((len(own), 2), dtype=np.float32)
    positions[of_sketch] = sketch.positions[own[of_sketch]]
    positions[~of_sketch] = median_positions(rows, weights, sketch.positions)
    clusters = {}
    for resolution, numbers in sketch.clusters.items():
        clusters[resolution] = np.zeros(len(own), dtype=np.int64)
        clusters[resolution][of_sketch] = numbers[own[of_sketch]]
        clusters[resolution][~of_sketch] = voted_clusters(rows, weights, numbers)
    return positions, clusters


@numba.njit(cache=True, nogil=True)
def _voted(rows: np.ndarray, weights: np.ndarray, clusters: np.ndarray, n_clusters: int) -> np.ndarray:
    result = np.empty(len(rows), dtype=np.int64)
    for i in range(len(rows)):
        votes = np.zeros(n_clusters)
        for j in range(rows.shape[1]):
            votes[clusters[rows[i, j]]] += weights[i, j]
        result[i] = votes.argmax()
    return result


@numba.njit(cache=True, nogil=True)
def median_positions(rows: np.ndarray, weights: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The weighted geometric median of each cell's neighbours on the map, by Weiszfeld's iterations.

    A mean would put a cell of which a few neighbours lie on another island into the sea between the two.

    Parameters
    ----------
    rows, weights
        Cells x k: rows of the sketch, and how much each counts.
    positions
        Cells of the sketch x 2.

    Returns
    -------
    Cells x 2, 32 bits.
    """
    result = np.empty((len(rows), 2), dtype=np.float32)
    for i in range(len(rows)):
        x, y, total = 0.0, 0.0, 0.0
        for j in range(rows.shape[1]):
            x += weights[i, j] * positions[rows[i, j], 0]
            y += weights[i, j] * positions[rows[i, j], 1]
            total += weights[i, j]
        x, y = x / total, y / total
        for _ in range(MEDIAN_STEPS):
            near_x, near_y, near = 0.0, 0.0, 0.0
            for j in range(rows.shape[1]):
                at_x, at_y = positions[rows[i, j], 0], positions[rows[i, j], 1]
                share = weights[i, j] / max(np.sqrt((at_x - x) ** 2 + (at_y - y) ** 2), MEDIAN_TOLERANCE)
                near_x += share * at_x
                near_y += share * at_y
                near += share
            moved = np.sqrt((near_x / near - x) ** 2 + (near_y / near - y) ** 2)
            x, y = near_x / near, near_y / near
            if moved < MEDIAN_TOLERANCE:
                break
        result[i, 0], result[i, 1] = x, y
    return result


def renumbered(sizes: np.ndarray) -> np.ndarray:
    """New number of each cluster, 0 the largest; of equals the one with the lower number comes first."""
    numbers = np.empty(len(sizes), dtype=np.int64)
    numbers[np.lexsort([np.arange(len(sizes)), -sizes])] = np.arange(len(sizes))
    return numbers
