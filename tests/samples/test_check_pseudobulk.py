"""A pseudobulk table made elsewhere gives the same start of the statistics as our own."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import check_pseudobulk
from immune_aging.cohort.gene_groups import SOME_FILES
from immune_aging.cohort.gene_symbols import NO_SYMBOLS
from immune_aging.samples import given_table
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.task.checkpoints import read_h5ad, read_json, read_tsv
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options


def table_of(*, donors=12, types=("T cell", "B/NK, odd"), seed=0):
    rng = np.random.default_rng(seed)
    labels = [(d, t) for t in types for d in range(donors)]
    obs = pd.DataFrame(
        {
            "donor_id": [f"D{d:02d}" for d, _ in labels], "cell_type": [t for _, t in labels],
            "age": [30 + d for d, _ in labels], "sex": [("female", "male")[d % 2] for d, _ in labels],
            "n_cells": [5 + d for d, _ in labels], "pool": [f"p{d // 6}" for d, _ in labels],
        },
        index=[f"s{i}" for i in rng.permutation(len(labels))],
    )  # fmt: skip
    var = pd.DataFrame(index=["CD3E", "LYZ", "MS4A1", "NKG7"])
    return anndata.AnnData(X=rng.poisson(90, size=(len(labels), 4)).astype(np.float32), obs=obs, var=var)


def run(table, folder, *options):
    table.write_h5ad(folder / "t.h5ad")
    check_pseudobulk.main(
        [*default_options("check_pseudobulk"), "--table", str(folder / "t.h5ad"), "--prefix", str(folder / "dataset-x"), "--output", str(folder / "p"), "--versions",
         str(folder / "v.json"), "--min-samples-per-type", "5", *options]
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("layout", ["dense", "csr", "csc"])
def test_sums_labels_and_ages_are_taken_over(layout, tmp_path):
    table = table_of()
    dense = table.X.copy()
    table.X = {"dense": dense, "csr": sparse.csr_matrix(dense), "csc": sparse.csc_matrix(dense)}[layout]
    folder = run(table, tmp_path)
    whole = read_h5ad(folder / "p/pseudobulk/pseudobulk.h5ad")
    back = whole[
        [
            f"{'t_cell' if t == 'T cell' else 'b_nk_odd'}|{d}"
            for d, t in zip(table.obs["donor_id"], table.obs["cell_type"], strict=True)
        ]
    ]
    np.testing.assert_array_equal(back.X.toarray(), dense)
    assert (
        back.obs["age_years"].tolist() == table.obs["age"].tolist()
        and back.obs["pool"].tolist() == table.obs["pool"].tolist()
    )
    assert whole.var["symbol"].tolist() == table.var_names.tolist()
    one = read_h5ad(folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad")
    assert one.n_obs == 7 and (one.obs["n_cells"] >= 10).all()
    types = read_tsv(folder / "p/cohort/cell_types.tsv")
    assert types[["id", "n_samples", "kept"]].to_numpy().tolist() == [["b_nk_odd", 7, True], ["t_cell", 7, True]]


def test_without_cell_numbers_every_sample_is_used(tmp_path):
    table = table_of()
    del table.obs["n_cells"]
    folder = run(table, tmp_path)
    assert read_h5ad(folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad").n_obs == 12


def emptied(counts, rows):
    """Counts in which these samples have none."""
    counts = counts.copy()
    counts[list(rows)] = 0
    return counts


def shallow(counts, rows):
    """Counts in which these samples have a few each."""
    counts = emptied(counts, rows)
    counts[list(rows), 0] = 3
    return counts


FEW_COUNTS = "fewer counts than 0.1 times the median sample's"


@pytest.mark.parametrize("with_cells", [True, False])
@pytest.mark.parametrize(
    ("spoil", "rows", "options", "reason"),
    [
        (emptied, [8], [], "no counts"),
        (shallow, [8], [], FEW_COUNTS),
        (emptied, [8, 9, 10], [], "no counts"),
        (shallow, [8, 9, 10], [], FEW_COUNTS),
        (shallow, [8], ["--min-depth-share", "0"], ""),
        (emptied, [8], ["--min-depth-share", "0"], "no counts"),
    ],
)
def test_a_sample_of_few_counts_is_left_out_and_counted_and_not_its_cell_type(
    with_cells, spoil, rows, options, reason, tmp_path
):
    """The first 12 samples are those of the T cells; donors 5 to 11 have at least 10 of them."""
    table = table_of()
    if not with_cells:
        del table.obs["n_cells"]
    table.X = spoil(table.X, rows)
    n_used = (7 if with_cells else 12) - (len(rows) if reason else 0)
    folder = run(table, tmp_path, *options, "--min-samples-per-type", "4")
    samples = read_tsv(folder / "p/pseudobulk/samples.tsv").fillna({"reason": ""}).set_index("sample_id")
    own = [f"t_cell|D{row:02d}" for row in rows]
    assert samples.loc[own, "reason"].tolist() == [reason] * len(rows)
    assert (
        samples["n_counts"] == samples.index.map(read_h5ad(folder / "p/pseudobulk/pseudobulk.h5ad").obs["n_counts"])
    ).all()
    assert samples.loc[own, "n_counts"].tolist() == [0 if spoil is emptied else 3] * len(rows)
    types = read_tsv(folder / "p/cohort/cell_types.tsv").set_index("id")
    assert types.loc["t_cell", "n_samples"] == n_used == samples.query("cell_type == 'T cell'")["kept"].sum()
    assert types["kept"].all() and read_h5ad(folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad").n_obs == n_used


@pytest.mark.parametrize(("with_cells", "rows", "n_left"), [(True, [5, 6, 7], 4), (False, range(5), 7)])
def test_a_cell_type_with_too_few_samples_of_enough_counts_is_not_kept(with_cells, rows, n_left, tmp_path):
    table = table_of()
    if not with_cells:
        del table.obs["n_cells"]
    table.X = shallow(table.X, rows)
    folder = run(table, tmp_path, "--min-samples-per-type", str(n_left + 1))
    types = read_tsv(folder / "p/cohort/cell_types.tsv").set_index("id")
    assert types["kept"].to_dict() == {"b_nk_odd": True, "t_cell": False}
    assert types.loc["t_cell", "reason"] == f"{n_left} samples, fewer than {n_left + 1}"


def test_donors_without_age_are_out_and_counted(tmp_path):
    table = table_of()
    table.obs["age"] = table.obs["age"].where(table.obs["donor_id"] != "D11").astype(float)
    folder = run(table, tmp_path)
    donors = read_tsv(folder / "p/cohort/donors.tsv").set_index("donor_id")
    assert donors.loc["D11", "reason"] == "age unknown" and donors["kept"].sum() == 11
    assert read_h5ad(folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad").n_obs == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: setattr(t, "obs", t.obs.drop(columns=["sex"])), "--sex_column sex"),
        (lambda t: setattr(t, "X", np.log1p(t.X)), "fractions"),
        (
            lambda t: setattr(t, "obs", t.obs.assign(donor_id=t.obs["donor_id"].replace("D01", "D00"))),
            "has 2 values|two samples",
        ),
        (lambda t: t.obs.__setitem__("age", np.nan), "no sample has"),
        (lambda t: t.obs.__setitem__("n_cells", 1), "lower --min_samples_per_type"),
        (
            lambda t: setattr(t, "X", emptied(t.X, range(1, 24))),
            "10 samples have fewer than 10 cells; 14 samples have no counts",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused(change, message, tmp_path):
    table = table_of()
    change(table)
    with pytest.raises(BadInput, match=message):
        run(table, tmp_path)


def test_the_age_may_be_in_a_column_that_is_called_as_our_tables_call_it():
    wanted = {"donor": "donor_id", "cell_type": "cell_type", "age": "development_stage", "sex": "sex"}
    names = ["donor_id", "cell_type", "sex", "age", "age_years"]
    assert given_table.columns_in(names, wanted, where="t") == wanted | {"age": "age_years"}
    assert given_table.columns_in(["development_stage", *names], wanted, where="t") == wanted
    with pytest.raises(BadInput, match=r"t: --donor_column donor_id: .* \| --age_column development_stage: "):
        given_table.columns_in(["cell_type", "sex"], wanted, where="t")


def test_ensembl_ids_alone_get_their_symbols_from_a_table_and_the_check_counts_them(tmp_path):
    table = table_of()
    table.var_names = ["ENSG00000198851.10", "ENSG00000090382", "ENSG00000156738", "ENSG00000308361"]
    (tmp_path / "symbols.tsv").write_text("ENSG00000198851\tCD3E\nENSG00000090382\tLYZ\n")
    folder = run(table, tmp_path, "--gene-symbols", str(tmp_path / "symbols.tsv"))
    for path in (folder / "p/pseudobulk/pseudobulk.h5ad", folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad"):
        var = read_h5ad(path).var
        assert var["symbol"].tolist() == ["CD3E", "LYZ", "", ""] and var.index.tolist() == table.var_names.tolist()
    assert read_json(folder / "p/cohort/check.json") == {
        "counts_layer": "X", "n_samples": 24, "n_genes": 4, "n_donors": 12, "n_cell_types": 2, "n_symbols": 2,
        "n_symbols_from_table": 2, "source": {}, "notes": ["the symbols of 2 of 4 genes come from symbols.tsv (--gene_symbols)"],
    }  # fmt: skip


def test_what_the_file_says_of_itself_is_handed_on_cut_to_a_length(tmp_path):
    table = table_of()
    table.uns = {"title": "OneK1K", "note": "x" * 2000, "n": 3, "list": ["a", "b"], "group": {"title": "y"}}
    assert read_json(run(table, tmp_path) / "p/cohort/check.json")["source"] == {"note": "x" * 1000, "title": "OneK1K"}


def test_genes_that_the_table_does_not_know_are_said(tmp_path):
    table = table_of()
    assert read_json(run(table, tmp_path) / "p/cohort/check.json")["notes"] == []
    table.var_names = [f"ENSMUSG0000006435{i}" for i in range(1, 5)]
    assert read_json(run(table, tmp_path) / "p/cohort/check.json")["notes"] == [NO_SYMBOLS]
    (tmp_path / "symbols.tsv").write_text("ENSG00000198851\tCD3E\n")
    folder = run(table, tmp_path, "--gene-symbols", str(tmp_path / "symbols.tsv"))
    [note] = read_json(folder / "p/cohort/check.json")["notes"]
    assert "symbols.tsv (--gene_symbols) knows none of its genes ('ENSMUSG00000064351', ...)" in note


def test_the_rules_about_donors_are_those_of_a_cohort_of_cells(tmp_path):
    """Donors 0 to 4 lack B cells: each keeps them for the T cells, common does not, a share counts where it is given."""
    table = table_of()
    table = table[
        ~((table.obs["cell_type"] == "B/NK, odd") & table.obs["donor_id"].isin([f"D{d:02d}" for d in range(5)]))
    ]
    for name, options, n_t_cells, n_b_cells, left_out in (
        ("each", [], 7, 7, 0),
        ("share", ["--min-donor-fraction", "0.9", "--min-cells-per-type", "6"], 7, 0, 0),
        ("common", ["--analysed-donors", "common", "--min-donor-fraction", "0.5"], 7, 7, 5),
    ):
        (tmp_path / name).mkdir()
        folder = run(table.copy(), tmp_path / name, *options)
        donors, types = read_tsv(folder / "p/cohort/donors.tsv"), read_tsv(folder / "p/cohort/cell_types.tsv")
        n_used = types.set_index("id")["n_samples"].where(types.set_index("id")["kept"], 0).to_dict()
        assert n_used == {"t_cell": n_t_cells, "b_nk_odd": n_b_cells}, name
        assert (donors["reason"] == "no B/NK, odd").sum() == left_out == (~donors["kept"]).sum()
        assert (folder / "p/cohort/filtering.json").exists() == (name != "each")
        whole = read_h5ad(folder / "p/pseudobulk/pseudobulk.h5ad").obs
        assert len(whole) == (14 if name == "common" else 19)
    funnel = read_json(tmp_path / "common/p/cohort/filtering.json")
    assert funnel["donors"] == {"input": 12, "lost": {"no B/NK, odd": 5}, "kept": 7}
    check = read_json(tmp_path / "share/p/cohort/check.json")
    assert check["cell_types_in_few_donors"] == ["B/NK, odd"]
    types = read_tsv(tmp_path / "share/p/cohort/cell_types.tsv").set_index("id")
    assert types.loc["b_nk_odd", "reason"] == "6 cells in only 7 of 12 donors"


@pytest.mark.parametrize(("least", "noted"), [(5, True), (1, False)])
def test_gaps_of_a_table_without_small_samples_are_a_doubt(least, noted, tmp_path):
    table = table_of()
    table.obs["n_cells"] = table.obs["n_cells"] - 5 + least
    table = table[~((table.obs["cell_type"] == "B/NK, odd") & (table.obs["donor_id"] == "D11"))].copy()
    notes = read_json(run(table, tmp_path, "--min-cells-per-sample", "2") / "p/cohort/check.json")["notes"]
    assert any(note.startswith("1 of 24 pairs of donor and cell type have no sample") for note in notes) == noted


def test_a_share_that_no_cell_type_reaches_names_the_remedy(tmp_path):
    with pytest.raises(BadInput, match=r"no cell type has 50 cells in 95 % of the donors; .*--donors each"):
        run(table_of(), tmp_path, "--analysed-donors", "common", "--min-cells-per-type", "50")


def test_genes_of_some_files_start_the_statistics_again(tmp_path):
    """Of a published table of a union of genes: missing stays missing, zero stays zero, and it is said."""
    table, rng = table_of(), np.random.default_rng(2)
    counts = rng.poisson(3, size=(table.n_obs, 2)).astype(float)
    counts[(table.obs["donor_id"] > "D08").to_numpy(), 1] = np.nan
    table.obsm[SOME_FILES] = sparse.csr_matrix(counts)
    table.uns[SOME_FILES] = {"gene_id": np.array(["ENSG1", "ENSG0"]), "symbol": np.array(["X", "Y"])}
    folder = run(table, tmp_path)
    found = read_samples(folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad")
    own = (table.obs["cell_type"] == "T cell").to_numpy()
    expected = pd.DataFrame(counts[own], index=table.obs["donor_id"][own], columns=["X", "Y"])
    expected = expected.loc[found.samples["donor_id"]]
    assert found.some_files.symbols.to_dict() == {"ENSG0": "Y", "ENSG1": "X"}
    np.testing.assert_array_equal(found.some_files.counts, expected[["Y", "X"]].to_numpy())
    assert (found.some_files.counts == 0).any() and np.isnan(found.some_files.counts).any()
    notes = read_json(folder / "p/cohort/check.json")["notes"]
    assert any(note.startswith("2 genes are not measured in all samples") for note in notes)
    run(read_h5ad(folder / "p/pseudobulk/pseudobulk.h5ad"), tmp_path, "--age-column", "age_years")
    again = read_samples(folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad")
    np.testing.assert_array_equal(again.some_files.counts, found.some_files.counts)
    pd.testing.assert_series_equal(again.some_files.symbols, found.some_files.symbols)
    table.uns[SOME_FILES]["gene_id"][0] = "CD3E"
    with pytest.raises(BadInput, match=r"--pseudobulk t.h5ad: gene 'CD3E' stands there more than once; leave one out"):
        run(table, tmp_path)


@pytest.mark.parametrize("name", given_table.CELL_NUMBERS)
def test_the_number_of_cells_is_known_by_the_names_that_tools_give_it(name, tmp_path):
    """scverse/decoupler writes psbulk_cells (psbulk_n_cells before); without one no sample was left out as too small"""
    table = table_of()
    table.obs = table.obs.rename(columns={"n_cells": name})
    folder = run(table, tmp_path)
    assert read_h5ad(folder / "dataset-x_t_cell_step-pseudobulk_counts.h5ad").n_obs == 7
    notes = read_json(folder / "p/cohort/check.json")["notes"]
    assert any(f"'{name}' is taken for the number of cells" in note for note in notes) == (name != "n_cells")


@pytest.mark.parametrize(
    "of", [lambda n: n.astype(str), lambda n: n.astype(str).astype("category"), lambda n: n.astype("Int64")]
)
def test_numbers_of_cells_that_the_file_holds_as_text_are_numbers(of, tmp_path):
    table = table_of()
    table.obs["n_cells"] = of(table.obs["n_cells"])
    assert read_h5ad(run(table, tmp_path) / "dataset-x_t_cell_step-pseudobulk_counts.h5ad").n_obs == 7


def test_a_table_that_does_not_tell_numbers_of_cells_is_noted(tmp_path):
    table = table_of()
    table.obs["n_cells"] = "many"
    notes = read_json(run(table, tmp_path) / "p/cohort/check.json")["notes"]
    assert any("small samples are not left out by --min_cells_per_sample" in note for note in notes)


def test_a_table_whose_donors_were_chosen_before_is_told_how_to_keep_them(tmp_path):
    table = table_of()
    options = ("--analysed-donors", "common", "--min-donor-fraction", "0.95", "--min-cells-per-type", "10")
    few = (table.obs["cell_type"] == "T cell") & (table.obs["n_cells"] < 12)
    table.obs["n_cells"] = np.where(few, 3, 12)
    notes = read_json(run(table, tmp_path, *options) / "p/cohort/check.json")["notes"]
    assert any(
        "leaves out 1 cell types and 0 donors of the table" in note and "--donors each" in note for note in notes
    )


def test_numbers_that_stand_for_a_missing_value_are_missing_or_noted(tmp_path):
    table = table_of()
    number = table.obs["donor_id"].str[1:].astype(int)
    table.obs["bmi"] = np.where(number == 3, -(2**31), 20 + number)
    table.obs["titre"] = np.where(number == 4, 9999, 100 + number)
    folder = run(table, tmp_path)
    notes = read_json(folder / "p/cohort/check.json")["notes"]
    assert any("'bmi': -2147483648 is no number" in note and "1 of 12 donors" in note for note in notes)
    assert any("'titre': 9999 (1) is far from all other values (100 to 111)" in note for note in notes)
    whole = read_h5ad(folder / "p/pseudobulk/pseudobulk.h5ad").obs
    assert whole["bmi"].isna().tolist() == (whole["donor_id"] == "D03").tolist() and whole["titre"].max() == 9999
