"""UMAP layout: umap-learn's optimiser step by step, one seed one layout, groups apart."""

import itertools
import os
import subprocess
import sys
import types
from pathlib import Path

import anndata
import numba
import numpy as np
import pandas as pd
import pytest
import scanpy
from scipy import stats
from scipy.spatial import KDTree

import umap_layout
from immune_aging.embedding import layout as embedding_layout
from immune_aging.embedding.fuzzy_graph import connectivities
from immune_aging.embedding.graph_file import Graph, write_graph
from immune_aging.embedding.neighbors import distance_matrix, find_neighbors
from immune_aging.task.checkpoints import read_parquet, write_parquet
from inputs.step_options import default_options

SCRIPT = Path(umap_layout.__file__)


def clouds(cells=500, seed=0):
    random = np.random.default_rng(seed)
    kind = random.integers(0, 3, cells)
    return (12 * np.eye(3, 6)[kind] + random.normal(0, 1, (cells, 6))).astype(np.float32), kind


POINTS, KIND = clouds()
INDICES, DISTANCES, _ = find_neighbors(POINTS, 15, exact_cells=10**6, min_recall=1.0, seed=0)
GRAPH = connectivities(INDICES, DISTANCES)


@numba.njit
def next_of_list(state):
    """A random cell for umap-learn: the next of the list that follows the counter in `state`."""
    state[0] += 1
    return state[state[0]]


def umap_learns_epoch():
    """The optimiser's step over all edges, with random cells from a list in place of its own generator."""
    import umap.layouts  # compiles for half a minute, which is no part of collecting tests

    step = umap.layouts._optimize_layout_euclidean_single_epoch
    with_list = types.FunctionType(step.__code__, step.__globals__ | {"tau_rand_int": next_of_list})
    return numba.njit(with_list, fastmath=True)


def test_epochs_are_umap_learns_edge_by_edge():
    """Schedule to the bit; positions to the error of the tabulated forces (small steps: no chaos)."""
    head, tail, period = embedding_layout.sampled_edges(GRAPH, 200)
    a, b = embedding_layout.curve_parameters(0.5)
    start = embedding_layout.starting_positions(POINTS, seed=0)

    def state():
        return start.copy(), period.copy(), period / 5

    positions, next_sample, next_negative = state()
    theirs, their_sample, their_negative = state()
    rate = np.float32(1e-4)
    attraction, repulsion = embedding_layout.force_tables(a, b)
    single_epoch, nothing = umap_learns_epoch(), np.zeros(1, dtype=np.float32)
    n_random, most = 0, 0
    for epoch in range(20):
        due = np.flatnonzero(their_sample <= epoch)
        n_negative = ((epoch - their_negative) / (period / 5))[due].astype(int)
        first_draw = np.uint64(1 << 63) + np.uint64(16 * len(head) * epoch)
        cells = [
            int(embedding_layout._random_cell(first_draw + np.uint64(16 * edge + i), len(POINTS)))
            for edge, n in zip(due, n_negative, strict=True)
            for i in range(n)
        ]
        embedding_layout._serial_epoch_inplace(
            positions, head, tail, period, next_sample, next_negative, first_draw, attraction * rate, repulsion * rate,
            np.float32(4) * rate, epoch,
        )  # fmt: skip
        listed = np.array([0, *cells], dtype=np.int64)
        of_each_cell = np.lib.stride_tricks.as_strided(listed, (len(POINTS), len(listed)), (0, 8))  # one list for all
        single_epoch(
            theirs, theirs, head, tail, len(POINTS), period, a, b, of_each_cell, 1.0, 2, True, 1e-4,
            period / 5, their_negative, their_sample, epoch, False, nothing, nothing, 0, 0, 0, 0, nothing, nothing, 0,
        )  # fmt: skip
        assert listed[0] == len(cells)
        n_random, most = n_random + len(cells), max(most, n_negative.max(initial=0))
    assert n_random > 10_000 and most < embedding_layout.DRAWS_OF_EDGE
    np.testing.assert_allclose(next_sample, their_sample, rtol=1e-12)
    np.testing.assert_allclose(next_negative, their_negative, rtol=1e-12)
    moved = np.abs(theirs - start).max()
    assert moved > 1e-3
    assert np.abs(positions - theirs).max() < 1e-3 * moved


@pytest.mark.parametrize("stride", [1, 16])
def test_random_cells_are_uniform_and_independent_of_the_one_before(stride):
    """Draws of one edge follow each other; the first ones of edges that follow each other are 16 apart."""
    n_draws, n_cells = 200_000, 21
    draws = np.uint64(0xFFFF_FFFF_FFF0_0000) + np.uint64(stride) * np.arange(n_draws, dtype=np.uint64)  # wraps
    cells = np.array([embedding_layout._random_cell(draw, n_cells) for draw in draws]).astype(int)
    assert cells.min() == 0 and cells.max() == n_cells - 1
    assert stats.chisquare(np.bincount(cells)).pvalue > 1e-3
    for lag in (1, 2, 5):
        pairs = n_cells * cells[:-lag] + cells[lag:]
        assert stats.chisquare(np.bincount(pairs, minlength=n_cells**2)).pvalue > 1e-3


def test_random_cells_are_splitmix64s():
    """The first outputs for seed 1234567, as published with the reference implementation's ports."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    scale = 1 << 31
    seed_over_golden = 1234567 * pow(0x9E3779B97F4A7C15, -1, 1 << 64)
    for i, output in enumerate(published, start=1):
        draw = np.uint64((seed_over_golden + i) % (1 << 64))
        assert int(embedding_layout._random_cell(draw, scale)) == output >> 33


def test_a_start_that_is_not_finite_is_refused():
    start = embedding_layout.starting_positions(POINTS, seed=0)
    start[7, 1] = -np.nan
    with pytest.raises(ValueError, match="not finite"):
        embedding_layout.layout(GRAPH, start, n_epochs=20, min_dist=0.5, seed=0)


def test_curve_and_sampled_edges_are_umap_learns():
    import umap.umap_

    for min_dist in (0.0, 0.1, 0.5, 1.0):
        np.testing.assert_allclose(
            embedding_layout.curve_parameters(min_dist), umap.umap_.find_ab_params(1.0, min_dist), rtol=1e-9
        )
    for n_epochs in (50, 51, 52, 53):  # numbers of edges that are no multiple of the streams, too
        head, tail, period = embedding_layout.sampled_edges(GRAPH, n_epochs)
        theirs = GRAPH.tocoo()
        strong = theirs.data >= theirs.data.max() / n_epochs
        assert 0 < strong.sum() < GRAPH.nnz
        order = np.lexsort([tail, head])
        np.testing.assert_array_equal(head[order], theirs.row[strong])
        np.testing.assert_array_equal(tail[order], theirs.col[strong])
        expected = umap.umap_.make_epochs_per_sample(theirs.data[strong], n_epochs)
        np.testing.assert_allclose(period[order], expected, rtol=1e-6)


def test_edges_that_follow_each_other_begin_at_different_cells():
    head, _, _ = embedding_layout.sampled_edges(GRAPH, 200)
    assert (np.diff(head) != 0).all()


def test_tabulated_forces_are_within_the_error_of_linear_interpolation():
    a, b = embedding_layout.curve_parameters(0.5)
    squared = np.exp(np.random.default_rng(0).uniform(np.log(2e-7), np.log(6e4), 20_000)).astype(np.float32)
    attraction, repulsion = embedding_layout.force_tables(a, b)
    bound = (b + 1) * (b + 2) / 8 / 64**2  # h^2/8 f'' of the steepest part, d^-(b+1)

    def attract(d):
        return -2 * a * b * d ** (b - 1) / (a * d**b + 1)

    def repel(d):
        return 2 * b / ((0.001 + d) * (a * d**b + 1))

    for table, curve in ((attraction, attract), (repulsion, repel)):
        found = np.array([embedding_layout._force.py_func(table, value) for value in squared])
        np.testing.assert_allclose(found, curve(squared.astype(np.float64)), rtol=1.02 * bound)
        beyond = [embedding_layout._force.py_func(table, np.float32(value)) for value in (0, 1e-42, 1e-12, 1e9, 3e38)]
        np.testing.assert_allclose(beyond, [curve(2.0**-24)] * 3 + [curve(2.0**16)] * 2, rtol=1e-6)


def kept_neighbors(positions):
    """Share of each cell's neighbours that are among its nearest in the layout."""
    _, near = KDTree(positions).query(positions, k=15)
    return np.mean([len(set(a) & set(b)) - 1 for a, b in zip(near, INDICES, strict=True)]) / 14


@pytest.fixture(scope="module")
def scanpys_layouts():
    """UMAP by scanpy of the same graph from the same start, for three seeds."""
    cohort = anndata.AnnData(np.zeros((len(POINTS), 1), dtype=np.float32), obsm={"X_h": POINTS})
    cohort.obsm["start"] = embedding_layout.starting_positions(POINTS, seed=0)
    cohort.obsp["connectivities"], cohort.obsp["distances"] = GRAPH, distance_matrix(INDICES, DISTANCES)
    cohort.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {"method": "umap", "metric": "euclidean", "n_neighbors": 15, "use_rep": "X_h"},
    }
    layouts = []
    for seed in (3, 4, 5):
        scanpy.tl.umap(cohort, init_pos="start", maxiter=200, random_state=seed)
        layouts.append(cohort.obsm["X_umap"].copy())
    return layouts


def likeness(one, other):
    """Mean correlation of the two coordinates of two layouts."""
    return np.mean([np.corrcoef(one[:, axis], other[:, axis])[0, 1] for axis in range(2)])


@pytest.mark.parametrize("threads", [1, 2])
def test_layout_is_as_good_as_scanpys_umap_and_as_near_to_it_as_its_own_seeds_are(threads, scanpys_layouts):
    """Layouts are chaotic, so no one seed's distance to another program, or another machine, says anything."""
    start = embedding_layout.starting_positions(POINTS, seed=0)
    ours = [
        embedding_layout.layout(GRAPH, start, n_epochs=200, min_dist=0.5, seed=seed, threads=threads)
        for seed in (3, 4, 5)
    ]
    theirs = np.mean([kept_neighbors(layout) for layout in scanpys_layouts])
    assert theirs > 0.2
    assert np.mean([kept_neighbors(layout) for layout in ours]) == pytest.approx(theirs, rel=0.05)
    across = np.mean([likeness(one, other) for one in ours for other in scanpys_layouts])
    within = np.mean([likeness(one, other) for one, other in itertools.combinations(scanpys_layouts, 2)])
    assert within > 0.7 and across > within - 0.05


def test_another_seed_gives_another_layout_of_the_same_groups():
    start = embedding_layout.starting_positions(POINTS, seed=0)
    one, other = (embedding_layout.layout(GRAPH, start, n_epochs=60, min_dist=0.5, seed=seed) for seed in (1, 2))
    assert np.abs(one - other).max() > 0.01
    for positions in (one, other):
        centres = np.stack([positions[kind == KIND].mean(axis=0) for kind in range(3)])
        nearest = np.linalg.norm(positions[:, None] - centres, axis=2).argmin(axis=1)
        assert (nearest == KIND).mean() > 0.99


def test_start_is_the_first_two_components_on_a_scale_of_0_to_10():
    start = embedding_layout.starting_positions(POINTS, seed=0)
    assert start.shape == (len(POINTS), 2) and start.dtype == np.float32
    np.testing.assert_allclose(start.min(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(start.max(axis=0), 10, atol=1e-5)
    for axis in range(2):
        assert np.corrcoef(start[:, axis], POINTS[:, axis])[0, 1] > 0.999999


@pytest.mark.parametrize(
    "embedding", [POINTS[:, :1], np.c_[POINTS[:, 0], np.full(len(POINTS), 7.0)]], ids=["one", "constant"]
)
def test_a_missing_or_constant_component_still_gives_a_finite_layout(embedding):
    start = embedding_layout.starting_positions(embedding, seed=0)
    positions = embedding_layout.layout(GRAPH, start, n_epochs=20, min_dist=0.5, seed=0)
    assert np.isfinite(positions).all() and (positions.std(axis=0) > 0).all()


def write_inputs(folder, rows=slice(None)):
    ids = np.array([f"CELL{i}" for i in range(len(POINTS))], dtype=object)
    write_graph(Graph(ids, distance_matrix(INDICES, DISTANCES), GRAPH, {"n_neighbors": 15}), folder / "graph.h5")
    table = pd.DataFrame(POINTS, columns=[f"H{i + 1}" for i in range(6)])
    table.insert(0, "cell_id", ids)
    write_parquet(table[rows], folder / "harmony.parquet")
    return [
        *default_options("umap_layout"), "--graph", str(folder / "graph.h5"), "--embedding", str(folder / "harmony.parquet"), "--output",
        str(folder / "umap.parquet"), "--epochs", "30", "--versions", str(folder / "versions.json"),
    ]  # fmt: skip


def test_same_bytes_in_every_process_whatever_the_threads(tmp_path):
    arguments = write_inputs(tmp_path)
    outputs = []
    for threads in ("1", "2"):
        environment = os.environ | {
            "NUMBA_NUM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        subprocess.run([sys.executable, "-B", str(SCRIPT), *arguments], check=True, env=environment)
        outputs.append((tmp_path / "umap.parquet").read_bytes())
    umap_layout.main(arguments)
    outputs.append((tmp_path / "umap.parquet").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
    table = read_parquet(tmp_path / "umap.parquet")
    assert list(table.columns) == ["cell_id", "UMAP1", "UMAP2"]
    assert list(table["cell_id"]) == [f"CELL{i}" for i in range(len(POINTS))]
    expected = embedding_layout.layout(
        GRAPH, embedding_layout.starting_positions(POINTS, seed=0), n_epochs=30, min_dist=0.5, seed=0
    )
    np.testing.assert_array_equal(table[["UMAP1", "UMAP2"]].to_numpy(), expected)
