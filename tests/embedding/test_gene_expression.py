"""Genes asked for: found by symbol or id, with scanpy's normalised values of the kept cells."""

import anndata
import numpy as np
import pytest
import scanpy as sc

from gene_expression import main
from immune_aging.embedding.gene_expression import asked
from immune_aging.task.checkpoints import read_h5ad, read_parquet
from inputs.embedding_inputs import write_shards
from inputs.step_options import default_options


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), [3])[0]


def test_values_are_those_of_scanpy_for_the_kept_cells(shard, tmp_path):
    counts, cells = read_h5ad(shard[0]), read_parquet(shard[1])
    wanted = counts.var_names[[200, 30]].tolist()
    main(
        [*default_options("gene_expression"), "--shard", str(shard[0]), "--cells", str(shard[1]), "--genes", f"{counts.var['symbol'].iloc[30]}, {wanted[0]},no",
         "--output", str(tmp_path / "genes.parquet"), "--versions", str(tmp_path / "v.json")]
    )  # fmt: skip
    table = read_parquet(tmp_path / "genes.parquet")
    adata = anndata.AnnData(counts.X.astype(np.float32), obs=counts.obs, var=counts.var)
    sc.pp.normalize_total(adata, target_sum=10_000)
    sc.pp.log1p(adata)
    kept = adata[cells["kept"].to_numpy()]
    assert 0 < kept.n_obs < adata.n_obs and table["cell_id"].tolist() == kept.obs_names.tolist()
    assert list(table)[1:] == kept.var["symbol"].iloc[[30, 200]].tolist()
    np.testing.assert_allclose(table.iloc[:, 1:], kept[:, wanted[::-1]].X.toarray(), rtol=1e-5)


def test_genes_of_one_symbol_are_told_apart_by_their_ids():
    ids, symbols = np.array(["E1", "E2", "E3", "E4"], dtype=object), np.array(["A", "B", "A", ""], dtype=object)
    assert asked(ids, symbols, ["A", "E2", "E4", "unknown"]) == {"E1": 0, "B": 1, "E3": 2, "E4": 3}
    assert asked(ids, symbols, ["unknown"]) == {}
