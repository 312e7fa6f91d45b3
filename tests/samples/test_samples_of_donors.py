"""A donor is a person and may give several samples: these are told apart from the cells to the statistics."""

import json

import numpy as np
import pandas as pd
import pytest

import check_pseudobulk
from immune_aging.cohort.donors import donor_table, one_per_donor
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.task.checkpoints import (
    SAMPLE_OF_DONOR,
    VARYING,
    read_h5ad,
    read_json,
    read_parquet,
    read_tsv,
    write_h5ad,
)
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from sampled_cohorts import cohort_of_visits, to_samples

VISITS = ("--sample-column", "visit")
T_CELL = "x_t_cell_step-pseudobulk_counts.h5ad"


@pytest.fixture(scope="module")
def cohort():
    return cohort_of_visits()


@pytest.fixture(scope="module")
def sampled(cohort, tmp_path_factory):
    return to_samples(cohort, tmp_path_factory.mktemp("sampled"), *VISITS)


def table_in(folder):
    return read_h5ad(folder / "p/pseudobulk/pseudobulk.h5ad")


def test_samples_are_summed_apart_and_named_by_type_donor_and_sample(cohort, sampled):
    table = table_in(sampled)
    assert table.n_obs == 8 * 2 * 2
    dense = pd.DataFrame(cohort.X.toarray(), columns=cohort.var_names)
    labels = [cohort.obs[name].astype(str).to_numpy() for name in ("cell_type", "donor_id", "visit")]
    sums = dense.groupby(labels).sum()
    ids = {"T cell": "t_cell", "B cell, naive/memory": "b_cell_naive_memory"}
    for (cell_type, donor, visit), expected in sums.iterrows():
        row = table[f"{ids[cell_type]}|{donor}|{visit}"]
        np.testing.assert_array_equal(row.X.toarray().ravel(), expected[table.var_names])
        assert row.obs[["donor_id", SAMPLE_OF_DONOR]].iloc[0].tolist() == [donor, visit]


def test_a_sample_has_its_own_age_and_columns_and_the_sex_of_its_donor(sampled):
    obs = table_in(sampled).obs
    one = obs.loc["t_cell|D02|T1"]
    assert (one["age_years"], one["sex"], one["run"], one["pool"]) == (43.0, "female", "run10", "pool0")
    assert obs.loc["t_cell|D02|T0", "age_years"] == 40.0
    assert json.loads(one[VARYING]) == ["cell_type", "barcode_number"], "what varies within the sample, not the donor"


def test_sums_of_a_donors_samples_are_the_donors(cohort, sampled, tmp_path):
    plain = cohort.copy()
    plain.obs["development_stage"] = "40-year-old stage"  # a donor without samples has one age
    whole = table_in(to_samples(plain, tmp_path))
    table = table_in(sampled)
    assert SAMPLE_OF_DONOR not in whole.obs and "visit" not in whole.obs
    keys = [table.obs["cell_type"].astype(str), table.obs["donor_id"].astype(str)]
    sums = pd.DataFrame(table.X.toarray(), columns=table.var_names).groupby([key.to_numpy() for key in keys]).sum()
    np.testing.assert_array_equal(sums.to_numpy(), whole[:, table.var_names].X.toarray())


def test_the_order_of_cells_the_shards_and_the_names_of_samples_change_nothing_else(cohort, sampled, tmp_path):
    other = cohort[np.random.default_rng(3).permutation(cohort.n_obs)].copy()
    other.obs["visit"] = other.obs["visit"].cat.rename_categories({"T0": "zz first", "T1": "after"})
    one, two = table_in(sampled), table_in(to_samples(other, tmp_path, *VISITS, cells_per_shard=60))
    back = two.obs[SAMPLE_OF_DONOR].astype(str).map({"zz first": "T0", "after": "T1"})
    renamed = [f"{name.rsplit('|', 1)[0]}|{visit}" for name, visit in zip(two.obs_names, back, strict=True)]
    two.obs_names = renamed
    two = two[one.obs_names]
    np.testing.assert_array_equal(one.X.toarray(), two.X.toarray())
    compared = ["donor_id", "cell_type", "n_cells", "n_counts", "age_years", "sex", "run", "pool"]
    pd.testing.assert_frame_equal(one.obs[compared], two.obs[compared], check_categorical=False, check_names=False)


def test_labels_are_told_apart_within_a_donor_only(cohort, tmp_path):
    own = cohort.copy()
    own.obs["visit"] = own.obs["donor_id"].astype(str) + "-" + own.obs["visit"].astype(str)
    table = table_in(to_samples(own, tmp_path, *VISITS))
    assert table.n_obs == 32 and table.obs_names[0].endswith("|D00|D00-T0")


def test_visits_that_are_numbers_stay_whole_where_some_are_missing(cohort, tmp_path):
    own = cohort.copy()
    number = own.obs["visit"].astype(str).str[1:].astype(float)
    number[(own.obs["donor_id"] == "D00") & (np.arange(own.n_obs) % 5 == 0)] = np.nan
    own.obs["visit"] = number
    folder = to_samples(own, tmp_path, *VISITS)
    assert set(table_in(folder).obs[SAMPLE_OF_DONOR]) == {"0", "1"}
    n_missing = int(number.isna().sum())
    funnel = read_json(folder / "p/cohort/filtering.json")
    assert n_missing and funnel["cells"]["lost"] == {"no sample": n_missing}
    assert funnel["cells"]["input"] == funnel["cells"]["kept"] + n_missing


def test_a_sample_of_unknown_age_goes_and_its_donor_stays(cohort, tmp_path):
    own = cohort.copy()
    late = (own.obs["visit"] == "T1").to_numpy()
    stage = own.obs["development_stage"].astype(str)
    stage[late & (own.obs["donor_id"] == "D03").to_numpy()] = "unknown"
    stage[(own.obs["donor_id"] == "D05").to_numpy()] = "unknown"
    own.obs["development_stage"] = stage
    folder = to_samples(own, tmp_path, *VISITS)
    obs = table_in(folder).obs
    assert "t_cell|D03|T0" in obs.index and "t_cell|D03|T1" not in obs.index and "D05" not in set(obs["donor_id"])
    samples = read_tsv(folder / "p/cohort/samples.tsv").set_index(["donor_id", SAMPLE_OF_DONOR])
    assert samples["reason"].fillna("").to_dict() == dict.fromkeys(samples.index, "") | {
        ("D03", "T1"): "age unknown", ("D05", "T0"): "age unknown", ("D05", "T1"): "age unknown",
    }  # fmt: skip
    donors = read_tsv(folder / "p/cohort/donors.tsv").set_index("donor_id")
    assert donors["reason"].fillna("").to_dict() == dict.fromkeys(donors.index, "") | {"D05": "age unknown"}
    assert donors.loc["D03", "age_years"] == 45 and donors.loc["D02", "age_years"] == 41.5, "mean of the samples"
    funnel = read_json(folder / "p/cohort/filtering.json")
    assert set(funnel["cells"]["lost"]) == {"sample left out: age unknown", "donor left out: age unknown"}
    for part in ("cells", "donors", "samples"):
        assert funnel[part]["input"] == funnel[part]["kept"] + sum(funnel[part]["lost"].values()), part


def test_donors_have_one_row_and_samples_another(sampled):
    donors, samples = (read_tsv(sampled / f"p/cohort/{name}.tsv") for name in ("donors", "samples"))
    assert donors["donor_id"].is_unique and len(samples) == 16
    assert samples.columns[:8].tolist() == [
        "donor_id", SAMPLE_OF_DONOR, "age_years", "sex", "n_cells", "n_cells_kept", "kept", "reason",
    ]  # fmt: skip
    assert {"pool", "run", "visit"} <= set(samples) and "barcode_number" not in samples
    assert (samples.groupby("donor_id")["n_cells"].sum().to_numpy() == donors["n_cells"]).all()


def test_doublets_are_scored_sample_by_sample(tmp_path):
    cohort = cohort_of_visits(donors=4, cells_per_type=130, genes=200)
    folder = to_samples(cohort, tmp_path, *VISITS, cells_per_shard=10_000)
    table = read_tsv(folder / "p/qc/doublets.tsv")
    assert table[["donor_id", SAMPLE_OF_DONOR]].to_numpy().tolist() == [
        [f"D0{d}", f"T{v}"] for d in range(4) for v in (0, 1)
    ]
    assert (table["n_scored"] == table["n_cells"]).all()
    # A sample's scores depend on no other sample, of whatever donor.
    one = cohort[(cohort.obs["donor_id"] != "D01") | (cohort.obs["visit"] == "T0")].copy()
    fewer = read_parquet(to_samples(one, tmp_path / "fewer", *VISITS) / "p/qc/cells.parquet").set_index("cell_id")
    cells = read_parquet(folder / "p/qc/cells.parquet").set_index("cell_id").loc[fewer.index]
    np.testing.assert_array_equal(fewer["doublet_score"], cells["doublet_score"])


def test_read_samples_takes_a_donor_twice_only_where_samples_tell_it_apart(sampled, tmp_path):
    table = read_samples(sampled / T_CELL)
    assert table.samples["donor_id"].value_counts().eq(2).all()
    adata = read_h5ad(sampled / T_CELL)
    adata.obs = adata.obs.drop(columns=SAMPLE_OF_DONOR)
    write_h5ad(adata, tmp_path / "untold.h5ad")
    with pytest.raises(BadInput, match="donor 'D00' stands there more than once"):
        read_samples(tmp_path / "untold.h5ad")
    adata.obs[SAMPLE_OF_DONOR] = "same"
    write_h5ad(adata, tmp_path / "same.h5ad")
    with pytest.raises(BadInput, match="donor and sample 'D00, same' stands there more than once"):
        read_samples(tmp_path / "same.h5ad")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda obs: obs.assign(sex=np.where(obs["visit"] == "T0", "male", "female")), "column 'sex': donor 'D00' has 2 values"),
        (
            lambda obs: obs.assign(development_stage=[f"{30 + i % 2}" for i in range(len(obs))]),
            "column 'development_stage': sample 'T0' of donor 'D00' has 2 values .*; a sample must have one",
        ),
        (lambda obs: obs.rename(columns={"visit": "visits"}), "--sample_column visit: obs has no such column, did you mean 'visits'"),
        (lambda obs: obs.assign(visit=np.nan), "--sample_column visit: has no value in any cell"),
        (
            lambda obs: obs.assign(
                donor_id=obs["donor_id"].astype(str).replace({"D00": "a|b", "D01": "a"}),
                visit=obs["visit"].astype(str).where(obs["donor_id"] == "D00", "b|" + obs["visit"].astype(str)),
            ),
            r"two samples of different donors would be called 'a\|b\|T0'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_a_sample_is_one_line(cohort, change, message, tmp_path):
    own = cohort.copy()
    own.obs = change(own.obs)
    with pytest.raises(BadInput, match=message):
        to_samples(own, tmp_path, *VISITS)


def test_two_ages_without_a_sample_column_name_the_remedy(cohort, tmp_path):
    with pytest.raises(BadInput, match="a donor must have one, or name its samples with --sample_column"):
        to_samples(cohort, tmp_path)


def given(table, folder, *options):
    folder.mkdir(parents=True, exist_ok=True)
    write_h5ad(table, folder / "t.h5ad", portable=True)
    check_pseudobulk.main(
        [*default_options("check_pseudobulk"), "--table", str(folder / "t.h5ad"), "--prefix", str(folder / "x"), "--output",
         str(folder / "p"), "--versions", str(folder / "v.json"), "--min-cells-per-sample", "3", *options]
    )  # fmt: skip
    return folder


def test_a_given_table_of_samples_starts_the_same_statistics(sampled, tmp_path):
    table = table_in(sampled)
    folder = given(table, tmp_path / "own", "--sample-column", SAMPLE_OF_DONOR)
    again = table_in(folder)
    np.testing.assert_array_equal(again.X.toarray(), table.X.toarray())
    assert again.obs_names.tolist() == table.obs_names.tolist()
    compared = ["donor_id", SAMPLE_OF_DONOR, "age_years", "sex", "run"]
    pd.testing.assert_frame_equal(again.obs[compared], table.obs[compared], check_categorical=False)
    assert read_samples(folder / T_CELL).samples["donor_id"].value_counts().eq(2).all()
    by_visit = given(table, tmp_path / "visit", "--sample-column", "visit")
    assert (by_visit / "p/pseudobulk/samples.tsv").read_bytes() == (folder / "p/pseudobulk/samples.tsv").read_bytes()
    assert len(read_tsv(folder / "p/cohort/samples.tsv")) == 16 and len(read_tsv(folder / "p/cohort/donors.tsv")) == 8


def test_a_given_table_with_a_donor_twice_names_the_sample_column(sampled, tmp_path):
    table = table_in(sampled)
    table.obs["development_stage"] = 50.0
    with pytest.raises(BadInput, match=r"two samples of cell type .*sum them first or name the column that tells them"):
        given(table, tmp_path)


def test_donors_of_a_table_of_samples_agree_in_what_is_left(cohort):
    samples, problems = donor_table(cohort.obs, donor="donor_id", age="development_stage", sex="sex", sample="visit")
    donors = one_per_donor(samples)
    assert not problems and donors["donor_id"].is_unique
    assert "pool" in donors and not {"visit", "run", SAMPLE_OF_DONOR} & set(donors)
    assert set(json.loads(donors.loc[0, VARYING])) == {
        "cell_type",
        "barcode_number",
        "visit",
        "run",
        "development_stage",
    }
    pd.testing.assert_frame_equal(one_per_donor(donors), donors)
