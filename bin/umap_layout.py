#!/usr/bin/env python3
"""Lay the graph of neighbours out in two dimensions with UMAP (McInnes et al. 2018, arXiv:1802.03426).

In: the graph, and the embedding whose first two components are the start. Out: `umap.parquet` (cell_id,
UMAP1, UMAP2).

The optimiser is umap-learn's (0.5, `optimize_layout_euclidean`): the same edges, the same schedule, the same steps.
Three things differ, for speed. The two force curves, two powers for each of some billion pairs, are read from a table
of straight lines. Random cells are numbered draws of one generator (`_random_cell`): none waits for the one before it,
and no state of each cell is read and written. And edges that follow each other begin at cells far apart
(`sampled_edges`): each step of one cell waits for the step before it, while those of several cells can be computed side
by side. The first epochs agree with umap-learn's, given the edges in that order and these random cells, to rounding;
after that, as any rounding does in a chaotic system, the table leads to another, equally good layout. One thread by
default: parallel updates race, and the layout then differs from run to run (`--threads` above 1).
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.embedding.graph_file import read_graph
from immune_aging.embedding.layout import layout, starting_positions
from immune_aging.task.checkpoints import check_same_cells, read_parquet, write_parquet, write_versions
from immune_aging.task.command_line import limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--embedding", type=Path, required=True, help="cell_id, then one column a component")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--min-dist", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1, help="above 1 a seed no longer fixes the layout")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    graph, embedding = read_graph(args.graph), read_parquet(args.embedding)
    check_same_cells(graph.cell_ids, embedding["cell_id"], args.graph, args.embedding)
    start = starting_positions(embedding.drop(columns="cell_id").to_numpy(), seed=args.seed)
    with limit_threads(args.threads) as threads:
        positions = layout(
            graph.connectivities, start, n_epochs=args.epochs, min_dist=args.min_dist, seed=args.seed, threads=threads
        )
    write_parquet(
        pd.concat([embedding[["cell_id"]], pd.DataFrame(positions, columns=["UMAP1", "UMAP2"])], axis=1),
        args.output,
    )
    write_versions("umap_layout", ["numba", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
