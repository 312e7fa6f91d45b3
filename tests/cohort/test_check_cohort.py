"""What a cohort must bring is checked at once, and what it brings is written down as it is."""

import gzip
import json

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import check_cohort
from immune_aging.cohort import ages, donors
from immune_aging.task.checkpoints import read_json, read_parquet
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from small_cohorts import small_cohort, write_cohort


def check(path, folder, *options):
    """Run the step; returns its tables and its summary."""
    outputs = {name: folder / f"{name}.parquet" for name in ("cells", "donors", "genes")}
    arguments = [part for name, output in outputs.items() for part in (f"--output-{name}", str(output))]
    check_cohort.main(
        [
            *default_options("check_cohort"),
            "--cohort",
            str(path),
            *arguments,
            "--output-check",
            str(folder / "c.json"),
            "--versions",
            str(folder / "v.json"),
            *options,
        ]
    )
    return {name: read_parquet(output) for name, output in outputs.items()} | {"check": read_json(folder / "c.json")}


@pytest.mark.parametrize(
    ("value", "years"),
    [
        ("45-year-old stage", 45), ("45-year-old human stage", 45), ("45-year-old", 45), ("45", 45), ("45.5", 45.5),
        ("45 years", 45), ("18-month-old stage", 1.5), (45, 45), (45.0, 45), (np.int32(45), 45),
    ],
)  # fmt: skip
def test_ages_are_read_from_numbers_and_text(value, years):
    assert ages.age_in_years(value) == years


@pytest.mark.parametrize(
    "value",
    ["unknown", "adult stage", "", None, np.nan, -3, 400, "60-179 year-old stage", "HsapDv:0000139", "12-05-1960"],
)
def test_what_is_no_age_is_unknown(value):
    assert np.isnan(ages.age_in_years(value))


def test_a_good_cohort_is_described(tmp_path):
    cohort = small_cohort()
    found = check(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path)
    assert found["cells"]["cell_id"].tolist() == cohort.obs_names.tolist()
    assert found["cells"]["cell_type"].tolist() == cohort.obs["cell_type"].tolist()
    assert found["donors"]["age_years"].tolist() == [30 + 5 * d for d in range(8)]
    assert found["donors"]["pool"].tolist() == ["pool0"] * 4 + ["pool1"] * 4
    assert "barcode_number" not in found["donors"], "a column that varies within donors is no donor column"
    listed = [json.loads(names) for names in found["donors"]["varies_within_donor"]]
    assert all("barcode_number" in names and "pool" not in names for names in listed)
    assert found["genes"]["symbol"].tolist() == cohort.var["feature_name"].tolist()
    assert found["check"]["counts_layer"] == "X" and found["check"]["n_donors"] == 8


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
@pytest.mark.parametrize("place", ["X", "raw.X", "counts"])
def test_counts_are_found_wherever_they_are(layout, place, tmp_path):
    cohort = small_cohort(donors=4)
    counts = {"csr": cohort.X, "csc": cohort.X.tocsc(), "dense": cohort.X.toarray()}[layout]
    normalised = sparse.csr_matrix(np.log1p(cohort.X.toarray() / 3))
    if place == "X":
        cohort.X = counts
    elif place == "raw.X":
        cohort.X = counts
        cohort.raw = cohort
        cohort.X = normalised
    else:
        cohort.X = normalised
        cohort.layers["counts"] = counts
    found = check(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path)["check"]
    assert (found["counts_layer"], found["counts"]["layout"]) == (place, layout)


def test_symbols_come_from_an_index_of_symbols_and_never_from_ids(tmp_path):
    cohort = small_cohort(donors=4)
    cohort.var_names = [name.replace("/", "-") for name in cohort.var["feature_name"]]
    del cohort.var["feature_name"]
    assert (
        check(write_cohort(cohort, tmp_path / "s.h5ad"), tmp_path)["genes"]["symbol"].tolist()
        == cohort.var_names.tolist()
    )
    cohort.var_names = [f"ENSG{i:011d}.7" for i in range(cohort.n_vars)]
    found = check(write_cohort(cohort, tmp_path / "e.h5ad"), tmp_path)
    assert (found["genes"]["symbol"] == "").all() and found["check"]["notes"]
    assert found["genes"]["gene_id"].tolist() == cohort.var_names.tolist()


def test_ensembl_ids_alone_get_their_symbols_from_a_table_and_the_check_counts_them(tmp_path):
    cohort = small_cohort(donors=4)
    named = cohort.var.pop("feature_name")
    known = tmp_path / "symbols.tsv.gz"
    known.write_bytes(gzip.compress("".join(f"{gene}\t{name}\n" for gene, name in named[:40].items()).encode()))
    cohort.var_names = [f"{name}.7" for name in cohort.var_names]
    found = check(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path, "--gene-symbols", str(known))
    assert found["genes"]["symbol"].tolist() == named[:40].tolist() + [""] * 20
    assert found["genes"]["gene_id"].tolist() == cohort.var_names.tolist()
    assert found["check"]["n_symbols"] == found["check"]["n_symbols_from_table"] == 40
    assert found["check"]["notes"] == ["the symbols of 40 of 60 genes come from symbols.tsv.gz (--gene_symbols)"]


def test_a_cohort_that_names_its_genes_is_checked_the_same_with_and_without_a_table(tmp_path):
    cohort = small_cohort(donors=4)
    path = write_cohort(cohort, tmp_path / "c.h5ad")
    known = tmp_path / "symbols.tsv"
    known.write_text("".join(f"{gene}\tOTHER{i}\n" for i, gene in enumerate(cohort.var_names)))
    before = check(path, tmp_path)
    after = check(path, tmp_path, "--gene-symbols", str(known))
    pd.testing.assert_frame_equal(after["genes"], before["genes"])
    assert after["check"] == before["check"]


def test_numeric_ages_by_parameter_and_unknown_ages_stay_as_missing(tmp_path):
    cohort = small_cohort(donors=4)
    cohort.obs["years"] = (
        cohort.obs["donor_id"].map({"D00": 20.5, "D01": 30.0, "D02": np.nan, "D03": 80.0}).astype(float)
    )
    found = check(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path, "--age-column", "years")
    np.testing.assert_equal(found["donors"]["age_years"].to_numpy(), [20.5, 30.0, np.nan, 80.0])


def test_the_input_is_not_touched(tmp_path):
    path = write_cohort(small_cohort(donors=3), tmp_path / "c.h5ad")
    before = path.read_bytes()
    check(path, tmp_path)
    assert path.read_bytes() == before


def test_all_problems_are_reported_at_once(tmp_path):
    cohort = small_cohort(donors=4)
    cohort.obs = cohort.obs.rename(columns={"donor_id": "donor", "sex": "gender"})
    cohort.X = cohort.X * 0.5
    with pytest.raises(BadInput) as caught:
        check(write_cohort(cohort, tmp_path / "c.h5ad"), tmp_path)
    message = str(caught.value)
    assert "--donor_column donor_id: obs has no such column, did you mean 'donor'?" in message
    assert "--sex_column sex" in message and "no raw counts found" in message


def broken(change):
    cohort = small_cohort(donors=3)
    change(cohort)
    return cohort


def set_x(value):
    def change(cohort):
        cohort.X.data[:5] = value

    return change


def two_ages(cohort):
    cohort.obs["development_stage"] = [f"{40 + i % 2}-year-old stage" for i in range(cohort.n_obs)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_x(-1), "negative"),
        (set_x(0.5), "fractions"),
        (set_x(np.nan), "NaN"),
        (lambda c: c.X.data.fill(0), "nothing but zeros"),
        (two_ages, "has 2 values"),
        (lambda c: c.obs.__setitem__("development_stage", "adult stage"), "no value is an age"),
        (lambda c: setattr(c, "obs_names", ["same"] * c.n_obs), "'same' occurs twice"),
        (lambda c: setattr(c, "var_names", ["same"] * c.n_vars), "'same' occurs twice"),
    ],
)
def test_a_cohort_that_cannot_be_analysed_is_refused(change, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        check(write_cohort(broken(change), tmp_path / "c.h5ad"), tmp_path)


def test_files_that_are_no_h5ad_are_refused(tmp_path):
    (tmp_path / "text.h5ad").write_text("hello")
    good = write_cohort(small_cohort(donors=3), tmp_path / "good.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(good[: len(good) // 2])
    (tmp_path / "empty.h5ad").write_bytes(b"")
    (tmp_path / "folder.h5ad").mkdir()
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["x"] = 1
    for name, message in {
        "text": "not an HDF5",
        "cut": "cut off",
        "empty": "0 bytes",
        "folder": "is a folder",
        "other": "no 'obs'",
    }.items():
        with pytest.raises(BadInput, match=message):
            check(tmp_path / f"{name}.h5ad", tmp_path)


def test_a_column_is_said_to_vary_only_in_the_donors_in_which_it_does():
    obs = pd.DataFrame(
        {"donor": list("bbaa"), "age": 50, "sex": "f", "visit": ["v1", "v1", "v1", None], "site": ["x", "x", "y", "y"]}
    )
    table, problems = donors.donor_table(obs, donor="donor", age="age", sex="sex")
    assert problems == []
    assert table["donor_id"].tolist() == ["a", "b"]
    assert table["varies_within_donor"].tolist() == ['["visit"]', "[]"]
    assert table["site"].tolist() == ["y", "x"]


def test_donor_table_does_not_change_its_argument():
    obs = small_cohort(donors=3).obs
    before = obs.copy(deep=True)
    donors.donor_table(obs, donor="donor_id", age="development_stage", sex="sex")
    pd.testing.assert_frame_equal(obs, before)
