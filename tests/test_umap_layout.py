"""UMAP layout: umap-learn's own, one seed one layout, groups apart."""

import os
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy

import umap_layout
from checkpoints import read_parquet, write_parquet
from command_line import BadInput
from graph_file import Graph, write_graph
from neighbors import connectivities, distance_matrix, find_neighbors

SCRIPT = Path(umap_layout.__file__)


def clouds(cells=500, seed=0):
    random = np.random.default_rng(seed)
    kind = random.integers(0, 3, cells)
    return (12 * np.eye(3, 6)[kind] + random.normal(0, 1, (cells, 6))).astype(np.float32), kind


POINTS, KIND = clouds()
INDICES, DISTANCES, _ = find_neighbors(POINTS, 15, exact_cells=10**6, min_recall=1.0, seed=0)
GRAPH = connectivities(INDICES, DISTANCES)
OPTIONS = {"n_epochs": 60, "min_dist": 0.5, "seed": 3}


def test_layout_equals_scanpys_umap_from_the_same_start():
    start = umap_layout.starting_positions(POINTS, seed=0)
    ours = umap_layout.layout(GRAPH, start, **OPTIONS)
    cohort = anndata.AnnData(np.zeros((len(POINTS), 1), dtype=np.float32), obsm={"X_h": POINTS, "start": start})
    cohort.obsp["connectivities"], cohort.obsp["distances"] = GRAPH, distance_matrix(INDICES, DISTANCES)
    cohort.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {"method": "umap", "metric": "euclidean", "n_neighbors": 15, "use_rep": "X_h"},
    }
    scanpy.tl.umap(cohort, init_pos="start", maxiter=60, random_state=3)
    np.testing.assert_array_equal(ours, cohort.obsm["X_umap"])


def test_another_seed_gives_another_layout_of_the_same_groups():
    start = umap_layout.starting_positions(POINTS, seed=0)
    one, other = (umap_layout.layout(GRAPH, start, n_epochs=60, min_dist=0.5, seed=seed) for seed in (1, 2))
    assert np.abs(one - other).max() > 0.01
    for positions in (one, other):
        centres = np.stack([positions[kind == KIND].mean(axis=0) for kind in range(3)])
        nearest = np.linalg.norm(positions[:, None] - centres, axis=2).argmin(axis=1)
        assert (nearest == KIND).mean() > 0.99


def test_start_is_the_first_two_components_on_a_scale_of_0_to_10():
    start = umap_layout.starting_positions(POINTS, seed=0)
    assert start.shape == (len(POINTS), 2) and start.dtype == np.float32
    np.testing.assert_allclose(start.min(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(start.max(axis=0), 10, atol=1e-5)
    for axis in range(2):
        assert np.corrcoef(start[:, axis], POINTS[:, axis])[0, 1] > 0.999999


@pytest.mark.parametrize(
    "embedding", [POINTS[:, :1], np.c_[POINTS[:, 0], np.full(len(POINTS), 7.0)]], ids=["one", "constant"]
)
def test_a_missing_or_constant_component_still_gives_a_finite_layout(embedding):
    start = umap_layout.starting_positions(embedding, seed=0)
    positions = umap_layout.layout(GRAPH, start, n_epochs=20, min_dist=0.5, seed=0)
    assert np.isfinite(positions).all() and (positions.std(axis=0) > 0).all()


def write_inputs(folder, rows=slice(None)):
    ids = np.array([f"CELL{i}" for i in range(len(POINTS))], dtype=object)
    write_graph(Graph(ids, distance_matrix(INDICES, DISTANCES), GRAPH, {"n_neighbors": 15}), folder / "graph.h5")
    table = pd.DataFrame(POINTS, columns=[f"H{i + 1}" for i in range(6)])
    table.insert(0, "cell_id", ids)
    write_parquet(table[rows], folder / "harmony.parquet")
    return [
        "--graph", str(folder / "graph.h5"), "--embedding", str(folder / "harmony.parquet"), "--output",
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
    expected = umap_layout.layout(
        GRAPH, umap_layout.starting_positions(POINTS, seed=0), n_epochs=30, min_dist=0.5, seed=0
    )
    np.testing.assert_array_equal(table[["UMAP1", "UMAP2"]].to_numpy(), expected)


def test_umap_is_imported_without_compiling_pynndescents_distances(tmp_path):
    code = (
        "from umap_library import import_umap; import_umap()\n"
        "import pynndescent.distances, numba, umap.layouts\n"
        "assert not hasattr(pynndescent.distances.euclidean, 'py_func'), 'compiled'\n"
        "assert hasattr(umap.layouts.rdist, 'py_func') and numba.config.DISABLE_JIT == 0\n"
    )
    subprocess.run(
        [sys.executable, "-B", "-c", code],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parent)},
    )


def test_embedding_of_other_cells_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"499 cells, but .*graph\.h5 has 500"):
        umap_layout.main(write_inputs(tmp_path, slice(1, None)))


def test_arguments_stay_as_they_are():
    graph, start = GRAPH.copy(), umap_layout.starting_positions(POINTS, seed=0)
    before = start.copy()
    umap_layout.layout(graph, start, n_epochs=20, min_dist=0.5, seed=0)
    np.testing.assert_array_equal(start, before)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(graph, part), getattr(GRAPH, part))
