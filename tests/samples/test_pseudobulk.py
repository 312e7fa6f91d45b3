"""Pseudobulk sums are exact to the last count, and do not depend on shards."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import merge_pseudobulk
import pseudobulk
from immune_aging.samples import pseudobulk_table
from immune_aging.samples import sums as samples_sums
from immune_aging.task.checkpoints import read_h5ad, read_tsv, write_h5ad, write_parquet, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from small_cohorts import shard_of, small_cohort


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_sums_equal_adding_up_cell_by_cell(seed, n_cells, n_groups):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.7, size=(n_cells, 6)).astype(np.uint16)
    donors, types = rng.integers(0, n_groups, n_cells).astype(str), rng.integers(0, 2, n_cells).astype(str)
    samples, sums = samples_sums.sum_by_sample(sparse.csr_matrix(counts), donors, types)
    assert sums.dtype == np.int64
    for row, total in zip(samples.itertuples(), sums.toarray(), strict=True):
        mask = (donors == row.donor_id) & (types == row.cell_type)
        assert row.n_cells == mask.sum() and (total == counts[mask].sum(axis=0)).all()
    assert samples["n_cells"].sum() == n_cells


def test_sums_equal_scanpys_aggregate():
    shard = shard_of(small_cohort())
    samples, sums = samples_sums.sum_by_sample(
        shard.X, shard.obs["donor_id"].astype(str).to_numpy(), shard.obs["cell_type"].astype(str).to_numpy()
    )
    reference = scanpy.get.aggregate(
        anndata.AnnData(shard.X.astype(np.float64), obs=shard.obs), ["cell_type", "donor_id"], "sum"
    )
    keys = (reference.obs["cell_type"].astype(str) + reference.obs["donor_id"].astype(str)).tolist()
    ours = (samples["cell_type"] + samples["donor_id"]).tolist()
    np.testing.assert_array_equal(
        sums.toarray(), np.asarray(reference.layers["sum"])[[keys.index(key) for key in ours]]
    )


def test_sums_beyond_16_and_32_bits_do_not_wrap():
    counts = sparse.csr_matrix(np.full((3, 1), np.iinfo(np.uint32).max, dtype=np.uint32))
    _, sums = samples_sums.sum_by_sample(counts, np.array(["d"] * 3), np.array(["t"] * 3))
    assert sums[0, 0] == 3 * (2**32 - 1)


def run(shards, folder, *, kept=lambda ids: np.ones(len(ids), dtype=bool), types=None, min_cells=10):
    """Run both steps on shards of a cohort; returns the folder of results."""
    folder.mkdir(exist_ok=True)
    parts = []
    for i, shard in enumerate(shards):
        write_h5ad(shard, folder / f"shard-{i}.h5ad")
        table = shard.obs.reset_index(names="cell_id").astype(object).assign(kept=kept(shard.obs_names))
        write_parquet(table, folder / f"{i}.parquet")
        parts.append(str(folder / f"part-{i}.h5ad"))
        pseudobulk.main(
            ["--shard", str(folder / f"shard-{i}.h5ad"), "--cells", str(folder / f"{i}.parquet"), "--output", parts[-1],
             "--versions", str(folder / "v.json")]
        )  # fmt: skip
    names = sorted(set().union(*(shard.obs["cell_type"].unique() for shard in shards)))
    rows = {"id": [f"type{i}" for i in range(len(names))], "cell_type": names, "kept": True, "reason": ""}
    write_tsv(pd.DataFrame(rows).assign(**(types or {})), folder / "types.tsv")
    donors = pd.DataFrame(
        {
            "donor_id": [f"D{d:02d}" for d in range(8)],
            "age_years": 30.0 + 5 * np.arange(8),
            "sex": ["female", "male"] * 4,
        }
    )
    write_parquet(donors.assign(pool="p", cell_type="clash"), folder / "donors.parquet")
    merge_pseudobulk.main(
        [*default_options("merge_pseudobulk"), "--parts", *parts[::-1], "--donors", str(folder / "donors.parquet"), "--cell-types", str(folder / "types.tsv"), "--prefix",
         str(folder / "dataset-x"), "--output", str(folder / "published"), "--min-cells-per-sample", str(min_cells), "--versions",
         str(folder / "v.json")]
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def cohort():
    return shard_of(small_cohort())


def by_donor(shard, *groups):
    return [shard[shard.obs["donor_id"].isin([f"D{d:02d}" for d in group])].copy() for group in groups]


def test_any_split_into_shards_gives_the_same_bytes(cohort, tmp_path):
    one = run([cohort], tmp_path / "1")
    many = run(by_donor(cohort, [0, 1], [2, 3, 4], [5], [6, 7]), tmp_path / "2")
    for name in (
        "published/pseudobulk/pseudobulk.h5ad",
        "published/pseudobulk/samples.tsv",
        "dataset-x_type0_step-pseudobulk_counts.h5ad",
    ):
        assert (one / name).read_bytes() == (many / name).read_bytes(), name


def test_samples_carry_donor_columns_and_only_kept_cells_are_summed(cohort, tmp_path):
    folder = run([cohort], tmp_path / "1", kept=lambda ids: np.arange(len(ids)) % 2 == 0, min_cells=1)
    table = read_h5ad(folder / "published/pseudobulk/pseudobulk.h5ad")
    assert table.X.sum() == cohort.X[::2].sum() and table.obs["n_cells"].sum() == len(range(0, cohort.n_obs, 2))
    assert set(table.obs["cell_type"]) == set(cohort.obs["cell_type"]), (
        "the donors' own column of that name does not replace it"
    )
    assert table.obs.groupby("donor_id", observed=True)["age_years"].first()["D03"] == 45
    assert table.var["symbol"].tolist() == cohort.var["symbol"].tolist()


def test_small_samples_and_dropped_cell_types_are_left_out_with_their_reason(cohort, tmp_path):
    few = (cohort.obs["donor_id"] == "D00").to_numpy() & (cohort.obs["cell_type"] == "T cell").to_numpy()
    folder = run(
        [cohort],
        tmp_path / "1",
        kept=lambda ids: ~few | (np.cumsum(few) <= 4),
        types={"kept": [False, True]},
        min_cells=10,
    )
    samples = read_tsv(folder / "published/pseudobulk/samples.tsv").set_index("sample_id")
    assert samples.loc["type1|D00", "reason"] == "fewer than 10 cells" and samples.loc["type1|D01", "kept"]
    assert (samples[samples["cell_type"] == "B cell, naive/memory"]["reason"] == "cell type not kept").all()
    assert not (folder / "dataset-x_type0_step-pseudobulk_counts.h5ad").exists()
    files = read_tsv(folder / "dataset-x_all_step-pseudobulk_files.tsv")
    assert files.values.tolist() == [["type1", "dataset-x_type1_step-pseudobulk_counts.h5ad"]]
    kept = read_h5ad(folder / "dataset-x_type1_step-pseudobulk_counts.h5ad")
    assert kept.obs["donor_id"].tolist() == [f"D{d:02d}" for d in range(1, 8)]


def test_cells_of_another_shard_are_refused(cohort, tmp_path):
    write_h5ad(cohort, tmp_path / "s.h5ad")
    table = cohort.obs.reset_index(names="cell_id").astype(object).assign(kept=True)
    write_parquet(table[::-1], tmp_path / "c.parquet")
    with pytest.raises(BadInput, match="run both anew"):
        pseudobulk.main(
            [
                "--shard",
                str(tmp_path / "s.h5ad"),
                "--cells",
                str(tmp_path / "c.parquet"),
                "--output",
                str(tmp_path / "o"),
            ]
        )


def test_samples_are_named_by_the_id_of_their_cell_type():
    samples = pd.DataFrame({"cell_type": ["T/B, odd", "B"], "donor_id": ["D1", "D;2"]})
    types = pd.DataFrame({"cell_type": ["B", "T/B, odd"], "id": ["b", "t_b_odd"]})
    assert pseudobulk_table.sample_ids(samples, types).tolist() == ["t_b_odd|D1", "b|D;2"]


def thinned(shard, donor, cell_type, *, every):
    """The shard with the counts of one sample's cells left in one of so many cells; in none where `every` is 0."""
    own = np.flatnonzero((shard.obs["donor_id"] == donor) & (shard.obs["cell_type"] == cell_type))
    emptied = own if every == 0 else own[np.arange(len(own)) % every > 0]
    counts = sparse.csr_matrix(shard.X, copy=True)
    counts.data[np.repeat(np.isin(np.arange(shard.n_obs), emptied), np.diff(counts.indptr))] = 0
    counts.eliminate_zeros()
    return anndata.AnnData(counts, obs=shard.obs.copy(), var=shard.var.copy())


@pytest.mark.parametrize(
    ("every", "reason"), [(40, "fewer counts than 0.1 times the median sample's"), (0, "no counts"), (2, "")]
)
def test_a_shallow_sample_is_left_out_and_counted_and_its_cell_type_stays(cohort, tmp_path, every, reason):
    folder = run([thinned(cohort, "D01", "T cell", every=every)], tmp_path)
    samples = read_tsv(folder / "published/pseudobulk/samples.tsv").set_index("sample_id")
    table = read_h5ad(folder / "published/pseudobulk/pseudobulk.h5ad")
    assert samples["n_counts"].tolist() == table.X.sum(axis=1).ravel().tolist()[0] == table.obs["n_counts"].tolist()
    assert samples["reason"].fillna("")["type1|D01"] == reason and (samples.drop("type1|D01")["kept"]).all()
    kept = read_h5ad(folder / "dataset-x_type1_step-pseudobulk_counts.h5ad")
    assert ("D01" in kept.obs["donor_id"].tolist()) == (reason == "") and kept.n_obs == 7 + (reason == "")
