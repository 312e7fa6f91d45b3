"""Nearest neighbours of each cell."""

# Own code: faiss's inverted file takes 7.7 CPU s for 82,000 cells, these lists 3.3.

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import numba
import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist

from immune_aging.task.command_line import Progress, limit_threads

MARGIN = 10  # candidates beyond k, so that rounding in their distances cannot lose a neighbour
RECALL_SAMPLE = 1000
BLOCK = 8192  # cells searched at a time
LISTS_PER_ROOT = 1  # measured on 82,000 and 1,025,706 cells x 40 at a recall of .985: 2 cost 1.4 and 1.0 times as much
POINTS_PER_LIST = 64  # for k-means: more does not raise the recall
PRODUCT = 4096  # points on either side of a product of matrices: 64 MB at most


@dataclass(frozen=True)
class Lists:
    """Points divided by k-means."""

    order: np.ndarray  # rows of the points, list after list
    starts: np.ndarray  # where each list begins in `order`, and the end
    centres: np.ndarray  # lists x dimensions


def faiss_for_every_processor() -> ModuleType:
    """faiss, without what only processors with AVX-512 have: their distances have other last bits."""
    import faiss

    if faiss.SIMDConfig.get_level_name().startswith("AVX512"):
        faiss.SIMDConfig.set_level(faiss.SIMDLevel_AVX2)
    return faiss


def neighbourhood(n_neighbors: int, n_cells: int) -> int:
    """How many neighbours each cell gets, itself included: scanpy's rule for cohorts smaller than a neighbourhood."""
    return n_neighbors if n_neighbors <= n_cells else 1 + n_cells // 2


def divided(points: np.ndarray, *, seed: int) -> Lists:
    """Divide points (n x dimensions, 32 bits) into lists of near ones."""
    faiss = faiss_for_every_processor()
    n_points, n_dimensions = points.shape
    n_lists = int(LISTS_PER_ROOT * np.sqrt(n_points))
    kmeans = faiss.Kmeans(
        n_dimensions, n_lists, seed=seed, min_points_per_centroid=1, max_points_per_centroid=POINTS_PER_LIST
    )
    kmeans.train(points)
    of_point = kmeans.index.search(points, 1)[1][:, 0]
    order = np.argsort(of_point, kind="stable")
    return Lists(order, np.searchsorted(of_point[order], np.arange(n_lists + 1)), kmeans.centroids)


def queries(points: np.ndarray) -> np.ndarray:
    """Points (n x dimensions, 32 bits) with a last column of ones: what `targets` is multiplied with."""
    return np.column_stack([points, np.ones(len(points), dtype=np.float32)])


def targets(points: np.ndarray) -> np.ndarray:
    """Points (n x dimensions) negated, with half of their squares as last column.

    `queries(a) @ targets(b).T` is half of what the squared distances exceed the squares of `a` by: for each query, the
    same order. Subtracting squares afterwards took as long as the product, since a block's distances do not fit the
    processor's cache.
    """
    return np.column_stack([-points, np.einsum("ij,ij->i", points, points) / 2])


def width_for(points: np.ndarray, lists: Lists, truth: np.ndarray, min_recall: float) -> int:
    """The least number of lists to search for each point that holds `min_recall` of the true neighbours of a sample.

    Parameters
    ----------
    truth
        Sampled points x k: each point (first column) and its true neighbours, rows.
    """
    of_point = np.empty(len(points), dtype=np.int64)
    of_point[lists.order] = np.repeat(np.arange(len(lists.centres)), np.diff(lists.starts))
    distance = cdist(points[truth[:, 0]], lists.centres, "sqeuclidean")
    place = np.argsort(np.argsort(distance, axis=1, kind="stable"), axis=1)  # of a list among the point's nearest
    needed = np.sort(np.take_along_axis(place, of_point[truth[:, 1:]], axis=1), axis=None)
    return int(needed[max(int(np.ceil(min_recall * len(needed))), 1) - 1]) + 1


def exact_candidates(points: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """The `n` points nearest to each of `rows` among all, the point itself among them."""
    return faiss_for_every_processor().knn(points[rows], points, n)[1]


def pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """From `start` to `stop` by steps of at most `PRODUCT`."""
    return [(first, min(first + PRODUCT, stop)) for first in range(start, stop, PRODUCT)]


def in_lists(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of points by the centre nearest to them, and where each centre's begin, and the end."""
    of_point = faiss_for_every_processor().knn(points, centres, 1)[1][:, 0]
    order = np.argsort(of_point, kind="stable")
    return order, np.searchsorted(of_point[order], np.arange(len(centres) + 1))


def listed_candidates(
    points: np.ndarray, lists: Lists, *, width: int, n: int, threads: int, asked: np.ndarray | None = None
) -> np.ndarray:
    """The `n` points nearest to each point in the `width` lists whose centres are nearest to it.

    Parameters
    ----------
    asked
        Other points (m x dimensions, 32 bits) whose neighbours among `points` are wanted, instead of those of `points`.

    Returns
    -------
    Rows of `points`, one row per point or per point asked for, n columns (32 bits), -1 where these lists hold fewer;
    the point itself may be among them.
    """
    right, centres = targets(points[lists.order]), targets(lists.centres)
    order, starts = (lists.order, lists.starts) if asked is None else in_lists(asked, lists.centres)
    asked = points if asked is None else asked
    found = np.full((len(asked), n), -1, dtype=np.int32)

    def search(start: int, stop: int) -> int:
        # One list's points together search each list that any of them wants, a product of matrices each.
        own = order[start:stop]
        left = queries(asked[own])
        from_centres = left @ centres.T
        wanted = from_centres <= np.partition(from_centres, width - 1, axis=1)[:, width - 1 : width]
        best, which = np.full((len(own), n), np.inf, dtype=np.float32), np.full((len(own), n), -1, dtype=np.int32)
        n_wanted = wanted.sum(axis=0)
        for other in np.argsort(-n_wanted, kind="stable")[: np.count_nonzero(n_wanted)]:
            rows = np.flatnonzero(wanted[:, other])
            for first, last in pieces(lists.starts[other], lists.starts[other + 1]):
                distance = left[rows] @ right[first:last].T
                _keep_nearest_inplace(distance, rows, lists.order[first:last], best, which)
        found[own] = which
        return len(own)

    blocks = [block for start, stop in itertools.pairwise(starts) for block in pieces(start, stop)]
    progress = Progress(len(asked), unit="cells", label="finding neighbours")
    with limit_threads(1), ThreadPoolExecutor(threads) as pool:
        for n_done in pool.map(search, *zip(*blocks, strict=True)):
            progress.advance(n_done)
    progress.close()
    return found


@numba.njit(cache=True, nogil=True)
def _keep_nearest_inplace(
    distance: np.ndarray, rows: np.ndarray, columns: np.ndarray, best: np.ndarray, which: np.ndarray
) -> None:
    """Insert distances (rows x columns) among the best so far of each row (ascending), with what they lead to."""
    last = best.shape[1] - 1
    for i in range(distance.shape[0]):
        row = rows[i]
        for j in range(distance.shape[1]):
            new = distance[i, j]
            if new >= best[row, last]:
                continue
            place = last
            while place > 0 and best[row, place - 1] > new:
                best[row, place], which[row, place] = best[row, place - 1], which[row, place - 1]
                place -= 1
            best[row, place], which[row, place] = new, columns[j]


def nearest(points: np.ndarray, rows: np.ndarray, found: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k points nearest to each of `rows` among the candidates `found` (-1: none), the point itself first.

    Returns
    -------
    Their rows and their Euclidean distances, both `len(rows)` x k, by distance, then by row.
    A distance is infinite where there were too few candidates.
    """
    found = np.sort(np.concatenate([rows[:, None], np.where(found == rows[:, None], -1, found)], axis=1), axis=1)
    difference = points[found] - points[rows][:, None, :]
    distance = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))
    distance[found < 0] = np.inf
    distance[found == rows[:, None]] = -1  # first, before any duplicate of the point
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, order, axis=1), np.maximum(np.take_along_axis(distance, order, axis=1), 0)


def recall_of(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true neighbours that were found, the points themselves (first column) left aside."""
    hits = [len(np.intersect1d(a, b)) for a, b in zip(found[:, 1:], truth[:, 1:], strict=True)]
    return float(np.sum(hits) / truth[:, 1:].size)


def find_neighbors(
    points: np.ndarray, k: int, *, exact_cells: int, min_recall: float, seed: int, threads: int = 1
) -> tuple[np.ndarray, np.ndarray, dict]:
    """The k nearest points of each point, itself included.

    Parameters
    ----------
    points
        Cells x components, 32 bits.
    k
        Number of neighbours including the cell itself, as umap and scanpy count.
    exact_cells
        Up to this number of cells the search is exact.
    min_recall
        Wanted share of true neighbours otherwise.
    seed
        Of the lists and of the sample of cells on which the recall is measured.
    threads
        Change nothing in the result.

    Returns
    -------
    Rows and distances of the neighbours (cells x k), and how they were found.
    """
    n_points = len(points)
    n_candidates = min(k + MARGIN, n_points)
    exact = n_points <= exact_cells
    if not exact:
        sample = np.sort(np.random.default_rng(seed).choice(n_points, min(RECALL_SAMPLE, n_points), replace=False))
        truth, _ = nearest(points, sample, exact_candidates(points, sample, n_candidates), k)
        lists = divided(points, seed=seed)
        width = width_for(points, lists, truth, min_recall)
        found = listed_candidates(points, lists, width=width, n=n_candidates, threads=threads)
    indices, distances = np.empty((n_points, k), dtype=np.int32), np.empty((n_points, k), dtype=np.float32)
    for start in range(0, n_points, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n_points))
        candidates = exact_candidates(points, rows, n_candidates) if exact else found[rows]
        indices[rows], distances[rows] = nearest(points, rows, candidates, k)
    few = np.flatnonzero(~np.isfinite(distances).all(axis=1))
    if len(few):  # cells in lists too short to hold k others
        indices[few], distances[few] = nearest(points, few, exact_candidates(points, few, n_candidates), k)
    if exact:
        return indices, distances, {"method": "exact", "recall": 1.0}
    about = {"method": "lists", "recall": recall_of(indices[sample], truth)}
    return indices, distances, about | {"n_lists": len(lists.centres), "n_searched": width}


def distance_matrix(indices: np.ndarray, distances: np.ndarray) -> sparse.csr_matrix:
    """Distances to the neighbours without the cell itself, nearest first (cells x cells)."""
    n_cells, k = indices.shape
    indptr = np.arange(n_cells + 1, dtype=np.int64) * (k - 1)
    return sparse.csr_matrix((distances[:, 1:].ravel(), indices[:, 1:].ravel(), indptr), shape=(n_cells, n_cells))
