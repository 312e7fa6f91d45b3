#!/usr/bin/env python3
"""Lay the graph of neighbours out in two dimensions with UMAP (McInnes et al. 2018, umap-learn).

In: the graph, and the embedding whose first two components are the start. Out: `umap.parquet` (cell_id,
UMAP1, UMAP2). One thread on purpose: parallel updates race, and the layout would differ from run to run.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from checkpoints import check_same_cells, read_parquet, write_parquet, write_versions
from command_line import limit_threads, run
from graph_file import read_graph

# umap's own defaults, and scanpy's
SPREAD, LEARNING_RATE, REPULSION, NEGATIVE_SAMPLES = 1.0, 1.0, 1.0, 5


def starting_positions(embedding: np.ndarray, *, seed: int) -> np.ndarray:
    """The first two components, each scaled to 0-10 as umap does with a start it makes itself.

    A component that is missing or the same in all cells is replaced by random positions: umap would divide by
    zero.
    """
    random = np.random.default_rng(seed)
    start = np.empty((len(embedding), 2), dtype=np.float32)
    for axis in range(2):
        values = embedding[:, axis] if axis < embedding.shape[1] else np.zeros(len(embedding))
        low, high = values.min(), values.max()
        start[:, axis] = 10 * (values - low) / (high - low) if high > low else random.uniform(0, 10, len(embedding))
    return start


def layout(graph: sparse.csr_matrix, start: np.ndarray, *, n_epochs: int, min_dist: float, seed: int) -> np.ndarray:
    """Optimise the positions.

    Parameters
    ----------
    graph
        Connectivities, cells x cells.
    start
        Cells x 2.
    n_epochs
        Passes over the edges.
    min_dist
        Smallest distance that UMAP leaves between neighbours.
    seed
        Of the sampling; serial, so that one seed is one layout.

    Returns
    -------
    Cells x 2, 32 bits.
    """
    from umap_library import import_umap

    umap = import_umap()
    a, b = umap.find_ab_params(SPREAD, min_dist)
    positions, _ = umap.simplicial_set_embedding(
        data=start, graph=graph.tocoo(copy=True), n_components=2, init=start, n_epochs=n_epochs, a=a, b=b,
        initial_alpha=LEARNING_RATE, gamma=REPULSION, negative_sample_rate=NEGATIVE_SAMPLES,
        random_state=np.random.RandomState(seed), parallel=False, metric="euclidean", metric_kwds={},
        densmap=False, densmap_kwds={}, output_dens=False,
    )  # fmt: skip
    return positions


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--embedding", type=Path, required=True, help="cell_id, then one column a component")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--min-dist", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    graph, embedding = read_graph(args.graph), read_parquet(args.embedding)
    check_same_cells(graph.cell_ids, embedding["cell_id"], args.graph, args.embedding)
    start = starting_positions(embedding.drop(columns="cell_id").to_numpy(), seed=args.seed)
    with limit_threads(1):
        positions = layout(graph.connectivities, start, n_epochs=args.epochs, min_dist=args.min_dist, seed=args.seed)
    write_parquet(
        pd.concat([embedding[["cell_id"]], pd.DataFrame(positions, columns=["UMAP1", "UMAP2"])], axis=1),
        args.output,
    )
    write_versions("umap", ["numba", "numpy", "umap-learn"], args.versions)


if __name__ == "__main__":
    run(main)
