"""What is known of donors may come from a table beside the file (`donor_facts`): joined, compared, and listed where it
does not fit.
"""

import numpy as np
import pandas as pd
import pytest

import check_cohort
import check_pseudobulk
from immune_aging.cohort.added_facts import same_fact
from immune_aging.plan import run_plan
from immune_aging.task.checkpoints import read_h5ad, read_json, read_parquet, read_tsv
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from plan.test_plan_run import options_for
from sampled_cohorts import cohort_of_visits
from small_cohorts import small_cohort, write_cohort

DONORS = [f"D{d:02d}" for d in range(8)]
AGES = [f"{30 + 5 * d}-year-old stage" for d in range(8)]
SEXES = ["female", "male"] * 4


def check(cohort, table, folder, *options):
    """Run CHECK_COHORT with a table of donors; returns the donors and the summary."""
    (folder / "donors.csv").write_text(table)
    write_cohort(cohort, folder / "c.h5ad")
    outputs = [f"--output-{name}={folder / name}" for name in ("cells", "donors", "genes", "check")]
    check_cohort.main(
        [*default_options("check_cohort"), f"--cohort={folder / 'c.h5ad'}", f"--donor-table={folder / 'donors.csv'}",
         *outputs, f"--versions={folder / 'v'}", *options]
    )  # fmt: skip
    return read_parquet(folder / "donors"), read_json(folder / "check")


def table_of(**columns):
    return pd.DataFrame(columns).to_csv(index=False)


def bare(cohort, *columns):
    cohort.obs = cohort.obs.drop(columns=list(columns))
    return cohort


def test_ages_and_sexes_of_a_table_are_those_of_the_cells(tmp_path):
    whole, _ = check(small_cohort(), table_of(donor=DONORS), tmp_path)
    cohort = bare(small_cohort(), "development_stage", "sex")
    table = table_of(donor=DONORS[::-1], sex=["M", "F"] * 4, development_stage=AGES[::-1])
    found, summary = check(cohort, table, tmp_path)
    columns = ["donor_id", "age_years", "sex", "age_text", "pool"]
    pd.testing.assert_frame_equal(found[columns], whole[columns])
    assert any("'F' as 'female', 'M' as 'male' is read" in note for note in summary["notes"]), "spelt as in obs"


@pytest.mark.parametrize("name", ["donor_id", "donor"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_donors_are_found_by_the_name_of_their_column(name, separator, tmp_path):
    table = table_of(**{name: DONORS}, bmi=np.arange(8) + 20.5).replace(",", separator)
    found, _ = check(small_cohort(), table, tmp_path)
    assert found["bmi"].tolist() == [20.5 + d for d in range(8)]


def test_numbers_of_a_table_are_numbers_and_words_are_levels(tmp_path):
    table = table_of(donor=DONORS, bmi=range(8), run=["01", "02"] * 4, cmv=["yes", None] * 4, gap=[1, None] * 4)
    found, _ = check(small_cohort(), table, tmp_path)
    assert found["bmi"].dtype == np.int64 and found["run"].tolist() == ["01", "02"] * 4
    assert found["cmv"].isna().tolist() == [False, True] * 4 and found["gap"].dtype == float


def test_donors_without_a_row_and_rows_without_a_donor_are_both_listed(tmp_path):
    _, summary = check(small_cohort(), table_of(donor=[*DONORS[2:], "X1"], cmv=["y"] * 7), tmp_path)
    assert "--donor_table donors.csv: has no row for 2 of 8 donors of the file: 'D00', 'D01'" in summary["notes"]
    assert "--donor_table donors.csv: 1 of its 7 donors are not in the file: 'X1'" in summary["notes"]


def test_names_that_nearly_match_are_pointed_out_and_not_matched(tmp_path):
    _, summary = check(small_cohort(), table_of(donor=["d00", *DONORS[1:]], cmv=["y"] * 8), tmp_path)
    assert any("'d00' in the table may be 'D00' in the file" in note for note in summary["notes"])
    with pytest.raises(BadInput, match=r"names none of the 8 donors of the file .*'d-0' in the table may be 'D00'"):
        check(small_cohort(), table_of(donor=[f"d-{d}" for d in range(8)], cmv=["y"] * 8), tmp_path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("sex", ["F", " Male", "f", "M", "FEMALE", "male", "female", "m"]), ("development_stage", [f"{30 + 5 * d}" for d in range(8)]),
        ("development_stage", [f"{30 + 5 * d} years" for d in range(8)]), ("pool", ["POOL0 "] * 4 + ["pool1"] * 4),
        ("sex", ["unknown", "", "f", "M", "FEMALE", "male", "female", "m"]),
    ],
)  # fmt: skip
def test_a_table_that_says_the_same_in_other_words_changes_nothing(column, values, tmp_path):
    whole, _ = check(small_cohort(), table_of(donor=DONORS), tmp_path)
    found, _ = check(small_cohort(), table_of(donor=DONORS, **{column: values}), tmp_path)
    pd.testing.assert_frame_equal(found, whole)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("sex", ["M", *SEXES[1:]], "donor 'D00': 'M' in line 2, 'female' in 40 cells of the file"),
        ("development_stage", [*AGES[:7], "66"], "donor 'D07': '66' in line 9, '65-year-old stage' in 40 cells"),
        ("pool", ["pool1"] * 8, "donor 'D03': 'pool1' in line 5, 'pool0' in 40 cells of the file; and 1 more"),
    ],
)
def test_a_contradiction_ends_the_run_with_its_places(column, values, said, tmp_path):
    with pytest.raises(BadInput) as caught:
        check(small_cohort(), table_of(donor=DONORS, **{column: values}), tmp_path)
    assert f"--donor_table donors.csv: column '{column}' contradicts the file" in str(caught.value)
    if column != "pool":
        assert said in str(caught.value)
    else:
        assert "and 1 more" in str(caught.value)


def test_a_table_fills_in_what_cells_lack(tmp_path):
    cohort = small_cohort()
    cohort.obs["sex"] = cohort.obs["sex"].astype(object).where(cohort.obs["donor_id"] != "D00", "unknown")
    cohort.obs["bmi"] = np.where(cohort.obs["donor_id"] == "D01", np.nan, 20.0)
    found, summary = check(cohort, table_of(donor=DONORS, sex=SEXES, bmi=[20] * 8), tmp_path)
    assert found["sex"].tolist() == SEXES and found["bmi"].tolist() == [20.0] * 8
    assert "--donor_table donors.csv: column 'sex' fills in 40 cells without a value" in summary["notes"]


def test_donors_named_by_numbers_match_however_the_numbers_are_written(tmp_path):
    for kind, names in (("int", range(8)), ("float", [f"{d}.0" for d in range(8)])):
        cohort = small_cohort()
        cohort.obs["donor_id"] = cohort.obs["donor_id"].astype(str).str[1:].astype(kind)
        found, summary = check(cohort, table_of(donor=names, bmi=range(8)), tmp_path)
        assert found["bmi"].tolist() == list(range(8))
        assert not any("--donor_table" in note for note in summary["notes"])


def test_rows_of_one_donor_that_agree_are_one_and_others_are_refused(tmp_path):
    found, _ = check(small_cohort(), table_of(donor=[*DONORS, "D00"], cmv=[None] + ["y"] * 8), tmp_path)
    assert found["cmv"].tolist() == ["y"] * 8
    with pytest.raises(BadInput, match=r"donor 'D00' has two values of 'cmv': 'n' in line 2, 'y' in line 10; keep one"):
        check(small_cohort(), table_of(donor=[*DONORS, "D00"], cmv=["n"] + ["y"] * 8), tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("Donors,cmv\nD00,y\n", r"has no column 'donor_id', 'donor' or 'donor_id' that names the donors; did you mean 'Donors'\?"),
        ("donor,cmv\n,y\nD00,y\n", r"1 rows do not name their donor \(line 2\)"),
        ("donor,cmv,cmv\nD00,y,n\n", "the header names 'cmv' twice"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_refused_in_one_line(table, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        check(small_cohort(), table, tmp_path)


def test_samples_are_told_apart_where_the_table_does(tmp_path):
    cohort = cohort_of_visits()
    visits = cohort.obs[["donor_id", "visit"]].drop_duplicates().sort_values(["donor_id", "visit"])
    table = visits.assign(titre=range(len(visits))).rename(columns={"donor_id": "donor"}).to_csv(index=False)
    found, _ = check(cohort, table, tmp_path, "--sample-column", "visit")
    assert found["titre"].tolist() == list(range(len(visits)))
    by_donor = table_of(donor=sorted(set(visits["donor_id"])), bmi=range(visits["donor_id"].nunique()))
    found, _ = check(cohort, by_donor, tmp_path, "--sample-column", "visit")
    assert found.groupby("donor_id")["bmi"].nunique().eq(1).all() and len(found) == len(visits)


def test_the_plan_sees_the_columns_of_the_table(tmp_path):
    path = write_cohort(bare(small_cohort(), "development_stage", "sex"), tmp_path / "c.h5ad")
    (tmp_path / "donors.tsv").write_text(
        table_of(donor=[*DONORS, "X"], sex=[*SEXES, "f"], development_stage=[*AGES, "9"], cmv=["y", "y", "n", "n"] * 2 + ["n"]).replace(",", "\t")
    )  # fmt: skip
    options = {"parts": ["statistics"], "designs": ["~ sex + cmv + age"], "min_depth_share": 0.1}
    plan = run_plan.plan_cohort(options_for(path, donor_table=tmp_path / "donors.tsv", **options))
    assert plan["n_donors_kept"] == 8 and any("'X'" in note for note in plan["notes"])
    with pytest.raises(BadInput, match="obs has no such column"):
        run_plan.plan_cohort(options_for(path, **options))


def pseudobulk_with(table, folder, *options, drop=()):
    (folder / "donors.csv").write_text(table)
    bulk = small_cohort(donors=8, cells_per_type=1, genes=30)
    bulk.obs = bulk.obs.drop(columns=["barcode_number", *drop])
    write_cohort(bulk, folder / "t.h5ad")
    check_pseudobulk.main(
        [*default_options("check_pseudobulk"), f"--table={folder / 't.h5ad'}", f"--prefix={folder / 'x'}", f"--output={folder / 'p'}",
         f"--versions={folder / 'v'}", "--min-samples-per-type=5", f"--donor-table={folder / 'donors.csv'}", *options]
    )  # fmt: skip
    return read_h5ad(folder / "p/pseudobulk/pseudobulk.h5ad"), read_json(folder / "p/cohort/check.json")


def test_a_table_of_samples_takes_its_facts_from_the_table_too(tmp_path):
    table = table_of(donor=DONORS, sex=SEXES, development_stage=AGES, cmv=["y", "n"] * 4)
    bulk, _ = pseudobulk_with(table, tmp_path, drop=("sex", "development_stage"))
    assert dict(zip(bulk.obs["donor_id"], bulk.obs["age_years"], strict=True)) == {
        donor: 30 + 5 * d for d, donor in enumerate(DONORS)
    }
    assert set(bulk.obs["cmv"]) == {"y", "n"}
    assert read_tsv(tmp_path / "p/cohort/donors.tsv")["sex"].tolist() == SEXES
    with pytest.raises(BadInput, match=r"--pseudobulk t.h5ad: --donor_table donors.csv: column 'sex' contradicts"):
        pseudobulk_with(table_of(donor=DONORS, sex=SEXES[::-1]), tmp_path)


@pytest.mark.parametrize("name", ["age", "age_years"])
def test_an_age_under_another_name_is_compared_as_an_age(name, tmp_path):
    """A table of samples may call the age `age_years`, the donors' table `age`: one must not hide the other."""
    bulk = table_of(donor=DONORS, **{name: [30 + 5 * d for d in range(8)]})
    _, summary = pseudobulk_with(bulk, tmp_path)
    assert not any("--donor_table" in note for note in summary["notes"])
    with pytest.raises(BadInput, match="column 'development_stage' contradicts the file"):
        pseudobulk_with(table_of(donor=DONORS, **{name: [31 + 5 * d for d in range(8)]}), tmp_path)


@pytest.mark.parametrize(
    ("one", "two", "role", "same"),
    [
        (45, "45", "", True), (45.0, "45", "", True), ("45", "45.0", "", True), ("a", "A ", "", True), ("a", "b", "", False),
        (True, "TRUE", "", True), ("M", "male", "sex", True), ("M", "female", "sex", False), ("X0", "x0 ", "sex", True),
        ("60-69", "60 to 69 years", "age", True), ("60-69", "64.5", "age", False), (">89", "90", "age", False),
        ("45-year-old stage", "45", "age", True), (np.int64(45), "45y", "age", True), ("01", "1", "", True),
    ],
)  # fmt: skip
def test_facts_are_compared_as_they_are_read(one, two, role, same):
    assert same_fact(one, two, role=role) is same


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (np.float32(46.3), "46.3", True),
        (float(np.float32(46.3)), "46.3", True),
        (46.3, "46.31", False),
        ("123456789012345678", "123456789012345679", False),
        (123456789012345678, "123456789012345678", True),
        (20210101.5, "20210102.5", False),
    ],
)
@pytest.mark.parametrize("role", ["", "age"])
def test_numbers_are_compared_at_32_bits_and_long_ids_digit_by_digit(one, two, same, role):
    assert same_fact(one, two, role=role) is same
