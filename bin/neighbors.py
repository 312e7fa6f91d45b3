#!/usr/bin/env python3
"""Find each cell's nearest neighbours in the corrected components and weight them as UMAP does.

In: `harmony.parquet`. Out: the graph (distances and fuzzy connectivities, h5) and a summary with the recall.
Up to `--exact-cells` cells the search is exact; above, an inverted-file index is searched wider until the
recall, measured on a sample of cells against the exact search, reaches the target. Distances are computed
again from the coordinates and ties broken by the order of cells, so that the result does not depend on
threads or on the BLAS.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

from checkpoints import read_parquet, write_json, write_versions
from command_line import BadInput, Progress, limit_threads, run
from graph_file import Graph, write_graph

MARGIN = 10  # candidates beyond k, so that rounding in the index's distances cannot lose a neighbour
RECALL_SAMPLE = 1000
BLOCK = 8192  # cells searched at a time
# Measured on 200,000 cells x 40: 2 sqrt(n) lists cost the least at a recall of .98; points of 16 bits cost
# 20-30 % less than of 32 at the same recall, as the distances are computed again; product quantisation never
# passes .93.
LISTS_PER_ROOT = 2
POINTS_PER_LIST = 64  # for training the index: more does not raise the recall

Search = Callable[[np.ndarray, int], np.ndarray]  # (queries, how many) -> rows of the candidates, -1 where none


def exact_search(points: np.ndarray) -> Search:
    """Search all points."""
    import faiss

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return lambda queries, k: index.search(queries, k)[1]


def inverted_file_search(points: np.ndarray, *, seed: int) -> tuple[Search, Callable[[int], None], int]:
    """Search the lists of points nearest to a query.

    Returns
    -------
    The search, a function that sets how many lists it looks at, and the number of lists.
    """
    import faiss

    n_points, n_dimensions = points.shape
    n_lists = int(LISTS_PER_ROOT * np.sqrt(n_points))
    index = faiss.index_factory(n_dimensions, f"IVF{n_lists},SQfp16")
    index.cp.seed, index.cp.max_points_per_centroid = seed, POINTS_PER_LIST
    index.train(points)
    index.add(points)

    def set_width(n_probe: int) -> None:
        index.nprobe = n_probe

    return lambda queries, k: index.search(queries, k)[1], set_width, n_lists


def nearest(points: np.ndarray, rows: np.ndarray, search: Search, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k points nearest to each of `rows`, the point itself first.

    Returns ------- Their rows and their Euclidean distances, both `len(rows)` x k, by distance, then by row.
    A distance is infinite where the search found too few.
    """
    found = search(points[rows], min(k + MARGIN, len(points)))
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


def narrowest(recall_at: Callable[[int], float], min_recall: float, n_lists: int) -> tuple[int, float]:
    """The smallest number of lists, within a tenth, whose recall is `min_recall`; all lists where none reaches it.

    The search of a sample costs little, each list too many for all cells costs much: doubling alone took half as many
    lists again at 1.27 million cells as the recall asked for.
    """
    low, high = 0, min(8, n_lists)
    while (recall := recall_at(high)) < min_recall and high < n_lists:
        low, high = high, min(high * 2, n_lists)
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        found = recall_at(middle)
        low, high, recall = (low, middle, found) if found >= min_recall else (middle, high, recall)
    return high, recall


def find_neighbors(
    points: np.ndarray, k: int, *, exact_cells: int, min_recall: float, seed: int
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
        Of the index and of the sample of cells on which the recall is measured.

    Returns
    -------
    Rows and distances of the neighbours (cells x k), and how they were found.
    """
    n_points = len(points)
    search, about = exact_search(points), {"method": "exact", "recall": 1.0}
    if n_points > exact_cells:
        sample = np.sort(np.random.default_rng(seed).choice(n_points, min(RECALL_SAMPLE, n_points), replace=False))
        truth, _ = nearest(points, sample, search, k)
        search, set_width, n_lists = inverted_file_search(points, seed=seed)

        def recall_at(n_probe: int) -> float:
            set_width(n_probe)
            found, distances = nearest(points, sample, search, k)
            return recall_of(found, truth) if np.isfinite(distances).all() else 0.0

        n_probe, recall = narrowest(recall_at, min_recall, n_lists)
        set_width(n_probe)
        about = {"method": "inverted file", "recall": recall, "n_lists": n_lists, "n_probe": n_probe}
    indices, distances = np.empty((n_points, k), dtype=np.int32), np.empty((n_points, k), dtype=np.float32)
    progress = Progress(n_points, unit="cells", label="finding neighbours")
    for start in range(0, n_points, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n_points))
        indices[rows], distances[rows] = nearest(points, rows, search, k)
        progress.advance(len(rows))
    few = np.flatnonzero(~np.isfinite(distances).all(axis=1))
    if len(few):  # cells in lists too short to hold k others
        indices[few], distances[few] = nearest(points, few, exact_search(points), k)
    return indices, distances, about


def connectivities(indices: np.ndarray, distances: np.ndarray) -> sparse.csr_matrix:
    """Fuzzy weights of the edges by umap-learn: those of scanpy's `pp.neighbors` for the same neighbours.

    Parameters
    ----------
    indices, distances
        Cells x k, the cell itself first.
    """
    from umap_library import import_umap

    n_cells, k = indices.shape
    placeholder = sparse.coo_matrix((n_cells, 1))
    graph, _, _ = import_umap().fuzzy_simplicial_set(
        placeholder, k, None, None, knn_indices=indices, knn_dists=distances
    )
    graph = sparse.csr_matrix(graph)
    graph.sort_indices()
    return graph


def distance_matrix(indices: np.ndarray, distances: np.ndarray) -> sparse.csr_matrix:
    """Distances to the neighbours without the cell itself, nearest first (cells x cells)."""
    n_cells, k = indices.shape
    indptr = np.arange(n_cells + 1, dtype=np.int64) * (k - 1)
    return sparse.csr_matrix((distances[:, 1:].ravel(), indices[:, 1:].ravel(), indptr), shape=(n_cells, n_cells))


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedding", type=Path, required=True, help="cell_id, then one column a component")
    parser.add_argument("--n-neighbors", type=int, default=30, help="including the cell itself")
    parser.add_argument("--n-components", type=int, default=40, help="the first components of the embedding")
    parser.add_argument("--exact-cells", type=int, default=50_000)
    parser.add_argument("--min-recall", type=float, default=0.985)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    embedding = read_parquet(args.embedding)
    points = np.ascontiguousarray(embedding.drop(columns="cell_id").to_numpy(dtype=np.float32)[:, : args.n_components])
    n_cells = len(points)
    if n_cells < 3:
        raise BadInput(
            f"{args.embedding}: {n_cells} cells have no neighbourhoods; loosen the thresholds or end with "
            "--stop_after qc"
        )
    # scanpy's rule for cohorts smaller than a neighbourhood
    k = args.n_neighbors if args.n_neighbors <= n_cells else 1 + n_cells // 2
    import faiss

    with limit_threads(args.threads) as threads:
        faiss.omp_set_num_threads(threads)
        indices, distances, about = find_neighbors(
            points, k, exact_cells=args.exact_cells, min_recall=args.min_recall, seed=args.seed
        )
        weights = connectivities(indices, distances)
    about |= {"n_neighbors": k, "n_components": points.shape[1]}
    write_graph(
        Graph(embedding["cell_id"].to_numpy(dtype=object), distance_matrix(indices, distances), weights, about),
        args.output,
    )
    notes = [f"{k} neighbours, not {args.n_neighbors}: there are {n_cells} cells"] if k < args.n_neighbors else []
    if about["recall"] < args.min_recall:
        notes.append(f"recall {about['recall']:.3f} is below {args.min_recall}")
    n_groups = int(sparse.csgraph.connected_components(weights, directed=False)[0])
    write_json(
        about | {"n_cells": n_cells, "n_edges": weights.nnz // 2, "connected_components": n_groups, "notes": notes},
        args.output_summary,
    )
    write_versions("neighbors", ["faiss-cpu", "numba", "numpy", "umap-learn"], args.versions)


if __name__ == "__main__":
    run(main)
