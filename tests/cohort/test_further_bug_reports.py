"""More inputs after public bug reports, from that cohort of `test_public_bug_reports`: what the counts say is noted.

Named here: `same_cells`, `sex_by_genes`.
"""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cohort.test_public_bug_reports import BASE, column, run, same_sums
from immune_aging.cohort import same_cells
from immune_aging.cohort.cohort_file import open_cohort, values_of
from immune_aging.cohort.count_evidence import find_counts
from immune_aging.cohort.sex_by_genes import sex_of_counts
from immune_aging.task.command_line import BadInput

X = BASE.X.toarray()
TWO = BASE.obs["donor_id"].isin(["D01", "D02"]).to_numpy()


def with_copy(*, donor, layout=sparse.csr_matrix, names=lambda name: f"{name}-2"):
    """A cohort that holds the cells of D01 a second time, as those of `donor`, in another order."""
    copy = BASE[BASE.obs["donor_id"] == "D01"].copy()[::-1].copy()
    copy.obs["donor_id"] = pd.Categorical([donor] * copy.n_obs)
    copy.obs_names = [names(name) for name in copy.obs_names]
    both = anndata.concat([BASE, copy])
    both.var, both.X = BASE.var, layout(both.X) if layout is not np.asarray else both.X.toarray()
    return both


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_a_library_that_is_there_under_two_donors_is_noted(layout, tmp_path):
    """mbourgey/scRNA_GBM#2, chanzuckerberg/single-cell-curation#703, 10XGenomics/cellranger#182"""
    found = run(with_copy(donor="D99", layout=layout), tmp_path)
    (note,) = [note for note in found.check["notes"] if "count twice" in note]
    assert note.startswith("24 of 312 cells have exactly the counts of another cell")
    assert "24 are of donors 'D01' and 'D99'" in note


def test_cells_that_are_twice_in_one_donor_are_noted(tmp_path):
    found = run(with_copy(donor="D01"), tmp_path)
    assert "24 of 312 cells have exactly the counts" in found.notes and "are of donors" not in found.notes


def test_cells_of_few_genes_may_well_agree(tmp_path):
    few = BASE.copy()
    few.X = sparse.csr_matrix(
        np.where(np.arange(few.n_vars) < 20, np.minimum(X, 1), 0) + (np.arange(few.n_vars) == 30) * 3
    )
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("X")
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(few.X, part)
        counts = same_cells.Counts("X", "csr", *few.shape, "var")
        assert same_cells.repeated_cells(file, counts, few.obs, donor="donor_id") == []


def test_of_a_large_file_barcodes_and_numbers_of_genes_are_compared(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    barcode = {name: "".join(rng.choice(list("ACGT"), 16)) for name in BASE.obs_names}
    cohort = with_copy(donor="D99", names=lambda name: f"lib2_{barcode[name]}-1")
    cohort.obs_names = [f"lib1_{barcode[name]}-1" if name in barcode else name for name in cohort.obs_names]
    cohort.write_h5ad(tmp_path / "c.h5ad")
    monkeypatch.setattr(same_cells, "WHOLE_VALUES", 10)
    with open_cohort(tmp_path / "c.h5ad") as file:
        counts = find_counts(file, "c", counts_layer="auto").counts
        assert values_of(file, counts).size > 10
        (note,) = same_cells.repeated_cells(file, counts, cohort.obs, donor="donor_id")
    assert note.startswith("24 of 312 cells have barcode and number of genes of another cell")
    assert "'D01' and 'D99'" in note


def swapped(*, ids_alone=False, ambient=0, sexes=("female", "male")):
    """A cohort in which D01, a man, expresses XIST and no gene on Y."""
    cohort, x = BASE.copy(), X.copy()
    at = {"XIST": 20, "RPS4Y1": 21, "DDX3Y": 22}
    ids = {"XIST": "ENSG00000229807", "RPS4Y1": "ENSG00000129824.12", "DDX3Y": "ENSG00000067048"}
    woman = (cohort.obs["sex"] == "female").to_numpy()
    for gene, place in at.items():
        x[:, place] = np.where(woman == (gene == "XIST"), 3, 0)
        x[::10, place] += ambient
    cohort.X = sparse.csr_matrix(x)
    if ids_alone:
        cohort.var = pd.DataFrame(
            index=[{v: ids[k] for k, v in at.items()}.get(i, name) for i, name in enumerate(cohort.var_names)]
        )
    else:
        symbols = cohort.var["feature_name"].astype(str).to_numpy(dtype=object)
        symbols[list(at.values())] = list(at)
        cohort.var["feature_name"] = symbols
    is_d01 = (cohort.obs["donor_id"] == "D01").to_numpy()
    other = "male" if woman[is_d01][0] else "female"
    told = np.where(is_d01, other, cohort.obs["sex"].astype(str))
    cohort.obs["sex"] = pd.Categorical(np.where(told == "female", *sexes))
    return cohort, other


@pytest.mark.parametrize("options", [{}, {"ids_alone": True}, {"ambient": 1}, {"sexes": ("F", "M")}])
def test_a_donor_whose_genes_show_the_other_sex_is_noted(options, tmp_path):
    """single-cell-genetics/vireo#47, #117 (swapped labels)"""
    cohort, other = swapped(**options)
    found = run(cohort, tmp_path)
    (note,) = [note for note in found.check["notes"] if "other sex" in note]
    assert f"of 1 of 12 donors show the other sex than the cohort tells: 'D01' ({other}: " in note


def test_sexes_that_fit_and_sexes_that_are_no_names_are_not_noted(tmp_path):
    assert "other sex" not in run(swapped(sexes=("1", "2"))[0], tmp_path).notes
    assert "other sex" not in run(BASE.copy(), tmp_path).notes
    assert [sex_of_counts(*counts) for counts in ((9, 0), (10, 0), (0, 10), (10, 2), (10, 10))] == [
        "",
        "female",
        "male",
        "",
        "",
    ]


def of_values(values):
    cohort = BASE.copy()
    cohort.X = sparse.csr_matrix(values)
    return cohort


# 300 counts a cell, most of them of some genes, as in a panel of genes or after a shallow sequencing.
RATES = np.exp(np.random.default_rng(5).normal(0, 1.5, X.shape[1]))
SHALLOW = np.random.default_rng(6).poisson(
    np.exp(np.random.default_rng(7).normal(5.7, 0.3, (len(X), 1))) * RATES / RATES.sum()
)

DOUBTFUL = {
    "two donors scaled (czbiohub-sf/tabula-muris-senis#32)": (np.where(TWO[:, None], 10 * X, X), "hold no 1"),
    "two donors normalised and rounded": (
        np.where(TWO[:, None], np.rint(X / X.sum(1, keepdims=True) * 1e4), X),
        "hold no 1",
    ),
    "capped": (np.minimum(X, 10), "have none above 10"),
    "square roots of shallow cells": (np.rint(np.sqrt(SHALLOW)), "vary less between cells than by chance"),
    "logarithms of shallow cells": (np.rint(np.log2(SHALLOW + 1)), "vary less between cells than by chance"),
    "a constant added": (X + 1, "no cell has a gene without counts"),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_whole_numbers_that_are_hardly_raw_counts_of_all_cells_are_noted(kind, tmp_path):
    """Single-Cell-Genomics-Group-CNAG-CRG/Tumor-Immune-Cell-Atlas#10 (one dataset of TPM among counts)"""
    values, said = DOUBTFUL[kind]
    assert said in run(of_values(values), tmp_path).notes


def test_raw_counts_are_not(tmp_path):
    found = run(BASE.copy(), tmp_path)
    same_sums(found)
    assert found.notes == ""
    assert run(of_values(SHALLOW), tmp_path).notes == ""


def test_datasets_that_share_the_names_of_donors_are_noted(tmp_path):
    """DonorID 1, 2, 3 of two studies in one file: chanzuckerberg/cellxgene-census#468"""
    found = run(column("dataset_id", pd.Categorical(np.where(np.arange(BASE.n_obs) % 2, "a", "b"))), tmp_path)
    same_sums(found)
    assert "'dataset_id' in 12 of 12 donors" in found.notes


def test_levels_of_any_column_that_differ_by_case_or_blanks_are_noted(tmp_path):
    """BIMSBbioinfo/pigx_rnaseq#122, nf-core/rnaseq#1445: 'yes' and 'Yes' were two levels of a design without a word"""
    cohort = column(
        "cmv", pd.Categorical([("yes", "Yes", "no", "no ")[int(name[1:]) % 4] for name in BASE.obs["donor_id"]])
    )
    found = run(cohort, tmp_path)
    same_sums(found)
    assert (
        "levels of 'cmv' that differ only by case or blanks are kept apart ('Yes', 'yes'; 'no', 'no ')" in found.notes
    )


def test_counts_that_were_scaled_and_scaled_back_are_rounded_where_that_is_asked_for(tmp_path):
    """scverse/scanpy#3073, ventolab/Human-Gonadal-Development-Atlas_HGDA#3: counts from expm1 are 0.9999999"""
    totals = X.sum(1, keepdims=True)
    back = np.expm1(np.log1p((X / totals * 1e4).astype(np.float32)).astype(np.float32)) * totals / 1e4
    assert (back != np.rint(back)).any() and (np.rint(back) == X).all()
    with pytest.raises(BadInput, match=r"whole numbers but for errors of computing .*--round_counts"):
        run(of_values(back.astype(np.float32)), tmp_path)
    same_sums(run(of_values(back.astype(np.float32)), tmp_path, round_counts=True))


@pytest.mark.parametrize(("marks", "noted"), [([True] * 250, True), ([True] * 249 + [False], False)])
def test_a_file_of_variable_genes_alone_is_noted(marks, noted, tmp_path):
    """theislab/scib-reproducibility#22 and files that were saved after subsetting"""
    cohort = BASE.copy()
    cohort.var["highly_variable"] = marks
    assert ("all 250 genes are marked 'highly_variable'" in run(cohort, tmp_path).notes) == noted
