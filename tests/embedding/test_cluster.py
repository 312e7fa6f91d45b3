"""Leiden clusters: scanpy's partition, numbered by size, one folder a resolution."""

import random

import anndata
import igraph
import numpy as np
import pandas as pd
import pytest
import scanpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import cluster
from immune_aging.embedding import leiden
from immune_aging.embedding.fuzzy_graph import connectivities
from immune_aging.embedding.graph_file import Graph, write_graph
from immune_aging.embedding.neighbors import distance_matrix, find_neighbors
from immune_aging.task.checkpoints import read_json, read_parquet
from inputs.step_options import default_options


def clouds(sizes, seed=0):
    maker = np.random.default_rng(seed)
    kind = maker.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return (maker.normal(0, 4, (len(sizes), 10))[kind] + maker.normal(0, 1.2, (len(kind), 10))).astype(np.float32), kind


SIZES = (50, 400, 120, 230)
POINTS, KIND = clouds(SIZES)
INDICES, DISTANCES, _ = find_neighbors(POINTS, 15, exact_cells=10**6, min_recall=1.0, seed=0)
GRAPH = connectivities(INDICES, DISTANCES)


def same_partition(one, other):
    table = pd.crosstab(one, other).to_numpy() > 0
    return (table.sum(axis=0) == 1).all() and (table.sum(axis=1) == 1).all()


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.parametrize("resolution", [0.2, 1.0, 3.0])
def test_partition_is_scanpys(resolution, seed):
    ours, modularity = leiden.leiden(GRAPH, resolution=resolution, n_iterations=2, seed=seed)
    cohort = anndata.AnnData(np.zeros((len(POINTS), 1), dtype=np.float32), obsp={"connectivities": GRAPH})
    scanpy.tl.leiden(
        cohort,
        resolution=resolution,
        flavor="igraph",
        directed=False,
        n_iterations=2,
        random_state=seed,
        obsp="connectivities",
    )
    theirs = cohort.obs["leiden"].to_numpy()
    assert same_partition(ours, theirs)
    network = igraph.Graph.Weighted_Adjacency(GRAPH, mode="undirected")
    assert modularity == pytest.approx(network.modularity(list(ours), weights="weight"), abs=1e-9)


def test_planted_groups_are_found_and_numbered_by_size():
    clusters, modularity = leiden.leiden(GRAPH, resolution=0.1, n_iterations=2, seed=0)
    assert same_partition(clusters, KIND)
    np.testing.assert_array_equal(np.bincount(clusters), sorted(SIZES, reverse=True))
    assert modularity > 0.5


def test_a_higher_resolution_gives_more_clusters():
    numbers = [leiden.leiden(GRAPH, resolution=r, n_iterations=2, seed=0)[0].max() for r in (0.1, 1.0, 4.0)]
    assert numbers[0] < numbers[1] < numbers[2]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=60))
def test_numbering_keeps_the_partition_and_falls_with_size(labels):
    numbers = leiden.by_size(np.array(labels))
    assert same_partition(numbers, np.array(labels))
    sizes = np.bincount(numbers)
    assert (np.diff(sizes) <= 0).all()
    firsts = [int(np.argmax(numbers == number)) for number in range(len(sizes))]
    assert all(a < b for a, b, tie in zip(firsts[:-1], firsts[1:], np.diff(sizes) == 0, strict=True) if tie)


def test_each_edge_is_handed_over_once_with_the_weight_of_both_directions():
    graph = sparse.csr_matrix(np.array([[0, 0.5, 0], [0.5, 0, 0.25], [0, 0.25, 0]], dtype=np.float32))
    edges, weights = leiden.edges_of(graph)
    assert edges.tolist() == [[0, 1], [1, 2]] and weights.tolist() == [1.0, 0.5]


def test_pythons_own_random_numbers_are_left_alone():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    leiden.leiden(GRAPH, resolution=1.0, n_iterations=2, seed=0)
    assert random.random() == expected


def run(folder, resolution):
    ids = np.array([f"CELL{i}" for i in range(len(POINTS))], dtype=object)
    if not (folder / "graph.h5").exists():
        write_graph(Graph(ids, distance_matrix(INDICES, DISTANCES), GRAPH, {}), folder / "graph.h5")
    cluster.main(
        [*default_options("cluster"), "--graph", str(folder / "graph.h5"), "--resolution", resolution,
         "--output", str(folder / "clusters"), "--versions", str(folder / "versions.json")]
    )  # fmt: skip


@pytest.mark.parametrize(("given", "name"), [("1", "1.0"), ("1.0", "1.0"), ("0.25", "0.25"), ("1.50", "1.5")])
def test_each_resolution_has_its_folder_named_as_a_decimal(tmp_path, given, name):
    run(tmp_path, given)
    assert [path.name for path in (tmp_path / "clusters").iterdir()] == [f"resolution-{name}"]
    folder = tmp_path / "clusters" / f"resolution-{name}"
    table, summary = read_parquet(folder / "clusters.parquet"), read_json(folder / "summary.json")
    assert list(table.columns) == ["cell_id", "cluster"]
    expected, modularity = leiden.leiden(GRAPH, resolution=float(given), n_iterations=2, seed=0)
    assert list(table["cluster"]) == [str(number) for number in expected]
    assert list(table["cell_id"]) == [f"CELL{i}" for i in range(len(POINTS))]
    assert summary == {
        "resolution": float(given), "n_clusters": expected.max() + 1, "modularity": modularity,
        "sizes": list(np.bincount(expected)),
    }  # fmt: skip
    first = (folder / "clusters.parquet").read_bytes()
    run(tmp_path, given)
    assert (folder / "clusters.parquet").read_bytes() == first


def test_arguments_stay_as_they_are():
    graph = GRAPH.copy()
    leiden.leiden(graph, resolution=1.0, n_iterations=2, seed=0)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(graph, part), getattr(GRAPH, part))
