"""The number of counts that a column of cells tells is that of the matrix, or a note says how they differ."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from immune_aging.cohort import cohort_file, stated_totals
from immune_aging.cohort.cohort_file import open_cohort
from immune_aging.cohort.count_evidence import find_counts
from small_cohorts import small_cohort

BASE = small_cohort(donors=4, cells_per_type=30)
X = BASE.X.toarray()
TOTALS = X.sum(axis=1)
HALF = np.arange(BASE.n_obs) % 2 == 0


def notes(tmp_path, column, values, *, x=X, layout=sparse.csr_matrix, var=None):
    cohort = anndata.AnnData(layout(x), obs=BASE.obs.copy(), var=BASE.var.copy() if var is None else var)
    cohort.obs[column] = values
    cohort.write_h5ad(tmp_path / "c.h5ad")
    with open_cohort(tmp_path / "c.h5ad") as file:
        found = find_counts(file, "c", counts_layer="auto").notes
    return [note for note in found if "does not tell the counts" in note]


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize("column", ["nCount_RNA", "total_counts", "n_counts", "nUMI", "raw_sum", "sum"])
def test_another_number_of_counts_than_the_matrix_has_is_noted_with_numbers(column, layout, tmp_path):
    assert notes(tmp_path, column, TOTALS, layout=layout) == []
    (note,) = notes(tmp_path, column, TOTALS * 4, layout=layout)
    assert note.startswith(f"column '{column}' does not tell the counts of X: 100 % of the cells") and "0.25" in note


DIFFER = {
    "genes were left out": (TOTALS + 100 * TOTALS.mean(), True),
    "half of the cells were corrected": (np.where(HALF, TOTALS, TOTALS * 1.2), True),
    "rare genes were left out": (TOTALS * 1.01, False),
    "some cells have none": (np.where(HALF, TOTALS, np.nan), False),
    "none has one": (np.full(len(TOTALS), np.nan), False),
    "numbers of 32 bits": (TOTALS.astype(np.float32), False),
    "whole numbers with gaps": (pd.array(TOTALS.astype(int), dtype="Int64"), False),
    "text": (TOTALS.astype(str), False),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIFFER)
def test_small_differences_and_gaps_are_not(kind, tmp_path):
    values, noted = DIFFER[kind]
    assert len(notes(tmp_path, "total_counts", values)) == noted


def test_totals_may_be_with_or_without_antibodies(tmp_path):
    var = BASE.var.assign(feature_types=["Antibody Capture"] * 5 + ["Gene Expression"] * (BASE.n_vars - 5))
    x = X.copy()
    x[:, :5] += 200
    assert notes(tmp_path, "total_counts", x.sum(axis=1), x=x, var=var) == []
    assert notes(tmp_path, "nCount_RNA", x[:, 5:].sum(axis=1), x=x, var=var) == []
    assert len(notes(tmp_path, "nCount_RNA", x[:, :5].sum(axis=1), x=x, var=var)) == 1


def test_other_columns_and_parts_of_a_large_matrix_by_genes_are_not_compared(tmp_path, monkeypatch):
    assert notes(tmp_path, "nCount_SCT", TOTALS * 4) == notes(tmp_path, "n_genes", TOTALS * 4) == []
    for module in (cohort_file, stated_totals):
        monkeypatch.setattr(module, "WHOLE_VALUES", 100)
    assert notes(tmp_path, "nCount_RNA", TOTALS * 4, layout=sparse.csc_matrix) == []
    assert len(notes(tmp_path, "nCount_RNA", TOTALS * 4)) == 1
