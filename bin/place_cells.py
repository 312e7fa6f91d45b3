#!/usr/bin/env python3
"""Place one shard's kept cells into the embedding that was computed on a sketch of the cohort.

In: the normalised shard and its quality control, `donors.parquet`; the model of the principal components, the terms of
Harmony's batches (where it ran), and of the sketch's cells the components that neighbours are searched in, the UMAP and
the clusters. Out: a table, one row per cell: cell_id, PC1.., H1.. (with terms), UMAP1, UMAP2, and `cluster_R` of each
resolution. Each cell is projected and corrected as its batch was. A cell of the sketch keeps its position and clusters;
another takes its cluster from its nearest neighbours in the sketch by vote, its position from theirs by their median.
Memory follows the sketch and the shard, not the cohort.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging import results
from immune_aging.embedding.batch_terms import corrected_cells, read_terms
from immune_aging.embedding.embedded_cells import clusters_of
from immune_aging.embedding.harmony import corrected_table
from immune_aging.embedding.neighbors import faiss_for_every_processor
from immune_aging.embedding.placement import Sketch, place
from immune_aging.embedding.projection import batches_of_shard, projected
from immune_aging.task.checkpoints import check_same_cells, read_parquet, write_parquet, write_versions
from immune_aging.task.command_line import limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=Path, required=True, help="the normalised shard")
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--model", type=Path, required=True, help="of the principal components")
    parser.add_argument("--terms", type=Path, help="of Harmony's batches")
    parser.add_argument("--batch-column", required=True)
    parser.add_argument("--embedding", type=Path, required=True, help="the sketch's cell_id, then its components")
    parser.add_argument("--umap", type=Path, required=True, help="the sketch's")
    parser.add_argument("--clusters", type=Path, nargs="*", default=[], help="published trees with the sketch's")
    parser.add_argument("--n-neighbors", type=int, required=True, help="including the cell itself")
    parser.add_argument("--n-components", type=int, required=True, help="the first components of the embedding")
    parser.add_argument("--exact-cells", type=int, default=50_000)
    parser.add_argument("--min-recall", type=float, default=0.985)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    embedding, umap = read_parquet(args.embedding), read_parquet(args.umap)
    check_same_cells(embedding["cell_id"], umap["cell_id"], args.embedding, args.umap)
    clusters = clusters_of(embedding["cell_id"], results.open(*args.clusters), args.embedding) if args.clusters else {}
    sketch = Sketch(
        pd.Index(embedding["cell_id"]),
        embedding.drop(columns="cell_id").to_numpy(dtype=np.float32)[:, : args.n_components],
        umap[["UMAP1", "UMAP2"]].to_numpy(dtype=np.float32),
        {name: of_cell.astype(str).astype(np.int64).to_numpy() for name, of_cell in clusters.items()},
    )
    cells = projected(args.counts, args.model)
    here, parts = cells.drop(columns="cell_id").to_numpy(dtype=np.float32), [cells]
    if args.terms:
        batches = batches_of_shard(cells["cell_id"], args.counts, args.cells, args.donors, args.batch_column)
        here = corrected_cells(here, batches, read_terms(args.terms))
        parts.append(corrected_table(here))
    search = {"exact_cells": args.exact_cells, "min_recall": args.min_recall, "seed": args.seed}
    with limit_threads(args.threads) as threads:
        faiss_for_every_processor().omp_set_num_threads(threads)
        here = here[:, : args.n_components]
        positions, placed = place(
            cells["cell_id"], here, sketch, n_neighbors=args.n_neighbors, threads=threads, **search
        )
    parts.append(pd.DataFrame(positions, columns=["UMAP1", "UMAP2"]))
    parts += [pd.Series(numbers, name=f"cluster_{resolution}") for resolution, numbers in placed.items()]
    write_parquet(pd.concat(parts, axis=1), args.output)
    write_versions("place_cells", ["faiss-cpu", "h5py", "numba", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
