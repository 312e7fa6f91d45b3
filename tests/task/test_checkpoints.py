"""Checkpoints appear whole or not at all, hold what was given, and are the same bytes for the same content."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from immune_aging.task.checkpoints import (  # fmt: skip
    atomic_path,
    check_same_cells,
    read_h5ad,
    read_json,
    read_parquet,
    read_tsv,
    require_columns,
    slug,
    unique_slugs,
    write_h5ad,
    write_json,
    write_parquet,
    write_tsv,
    write_versions,
)
from immune_aging.task.command_line import BadInput


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_tsv_keeps_text_that_looks_missing_and_quotes(tmp_path):
    table = pd.DataFrame(
        {"gene": ["NaN", 'a"b', "x\ty\nz", None], "p": [1e-300, np.nan, 1 / 3, 2.0], "n": [1, 2, 3, 4]}
    )
    write_tsv(table, tmp_path / "t.tsv")
    back = read_tsv(tmp_path / "t.tsv")
    assert back["gene"].tolist()[:3] == ["NaN", 'a"b', "x y z"]
    assert pd.isna(back["gene"][3]) and pd.isna(back["p"][1])
    assert back["p"][2] == pytest.approx(1 / 3, rel=1e-5)


@pytest.mark.parametrize("write", [write_parquet, write_tsv])
def test_tables_are_the_same_bytes_twice_and_not_changed(write, tmp_path):
    table = pd.DataFrame({"a": ["x", "y"], "b": [0.5, np.nan], "c": pd.Categorical(["u", None])})
    before = table.copy(deep=True)
    write(table, tmp_path / "1")
    write(table, tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    pd.testing.assert_frame_equal(table, before)


def test_h5ad_round_trip_same_bytes(tmp_path):
    adata = anndata.AnnData(
        X=sparse.random(20, 10, density=0.3, format="csr", random_state=0, dtype=np.float32),
        obs=pd.DataFrame({"t": pd.Categorical(["a", "b"] * 10)}, index=[str(i) for i in range(20)]),
    )
    write_h5ad(adata, tmp_path / "1.h5ad")
    write_h5ad(adata, tmp_path / "2.h5ad")
    assert (tmp_path / "1.h5ad").read_bytes() == (tmp_path / "2.h5ad").read_bytes()
    assert (read_h5ad(tmp_path / "1.h5ad").X != adata.X).nnz == 0


def test_json_turns_numpy_into_plain_values_and_nan_into_null(tmp_path):
    write_json(
        {"a": np.int64(3), "b": np.float32("nan"), "c": np.array([1, 2]), "d": {np.int64(1): True}}, tmp_path / "x.json"
    )
    assert read_json(tmp_path / "x.json") == {"a": 3, "b": None, "c": [1, 2], "d": {"1": True}}


def test_unreadable_files_are_bad_input(tmp_path):
    (tmp_path / "x").write_text("no table")
    for read in (read_parquet, read_json, read_h5ad):
        with pytest.raises(BadInput, match="cannot be read"):
            read(tmp_path / "x")


def test_missing_column_is_named():
    with pytest.raises(BadInput, match=r"t\.tsv: column 'b' is missing; it has: a"):
        require_columns(pd.DataFrame({"a": [1]}), ["a", "b"], "t.tsv")


def test_cells_in_another_order_are_refused():
    check_same_cells(["a", "b"], ["a", "b"], "l", "r")
    with pytest.raises(BadInput, match="cell 0 is 'b', but 'a'"):
        check_same_cells(["a", "b"], ["b", "a"], "l", "r")
    with pytest.raises(BadInput, match="1 cells, but l has 2"):
        check_same_cells(["a", "b"], ["a"], "l", "r")


def test_versions_name_the_packages(tmp_path):
    write_versions("step", ["numpy"], tmp_path / "v.json")
    assert read_json(tmp_path / "v.json")["packages"] == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CD4-positive, alpha-beta T cell", "cd4_positive_alpha_beta_t_cell"),
        ("naïve B/cell", "naive_b_cell"),
        ("../../etc/passwd", "etc_passwd"),
        ("$(rm -rf x); `y`", "rm_rf_x_y"),
        ("", "unnamed"),
        ("日本", "unnamed"),
    ],
)
def test_slugs_are_safe(name, expected):
    assert slug(name) == expected


@settings(deadline=None)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=12, unique=True))
def test_ids_are_unique_safe_and_independent_of_order(names):
    ids = unique_slugs(names)
    assert len(set(ids.values())) == len(names)
    assert all(value and set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") for value in ids.values())
    assert unique_slugs(reversed(names)) == ids


def test_a_name_that_imitates_a_digest_gets_its_own_id():
    first = unique_slugs(["T/B", "T B"])
    names = ["T/B", "T B", first["T/B"]]
    assert len(set(unique_slugs(names).values())) == 3


def test_a_portable_h5ad_needs_no_plugin_and_nothing_is_changed_by_writing(tmp_path):
    adata = anndata.AnnData(
        X=sparse.random(6, 4, density=0.5, format="csr", random_state=0),
        obs=pd.DataFrame({"sex": ["female", None, "male"] * 2}, index=[f"s{i}" for i in range(6)]),
    )
    write_h5ad(adata, tmp_path / "p.h5ad", portable=True)
    with h5py.File(tmp_path / "p.h5ad") as file:
        assert file["X/data"].compression == "gzip"
    assert adata.obs["sex"].dtype == object
    assert read_h5ad(tmp_path / "p.h5ad").obs["sex"].isna().sum() == 2


@pytest.mark.parametrize("portable", [True, False])
def test_text_with_missing_values_stays_missing_in_an_h5ad(tmp_path, portable):
    obs = pd.DataFrame({"sex": ["female", None, "male"], "pool": ["a", np.nan, "b"], "n": [1, 2, 3]}, index=list("xyz"))
    adata = anndata.AnnData(sparse.csr_matrix((3, 2)), obs=obs)
    write_h5ad(adata, tmp_path / "a.h5ad", portable=portable)
    found = read_h5ad(tmp_path / "a.h5ad").obs
    assert found["sex"].isna().tolist() == found["pool"].isna().tolist() == [False, True, False]
    assert found["sex"].dropna().tolist() == ["female", "male"]
    assert adata.obs["sex"].dtype == object, "the caller's table is not changed"
