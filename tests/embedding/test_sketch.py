"""A cohort embedded on a sketch of its cells: who is drawn, how near placed cells come to where they belong."""

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import batch_sums
import cluster
import fit_batches
import harmony
import merge_placed
import neighbors
import pca
import place_cells
import sketch_cells
import umap_layout
from immune_aging.cohort.shard_file import write_shard
from immune_aging.embedding import batch_terms, placement, projection
from immune_aging.embedding import harmony as embedding_harmony
from immune_aging.embedding import neighbors as embedding_neighbors
from immune_aging.embedding import sketch as embedding_sketch
from immune_aging.embedding.normalization import log_normalize
from immune_aging.task.checkpoints import read_json, read_parquet, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.embedding_inputs import embedding_cohort
from inputs.step_options import default_options

N_CELLS, N_SKETCH = 2400, 600


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
    terms, components = ["--output-terms", out / "terms.h5"] if n_sketch else [], made / "harmony.parquet"
    run(harmony, out, "--pca", made / "pca.parquet", "--cells", cells, "--donors", inputs.donors, *seeded,
        "--output", made / "harmony.parquet", "--output-summary", made / "harmony.json", *terms)  # fmt: skip
    if n_sketch:
        for number, (shard, table) in enumerate(zip(inputs.shards, inputs.tables, strict=True)):
            run(batch_sums, out, "--counts", shard, "--cells", table, "--donors", inputs.donors, "--model", out / "model.parquet",
                "--terms", out / "terms.h5", "--output", out / f"sums/shard-{number:03d}.h5")  # fmt: skip
        run(fit_batches, out, "--sums", *sorted((out / "sums").iterdir()), "--terms", out / "terms.h5", "--pca",
            made / "pca.parquet", "--cells", cells, "--donors", inputs.donors, "--output", made / "corrected.parquet",
            "--output-terms", out / "all_terms.h5")  # fmt: skip
        components = made / "corrected.parquet"
    run(neighbors, out, "--embedding", components, *seeded, "--output", out / "graph.h5",
        "--output-summary", made / "neighbors.json")  # fmt: skip
    run(umap_layout, out, "--graph", out / "graph.h5", "--embedding", components, *seeded, "--epochs",
        "20", "--output", made / "umap.parquet")  # fmt: skip
    run(cluster, out, "--graph", out / "graph.h5", *seeded, "--resolution", "1.0", "--output", made.parent / "clusters")
    if n_sketch:
        for number, (shard, table) in enumerate(zip(inputs.shards, inputs.tables, strict=True)):
            place(out, shard, table, inputs.donors, out / f"placed/shard-{number:03d}.parquet", *seeded)
        run(
            merge_placed,
            out,
            "--placed",
            *sorted((out / "placed").iterdir()),
            "--clusters",
            made.parent,
            "--output",
            out,
        )
    return out


def place(out, shard, table, donors, output, *options):
    made = out / "sketch/embedding"
    run(place_cells, out, "--counts", shard, "--cells", table, "--donors", donors, "--model", out / "model.parquet", "--terms",
        out / "all_terms.h5", "--embedding", made / "corrected.parquet", "--umap", made / "umap.parquet", "--clusters",
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
    return SimpleNamespace(
        counts=counts, obs=obs, inputs=write_inputs(tmp_path_factory.mktemp("in") / "c", counts, obs, 4)
    )


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


def test_no_cluster_of_the_sketch_is_lost_and_every_cell_has_one(sketched):
    of_sketch = read_parquet(sketched / "sketch/clusters/resolution-1.0/clusters.parquet")
    assert set(clusters_in(sketched)) == set(of_sketch["cluster"])
    own = pd.Series(clusters_in(sketched), index=table_of(sketched, "umap")["cell_id"])[of_sketch["cell_id"]]
    assert agreement(own.to_numpy(), of_sketch["cluster"].to_numpy()) == 1


def test_cells_of_the_sketch_keep_their_place_and_lie_where_they_would_be_placed(cohort, sketched):
    made = sketched / "sketch/embedding"
    for name, table in (("harmony", "corrected"), ("umap", "umap")):
        own = read_parquet(made / f"{table}.parquet").set_index("cell_id")
        np.testing.assert_array_equal(table_of(sketched, name).set_index("cell_id").loc[own.index], own)
    own = read_parquet(made / "harmony.parquet").set_index("cell_id")
    before = table_of(sketched, "pca").set_index("cell_id").loc[own.index].to_numpy()
    donors = cohort.obs.set_index("cell_id")["donor_id"][own.index].to_numpy()
    placed = batch_terms.corrected_cells(before, donors, batch_terms.read_terms(sketched / "terms.h5"))
    off, moved = (np.sqrt(((points - own) ** 2).sum(axis=1).mean()) for points in (placed, before))
    assert off < 0.1 * moved


def test_neither_shards_nor_threads_nor_company_change_a_byte(cohort, sketched, tmp_path):
    other = write_inputs(tmp_path / "two", cohort.counts, cohort.obs, 2)
    for number, (shard, table) in enumerate(zip(other.shards, other.tables, strict=True)):
        output = tmp_path / f"placed/shard-{number:03d}.parquet"
        place(sketched, shard, table, other.donors, output, "--seed", "0", "--threads", "2")
    parts = [
        pd.concat([read_parquet(path) for path in sorted(folder.iterdir())], ignore_index=True)
        for folder in (tmp_path / "placed", sketched / "placed")
    ]
    pd.testing.assert_frame_equal(*parts, check_exact=True)


def test_with_all_cells_but_one_in_the_sketch_it_is_placed_near_where_it_was(cohort, whole, tmp_path):
    out = embedded(cohort.inputs, tmp_path, n_sketch=N_CELLS - 1)
    drawn = set(read_parquet(out / "sketch.parquet")["cell_id"])
    (left,) = np.flatnonzero(~cohort.obs["cell_id"].isin(drawn))
    one, other = coordinates(out, "harmony"), coordinates(whole, "harmony")
    spread = np.sqrt(((other - other.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert np.sqrt(((one - other) ** 2).sum(axis=1).mean()) < 0.05 * spread
    assert np.linalg.norm(one[left] - other[left]) < 0.1 * spread
    kinds = cohort.obs["cell_type"].to_numpy()
    home = coordinates(out, "umap")[kinds == kinds[left]]
    assert np.linalg.norm(coordinates(out, "umap")[left] - np.median(home, axis=0)) < np.ptp(home, axis=0).max()
    assert agreement(clusters_in(out), clusters_in(whole)) > 0.9


# --- the draw --------------------------------------------------------------------------------------------------------


def labelled(n=20_000, seed=0):
    """Cells of 40 donors and 5 types, the last of them rare, the last donor small."""
    random = np.random.default_rng(seed)
    donor = random.choice(40, n, p=np.append(np.full(39, 0.999 / 39), 0.001))
    kind = random.choice(5, n, p=[0.5, 0.3, 0.15, 0.049, 0.001])
    return pd.DataFrame(
        {"cell_id": [f"C{i}" for i in range(n)], "donor_id": donor.astype(str), "cell_type": kind.astype(str), "kept": random.random(n) < 0.9}
    )  # fmt: skip


def drawn(cells, n_cells, seed=0, block=3000):
    blocks = [cells.iloc[start : start + block] for start in range(0, len(cells), block)]
    labels = embedding_sketch.labels_of(blocks, seed=seed)
    return cells[cells["kept"]].iloc[embedding_sketch.drawn_rows(labels, n_cells)]


def test_a_sketch_is_in_proportion_but_for_rare_types_and_small_donors():
    cells = labelled()
    sketch = drawn(cells, 4000)
    kept = cells[cells["kept"]]
    assert len(sketch) == 4000 and sketch["kept"].all() and sketch["cell_id"].is_unique
    assert sketch["cell_id"].tolist() == sorted(sketch["cell_id"], key=lambda name: int(name[1:]))
    of_type, all_of_type = sketch["cell_type"].value_counts(), kept["cell_type"].value_counts()
    assert of_type["4"] == all_of_type["4"] and of_type["3"] >= 200
    of_donor, all_of_donor = sketch["donor_id"].value_counts(), kept["donor_id"].value_counts()
    assert (of_donor >= np.minimum(all_of_donor, 25)[of_donor.index]).all() and len(of_donor) == 40
    share = (sketch.groupby(["donor_id", "cell_type"]).size() / kept.groupby(["donor_id", "cell_type"]).size())[:, "0"]
    assert share.drop("39").between(0.12, 0.28).all()


def test_the_draw_depends_on_the_seed_and_the_cells_alone():
    cells = labelled()
    first = set(drawn(cells, 4000)["cell_id"])
    shuffled = cells.sample(frac=1, random_state=1)
    assert set(drawn(shuffled, 4000, block=777)["cell_id"]) == first
    assert len(first & set(drawn(cells, 4000, seed=1)["cell_id"])) < 0.6 * 4000


def test_samples_of_a_donor_are_told_apart():
    cells = labelled()
    cells.insert(2, "sample_of_donor", np.where(np.arange(len(cells)) % 500 == 0, "b", "a"))
    samples = drawn(cells, 4000).groupby(["donor_id", "sample_of_donor"]).size()
    kept = cells[cells["kept"]].groupby(["donor_id", "sample_of_donor"]).size()
    assert samples.index.equals(kept.index)


def test_too_small_a_sketch_is_refused():
    with pytest.raises(BadInput, match=r"--embedding_cells 100: too few for 40 donors.*at least 160"):
        drawn(labelled(), 100)


# --- the correction and the search -----------------------------------------------------------------------------------


def shifted(cells=1500, seed=0):
    random = np.random.default_rng(seed)
    kind, batch = random.integers(0, 4, cells), random.integers(0, 5, cells)
    points = 10 * np.eye(4, 8)[kind] + 3 * np.eye(5, 8, k=2)[batch] + random.normal(0, 0.7, (cells, 8))
    return points.astype(np.float32), np.array([f"D{b}" for b in batch], dtype=object)


def test_unseen_cells_are_corrected_as_harmony_would():
    points, batches = shifted()
    everything = embedding_harmony.harmonize(points, batches, max_iterations=10, seed=0, threads=1)
    fit = embedding_harmony.harmonize(
        points[:500], batches[:500], max_iterations=10, seed=0, threads=1, with_terms=True
    )
    placed = batch_terms.corrected_cells(points[500:], batches[500:], fit.terms)
    off = np.sqrt(((placed - everything.embedding[500:]) ** 2).sum(axis=1).mean())
    moved = np.sqrt(((points - everything.embedding) ** 2).sum(axis=1).mean())
    assert everything.terms is None and off < 0.2 * moved
    alone = np.vstack(
        [batch_terms.corrected_cells(points[i : i + 1], batches[i : i + 1], fit.terms) for i in (500, 501)]
    )
    np.testing.assert_array_equal(alone, placed[:2])


def test_another_formula_of_harmony_would_be_noticed():
    points, batches = shifted(300)
    memberships, centroids = np.full((300, 2), 0.5), np.eye(2, 8)
    with pytest.raises(ValueError, match="not what Harmony took off"):
        batch_terms.batch_terms(points, points + 1, memberships, centroids, batches)


def test_a_batch_without_a_cell_in_the_sketch_is_bad_input():
    points, batches = shifted(300)
    fit = embedding_harmony.harmonize(points, batches, max_iterations=2, seed=0, threads=1, with_terms=True)
    with pytest.raises(BadInput, match=r"'other' \(1 such batches\) has no cell in the sketch"):
        batch_terms.corrected_cells(points[:1], np.array(["other"], dtype=object), fit.terms)


def test_one_batch_is_passed_on(tmp_path):
    points, _ = shifted(100)
    batches = np.full(100, "D0", dtype=object)
    _, about, terms = embedding_harmony.correct(
        points, batches, column="donor_id", max_iterations=2, seed=0, threads=1, with_terms=True
    )
    batch_terms.write_terms(terms, tmp_path / "terms.h5")
    np.testing.assert_array_equal(
        batch_terms.corrected_cells(points, batches, batch_terms.read_terms(tmp_path / "terms.h5")), points
    )
    assert about["n_batches"] == 1


def test_damaged_terms_are_bad_input(tmp_path):
    (tmp_path / "terms.h5").write_text("nothing")
    with pytest.raises(BadInput, match="cannot be read as the terms"):
        batch_terms.read_terms(tmp_path / "terms.h5")


def test_lists_find_nearly_all_that_a_full_search_finds():
    random = np.random.default_rng(0)
    points = (random.normal(0, 4, (30, 10))[random.integers(0, 30, 6000)] + random.normal(0, 1, (6000, 10))).astype(
        np.float32
    )
    sketch, others = points[:5000], points[5000:]
    full = placement.search_index(sketch, 15, exact_cells=5000, min_recall=0.985, seed=0)
    lists = placement.search_index(sketch, 15, exact_cells=100, min_recall=0.985, seed=0)
    (truth, far), (found, _) = (placement.nearest_in_sketch(others, index, 15) for index in (full, lists))
    assert full.lists is None and lists.width < len(lists.lists.centres)
    distance = np.sqrt(((others[:, None] - sketch[None]) ** 2).sum(axis=2))
    np.testing.assert_array_equal(np.sort(truth, axis=1), np.sort(np.argsort(distance, axis=1)[:, :15], axis=1))
    np.testing.assert_allclose(far, np.sort(distance, axis=1)[:, :15], rtol=1e-4)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True)]) / 15 > 0.97
    for one, other in itertools.pairwise([placement.nearest_in_sketch(others, lists, 15, threads=t) for t in (1, 2)]):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_a_few_neighbours_on_another_island_do_not_draw_a_cell_into_the_sea():
    positions = np.array([[0, 0], [0.1, 0], [0, 0.1], [10, 10]], dtype=np.float32)
    rows, weights = np.array([[0, 1, 2, 3]], dtype=np.int32), np.ones((1, 4), dtype=np.float32)
    assert np.linalg.norm(placement.median_positions(rows, weights, positions)) < 0.3


def test_neighbours_vote_by_weight_and_a_tie_goes_to_the_larger_cluster():
    clusters = np.array([2, 1, 1, 0])
    rows = np.array([[0, 1, 2], [0, 3, 3], [1, 0, 3]], dtype=np.int32)
    weights = np.array([[1, 0.3, 0.3], [0.5, 0.3, 0.3], [0.5, 0.5, 0.1]], dtype=np.float32)
    assert placement.voted_clusters(rows, weights, clusters).tolist() == [2, 0, 1]
    assert placement.renumbered(np.array([5, 9, 5, 1])).tolist() == [1, 0, 2, 3]


# --- bad input -------------------------------------------------------------------------------------------------------


def test_a_model_of_other_genes_is_refused(cohort, sketched, tmp_path):
    model = read_parquet(sketched / "model.parquet")
    write_parquet(model.iloc[::-1].reset_index(drop=True), tmp_path / "model.parquet")
    with pytest.raises(BadInput, match="column 'gene_id' differs from the genes of"):
        projection.projected(cohort.inputs.shards[0], tmp_path / "model.parquet")


def test_quality_control_of_another_shard_is_refused(cohort):
    cells = read_parquet(cohort.inputs.tables[0])
    with pytest.raises(BadInput, match=r"shard-001_cells\.parquet.*run both"):
        projection.batches_of_shard(
            cells["cell_id"], cohort.inputs.shards[0], cohort.inputs.tables[1], cohort.inputs.donors, "donor_id"
        )
