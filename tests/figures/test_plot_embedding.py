"""Figures of the embedding: cells joined by name, kinds numbered, far cells counted."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import plot_embedding
from immune_aging import results
from immune_aging.embedding.embedded_cells import clusters_of
from immune_aging.embedding.map_sample import COLUMNS, N_CELLS
from immune_aging.figures.maps import frame_of, inside, plot_categories, plot_values
from immune_aging.task.checkpoints import read_parquet, read_tsv, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.report_inputs import write_inputs
from inputs.step_options import default_options
from plot_embedding import main

AXES = ("UMAP 1", "UMAP 2")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


def options(inputs, out, **paths):
    chosen = {
        "cells": inputs / "merge_qc/published/qc/cells.parquet",
        "donors": inputs / "check_cohort/donors.parquet",
        "pca": inputs / "pca/published/embedding/pca.parquet",
        "harmony": inputs / "harmony/published/embedding/harmony.parquet",
        "umap": inputs / "umap/published/embedding/umap.parquet",
        "output": out,
        "versions": out / "v.json",
    } | paths
    given = [word for name, path in chosen.items() for word in (f"--{name}", str(path))]
    return [*default_options("plot_embedding"), *given]


def without(name, words):
    place = words.index(f"--{name}")
    return words[:place] + words[place + 2 :]


class Drawn:
    """Everything that the script draws, once, of a cohort with three genes: two of them named like the sample's columns."""

    def __init__(self, inputs, folder):
        self.folder, cells = folder, read_parquet(inputs / "merge_qc/published/qc/cells.parquet")
        kept = cells.loc[cells["kept"], ["cell_id"]]
        self.genes = kept.assign(CD3E=1.5, cell_type=1.5, UMAP1=np.arange(len(kept)) / 7)
        # By shard, in an order of their own.
        for name, rows in (("b", self.genes.iloc[:100]), ("a", self.genes.iloc[100:])):
            write_parquet(rows, folder / f"{name}.parquet")
        self.more = ["--clusters", *(str(inputs / f"cluster-{resolution}/published") for resolution in ("1.0", "0.5"))]
        self.more += ["--genes", *(str(folder / f"{name}.parquet") for name in "ab")]
        main([*options(inputs, folder), *self.more])


@pytest.fixture(scope="module")
def drawn(inputs, tmp_path_factory):
    return Drawn(inputs, tmp_path_factory.mktemp("drawn"))


def test_the_script_draws_every_view_and_every_resolution(inputs, drawn):
    folder = drawn.folder
    mixing = read_tsv(folder / "embedding/mixing.tsv").set_index(["label", "embedding"])
    # The same components before and after: the same index.
    assert len(mixing) == 4 and mixing.loc[("donor", "before Harmony"), "n_labels"] == 28
    for label in ("donor", "cell type"):
        assert mixing.loc[(label, "before Harmony"), "median"] == mixing.loc[(label, "after Harmony"), "median"]
    with Image.open(folder / "embedding/figures/mixing.png") as image:
        assert f"donor {mixing.loc[('donor', 'after Harmony'), 'median']:.2f} before" in image.text["Description"]
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    views = {f"umap_{view}" for view in ("cell_type", "donor", "sex", "age", "counts", "doublet_score")} | {
        "pca_cell_type",
        "mixing",
        *(f"umap_gene_{name}" for name in ("cd3e", "cell_type", "umap1")),
    }
    assert names == {f"embedding/figures/{view}.png" for view in views} | {
        f"clusters/resolution-{resolution}/figures/umap_cluster.png" for resolution in ("0.5", "1.0")
    }
    n_kept = int(read_parquet(inputs / "merge_qc/published/qc/cells.parquet")["kept"].sum())
    with Image.open(folder / "clusters/resolution-0.5/figures/umap_cluster.png") as image:
        assert (
            f"UMAP of {n_kept:,} cells" in image.text["Description"]
            and "5 Leiden clusters" in image.text["Description"]
        )
    with Image.open(folder / "embedding/figures/umap_donor.png") as image:
        assert "coloured by donor (28)" in image.text["Description"]


def test_the_sample_holds_what_the_tables_say_of_its_cells_and_is_the_same_each_time(
    inputs, drawn, tmp_path, monkeypatch
):
    cells, genes = read_parquet(inputs / "merge_qc/published/qc/cells.parquet").query("kept"), drawn.genes
    # Once more, from the genes in another order, without Harmony and without writing any figure.
    write_parquet(genes.iloc[::-1], tmp_path / "genes.parquet")
    for name in ("save_drawing", "save_drawings"):
        monkeypatch.setattr(plot_embedding, name, lambda *_: None)
    again = [*drawn.more[: drawn.more.index("--genes") + 1], str(tmp_path / "genes.parquet")]
    main([*without("harmony", options(inputs, tmp_path / "again")), *again])
    path = drawn.folder / "embedding/umap_sample.tsv"
    assert path.read_bytes() == (tmp_path / "again/embedding/umap_sample.tsv").read_bytes()
    sample = read_tsv(path)
    assert list(sample.columns) == [
        *COLUMNS, "cluster_0.5", "cluster_1.0", "gene_CD3E", "gene_cell_type", "gene_UMAP1",
    ]  # fmt: skip
    umap = read_parquet(inputs / "umap/published/embedding/umap.parquet")
    assert len(sample) == N_CELLS < len(cells)
    truth = cells.merge(umap).merge(genes[["cell_id", "UMAP1"]].rename(columns={"UMAP1": "gene_UMAP1"}), on="cell_id")
    truth = truth.merge(read_parquet(inputs / "check_cohort/donors.parquet"), on="donor_id")
    own = pd.read_parquet(inputs / "cluster-0.5/published/clusters/resolution-0.5/clusters.parquet")
    truth = truth.merge(own.rename(columns={"cluster": "cluster_0.5"}), on="cell_id")
    truth = truth.assign(place=truth["UMAP1"].round(3), gene_UMAP1=truth["gene_UMAP1"].round(3))
    truth["cluster_0.5"] = truth["cluster_0.5"].astype(int)
    columns = ["cell_type", "donor_id", "age_years", "sex", "cluster_0.5"]
    both = sample.assign(key=sample["gene_UMAP1"]).merge(truth.assign(key=truth["gene_UMAP1"]), on="key")
    assert len(both) == len(sample)
    for name in columns:
        assert (both[f"{name}_x"] == both[f"{name}_y"]).all(), name
    np.testing.assert_allclose(both["UMAP1_x"], both["UMAP1_y"], atol=6e-4)


def test_without_a_umap_there_is_no_sample(inputs, tmp_path):
    main(without("umap", without("harmony", options(inputs, tmp_path))))
    assert [path.name for path in tmp_path.rglob("*.png")] == ["pca_cell_type.png"]
    assert not (tmp_path / "embedding/umap_sample.tsv").exists()


def test_cells_in_another_order_are_an_error_not_a_wrong_picture(inputs, tmp_path):
    umap = read_parquet(inputs / "umap/published/embedding/umap.parquet")
    write_parquet(umap.iloc[::-1], tmp_path / "umap.parquet")
    with pytest.raises(BadInput, match=r"umap.parquet: cell 0 is"):
        main(options(inputs, tmp_path, umap=tmp_path / "umap.parquet"))


def test_resolutions_are_in_numerical_order(inputs, tmp_path):
    for resolution in ("10", "2", "0.5"):
        write_parquet(
            pd.DataFrame({"cell_id": ["a"], "cluster": ["0"]}),
            tmp_path / f"clusters/resolution-{resolution}/clusters.parquet",
        )
    found = clusters_of(pd.Series(["a"]), results.open(tmp_path), tmp_path / "cells.parquet")
    assert list(found) == ["0.5", "2", "10"]


def test_kinds_are_numbered_on_the_map_and_in_the_legend():
    rng = np.random.default_rng(0)
    kinds = pd.Series(pd.Categorical(["T"] * 100 + ["B"] * 50))
    points = np.where((kinds == "T").to_numpy()[:, None], 0, 9) + rng.normal(size=(150, 2))
    ax = plot_categories(points, kinds, axis_names=AXES, numbered=True).axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["1 B (50)", "2 T (100)"]
    where = {text.get_text(): text.get_position() for text in ax.texts}
    assert where["1"] == pytest.approx((9, 9), abs=1.5) and where["2"] == pytest.approx((0, 0), abs=1.5)


def test_many_donors_get_no_legend():
    kinds = pd.Series(pd.Categorical([f"d{i}" for i in range(100)]))
    ax = plot_categories(np.random.default_rng(0).normal(size=(100, 2)), kinds, axis_names=AXES, numbered=False).axes[0]
    assert ax.get_legend() is None and not ax.texts


def test_a_few_far_cells_do_not_squeeze_the_map_and_are_counted():
    points = np.random.default_rng(0).uniform(0, 1, (100_000, 2))
    points[:3] = 1000
    limits = frame_of(points)
    assert limits.max() < 2 and np.flatnonzero(~inside(points)).tolist() == [0, 1, 2]
    assert inside(points[3:]).all()


def test_a_number_that_no_cell_has_is_said_to_be_unknown():
    ax = plot_values(np.zeros((5, 2)), np.full(5, np.nan), axis_names=AXES, bar="Doublet score").axes[0]
    assert ax.texts[0].get_text() == "Doublet score: not known for these cells"
