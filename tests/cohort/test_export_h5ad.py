"""The exported h5ad holds every count, opens in scanpy, keeps the input's columns, and can be analysed again."""

from importlib import metadata

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from scipy import sparse

import export_h5ad
import plan_run
import split_cohort
from immune_aging.cohort import export as cohort_export
from immune_aging.task.checkpoints import read_json, read_parquet, sha256_of, write_json, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from prepared_cohorts import SMALL, prepared
from small_cohorts import small_cohort, write_cohort


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A cohort whose counts are in raw, in shards, with tables as the steps publish them; every third cell dropped.

    The cohort filter drops a donor without an age, two cells of a rare type and one of none.
    """
    cohort = small_cohort(donors=8, cells_per_type=5, genes=40)
    stages, types = cohort.obs["development_stage"].astype(str), cohort.obs["cell_type"].astype(str)
    stages[cohort.obs["donor_id"] == "D07"] = "unknown"
    first = [cohort.obs_names[cohort.obs["donor_id"].eq(d) & types.eq("T cell")] for d in ("D00", "D01")]
    types[first[0][:2]], types[first[1][:1]] = "rare", None
    cohort.obs["development_stage"], cohort.obs["cell_type"] = pd.Categorical(stages), pd.Categorical(types)
    cohort.obs["n_counts"] = cohort.obs_names.str.len()  # a name that quality control has as well
    cohort.obsm["X_own"] = np.arange(2.0 * cohort.n_obs).reshape(-1, 2)
    cohort.uns |= {"title": "A title", "X_approximate_distribution": "normal", "default_embedding": "X_own"}
    cohort.raw = cohort.copy()
    cohort.var["feature_is_filtered"] = [i == 3 for i in range(cohort.n_vars)]
    cohort.X = cohort.X.log1p()
    write_cohort(cohort, tmp_path / "cohort.h5ad")
    monkeypatch.chdir(tmp_path)
    split_cohort.main(prepared(tmp_path / "cohort.h5ad", tmp_path))
    shards = sorted(tmp_path.glob("x_shard-*.h5ad"))
    assert len(shards) == 2
    kept = pd.concat([anndata.read_h5ad(shard).obs.astype(str) for shard in shards]).reset_index(names="cell_id")
    n = len(kept)
    cells = kept.assign(
        n_counts=np.arange(n), doublet_score=np.linspace(0, 1, n), kept=np.arange(n) % 3 > 0, reason="low counts"
    )
    good = cells.loc[cells["kept"], ["cell_id"]].reset_index(drop=True)
    write_parquet(cells, tmp_path / "a/qc/cells.parquet")
    values = np.random.default_rng(0).normal(size=len(good))
    write_parquet(good.assign(PC1=values, PC2=0.0), tmp_path / "b/embedding/pca.parquet")
    write_parquet(good.assign(cluster="0"), tmp_path / "c/clusters/resolution-1.0/clusters.parquet")
    write_parquet(good.assign(cluster="1"), tmp_path / "c/clusters/resolution-0.5/clusters.parquet")
    write_json({"seed": {"value": 7, "default": 0}}, tmp_path / "params.json")
    return cohort, cells, shards


def export(shards, folder, *options, output="out.h5ad"):
    export_h5ad.main(
        [*default_options("export_h5ad"), "--cohort", str(folder / "cohort.h5ad"), "--check", str(folder / "check.json"), "--shards", *map(str, shards[::-1]),
         "--published", *(str(folder / name) for name in "abc"), "--donors", str(folder / "donors.parquet"), "--genes",
         str(folder / "genes.parquet"), "--dropped", str(folder / "dropped.parquet"), "--params", str(folder / "params.json"),
         "--pipeline-version", "0.1.0", "--output", str(folder / output), "--versions", str(folder / "v.json"), *options]
    )  # fmt: skip
    return folder / output


def test_no_count_is_lost_and_everything_is_aligned(parts, tmp_path):
    cohort, cells, shards = parts
    back = scanpy.read_h5ad(export(shards, tmp_path))
    never = read_parquet(tmp_path / "dropped.parquet")
    assert back.obs_names.tolist() == [*cells["cell_id"], *never["cell_id"]]
    assert sorted(back.obs_names) == sorted(cohort.obs_names) and back.var_names.tolist() == cohort.var_names.tolist()
    original = cohort.raw.to_adata()[back.obs_names, back.var_names]
    assert (back.X != original.X).nnz == 0 and back.X.dtype == np.float32
    assert back.X.sum() == cohort.raw.X.sum()
    n = len(cells)
    np.testing.assert_array_equal(back.obs["doublet_score"][:n], cells["doublet_score"])
    assert back.obs["doublet_score"][n:].isna().all()
    assert back.obs.loc[back.obs["donor_id"] == "D02", "age_years"].eq(40).all()
    dropped = ~np.append(cells["kept"].to_numpy(dtype=bool), np.zeros(len(never), dtype=bool))
    np.testing.assert_array_equal(back.obs["kept"], ~dropped)
    assert back.obs["reason"].tolist() == [*cells["reason"], *never["reason"]]
    assert never["reason"].value_counts().to_dict() == read_json(tmp_path / "filtering.json")["cells"]["lost"]
    assert len(never) == 13 and back.obs["age_years"].isna().sum() == 10
    assert np.isnan(back.obsm["X_pca"][dropped]).all() and not np.isnan(back.obsm["X_pca"][~dropped]).any()
    for resolution in ("0.5", "1.0"):
        assert back.obs[f"leiden_{resolution}"].isna().tolist() == dropped.tolist()
    assert back.uns["immune_aging"]["parameters"] == {"seed": "7"}
    versions = back.uns["immune_aging"]["versions"]
    assert versions["immune-aging"] == "0.1.0" and versions["anndata"] == metadata.version("anndata")
    assert list(back.layers) == []


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_cells_that_the_cohort_filter_dropped_are_read_from_every_layout(parts, tmp_path, layout, monkeypatch):
    cohort, _, shards = parts
    counts = cohort.raw.X
    cohort.X = {"csr": counts, "csc": counts.tocsc(), "dense": counts.toarray()}[layout]
    cohort.raw = None
    write_cohort(cohort, tmp_path / "cohort.h5ad")
    prepared(tmp_path / "cohort.h5ad", tmp_path)  # says where the counts are now
    monkeypatch.setattr(cohort_export, "SPOOLED_CELLS", 4)
    back = anndata.read_h5ad(export(shards, tmp_path))
    assert (sparse.csr_matrix(cohort[back.obs_names].X) != back.X).nnz == 0
    assert not list(tmp_path.glob("spool-*"))


def test_the_columns_of_the_input_are_kept_as_they_are(parts, tmp_path):
    cohort, cells, shards = parts
    back = anndata.read_h5ad(export(shards, tmp_path))
    original = cohort[back.obs_names].copy()
    pd.testing.assert_frame_equal(back.obs[list(original.obs)], original.obs, check_names=False)
    np.testing.assert_array_equal(back.obs["immune_aging_n_counts"][: len(cells)], cells["n_counts"])
    assert back.var["feature_name"].tolist() == original.var.loc[back.var_names, "feature_name"].tolist()
    assert not back.var["feature_is_filtered"].any(), "raw counts have all genes"
    np.testing.assert_array_equal(back.obsm["X_own"], original.obsm["X_own"])
    assert back.uns["title"] == "A title" and back.uns["default_embedding"] == "X_own"
    assert back.uns["X_approximate_distribution"] == "count"


def test_facts_of_a_table_of_donors_are_in_it_beside_the_columns_of_the_input(parts, tmp_path):
    cohort, _, shards = parts
    donors = read_parquet(tmp_path / "donors.parquet")
    site = {donor: f"site {number % 2}" for number, donor in enumerate(donors["donor_id"])}
    write_parquet(
        donors.assign(site=donors["donor_id"].map(site), bmi=np.where(donors.index == 0, np.nan, 20.0 + donors.index)),
        tmp_path / "donors.parquet",
    )
    back = anndata.read_h5ad(export(shards, tmp_path))
    assert back.obs["site"].astype(str).tolist() == back.obs["donor_id"].astype(str).map(site).tolist()
    assert back.obs["bmi"].isna().equals(back.obs["donor_id"] == donors["donor_id"][0])
    assert set(cohort.obs) < set(back.obs) and "age_text" not in back.obs and "varies_within_donor" not in back.obs


def test_it_opens_backed(parts, tmp_path):
    _, cells, shards = parts
    path = export(shards, tmp_path)
    backed = scanpy.read_h5ad(path, backed="r")
    some = backed[backed.obs["kept"]].to_memory()
    np.testing.assert_array_equal(some.X.toarray(), anndata.read_h5ad(path)[some.obs_names].X.toarray())
    assert some.n_obs == cells["kept"].sum()


def test_dropped_cells_can_be_left_out(parts, tmp_path):
    _, cells, shards = parts
    whole = anndata.read_h5ad(export(shards, tmp_path))
    part = anndata.read_h5ad(export(shards, tmp_path, "--cells", "kept", output="kept.h5ad"))
    assert part.obs_names.tolist() == cells.loc[cells["kept"], "cell_id"].tolist()
    assert (part.X != whole[part.obs_names].X).nnz == 0 and not np.isnan(part.obsm["X_pca"]).any()
    assert part.obs["leiden_1.0"].notna().all()


def test_the_normalised_layer_is_scanpys(parts, tmp_path):
    _, _, shards = parts
    back = anndata.read_h5ad(export(shards, tmp_path, "--target-sum", "10000"))
    expected = back.copy()
    scanpy.pp.normalize_total(expected, target_sum=1e4)
    scanpy.pp.log1p(expected)
    np.testing.assert_allclose(back.layers["log1p"].toarray(), expected.X.toarray(), rtol=2e-6)


def test_equal_content_is_equal_bytes_and_the_input_is_not_touched(parts, tmp_path):
    _, _, shards = parts
    before = (tmp_path / "cohort.h5ad").read_bytes()
    one, other = export(shards, tmp_path), export(shards, tmp_path, output="again.h5ad")
    assert one.read_bytes() == other.read_bytes() and (tmp_path / "cohort.h5ad").read_bytes() == before


def test_an_export_that_is_analysed_again_gives_the_same_shards_donors_and_export(parts, tmp_path, monkeypatch):
    """All later steps start from the shards and the donors: where these are the same bytes, so are the results."""
    _, _, shards = parts
    exported = export(shards, tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    monkeypatch.chdir(again)
    plan_run.main([*default_options("plan_run"), "--cohort", str(exported), *SMALL, "--output", "plan.json"])
    split_cohort.main(prepared(exported, again))
    assert [path.read_bytes() for path in sorted(again.glob("x_shard-*.h5ad"))] == [s.read_bytes() for s in shards]
    assert read_json(again / "filtering.json") == read_json(tmp_path / "filtering.json")
    columns = ["donor_id", "age_years", "sex", "pool"]
    donors, first = read_parquet(again / "donors.parquet"), read_parquet(tmp_path / "donors.parquet")
    pd.testing.assert_frame_equal(donors[columns], first[columns])


def test_shards_of_another_cohort_are_refused(parts, tmp_path):
    _, _, shards = parts
    with pytest.raises(BadInput, match="run both on the same cohort"):
        export(shards[:1], tmp_path)
    write_cohort(small_cohort(donors=3), tmp_path / "cohort.h5ad")
    with pytest.raises(BadInput, match=r"lacks cell 'CELL.*run both on the same cohort"):
        export(shards, tmp_path)
    assert not (tmp_path / "out.h5ad").exists()


def test_a_cohort_that_was_replaced_during_the_run_is_refused(parts, tmp_path):
    """The same cells with other counts: the dropped ones would be those of another file."""
    cohort, _, shards = parts
    digest = sha256_of(tmp_path / "cohort.h5ad")
    assert export(shards, tmp_path, "--sha256", digest).exists()
    cohort.raw.X.data[:] += 1
    write_cohort(cohort, tmp_path / "cohort.h5ad")
    with pytest.raises(BadInput, match="was changed while the run read it"):
        export(shards, tmp_path, "--sha256", digest, output="other.h5ad")
    assert not (tmp_path / "other.h5ad").exists()
