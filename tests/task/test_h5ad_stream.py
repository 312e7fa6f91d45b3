"""A cohort written as a stream of cells reads back in anndata as if it had been written whole."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from immune_aging.task.h5ad_stream import CohortWriter

COUNTS = sparse.random(30, 12, density=0.4, format="csr", random_state=0, dtype=np.float32)
VAR = pd.DataFrame(
    {"feature_name": [f"G{i % 5}" for i in range(12)], "feature_is_filtered": False}, index=[f"E{i}" for i in range(12)]
)
DONORS = ["a", "b, c", "d/e"]


def write(path, chunk):
    with h5py.File(path, "w") as handle:
        writer = CohortWriter(handle, VAR, {"donor_id": DONORS})
        for start in range(0, 30, chunk):
            rows = np.arange(start, min(start + chunk, 30))
            writer.append(
                COUNTS[rows], np.array([f"cell{i}" for i in rows], dtype=object), {"donor_id": (rows % 3).astype("i1")}
            )
    return path


@pytest.mark.parametrize("chunk", [7, 30])
def test_a_stream_reads_back_whole(chunk, tmp_path):
    back = anndata.read_h5ad(write(tmp_path / "c.h5ad", chunk))
    assert (back.X != COUNTS).nnz == 0
    assert back.obs["donor_id"].tolist() == [DONORS[i % 3] for i in range(30)]
    assert back.obs_names.tolist() == [f"cell{i}" for i in range(30)]
    assert back.var["feature_name"].tolist() == VAR["feature_name"].tolist()


def test_the_size_of_the_chunks_does_not_show(tmp_path):
    one, other = (anndata.read_h5ad(write(tmp_path / f"{chunk}.h5ad", chunk)) for chunk in (4, 30))
    pd.testing.assert_frame_equal(one.obs, other.obs)
    assert (one.X != other.X).nnz == 0
