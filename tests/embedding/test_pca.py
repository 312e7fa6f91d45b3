"""Principal components: exact, of fixed sign, the same bytes for any number of shards and threads."""

import itertools

import anndata
import numpy as np
import pytest
import scanpy
from scipy import sparse

import pca
from immune_aging.cohort.shard_file import write_shard
from immune_aging.embedding import components
from immune_aging.embedding.normalization import log_normalize
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv
from immune_aging.task.command_line import BadInput, limit_threads
from inputs.embedding_inputs import embedding_cohort
from inputs.step_options import default_options

COUNTS, OBS, VAR = embedding_cohort()
NORMALIZED = log_normalize(COUNTS, np.ones(COUNTS.shape[1], dtype=bool), target_sum=1e4)


def components_of(matrix, n_components, seed=0):
    """Components and scores of a matrix that is one block."""
    matrix = matrix.astype(np.float64)
    fit = components.principal_components(components.moments([matrix]), n_components, seed=seed)
    return fit, components.scores(matrix, fit)


def write_parts(folder, bounds, matrix=NORMALIZED):
    folder.mkdir(exist_ok=True)
    paths = []
    edges = [0, *bounds, matrix.shape[0]]
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        paths.append(folder / f"shard-{number:03d}.h5ad")
        cells = OBS[["cell_id", "donor_id", "cell_type"]].iloc[low:high]
        write_shard(paths[-1], [matrix[low:high]], cells, VAR.iloc[: matrix.shape[1]])
    return paths


def run(folder, paths, n_pcs=20, seed=0):
    pca.main(
        [*default_options("pca"), "--counts", *map(str, paths), "--n-pcs", str(n_pcs), "--seed", str(seed), "--output", str(folder),
         "--versions", str(folder / "versions.json")]
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name.startswith("pca")}


def test_components_equal_those_of_the_dense_decomposition():
    fit, scores = components_of(NORMALIZED, 20)
    dense = NORMALIZED.toarray().astype(np.float64)
    dense -= dense.mean(axis=0)
    u, s, vt = np.linalg.svd(dense, full_matrices=False)
    np.testing.assert_allclose(fit.variance, s[:20] ** 2 / (len(dense) - 1), rtol=1e-10)
    np.testing.assert_allclose(fit.total_variance, (s**2).sum() / (len(dense) - 1), rtol=1e-10)
    sign = np.sign((vt[:20].T * fit.loadings).sum(axis=0))
    np.testing.assert_allclose(fit.loadings, vt[:20].T * sign, atol=1e-7)
    np.testing.assert_allclose(scores, (u * s)[:, :20] * sign, atol=1e-5)
    np.testing.assert_allclose(fit.loadings.T @ fit.loadings, np.eye(20), atol=1e-10)


def test_scores_equal_scanpys_up_to_sign():
    cohort = anndata.AnnData(NORMALIZED.copy())
    scanpy.pp.pca(cohort, n_comps=20, svd_solver="arpack")
    fit, scores = components_of(NORMALIZED, 20)
    theirs = cohort.obsm["X_pca"]
    sign = np.sign((theirs * scores).sum(axis=0))
    # The cohort has few strong components; 32 bits tell the rest apart less well than 64.
    np.testing.assert_allclose(scores[:, :4], (theirs * sign)[:, :4], atol=2e-3)
    np.testing.assert_allclose(fit.variance / fit.total_variance, cohort.uns["pca"]["variance_ratio"], rtol=1e-4)
    angle = np.linalg.svd(fit.loadings.T @ cohort.varm["PCs"], compute_uv=False)
    assert np.degrees(np.arccos(np.minimum(angle.min(), 1))) < 0.1


def test_the_largest_loading_is_positive_and_near_ties_are_settled_by_order():
    fit, _ = components_of(NORMALIZED, 20)
    largest = np.abs(fit.loadings).argmax(axis=0)
    assert (fit.loadings[largest, np.arange(20)] > 0).all()
    tied = np.array([[0.1, -0.7], [-0.7, 0.1], [0.7 + 1e-12, 0.7 + 1e-12]])
    np.testing.assert_array_equal(components.fix_signs(tied), [-1, -1])


def test_another_start_vector_gives_the_same_components():
    (_, one), (_, other) = (components_of(NORMALIZED, 5, seed=seed) for seed in (0, 99))
    np.testing.assert_allclose(one, other, atol=1e-7)


def test_same_bytes_for_any_number_of_shards_in_any_order(tmp_path):
    whole = run(tmp_path / "one", write_parts(tmp_path / "a", []))
    assert set(whole) == {"pca.parquet", "pca_loadings.parquet", "pca_variance.tsv", "pca.json"}
    parts = write_parts(tmp_path / "b", [7, 60, 60, 61, 300])  # one without a cell
    assert run(tmp_path / "many", parts) == whole
    assert run(tmp_path / "shuffled", parts[::-1]) == whole
    with limit_threads(2):
        assert run(tmp_path / "threads", parts) == whole


def test_tables_carry_cells_genes_and_shares_of_variance(tmp_path):
    run(tmp_path, write_parts(tmp_path / "in", [100]))
    scores = read_parquet(tmp_path / "pca.parquet")
    assert list(scores.columns) == ["cell_id", *(f"PC{i}" for i in range(1, 21))]
    assert list(scores["cell_id"]) == list(OBS["cell_id"])
    loadings = read_parquet(tmp_path / "pca_loadings.parquet")
    assert list(loadings["gene_id"]) == list(VAR["gene_id"]) and list(loadings["symbol"]) == list(VAR["symbol"])
    variance = read_tsv(tmp_path / "pca_variance.tsv")
    assert (variance["ratio"].diff().dropna() <= 0).all() and 0 < variance["cumulative"].iloc[-1] < 1
    centred = NORMALIZED.toarray() - NORMALIZED.toarray().mean(axis=0)
    np.testing.assert_allclose(scores["PC1"], centred @ loadings["PC1"], atol=1e-3)
    assert read_json(tmp_path / "pca.json")["notes"] == []


def test_types_are_far_apart_on_the_first_components():
    _, scores = components_of(NORMALIZED, 2)
    types = OBS["cell_type"].to_numpy()
    centres = np.stack([scores[types == kind].mean(axis=0) for kind in np.unique(types)])
    spread = max(scores[types == kind].std(axis=0).max() for kind in np.unique(types))
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(centres) for b in centres[:i]]
    assert min(gaps) > 3 * spread


def test_fewer_components_than_asked_for_are_said(tmp_path):
    run(tmp_path, write_parts(tmp_path / "in", [], NORMALIZED[:12]), n_pcs=50)
    assert read_parquet(tmp_path / "pca.parquet").shape == (12, 12)
    assert read_json(tmp_path / "pca.json")["notes"] == [
        f"11 components, not 50: 12 cells and {NORMALIZED.shape[1]} genes hold no more"
    ]


def test_too_little_to_embed_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="2 cells and 300 selected genes in all, too few"):
        run(tmp_path, write_parts(tmp_path / "cells", [], NORMALIZED[:2]))
    with pytest.raises(BadInput, match="1 selected genes in all, too few"):
        run(tmp_path, write_parts(tmp_path / "genes", [], NORMALIZED[:, :1]))
    with pytest.raises(BadInput, match="no selected gene varies"):
        components_of(sparse.csr_matrix(np.full((9, 4), 1 / 3)), 2)


def test_shards_with_other_genes_are_refused(tmp_path):
    paths = [*write_parts(tmp_path / "a", []), *write_parts(tmp_path / "b", [], NORMALIZED[:, :200])]
    with pytest.raises(BadInput, match="its genes differ"):
        list(components.read_shards(paths))


def test_moments_are_those_of_the_dense_matrix_for_any_blocks_to_the_last_bit():
    dense = NORMALIZED.toarray().astype(np.float64)
    matrix = sparse.csr_matrix(dense)
    whole = components.moments([matrix])
    np.testing.assert_allclose(whole.sums, dense.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(np.triu(whole.products), np.triu(dense.T @ dense), rtol=1e-12, atol=1e-12)
    parts = components.moments([matrix[:1], matrix[1:1], matrix[1:200], matrix[200:]])
    assert parts.n_cells == whole.n_cells == len(dense)
    np.testing.assert_array_equal(parts.sums, whole.sums)
    np.testing.assert_array_equal(parts.products, whole.products)


def test_arguments_stay_as_they_are():
    matrix = NORMALIZED.astype(np.float64)
    before = matrix.copy()
    found = components.moments([matrix])
    products = found.products.copy()
    components.scores(matrix, components.principal_components(found, 5, seed=0))
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(matrix, part), getattr(before, part))
    np.testing.assert_array_equal(found.products, products)
