"""Shards are written block by block and read donor by donor, and anndata reads the same."""

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from immune_aging.cohort.shard_file import donor_counts, read_kept, read_shard, write_shard
from immune_aging.task.checkpoints import read_h5ad, write_parquet
from immune_aging.task.command_line import BadInput

COUNTS = sparse.random(30, 12, density=0.3, random_state=0, format="csr")
COUNTS = sparse.csr_matrix((np.arange(1, COUNTS.nnz + 1, dtype=np.uint16), COUNTS.indices, COUNTS.indptr), COUNTS.shape)
CELLS = pd.DataFrame(
    {
        "cell_id": [f"cell {i:02d} é" for i in range(30)],
        "donor_id": ["A; rm -rf"] * 7 + ["B"] * 1 + ["C"] * 22,
        "cell_type": ["CD8, naïve", "NK/T"] * 15,
    }
)
GENES = pd.DataFrame({"gene_id": [f"ENSG{i:02d}" for i in range(12)], "symbol": ["", "MT-ND1"] * 6})


@pytest.fixture
def path(tmp_path):
    write_shard(tmp_path / "shard.h5ad", [COUNTS[:4], COUNTS[4:4], COUNTS[4:21], COUNTS[21:]], CELLS, GENES)
    return tmp_path / "shard.h5ad"


def test_anndata_reads_what_was_written(path):
    shard = read_h5ad(path)
    assert shard.X.dtype == np.uint16 and (shard.X != COUNTS).nnz == 0
    pd.testing.assert_frame_equal(shard.obs.reset_index().astype(object), CELLS.astype(object), check_names=False)
    assert shard.var_names.tolist() == GENES["gene_id"].tolist()
    assert shard.var["symbol"].tolist() == GENES["symbol"].tolist()


def test_donors_come_one_by_one_with_all_their_cells(path):
    shard = read_shard(path)
    assert shard.cell_ids.tolist() == CELLS["cell_id"].tolist() and shard.symbols.tolist() == GENES["symbol"].tolist()
    seen = list(donor_counts(shard))
    assert [(donor, rows.start, rows.stop) for donor, rows, _ in seen] == [
        ("A; rm -rf", 0, 7), ("B", 7, 8), ("C", 8, 30),
    ]  # fmt: skip
    assert (sparse.vstack([counts for *_, counts in seen]) != COUNTS).nnz == 0


def test_the_same_blocks_give_the_same_bytes_and_other_blocks_the_same_counts(path, tmp_path):
    write_shard(tmp_path / "again.h5ad", [COUNTS[:4], COUNTS[4:4], COUNTS[4:21], COUNTS[21:]], CELLS, GENES)
    assert (tmp_path / "again.h5ad").read_bytes() == path.read_bytes()
    write_shard(tmp_path / "other.h5ad", [COUNTS[i : i + 1] for i in range(30)], CELLS, GENES)
    assert (read_h5ad(tmp_path / "other.h5ad").X != COUNTS).nnz == 0


def test_numbers_stay_numbers_and_a_shard_may_be_empty(tmp_path):
    cells = CELLS.assign(n_cells=np.arange(30), share=np.linspace(0, 1, 30))
    for rows in (slice(0, 30), slice(0, 0)):
        write_shard(tmp_path / "shard.h5ad", [COUNTS[rows].astype(np.float32)], cells[rows], GENES)
        read = read_h5ad(tmp_path / "shard.h5ad")
        assert read.X.dtype == np.float32 and read.shape == (len(cells[rows]), 12)
        np.testing.assert_array_equal(read.obs["n_cells"], cells["n_cells"][rows])
        np.testing.assert_array_equal(read.obs["share"], cells["share"][rows])
        shard = read_shard(tmp_path / "shard.h5ad")
        assert shard.cell_ids.tolist() == cells["cell_id"][rows].tolist()
        assert sum(len(values.data) for *_, values in donor_counts(shard)) == COUNTS[rows].nnz


def test_another_file_or_another_shards_quality_control_is_refused(path, tmp_path):
    (tmp_path / "text.h5ad").write_text("no HDF5")
    with h5py.File(tmp_path / "empty.h5ad", "w"):
        pass
    for name in ("text", "empty", "missing"):
        with pytest.raises(BadInput, match="cannot be read as a shard"):
            read_shard(tmp_path / f"{name}.h5ad")
    write_parquet(CELLS.assign(kept=True)[::-1], tmp_path / "cells.parquet")
    with pytest.raises(BadInput, match="cell 0 is"):
        read_kept(read_shard(path), tmp_path / "cells.parquet")
    write_parquet(CELLS.assign(kept=[True, False] * 15), tmp_path / "cells.parquet")
    assert read_kept(read_shard(path), tmp_path / "cells.parquet").tolist() == [True, False] * 15
