"""From the published table of samples come the same checkpoints of cell types, byte by byte, as when it was made."""

import os

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import split_pseudobulk
from immune_aging.cohort.gene_groups import SOME_FILES
from immune_aging.samples.pseudobulk_table import write_pseudobulk
from immune_aging.samples.some_files import with_gaps
from immune_aging.task.checkpoints import VARYING, read_h5ad, read_tsv, write_tsv
from immune_aging.task.command_line import BadInput

TYPES = pd.DataFrame(
    {
        "id": ["b", "t", "u"],
        "cell_type": ["B cell", "T, naive", "U"],
        "kept": [True, True, False],
        "reason": ["", "", "x"],
    }
)


def table_of(*, samples_of_donors=False, some_files=False):
    """Samples with every kind of column that is known of donors: text, numbers, truth values, each with and without gaps."""
    rng = np.random.default_rng(0)
    donors = ["D1", "D\n2", "NA", "01", "-rf"]
    rows = [(f"{row.id}|{donor}", donor, row.cell_type) for row in TYPES.itertuples() for donor in donors]
    n = len(rows)
    obs = pd.DataFrame(
        {
            "donor_id": [donor for _, donor, _ in rows],
            **({"sample_of_donor": ["visit 1"] * n} if samples_of_donors else {}),
            "cell_type": [name for _, _, name in rows],
            "n_cells": rng.integers(5, 30, n),
            "n_counts": rng.integers(100, 200, n),
            "age_years": np.where(np.arange(n) % 5 == 1, np.nan, 30.5),
            "sex": np.array(["female", "male", "male", None, "female"] * 3, dtype=object),
            "site": ["north", "south", "north", "north", "a\u00f6"] * 3,
            "level": ["10", "9", "2", "1", "3"] * 3,
            "smokes": [True, False, True, True, False] * 3,
            "treated": np.array(["True", None, "False", "True", "True"] * 3, dtype=object),
            "batch": np.arange(n) % 3,
            VARYING: ['["pool"]'] * n,
        },
        index=pd.Index([name for name, _, _ in rows], name="sample_id"),
    )
    keys = ["cell_type", "donor_id"]
    obs = obs.sort_values(keys, kind="stable")
    counts = sparse.csr_matrix(rng.poisson(3, (n, 4)).astype(np.int64))
    var = pd.DataFrame({"symbol": ["A", "", "A", "C"]}, index=pd.Index(["g1", "g2", "g3", "g4"], name="gene_id"))
    table = anndata.AnnData(X=counts, obs=obs, var=var)
    if some_files:
        measured = np.arange(n)[:, None] % 2 == np.array([0, 1])
        table.obsm[SOME_FILES] = with_gaps(sparse.csr_matrix(rng.poisson(2, (n, 2)).astype(np.int64)), measured)
        table.uns[SOME_FILES] = {"gene_id": np.array(["h1", "h2"]), "symbol": np.array(["", "H"])}
    return table


def published(folder, monkeypatch, **kinds):
    """A folder as MERGE_PSEUDOBULK leaves it: what it published, and its checkpoints."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_pseudobulk(
        table_of(**kinds), TYPES, min_cells=15, min_depth_share=0.1, folder=folder / "p", prefix="dataset-x"
    )
    write_tsv(TYPES, folder / "p/cell_types.tsv")
    return folder


def split(folder, prefix="dataset-x"):
    split_pseudobulk.main(
        ["--pseudobulk", str(folder / "p/pseudobulk/pseudobulk.h5ad"), "--samples", str(folder / "p/pseudobulk/samples.tsv"),
         "--cell-types", str(folder / "p/cell_types.tsv"), "--prefix", prefix]
    )  # fmt: skip


@pytest.mark.parametrize("kinds", [{}, {"samples_of_donors": True}, {"some_files": True}], ids=str)
def test_the_checkpoints_are_the_same_bytes(tmp_path, monkeypatch, kinds):
    folder = published(tmp_path / "earlier", monkeypatch, **kinds)
    (tmp_path / "later").mkdir()
    monkeypatch.chdir(tmp_path / "later")
    split(folder)
    names = {path.name for path in folder.glob("dataset-x_*")}
    assert names == {f"dataset-x_{i}_step-pseudobulk_counts.h5ad" for i in "bt"} | {
        "dataset-x_all_step-pseudobulk_files.tsv"
    }
    for name in names:
        assert (tmp_path / "later" / name).read_bytes() == (folder / name).read_bytes(), name
    assert read_h5ad(folder / "dataset-x_b_step-pseudobulk_counts.h5ad").n_obs < 5, "too small a sample is left out"


def test_a_list_of_other_samples_is_refused(tmp_path, monkeypatch):
    folder = published(tmp_path / "earlier", monkeypatch)
    path = folder / "p/pseudobulk/samples.tsv"
    listed = read_tsv(path, dtype=str)
    for other in (listed.iloc[:-1], listed.iloc[::-1], listed.assign(sample_id="x")):
        write_tsv(other, path)
        os.chdir(tmp_path)
        with pytest.raises(BadInput, match="does not list the 15 samples of the table"):
            split(folder)
