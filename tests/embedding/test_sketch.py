"""A cohort embedded on a sketch of its cells: who is drawn, how near placed cells come to where they belong."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import cluster
import harmony
import merge_placed
import neighbors
import pca
import place_cells
import sketch_cells
import umap_layout
from immune_aging.cohort.shard_file import write_shard
from immune_aging.embedding import batch_terms, placement
from immune_aging.embedding import harmony as embedding_harmony
from immune_aging.embedding import neighbors as embedding_neighbors
from immune_aging.embedding import sketch as embedding_sketch
from immune_aging.embedding.normalization import log_normalize
from immune_aging.task.checkpoints import read_json, read_parquet, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.embedding_inputs import embedding_cohort
from inputs.step_options import default_options

N_CELLS, N_SKETCH = 3600, 900


def write_inputs(folder, counts, obs, n_shards):
    """Normalised shards of whole donors and what quality control says of all cells and of each shard."""
    folder.mkdir(parents=True)
    normalized = log_normalize(counts, np.ones(counts.shape[1], dtype=bool), target_sum=1e4)
    genes = pd.DataFrame({"gene_id": [f"G{i}" for i in range(counts.shape[1])], "symbol": ""})
    donors = np.array_split(np.unique(obs["donor_id"]), n_shards)
    shards, tables = [], []
    for number, of_shard in enumerate(donors):
        here = obs["donor_id"].isin(of_shard).to_numpy()
        cells = obs.loc[here, ["cell_id", "donor_id", "cell_type"]].assign(kept=True)
        shards.append(folder / f"shard-{number:03d}_counts.h5ad")
        tables.append(folder / f"shard-{number:03d}_cells.parquet")
        write_shard(shards[-1], [normalized[np.flatnonzero(here)]], cells.drop(columns="kept"), genes)
        write_parquet(cells, tables[-1])
    write_parquet(pd.concat([read_parquet(path) for path in tables], ignore_index=True), folder / "cells.parquet")
    write_parquet(obs[["donor_id"]].drop_duplicates(), folder / "donors.parquet")
    return SimpleNamespace(
        folder=folder, shards=shards, tables=tables, cells=folder / "cells.parquet", donors=folder / "donors.parquet"
    )


def run(step, out, *options):
    name = step.__name__
    step.main([*default_options(name), "--versions", str(out / "versions.json"), *map(str, options)])


def embedded(inputs, out, *, n_sketch=None, seed=0, n_pcs=20):
    """The steps of the embedding, of all cells or on a sketch; returns the folder of published tables."""
    seeded = ("--seed", seed)
    made, of_sketch, cells = out / "embedding", [], inputs.cells
    if n_sketch:
        made, cells = out / "sketch/embedding", out / "sketch.parquet"
        run(sketch_cells, out, "--cells", inputs.cells, "--embedding-cells", n_sketch, *seeded, "--output", cells,
            "--output-summary", out / "embedding/sketch.json")  # fmt: skip
        of_sketch = ["--sketch", cells, "--output-model", out / "model.parquet"]
    run(pca, out, "--counts", *inputs.shards, "--n-pcs", n_pcs, *seeded, "--output", made, *of_sketch)
    terms = ["--output-terms", out / "terms.h5"] if n_sketch else []
    run(harmony, out, "--pca", made / "pca.parquet", "--cells", cells, "--donors", inputs.donors, *seeded,
        "--output", made / "harmony.parquet", "--output-summary", made / "harmony.json", *terms)  # fmt: skip
    run(neighbors, out, "--embedding", made / "harmony.parquet", *seeded, "--output", out / "graph.h5",
        "--output-summary", made / "neighbors.json")  # fmt: skip
    run(umap_layout, out, "--graph", out / "graph.h5", "--embedding", made / "harmony.parquet", *seeded, "--epochs",
        "50", "--output", made / "umap.parquet")  # fmt: skip
    run(cluster, out, "--graph", out / "graph.h5", *seeded, "--resolution", "1.0", "--output", made.parent / "clusters")
    if n_sketch:
        for number, (shard, table) in enumerate(zip(inputs.shards, inputs.tables, strict=True)):
            place(out, shard, table, inputs.donors, out / f"placed/shard-{number:03d}.parquet", *seeded)
        run(merge_placed, out, "--placed", *sorted((out / "placed").iterdir()), "--clusters", made.parent, "--output", out)
    return out


def place(out, shard, table, donors, output, *options):
    made = out / "sketch/embedding"
    run(place_cells, out, "--counts", shard, "--cells", table, "--donors", donors, "--model", out / "model.parquet", "--terms",
        out / "terms.h5", "--embedding", made / "harmony.parquet", "--umap", made / "umap.parquet", "--clusters",
        made.parent, *options, "--output", output)  # fmt: skip


def table_of(out, name):
    return read_parquet(out / f"embedding/{name}.parquet")


def coordinates(out, name):
    return table_of(out, name).drop(columns="cell_id").to_numpy()


def clusters_in(out):
    return read_parquet(out / "clusters/resolution-1.0/clusters.parquet")["cluster"].to_numpy()


def agreement(one, other):
    """Adjusted Rand index of two partitions."""
    table = pd.crosstab(one, other).to_numpy()
    pairs = [(counts * (counts - 1) / 2).sum() for counts in (table, table.sum(axis=0), table.sum(axis=1))]
    expected = pairs[1] * pairs[2] / (len(one) * (len(one) - 1) / 2)
    return (pairs[0] - expected) / ((pairs[1] + pairs[2]) / 2 - expected)


def recall(points, kinds, k=30):
    """Mean share of a cell's nearest neighbours that are of its kind, by kind."""
    points = np.ascontiguousarray(points, dtype=np.float32)
    near, _, _ = embedding_neighbors.find_neighbors(points, k, exact_cells=len(points), min_recall=1, seed=0)
    same = (kinds[near[:, 1:]] == kinds[:, None]).mean(axis=1)
    return pd.Series(same).groupby(kinds).mean()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    counts, obs, _ = embedding_cohort(donors=12, cells_per_donor=N_CELLS // 12, types=6)
    return SimpleNamespace(counts=counts, obs=obs, inputs=write_inputs(tmp_path_factory.mktemp("in") / "c", counts, obs, 4))


@pytest.fixture(scope="module")
def whole(cohort, tmp_path_factory):
    return embedded(cohort.inputs, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def sketched(cohort, tmp_path_factory):
    return embedded(cohort.inputs, tmp_path_factory.mktemp("sketched"), n_sketch=N_SKETCH)


def test_all_cells_are_placed_in_the_usual_order(cohort, whole, sketched):
    for name in ("pca", "harmony", "umap"):
        one, other = table_of(whole, name), table_of(sketched, name)
        assert list(one.columns) == list(other.columns) and list(one.dtypes) == list(other.dtypes)
        assert one["cell_id"].tolist() == other["cell_id"].tolist() == cohort.obs["cell_id"].tolist()
    np.testing.assert_array_equal(coordinates(whole, "pca"), coordinates(sketched, "pca"))
    summary = read_json(sketched / "clusters/resolution-1.0/summary.json")
    sizes = pd.Series(clusters_in(sketched)).astype(int).value_counts().sort_index()
    assert summary["sizes"] == sizes.tolist() == sorted(sizes, reverse=True) and sum(summary["sizes"]) == N_CELLS


def test_clusters_and_neighbours_are_those_of_the_whole(cohort, whole, sketched, tmp_path):
    kinds = cohort.obs["cell_type"].to_numpy()
    other = embedded(cohort.inputs, tmp_path / "seed", seed=1)
    between_seeds = agreement(clusters_in(whole), clusters_in(other))
    assert agreement(clusters_in(whole), clusters_in(sketched)) >= between_seeds - 0.02
    lost = recall(coordinates(whole, "harmony"), kinds) - recall(coordinates(sketched, "harmony"), kinds)
    assert lost.max() < 0.03
