"""Gene ranking within donors: scanpy's numbers, sane fits for sparse donors, kept cells only."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import rank_genes
from immune_aging.embedding import seurat_v3
from immune_aging.task.checkpoints import read_json, read_parquet, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.embedding_inputs import embedding_cohort, write_shard, write_shards
from inputs.step_options import default_options
from rankings import rank_donors


def test_variances_ranks_and_genes_equal_scanpys():
    counts, obs, var = embedding_cohort(donors=8, cells_per_donor=90, genes=500)
    donors = obs["donor_id"].to_numpy()
    rankings = rank_donors(counts, donors)
    cohort = anndata.AnnData(counts.astype(np.float32), obs=obs.set_index("cell_id"), var=var.set_index("gene_id"))
    for n_top_genes in (1, 40, 200, 499):
        ours = seurat_v3.merge_donors([of.variance_norm for of in rankings.values()], n_top_genes=n_top_genes)
        theirs = scanpy.pp.highly_variable_genes(
            cohort, flavor="seurat_v3", batch_key="donor_id", span=0.8, n_top_genes=n_top_genes, inplace=False
        )
        np.testing.assert_array_equal(ours["top"], theirs["highly_variable"])
        np.testing.assert_array_equal(ours["rank"], theirs["highly_variable_rank"])
        np.testing.assert_array_equal(ours["n_donors"], theirs["highly_variable_nbatches"])
        np.testing.assert_allclose(ours["variance_norm"], theirs["variances_norm"], rtol=1e-12, atol=0)
    assert list(rankings) == sorted(set(donors))
    assert all(of.jitter == 0 and of.reason == "" for of in rankings.values())


def test_mean_and_variance_are_those_of_the_dense_matrix():
    counts, _, _ = embedding_cohort(donors=2, cells_per_donor=30, genes=80)
    dense = counts.toarray().astype(float)
    mean, variance = seurat_v3.mean_and_variance(*seurat_v3.sums_and_squares(counts), counts.shape[0])
    np.testing.assert_allclose(mean, dense.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(variance, dense.var(axis=0, ddof=1), rtol=1e-10, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 12.0))
def test_clipped_sums_are_those_of_the_dense_clipped_matrix(seed, largest):
    random = np.random.default_rng(seed)
    dense = random.poisson(2, (20, 7))
    limit = random.uniform(0, largest, 7)
    counts = sparse.csr_matrix(dense.astype(np.uint16))
    sums, squares = seurat_v3.clipped_sums(counts, limit, *seurat_v3.sums_and_squares(counts))
    clipped = np.where(dense > 0, np.minimum(dense, limit), 0)
    np.testing.assert_allclose(sums, clipped.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(squares, (clipped**2).sum(axis=0), rtol=1e-12)


def few_distinct_means() -> tuple[np.ndarray, np.ndarray]:
    """Log10 means on twelve levels and variances, as a donor of a few dozen cells has them."""
    random = np.random.default_rng(0)
    levels = np.sort(random.uniform(-2, 1, 12))
    share = 0.5 ** np.arange(12)
    x = levels[random.choice(12, 5000, p=share / share.sum())]
    return x, x * 1.1 + np.where(random.random(5000) < 0.8, 0, random.normal(0, 0.1, 5000))


def test_a_singular_loess_is_fitted_with_a_jitter_and_never_believed_when_it_explodes():
    from skmisc.loess import loess

    x, y = few_distinct_means()
    with pytest.raises(ValueError, match="near singularities"):
        loess(x, y, span=0.8, degree=2).fit()
    tiny = loess(x + 1e-10 * np.random.default_rng(0).uniform(-1, 1, len(x)), y, span=0.8, degree=2)
    tiny.fit()
    assert np.abs(tiny.outputs.fitted_values - y).max() > 100, "the trap is gone: a tiny jitter is enough"

    fitted, jitter = seurat_v3.fit_loess(x, y, span=0.8)
    assert jitter == 3e-3, "at 1e-4 the fit is still three decades off"
    assert np.abs(fitted - y).max() < 0.5
    again, _ = seurat_v3.fit_loess(x, y, span=0.8)
    np.testing.assert_array_equal(fitted, again)


def test_donors_too_small_for_a_variance_or_a_fit_are_left_out_with_the_reason():
    counts, _, _ = embedding_cohort(donors=1, cells_per_donor=40, genes=100)
    assert seurat_v3.rank_donor(counts[:2], span=0.8).reason == "fewer than 3 cells"
    few_genes = seurat_v3.rank_donor(counts[:, :6], span=0.8)
    assert (few_genes.variance_norm, few_genes.reason) == (None, "fewer than 10 variable genes")
    assert seurat_v3.rank_donor(counts, span=0.8).reason == ""


def test_a_donor_of_few_cells_is_ranked_without_nonsense():
    counts, _, _ = embedding_cohort(donors=1, cells_per_donor=12, genes=300)
    ranking = seurat_v3.rank_donor(counts, span=0.8)
    assert ranking.reason == ""
    assert np.isfinite(ranking.variance_norm).all()
    assert ranking.variance_norm.min() >= 0 and ranking.variance_norm.max() < 12


def rank_file(folder, shard, cells, name="out"):
    rank_genes.main(
        [*default_options("rank_genes"), "--shard", str(shard), "--cells", str(cells), "--output", str(folder / f"{name}.parquet"),
         "--output-summary", str(folder / f"{name}.json"), "--versions", str(folder / "versions.json")]
    )  # fmt: skip
    return read_parquet(folder / f"{name}.parquet"), read_json(folder / f"{name}.json")


def test_only_kept_cells_count(tmp_path):
    counts, obs, var = embedding_cohort(donors=2)
    table, summary = rank_file(tmp_path, *write_shard(tmp_path, "shard-000", counts, obs, var))
    kept = obs["kept"].to_numpy()
    assert 0 < (~kept).sum() < 30
    assert [row["n_cells"] for row in summary["donors"]] == list(obs[kept].groupby("donor_id").size())
    np.testing.assert_array_equal(table["n_counts"], np.asarray(counts[kept].sum(axis=0)).ravel())
    alone, _ = rank_file(tmp_path, *write_shard(tmp_path, "shard-000", counts[kept], obs[kept], var), name="alone")
    pd.testing.assert_frame_equal(table, alone)
    assert list(table.columns) == ["gene_id", "symbol", "n_counts", "donor:D00", "donor:D01"]


def test_a_donor_without_kept_cells_is_not_ranked_and_a_tiny_one_is_reported(tmp_path):
    counts, obs, var = embedding_cohort(donors=3)
    of_donor = obs.groupby("donor_id").cumcount().to_numpy()
    keep = (obs["donor_id"] == "D00") | ((obs["donor_id"] == "D01") & (of_donor < 2))
    table, summary = rank_file(tmp_path, *write_shard(tmp_path, "shard-000", counts, obs.assign(kept=keep), var))
    assert list(table.columns[3:]) == ["donor:D00"]
    assert [(row["donor_id"], row["n_cells"], row["reason"]) for row in summary["donors"]] == [
        ("D00", 60, ""), ("D01", 2, "fewer than 3 cells"),
    ]  # fmt: skip
    none, summary = rank_file(tmp_path, *write_shard(tmp_path, "shard-000", counts, obs.assign(kept=False), var))
    assert list(none.columns) == ["gene_id", "symbol", "n_counts"] and summary["donors"] == []


def test_same_bytes_for_any_number_of_threads(tmp_path):
    shard, cells = write_shards(tmp_path, [])[0]
    outputs = []
    for threads in ("1", "2", "64"):
        out = tmp_path / f"{threads}.parquet"
        rank_genes.main(
            [*default_options("rank_genes"), "--shard", str(shard), "--cells", str(cells), "--threads", threads, "--output", str(out),
             "--output-summary", str(tmp_path / "out.json"), "--versions", str(tmp_path / "versions.json")]
        )  # fmt: skip
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_quality_control_of_other_cells_is_refused(tmp_path):
    counts, obs, var = embedding_cohort(donors=2)
    shard, cells = write_shard(tmp_path, "shard-000", counts, obs, var)
    write_parquet(obs[::-1], cells)
    with pytest.raises(BadInput, match="cell 0 is 'CELL0119', but 'CELL0000'"):
        rank_file(tmp_path, shard, cells)


def test_arguments_stay_as_they_are():
    counts, obs, _ = embedding_cohort(donors=2)
    before, donors = counts.copy(), obs["donor_id"].to_numpy()
    labels = donors.copy()
    rankings = rank_donors(counts, donors)
    values = [of.variance_norm for of in rankings.values()]
    copies = [value.copy() for value in values]
    seurat_v3.merge_donors(values, n_top_genes=20)
    for one, other in zip(values, copies, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(donors, labels)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(counts, part), getattr(before, part))
