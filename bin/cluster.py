#!/usr/bin/env python3
"""Cluster the graph of neighbours at one resolution with Leiden (Traag et al. 2019, igraph).

In: the graph. Out: `clusters/resolution-R/clusters.parquet` (cell_id, cluster; "0" the largest) and
`summary.json`. The same partition as scanpy's `tl.leiden(flavor="igraph", n_iterations=2)`; the graph goes to
igraph as one array of edges, at half the time and memory.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.embedding.graph_file import read_graph
from immune_aging.embedding.leiden import leiden
from immune_aging.task.checkpoints import write_json, write_parquet, write_versions
from immune_aging.task.command_line import limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--resolution", type=float, default=1.0)
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder; gets resolution-R/clusters.parquet and summary.json",
    )
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    graph = read_graph(args.graph)
    with limit_threads(1):
        clusters, modularity = leiden(
            graph.connectivities, resolution=args.resolution, n_iterations=args.iterations, seed=args.seed
        )
    folder = args.output / f"resolution-{args.resolution}"
    write_parquet(
        pd.DataFrame({"cell_id": graph.cell_ids, "cluster": clusters.astype(str)}),
        folder / "clusters.parquet",
    )
    sizes = np.bincount(clusters)
    write_json(
        {"resolution": args.resolution, "n_clusters": len(sizes), "modularity": modularity, "sizes": sizes},
        folder / "summary.json",
    )
    write_versions("cluster", ["igraph", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
