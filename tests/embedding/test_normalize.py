"""Normalisation: scanpy's values, a cell's total over all its genes, kept cells and selected genes only."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy

import normalize
from immune_aging.embedding import normalization
from immune_aging.task.checkpoints import read_h5ad, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.embedding_inputs import embedding_cohort, write_shard
from inputs.step_options import default_options

COUNTS, OBS, VAR = embedding_cohort(donors=3)
SELECTED = np.random.default_rng(0).random(COUNTS.shape[1]) < 0.4


def run(folder, genes):
    shard, cells = write_shard(folder, "shard-000", COUNTS, OBS, VAR)
    write_tsv(genes, folder / "genes.tsv")
    normalize.main(
        [*default_options("normalize"), "--shard", str(shard), "--cells", str(cells), "--genes", str(folder / "genes.tsv"),
         "--output", str(folder / "out.h5ad"),
         "--versions", str(folder / "versions.json")]
    )  # fmt: skip
    return read_h5ad(folder / "out.h5ad")


def test_values_equal_scanpys_normalize_total_and_log1p():
    cohort = anndata.AnnData(COUNTS.astype(np.float32))
    scanpy.pp.normalize_total(cohort, target_sum=1e4)
    scanpy.pp.log1p(cohort)
    ours = normalization.log_normalize(COUNTS, SELECTED, target_sum=1e4)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.toarray(), cohort.X[:, SELECTED].toarray(), rtol=0, atol=1e-6)


def test_the_total_is_over_all_genes_of_the_cell():
    normalized = normalization.log_normalize(COUNTS, SELECTED, target_sum=1e4)
    totals = np.expm1(normalized.toarray().astype(float)).sum(axis=1)
    share = COUNTS[:, SELECTED].sum(axis=1).A1 / COUNTS.sum(axis=1).A1
    np.testing.assert_allclose(totals, 1e4 * share, rtol=1e-5)
    assert totals.max() < 9999


def test_kept_cells_and_selected_genes_are_written_in_the_order_of_the_input(tmp_path):
    genes = VAR.assign(selected=SELECTED)
    out = run(tmp_path, genes)
    kept = OBS["kept"].to_numpy()
    assert list(out.obs_names) == list(OBS.loc[kept, "cell_id"])
    assert list(out.var_names) == list(VAR.loc[SELECTED, "gene_id"])
    assert list(out.var["symbol"]) == list(VAR.loc[SELECTED, "symbol"])
    assert list(out.obs["donor_id"]) == list(OBS.loc[kept, "donor_id"])
    expected = normalization.log_normalize(COUNTS, SELECTED, target_sum=1e4)[kept]
    np.testing.assert_array_equal(out.X.toarray(), expected.toarray())
    first = (tmp_path / "out.h5ad").read_bytes()
    run(tmp_path, genes)
    assert (tmp_path / "out.h5ad").read_bytes() == first


def test_a_cell_without_counts_stays_empty():
    counts = COUNTS.copy()
    counts.data[counts.indptr[4] : counts.indptr[5]] = 0
    normalized = normalization.log_normalize(counts, SELECTED, target_sum=1e4)
    assert normalized[4].sum() == 0 and np.isfinite(normalized.data).all()


@pytest.mark.parametrize("genes", [VAR[::-1], VAR[:-1]], ids=["order", "number"])
def test_genes_of_another_cohort_are_refused(tmp_path, genes):
    with pytest.raises(BadInput, match="column 'gene_id' differs from the genes"):
        run(tmp_path, genes.assign(selected=True))


def test_arguments_stay_as_they_are():
    counts, selected = COUNTS.copy(), SELECTED.copy()
    normalization.log_normalize(counts, selected, target_sum=1e4)
    np.testing.assert_array_equal(selected, SELECTED)
    pd.testing.assert_frame_equal(pd.DataFrame(counts.toarray()), pd.DataFrame(COUNTS.toarray()))
