"""Chosen cells come out of the spools in the order that was asked for, whatever the layout and order of the file."""

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from immune_aging.cohort.cohort_file import Counts
from immune_aging.cohort.spool import Spool, spool_counts


@settings(deadline=None)
@given(st.lists(st.permutations(range(12)), min_size=1, max_size=4), st.integers(1, 40))
def test_rows_in_pieces_come_back_whole_and_in_order(tmp_path_factory, orders, block_values):
    """Each piece holds three genes of some cells, as a file by genes gives them."""
    rng = np.random.default_rng(0)
    whole = rng.poisson(0.8, size=(12, 3 * len(orders)))
    spool = Spool(tmp_path_factory.mktemp("spool") / "0.h5", n_genes=whole.shape[1])
    for i, order in enumerate(orders):
        genes = slice(3 * i, 3 * i + 3)
        spool.append(np.array(order), sparse.csr_matrix(whole[list(order), genes]), genes.start)
    blocks = list(spool.take_blocks(12, np.arange(whole.shape[1], dtype=np.int32), block_values=block_values))
    assert all(block.nnz <= block_values or block.shape[0] == 1 for block in blocks)
    np.testing.assert_array_equal(sparse.vstack(blocks).toarray(), whole)


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
def test_only_the_chosen_cells_are_kept_and_their_genes_summed(tmp_path, layout):
    whole = np.random.default_rng(1).poisson(0.8, size=(9, 5)).astype(np.float32)
    path = tmp_path / "counts.h5"
    with h5py.File(path, "w") as file:
        if layout == "dense":
            file["X"] = whole
        else:
            matrix = sparse.csr_matrix(whole).asformat(layout)
            for name in ("data", "indices", "indptr"):
                file[f"X/{name}"] = getattr(matrix, name)
    chosen = pd.DataFrame({"row": [7, 0, 3, 8], "shard": [0, 0, 1, 1], "position": [0, 1, 1, 0]})
    counts = Counts(path="X", layout=layout, n_cells=9, n_genes=5, var_path="var")
    with h5py.File(path) as file:
        spools, totals = spool_counts(file, counts, chosen, tmp_path, where="X")
    np.testing.assert_array_equal(totals, whole[[7, 0, 3, 8]].sum(axis=0))
    for spool, rows in zip(spools, ([7, 0], [8, 3]), strict=True):
        (block,) = spool.take_blocks(2, np.arange(5, dtype=np.int32))
        np.testing.assert_array_equal(block.toarray(), whole[rows])
