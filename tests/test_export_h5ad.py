"""The exported h5ad holds every count, opens in scanpy, and says of each cell what the pipeline found."""

import anndata
import numpy as np
import pandas as pd
import pytest

import export_h5ad
from checkpoints import write_h5ad, write_json, write_parquet
from command_line import BadInput
from small_cohorts import small_cohort
from test_qc_cells import shard_of


@pytest.fixture
def parts(tmp_path):
    cohort = shard_of(small_cohort(donors=4))
    shards = []
    for i, donors in enumerate((["D00", "D01"], ["D02", "D03"])):
        shards.append(tmp_path / f"dataset-x_shard-00{i}_step-split_counts.h5ad")
        write_h5ad(cohort[cohort.obs["donor_id"].isin(donors)].copy(), shards[-1])
    cells = cohort.obs.reset_index(names="cell_id").astype(object)
    cells["kept"] = np.arange(len(cells)) % 3 > 0
    cells["doublet_score"] = np.linspace(0, 1, len(cells))
    kept = cells.loc[cells["kept"], ["cell_id"]].reset_index(drop=True)
    rng = np.random.default_rng(0)
    write_parquet(cells, tmp_path / "a/qc/cells.parquet")
    write_parquet(kept.assign(PC1=rng.normal(size=len(kept)), PC2=0.0), tmp_path / "b/embedding/pca.parquet")
    write_parquet(kept.assign(cluster="0"), tmp_path / "c/clusters/resolution-1.0/clusters.parquet")
    donors = pd.DataFrame({"donor_id": ["D00", "D01", "D02", "D03"], "age_years": [30.0, 40, 50, np.nan], "n_cells": 1})
    write_parquet(donors, tmp_path / "donors.parquet")
    write_json({"seed": {"value": 7, "default": 0}}, tmp_path / "params.json")
    return cohort, cells, shards


def export(shards, folder):
    export_h5ad.main(
        ["--shards", *map(str, shards[::-1]), "--published", *(str(folder / name) for name in "abc"), "--donors",
         str(folder / "donors.parquet"), "--params", str(folder / "params.json"), "--output", str(folder / "out.h5ad"), "--versions",
         str(folder / "v.json")]
    )  # fmt: skip
    return folder / "out.h5ad"


def test_no_count_is_lost_and_everything_is_aligned(parts, tmp_path):
    cohort, cells, shards = parts
    back = anndata.read_h5ad(export(shards, tmp_path))
    assert back.obs_names.tolist() == cohort.obs_names.tolist()
    assert (back.X != cohort.X).nnz == 0 and back.X.dtype == np.float32
    assert back.var["feature_name"].tolist() == cohort.var["symbol"].tolist()
    np.testing.assert_array_equal(back.obs["doublet_score"], cells["doublet_score"])
    assert back.obs.loc[back.obs["donor_id"] == "D02", "age_years"].eq(50).all()
    dropped = ~cells["kept"].to_numpy(dtype=bool)
    assert np.isnan(back.obsm["X_pca"][dropped]).all() and not np.isnan(back.obsm["X_pca"][~dropped]).any()
    assert back.obs["leiden_1.0"].isna().tolist() == dropped.tolist()
    assert back.uns["immune_aging"]["parameters"] == {"seed": "7"}


def test_it_opens_backed(parts, tmp_path):
    cohort, _, shards = parts
    backed = anndata.read_h5ad(export(shards, tmp_path), backed="r")
    np.testing.assert_array_equal(backed[5:9].to_memory().X.toarray(), cohort[5:9].X.toarray())


def test_shards_of_another_cohort_are_refused(parts, tmp_path):
    _, _, shards = parts
    with pytest.raises(BadInput, match="run both on the same cohort"):
        export(shards[:1], tmp_path)
    assert not (tmp_path / "out.h5ad").exists()
