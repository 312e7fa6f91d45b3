"""Voom's fit of every gene as gsea.py reads it: what it holds, and that the file gives it back or says that it cannot."""

import h5py
import numpy as np
import pytest

from differential_expression import main as run_differential_expression
from immune_aging.statistics.gene_fits import GeneFits, fit_genes, no_fits, read_gene_fits, write_gene_fits
from immune_aging.statistics.linear_models import WeightedExpression
from immune_aging.task.checkpoints import read_tsv, write_h5ad
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import simulate_samples
from inputs.step_options import default_options


@pytest.fixture(scope="module")
def fits() -> GeneFits:
    """Of 50 genes in 20 samples, with weights and three coefficients."""
    rng = np.random.default_rng(0)
    matrix = np.column_stack([np.ones(20), np.arange(20) % 2, rng.standard_normal(20)])
    values, weights = rng.standard_normal((50, 20)), rng.uniform(0.5, 2, (50, 20))
    weighted = WeightedExpression(values, weights, np.ones(20), None, None)
    return fit_genes([f"gène {i}" for i in range(50)], weighted, matrix, np.array([0.0, 0.0, 1.0]))


def test_the_squares_of_a_genes_residuals_sum_to_the_degrees_of_freedom(fits):
    assert fits.df_residual == 17
    np.testing.assert_allclose((fits.residuals**2).sum(axis=1), 17, rtol=1e-5)
    assert 0.6 < fits.z.std() < 1.5 and (fits.moderation > 0).all()


def test_the_file_gives_back_what_was_written_with_the_same_bytes(fits, tmp_path):
    for name in ("one.h5", "two.h5"):
        write_gene_fits(fits, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    back = read_gene_fits(tmp_path / "one.h5")
    np.testing.assert_array_equal(back.residuals, fits.residuals.astype(np.float32))
    for part in ("gene_ids", "z", "moderation"):
        np.testing.assert_array_equal(getattr(back, part), getattr(fits, part))
    assert back.df_residual == 17 and back.residuals.dtype == np.float32


def test_the_fits_of_no_gene_are_a_file_too(tmp_path):
    write_gene_fits(no_fits(), tmp_path / "none.h5")
    assert len(read_gene_fits(tmp_path / "none.h5").gene_ids) == 0


def test_genes_are_taken_by_their_ids_in_the_order_asked_for(fits):
    two = fits.of(["gène 7", "gène 3"])
    np.testing.assert_array_equal(two.z, fits.z[[7, 3]])
    np.testing.assert_array_equal(two.residuals, fits.residuals[[7, 3]])
    with pytest.raises(BadInput, match="gene 'x' of --de was not fitted"):
        fits.of(["gène 7", "x"])


def test_a_damaged_file_is_refused(fits, tmp_path):
    path = tmp_path / "fits.h5"
    write_gene_fits(fits, path)
    with h5py.File(path) as file:
        inside = file["residuals"].id.get_chunk_info(0).byte_offset + 40
    whole = path.read_bytes()
    flipped = whole[:inside] + bytes([whole[inside] ^ 1]) + whole[inside + 1 :]
    for damaged in (whole[:-500], b"no HDF5", flipped):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match="cannot be read as the fits of genes"):
            read_gene_fits(path)


def run_step(folder, adata, *options):
    """Run differential_expression.py; its de.tsv and fits."""
    write_h5ad(adata, folder / "counts.h5ad")
    files = ["--output", str(folder / "de.tsv"), "--summary", str(folder / "s.json"), "--fits", str(folder / "fits.h5")]
    files += ["--versions", str(folder / "v.json"), *default_options("differential_expression")]
    run_differential_expression(["--pseudobulk", str(folder / "counts.h5ad"), *files, *options])
    return read_tsv(folder / "de.tsv"), read_gene_fits(folder / "fits.h5")


def test_differential_expression_writes_the_fits_of_the_genes_of_its_table(tmp_path):
    table, fits = run_step(tmp_path, simulate_samples(n_genes=120)[0])
    assert sorted(fits.gene_ids) == sorted(table["gene_id"])
    assert fits.residuals.shape == (len(table), 40) and fits.df_residual == 37
    effect = table.set_index("gene_id")["log2_fold_change_companion"].reindex(fits.gene_ids)
    strong = np.abs(fits.z) > 3
    assert strong.sum() > 20 and (np.sign(fits.z[strong]) == np.sign(effect[strong])).all()
    assert np.corrcoef(fits.z, table.set_index("gene_id")["stat"].reindex(fits.gene_ids))[0, 1] > 0.95


def test_a_cell_type_that_is_skipped_leaves_the_fits_of_no_gene(tmp_path):
    table, fits = run_step(tmp_path, simulate_samples(n_genes=120)[0][:5].copy())
    assert table.empty and len(fits.gene_ids) == 0
