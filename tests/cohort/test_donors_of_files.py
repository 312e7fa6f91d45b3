"""One name of a donor in several files: one person where ages say so, and else a note with the remedy."""

import anndata
import numpy as np
import pandas as pd
import pytest

from cohort.test_gathering import gather, in_files, notes_of
from immune_aging.cohort.donor_doubts import ages_apart, donor_doubts
from immune_aging.cohort.donors_of_files import PREFIX, names_in_several_files, numbered, with_prefix
from immune_aging.cohort.examination import examine
from immune_aging.plan import run_plan
from immune_aging.task.command_line import BadInput
from plan.test_plan_run import options_for
from small_cohorts import small_cohort

COLUMNS = {"donor": "donor", "age": "age", "sex": "sex"}
ROLES = {"donor": "donor_id", "cell_type": "cell_type", "age": "development_stage", "sex": "sex"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["donor0", "donor1", "donor2"], True),  # vireo
        (["0", "1", "2"], True),  # souporcell, freemuxlet
        (["1.0", "3.0"], True),  # with a gap, as numbers with missing ones are written
        (["CLUST0", "CLUST1"], True),
        (["D1", "D2", "D4"], True),
        (["Sample_1", "Sample_2"], True),
        (["HTO-1", "HTO-2"], True),
        (["donor0", "D1"], False),  # two ways of numbering
        (["1015", "1016", "101"], False),  # people of a study
        (["P17", "P203"], False),
        (["691_692", "693_694"], False),
        (["AGE01", "AGE02"], False),
        ([], False),
    ],
)
def test_names_that_programs_give_anew_are_numbers_from_the_first_on(names, expected):
    assert numbered(names) is expected


def files(*tables):
    return [pd.DataFrame(table) for table in tables], [f"pool{number}" for number in range(len(tables))]


TWO = ["donor0", "donor1"]
SAID = {
    "no facts at all": (files({"donor": TWO}, {"donor": TWO}), "nothing but the name says so", True),
    "numbers of two types": (files({"donor": [0, 1]}, {"donor": [0.0, 1.0]}), "nothing but the name says so", True),
    "sexes alone": (files({"donor": TWO, "sex": ["f", "m"]}, {"donor": TWO, "sex": ["F", "male"]}), "nothing but", True),
    "ages in one file": (files({"donor": TWO, "age": [30, 40]}, {"donor": TWO}), "nothing but the name says so", True),
    "other ages": (
        files({"donor": TWO, "age": ["34 years", "40"]}, {"donor": TWO, "age": [61, 40]}),
        "ages or sexes of 1 of them differ between files ('donor0': 34 years in 'pool0'; 61 years in 'pool1')",
        True,
    ),
    "other sexes": (
        files({"donor": TWO, "sex": ["f", "m"]}, {"donor": TWO, "sex": ["m", "m"]}),
        "('donor0': female in 'pool0'; male in 'pool1')",
        True,
    ),
    "names of people": (files({"donor": ["anna", "ben"]}, {"donor": ["ben"]}), "1 of 2 names of donors", False),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAID)
def test_names_in_several_files_are_noted_with_the_remedy(kind):
    (tables, labels), said, anew = SAID[kind]
    (note,) = names_in_several_files(tables, COLUMNS, labels)
    assert said in note and f"column {PREFIX}" in note and ("give such names anew in each pool" in note) is anew


@pytest.mark.parametrize(
    "tables",
    [
        ({"donor": TWO, "age": [30, 40]}, {"donor": TWO, "age": ["30-year-old stage", "40"]}),
        ({"donor": TWO, "age": np.float32([30.3, 40])}, {"donor": TWO, "age": [30.3, 40]}),
        ({"donor": ["a", "doublet", "nan"]}, {"donor": ["b", "doublet", "nan"]}),
        ({"donor": ["a", None]}, {"donor": [None, "b"]}),
        ({"donor": ["a"]}, {"cell_type": ["T"]}),
        ({"donor": TWO},),
    ],
)
def test_people_who_are_told_by_their_ages_or_in_one_file_are_not(tables):
    assert names_in_several_files(*files(*tables)[:1], COLUMNS, [str(i) for i in range(len(tables))]) == []


def test_samples_of_a_donor_may_be_years_apart():
    visits = files({"donor": TWO, "age": [30, 40]}, {"donor": TWO, "age": [31, 41]})
    assert names_in_several_files(*visits[:1], COLUMNS | {"sample": "visit"}, visits[1]) == []
    assert "ages or sexes of 2 of them differ" in names_in_several_files(*visits[:1], COLUMNS, visits[1])[0]


def pools(folder, *, ages=True, **sheet):
    """Two pools of four people each, called donor0 to donor3 in both."""
    cohort = small_cohort(donors=8)
    number = cohort.obs["donor_id"].astype(str).str[1:].astype(int).to_numpy()
    cohort.obs["donor_id"] = pd.Categorical([f"donor{one % 4}" for one in number])
    if not ages:
        cohort.obs = cohort.obs[["donor_id", "cell_type"]]
    return cohort, in_files(cohort, folder, number // 4, **sheet), number


def test_a_prefix_of_the_sheet_makes_people_of_two_pools_distinct(tmp_path):
    cohort, sheet, number = pools(tmp_path, ages=False, donor_prefix=["A", "B"])
    path = gather(sheet)
    assert not [note for note in notes_of(path) if "names of donors" in note]
    found, problems = examine(path, columns={"donor": "donor_id", "cell_type": "cell_type"}, counts_layer="auto")
    expected = pd.Series(number).map(lambda one: f"{'AB'[one // 4]}_donor{one % 4}").value_counts()
    assert problems == [] and PREFIX not in found.obs
    assert found.obs["donor_id"].value_counts().to_dict() == expected.to_dict() and len(found.donors) == 8
    assert cohort.n_obs == len(found.obs)


def test_without_it_the_note_is_in_the_plan_and_in_the_check(tmp_path):
    _, sheet, _ = pools(tmp_path, ages=False)
    path = gather(sheet)
    found, problems = examine(path, columns={"donor": "donor_id", "cell_type": "cell_type"}, counts_layer="auto")
    assert problems == [] and any("4 of 4 names of donors are in several files" in note for note in found.notes)


def test_where_ages_contradict_the_refusal_names_the_files_and_the_remedy(tmp_path):
    _, sheet, _ = pools(tmp_path)
    said = r"'donor0' has 2 values .*'donor0': 30 years female in 'part 0'; 50 years female in 'part 1'.*donor_prefix"
    path = gather(sheet)
    with pytest.raises(BadInput, match=said):
        run_plan.plan_cohort(options_for(path))
    assert any("donor_prefix" in problem for problem in examine(path, columns=ROLES, counts_layer="auto")[1])


def test_what_is_no_donor_gets_no_prefix():
    names = pd.Series([0.0, 1.0, np.nan], index=list("xyz"), name="donor")
    found = with_prefix(names, "A")
    assert found.index.tolist() == list("xyz") and found.tolist()[:2] == ["A_0", "A_1"] and pd.isna(found.iloc[2])
    assert with_prefix(pd.Series(["d0", "d1", "d0,d1", "doublet"]), "A").tolist() == [
        "A_d0",
        "A_d1",
        "d0,d1",
        "doublet",
    ]


def test_samples_that_are_decades_apart_are_hardly_of_one_person():
    samples = pd.DataFrame({"donor_id": ["a", "a", "b", "b"], "age_years": [34.0, 61.0, 50.0, 52.0]})
    assert "samples of 1 of 2 donors are more than 20 years apart ('a': 34 to 61 years)" in ages_apart(samples)[0]
    assert ages_apart(samples.drop(index=1)) == []


def test_in_one_file_a_note_on_pools_says_where_such_names_come_from():
    obs = pd.DataFrame({"donor": TWO * 2, "pool": ["x", "x", "y", "y"], "cell_type": ["T"] * 4})
    donors = pd.DataFrame({"donor_id": TWO, "age_years": np.nan, "sex": None})
    (note,) = donor_doubts(obs, donors, {"donor": "donor", "cell_type": "cell_type"})
    assert "demultiplexers" in note
    obs["donor"], donors["donor_id"] = ["anna", "ben"] * 2, ["anna", "ben"]
    (note,) = donor_doubts(obs, donors, {"donor": "donor", "cell_type": "cell_type"})
    assert "demultiplexers" not in note


def test_files_without_a_column_of_donors_are_refused_as_before(tmp_path):
    sheet = in_files(small_cohort(donors=4), tmp_path, np.arange(160) % 2, donor_prefix=["A", "B"])
    for part in ("part 0.h5ad", "part 1.h5ad"):
        file = anndata.read_h5ad(tmp_path / part)
        file.obs = file.obs.drop(columns="donor_id")
        file.write_h5ad(tmp_path / part)
    assert any(
        "obs has no such column" in text for text in examine(gather(sheet), columns=ROLES, counts_layer="auto")[1]
    )
