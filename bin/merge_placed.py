#!/usr/bin/env python3
"""Put the placed cells of all shards together into the tables of the embedding, shard by shard.

In: the tables of PLACE_CELLS, and the published trees that hold each resolution's `summary.json` of the sketch. Out:
`embedding/pca.parquet`, `embedding/harmony.parquet` (where Harmony ran), `embedding/umap.parquet`, and each
resolution's `clusters.parquet` and `summary.json`: as in a cohort that needs no sketch, clusters numbered by their
size among all cells. One shard's cells are in memory at a time.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging import results
from immune_aging.embedding.placement import renumbered
from immune_aging.task.checkpoints import (
    read_parquet,
    write_json,
    write_parquet_blocks,
    write_versions,
)
from immune_aging.task.command_line import run


def columns_of(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Some columns of all tables, one after another."""
    for path in paths:
        yield read_parquet(path, columns)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--placed", type=Path, nargs="+", required=True, help="one table per shard")
    parser.add_argument("--clusters", type=Path, nargs="*", default=[], help="published trees with the sketch's")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets embedding/ and clusters/")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    paths = sorted(args.placed, key=lambda path: path.name)
    names = list(read_parquet(paths[0]).columns)
    for table, prefix in (("pca", "PC"), ("harmony", "H"), ("umap", "UMAP")):
        columns = [name for name in names if name.startswith(prefix)]
        if columns:
            write_parquet_blocks(columns_of(paths, ["cell_id", *columns]), args.output / f"embedding/{table}.parquet")
    sketch = results.open(*args.clusters) if args.clusters else None
    for resolution in sketch.resolutions if sketch else []:
        folder, column = f"clusters/resolution-{resolution}", f"cluster_{resolution}"
        of_sketch = sketch.summary(f"{folder}/summary.json")
        sizes = np.zeros(of_sketch["n_clusters"], dtype=np.int64)
        for table in columns_of(paths, [column]):
            sizes = sizes + np.bincount(table[column], minlength=len(sizes))
        numbers = renumbered(sizes)
        write_parquet_blocks(
            (
                pd.DataFrame({"cell_id": table["cell_id"], "cluster": numbers[table[column].to_numpy()].astype(str)})
                for table in columns_of(paths, ["cell_id", column])
            ),
            args.output / folder / "clusters.parquet",
        )
        write_json(
            of_sketch | {"sizes": np.sort(sizes)[::-1], "modularity_of": "the sketch"},
            args.output / folder / "summary.json",
        )
    write_versions("merge_placed", ["numpy", "pandas", "pyarrow"], args.versions)


if __name__ == "__main__":
    run(main)
