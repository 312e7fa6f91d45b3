"""Neighbours: the true ones, weighted as scanpy does; the approximate search as good as it says."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import neighbors
from immune_aging.embedding import neighbors as embedding_neighbors
from immune_aging.embedding.fuzzy_graph import connectivities
from immune_aging.embedding.graph_file import Graph, read_graph, write_graph
from immune_aging.task.checkpoints import read_json, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from small_cohorts import clouds

POINTS = clouds()
EXACT = {"exact_cells": 10**9, "min_recall": 0.98, "seed": 0}


def true_neighbors(points, k):
    """Brute force in 64 bits; the cell itself first, ties by row."""
    distance = cdist(points.astype(np.float64), points.astype(np.float64))
    np.fill_diagonal(distance, -1)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return order, np.maximum(np.take_along_axis(distance, order, axis=1), 0)


@pytest.fixture(scope="module")
def graph_of_points():
    indices, distances, _ = embedding_neighbors.find_neighbors(POINTS, 15, **EXACT)
    return indices, distances, connectivities(indices, distances)


def test_exact_neighbours_and_distances_are_those_of_brute_force(graph_of_points):
    indices, distances, _ = graph_of_points
    expected, expected_distances = true_neighbors(POINTS, 15)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-5, atol=1e-5)
    assert (indices == expected).mean() > 0.9999, "only neighbours at the same distance in 32 bits may swap"
    np.testing.assert_array_equal(indices[:, 0], np.arange(len(POINTS)))


def test_distances_are_not_computed_with_what_only_newer_processors_have(graph_of_points):
    level = embedding_neighbors.faiss_for_every_processor().SIMDConfig.get_level_name()
    assert level and not level.startswith("AVX512")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(2, 20))
def test_a_cell_is_its_own_first_neighbour_even_among_duplicates(seed, cells, k):
    random = np.random.default_rng(seed)
    points = random.integers(0, 3, (cells, 2)).astype(np.float32)
    k = min(k, cells)
    indices, distances, about = embedding_neighbors.find_neighbors(points, k, **EXACT)
    _, expected_distances = true_neighbors(points, k)
    np.testing.assert_array_equal(indices[:, 0], np.arange(cells))
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)
    assert all(len(set(row)) == k for row in indices)
    assert about == {"method": "exact", "recall": 1.0}


@pytest.mark.long
def test_the_approximate_search_is_as_wide_as_its_measured_recall_needs():
    points = clouds(cells=6000, dimensions=20)
    truth, _ = true_neighbors(points, 20)
    widths = []
    for target in (0.5, 0.98, 0.9999):
        indices, _, about = embedding_neighbors.find_neighbors(points, 20, exact_cells=1000, min_recall=target, seed=0)
        assert about["method"] == "lists" and about["recall"] >= target
        actual = embedding_neighbors.recall_of(indices, truth)
        assert actual == pytest.approx(about["recall"], abs=0.01)
        widths.append(about["n_searched"])
    assert widths[0] < widths[2] <= about["n_lists"]


def test_recall_counts_the_true_neighbours_found_without_the_cell_itself():
    truth = np.array([[0, 1, 2, 3], [1, 0, 2, 3]])
    found = np.array([[0, 3, 2, 9], [1, 0, 2, 3]])
    assert embedding_neighbors.recall_of(found, truth) == 5 / 6


def test_the_width_is_the_least_that_holds_the_wanted_share_of_the_true_neighbours():
    points = clouds(cells=3000, dimensions=10)
    sample = np.arange(0, 3000, 10)
    truth, _ = embedding_neighbors.nearest(points, sample, embedding_neighbors.exact_candidates(points, sample, 30), 20)
    lists = embedding_neighbors.divided(points, seed=0)
    assert sorted(lists.order) == list(range(3000)) and lists.starts[-1] == 3000
    of_point = np.repeat(np.arange(len(lists.centres)), np.diff(lists.starts))
    assert (cdist(points[lists.order], lists.centres).argmin(axis=1) == of_point).all()
    for target in (0.7, 0.95, 1.0):
        width = embedding_neighbors.width_for(points, lists, truth, target)
        recalls = []
        for one in (width - 1, width):
            found = embedding_neighbors.listed_candidates(points, lists, width=one, n=30, threads=1)[sample]
            recalls.append(
                embedding_neighbors.recall_of(embedding_neighbors.nearest(points, sample, found, 20)[0], truth)
            )
        assert recalls[0] < target <= recalls[1]


def test_cells_whose_lists_are_too_short_are_searched_exactly():
    """One list searched: those of a few cells hold fewer than the neighbours asked for."""
    points = clouds(cells=600)
    assert np.diff(embedding_neighbors.divided(points, seed=0).starts).max() < 100
    indices, distances, about = embedding_neighbors.find_neighbors(points, 100, exact_cells=100, min_recall=0.0, seed=0)
    assert about["n_searched"] == 1 and about["recall"] > 0.9999
    expected, expected_distances = true_neighbors(points, 100)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-5)
    assert (indices == expected).mean() > 0.999


def test_lists_longer_than_a_product_are_searched_in_pieces_to_the_same_neighbours(monkeypatch):
    points = clouds(cells=5000)
    assert np.diff(embedding_neighbors.divided(points, seed=0).starts).max() > 60
    whole = embedding_neighbors.find_neighbors(points, 15, exact_cells=100, min_recall=0.985, seed=0)
    monkeypatch.setattr(embedding_neighbors, "PRODUCT", 60)
    in_pieces = embedding_neighbors.find_neighbors(points, 15, exact_cells=100, min_recall=0.985, seed=0, threads=2)
    np.testing.assert_array_equal(whole[0], in_pieces[0])
    np.testing.assert_array_equal(whole[1], in_pieces[1])


def write_embedding(folder, points=POINTS):
    table = pd.DataFrame(points, columns=[f"H{i + 1}" for i in range(points.shape[1])])
    table.insert(0, "cell_id", [f"ZELLE-ä{i}" for i in range(len(points))])
    write_parquet(table, folder / "harmony.parquet")


def run(folder, name="out", **options):
    flags = [text for key, value in options.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    neighbors.main(
        [*default_options("neighbors"), "--embedding", str(folder / "harmony.parquet"), "--output", str(folder / f"{name}.h5"),
         "--output-summary", str(folder / f"{name}.json"),
         "--versions", str(folder / "versions.json"), *flags]
    )  # fmt: skip
    return read_graph(folder / f"{name}.h5", distances=True), read_json(folder / f"{name}.json")


def test_the_graph_file_holds_what_was_computed_from_the_first_components(tmp_path):
    write_embedding(tmp_path)
    graph, summary = run(tmp_path, n_neighbors=15, n_components=5)
    indices, distances, _ = embedding_neighbors.find_neighbors(np.ascontiguousarray(POINTS[:, :5]), 15, **EXACT)
    np.testing.assert_array_equal(graph.distances.indices.reshape(-1, 14), indices[:, 1:])
    np.testing.assert_array_equal(graph.distances.data.reshape(-1, 14), distances[:, 1:])
    assert list(graph.cell_ids[:2]) == ["ZELLE-ä0", "ZELLE-ä1"]
    assert graph.about == {"method": "exact", "recall": 1.0, "n_neighbors": 15, "n_components": 5}
    assert summary["n_edges"] == graph.connectivities.nnz / 2 and summary["notes"] == []
    assert read_graph(tmp_path / "out.h5").distances.nnz == 0


@pytest.mark.parametrize("exact_cells", [10**9, 100], ids=["exact", "approximate"])
def test_same_bytes_for_any_number_of_threads(tmp_path, exact_cells):
    write_embedding(tmp_path, clouds(cells=9000))
    outputs = []
    for threads in (1, 2, 1):
        run(tmp_path, threads=threads, exact_cells=exact_cells)
        outputs.append(((tmp_path / "out.h5").read_bytes(), (tmp_path / "out.json").read_bytes()))
    assert outputs[0] == outputs[1] == outputs[2]


def test_fewer_cells_than_neighbours_follow_scanpys_rule_and_it_is_said(tmp_path):
    write_embedding(tmp_path, POINTS[:20])
    graph, summary = run(tmp_path, n_neighbors=30)
    assert graph.distances.nnz == 20 * 10
    assert summary["notes"] == ["11 neighbours, not 30: there are 20 cells"]
    write_embedding(tmp_path, POINTS[:2])
    with pytest.raises(BadInput, match="2 cells have no neighbourhoods"):
        run(tmp_path)


def test_a_file_that_is_no_graph_is_bad_input(tmp_path):
    (tmp_path / "graph.h5").write_text("no graph")
    with pytest.raises(BadInput, match=r"graph\.h5: cannot be read as a graph of neighbours"):
        read_graph(tmp_path / "graph.h5")


def test_arguments_stay_as_they_are(tmp_path, graph_of_points):
    indices, distances, weights = graph_of_points
    points, copies = POINTS.copy(), [indices.copy(), distances.copy()]
    embedding_neighbors.find_neighbors(points, 15, **EXACT)
    write_graph(
        Graph(np.arange(len(points)).astype(str), embedding_neighbors.distance_matrix(indices, distances), weights, {}),
        tmp_path / "g.h5",
    )
    np.testing.assert_array_equal(points, POINTS)
    np.testing.assert_array_equal(indices, copies[0])
    np.testing.assert_array_equal(distances, copies[1])
