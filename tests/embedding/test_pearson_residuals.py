"""Genes ranked by Pearson residuals: scanpy's numbers of each donor, and no trouble with small donors and silent genes."""

import anndata
import numpy as np
import pytest
import scanpy
from scipy import sparse

import rank_residuals
import select_genes
from immune_aging.embedding import pearson_residuals
from immune_aging.embedding.seurat_v3 import MIN_CELLS, merge_donors
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv
from inputs.embedding_inputs import embedding_cohort, write_shards
from inputs.step_options import default_options


def scanpys(counts, obs, var, **options):
    cohort = anndata.AnnData(counts.astype(np.float32), obs=obs.set_index("cell_id"), var=var.set_index("gene_id"))
    return scanpy.experimental.pp.highly_variable_genes(cohort, flavor="pearson_residuals", inplace=False, **options)


def ours(counts, donors):
    names = sorted(set(donors))
    return {name: pearson_residuals.rank_donor(sparse.csr_matrix(counts[donors == name])) for name in names}


@pytest.mark.parametrize("n_top_genes", [1, 40, 200, 499])
def test_genes_and_ranks_equal_scanpys_where_donors_have_as_many_cells(n_top_genes):
    """With donors of different sizes scanpy clips all at the root of the first one's cells (scverse/scanpy#4138)."""
    counts, obs, var = embedding_cohort(donors=8, cells_per_donor=90, genes=500)
    rankings = ours(counts, obs["donor_id"].to_numpy())
    merged = merge_donors(
        [of.variance_norm for of in rankings.values()], n_top_genes=n_top_genes, flavor="pearson_residuals"
    )
    theirs = scanpys(counts, obs, var, batch_key="donor_id", n_top_genes=n_top_genes)
    np.testing.assert_array_equal(merged["top"], theirs["highly_variable"])
    np.testing.assert_array_equal(merged["rank"], theirs["highly_variable_rank"])
    np.testing.assert_array_equal(merged["n_donors"], theirs["highly_variable_nbatches"])
    np.testing.assert_allclose(merged["variance_norm"], theirs["residual_variances"], rtol=1e-12)


def test_each_donor_is_clipped_by_its_own_cells():
    counts, obs, var = embedding_cohort(donors=3, cells_per_donor=90, genes=300)
    donors = obs["donor_id"].to_numpy()
    keep = (donors != "D00") | (np.arange(len(donors)) % 4 == 0)
    counts, obs, donors = sparse.csr_matrix(counts)[keep], obs[keep], donors[keep]
    for name, of in ours(counts, donors).items():
        one = donors == name
        alone = scanpys(counts[one], obs[one], var, n_top_genes=50)
        np.testing.assert_allclose(of.variance_norm, alone["residual_variances"], rtol=1e-12)


def test_silent_genes_have_no_variance_and_small_donors_and_empty_cells_no_say():
    counts, _, _ = embedding_cohort(donors=1, cells_per_donor=60, genes=120)
    dense = counts.toarray()
    dense[:, 7] = 0
    found = pearson_residuals.rank_donor(sparse.csr_matrix(dense))
    assert found.variance_norm[7] == 0 and np.isfinite(found.variance_norm).all()
    with_empty = pearson_residuals.rank_donor(sparse.csr_matrix(np.vstack([dense, np.zeros_like(dense[:1])])))
    np.testing.assert_array_equal(with_empty.variance_norm, found.variance_norm)
    few = pearson_residuals.rank_donor(sparse.csr_matrix(dense[: MIN_CELLS - 1]))
    assert few.variance_norm is None and few.reason == "fewer than 3 cells"
    flat = pearson_residuals.rank_donor(sparse.csr_matrix(np.ones((30, 50))))
    assert flat.variance_norm is None and flat.reason == "fewer than 10 variable genes"


def test_the_steps_choose_the_same_genes_from_any_number_of_shards(tmp_path):
    chosen = []
    for bounds in ([], [2, 4]):
        folder = tmp_path / str(len(bounds))
        tables, summaries = [], []
        for i, (shard, cells) in enumerate(write_shards(folder, bounds, donors=6, cells_per_donor=60, genes=300)):
            tables.append(str(folder / f"r{i}.parquet"))
            summaries.append(str(folder / f"s{i}.json"))
            files = [
                "--shard",
                str(shard),
                "--cells",
                str(cells),
                "--output",
                tables[-1],
                "--output-summary",
                summaries[-1],
            ]
            rank_residuals.main([*files, "--versions", str(folder / "v.json")])
        assert {row["jitter"] for path in summaries for row in read_json(path)["donors"]} == {0.0}
        assert read_parquet(tables[0]).columns[3] == "donor:D00"
        out = folder / "genes.tsv"
        select_genes.main(
            [*default_options("select_genes"), "--flavor", "pearson_residuals", "--n-top-genes", "80", "--ranks", *tables, "--summaries", *summaries, "--output",
             str(out), "--output-summary", str(folder / "genes.json"), "--versions", str(folder / "v.json")]
        )  # fmt: skip
        chosen.append(out.read_bytes())
        assert 0 < read_tsv(out)["selected"].sum() <= 80
    assert chosen[0] == chosen[1]
