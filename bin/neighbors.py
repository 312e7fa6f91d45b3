#!/usr/bin/env python3
"""Find each cell's nearest neighbours in the corrected components and weight them as UMAP does.

In: `harmony.parquet`. Out: the graph (distances and fuzzy connectivities, h5) and a summary with the recall.
Up to `--exact-cells` cells the search is exact; above, cells are divided into lists by k-means, and each searches the
lists whose centres are nearest to it, as many as hold the wanted share of the true neighbours of a sample of cells. A
list's cells search together, so that distances are products of matrices: a fraction of the cost of an inverted-file
index, which looks up one cell at a time. Distances are computed again from the coordinates and ties broken by the order
of cells, so that the result does not depend on threads. On the products' rounding it depends only where two centres are
as near to a cell as rounding can tell.
"""

import argparse
from pathlib import Path

import numpy as np

from immune_aging.embedding.fuzzy_graph import connectivities
from immune_aging.embedding.graph_file import Graph, graph_summary, write_graph
from immune_aging.embedding.neighbors import distance_matrix, faiss_for_every_processor, find_neighbors, neighbourhood
from immune_aging.task.checkpoints import read_parquet, write_json, write_versions
from immune_aging.task.command_line import BadInput, limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embedding", type=Path, required=True, help="cell_id, then one column per component")
    parser.add_argument("--n-neighbors", type=int, required=True, help="including the cell itself")
    parser.add_argument("--n-components", type=int, required=True, help="the first components of the embedding")
    parser.add_argument("--exact-cells", type=int, default=50_000)
    parser.add_argument("--min-recall", type=float, default=0.985)
    parser.add_argument("--seed", type=int, required=True)
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
    k = neighbourhood(args.n_neighbors, n_cells)
    with limit_threads(args.threads) as threads:
        faiss_for_every_processor().omp_set_num_threads(threads)
        indices, distances, about = find_neighbors(
            points, k, exact_cells=args.exact_cells, min_recall=args.min_recall, seed=args.seed, threads=threads
        )
        weights = connectivities(indices, distances)
    about |= {"n_neighbors": k, "n_components": points.shape[1]}
    write_graph(
        Graph(embedding["cell_id"].to_numpy(dtype=object), distance_matrix(indices, distances), weights, about),
        args.output,
    )
    write_json(
        graph_summary(weights, about, n_neighbors=args.n_neighbors, min_recall=args.min_recall), args.output_summary
    )
    write_versions("neighbors", ["faiss-cpu", "numba", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
