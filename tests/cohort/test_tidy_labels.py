"""Labels as labs write them: missing values in words, sexes in every spelling, gaps that other cells fill."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort.donor_doubts import (
    donor_doubts,
    missing_kept,
    name_key,
    one_under_several_names,
    several_facts_remedy,
)
from immune_aging.cohort.missing_text import means_missing, names_of_several
from immune_aging.cohort.spellings import FEMALE, MALE, SEXES, note_spelt_alike, sexes_read
from immune_aging.cohort.tidy_labels import tidied

COLUMNS = {"donor": "donor", "cell_type": "type", "age": "age", "sex": "sex"}


def cells(**columns):
    """Four cells of two donors, with some columns replaced."""
    table = {"donor": list("aabb"), "type": ["T", "B", "T", "B"], "age": [30, 30, 60, 60], "sex": list("mmff")}
    return pd.DataFrame(table | columns)


@pytest.mark.parametrize("text", ["nan", "NaN", "NA", "<NA>", "None", "NULL", "", "  ", "unknown", "Unknown ", "n/a", "?", "Not  available"])  # fmt: skip
@pytest.mark.parametrize("role", ["donor", "type", "sex"])
def test_text_that_means_missing_is_missing_in_the_columns_that_are_named(text, role):
    obs, notes = tidied(cells(**({"donor": list("aabc")} | {role: ["x", "x", "y", text]})), COLUMNS)
    assert obs[role].isna().tolist() == [False, False, False, True]
    assert any(repr(text) in note for note in notes)


def test_what_demultiplexers_and_annotators_write_is_missing_where_it_means_that():
    assert means_missing("Doublet", what="donor") and means_missing("unassigned", what="cell type")
    assert not means_missing("Negative", what="cell type") and means_missing("Negative", what="donor")
    assert not means_missing("doublet") and not means_missing("native cell", what="cell type")
    assert names_of_several(["0", "1", "0/1", "donor0", "donor0,donor0", "donor1+donor0"]) == {"0/1"}
    obs, notes = tidied(cells(donor=["0", "1", "1", "0/1"]), COLUMNS)
    assert obs["donor"].isna().tolist() == [False, False, False, True] and "'0/1'" in notes[0]


# What tools write for a droplet of no donor or of several, by tool; D1, D2 and D3 are donors.
NO_ONE = {
    "vireo": ("doublet", "unassigned", "D1,D2"),
    "souporcell": ("D1/D2", "unassigned"),
    "demuxlet (statgen/demuxlet#70)": ("DBL-D1-D2-0.500", "AMB-D1-D2-D1/D2", "D1,D2,0.50"),
    "HTODemux (satijalab/seurat#4822)": ("D1_D2", "Negative", "Doublet"),
    "GMM-Demux": ("D1-D2", "D1-D2-D3", "negative"),
    "Cell Ranger multi": ("D1|D2", "D1|D2|D3", "Blanks", "Blank", "Multiplets", "Unassigned"),
    "BD Rhapsody": ("Multiplet", "Undetermined"),
    "hashsolo, hashedDrops": ("Negative", "No_Hash", "no tag", "NoHash"),
    "joined with a pool (single-cell-genetics/vireo#25)": ("pool1_doublet", "pool1-unassigned", "Doublet_D1_D2", "doublet 1"),
    "people": ("not_assigned", "Not assigned", "NotAssigned", "no match", "unmatched", "unknown donor", "low-quality"),
}  # fmt: skip


@pytest.mark.parametrize("tool", NO_ONE)
def test_a_droplet_of_no_donor_or_of_several_is_no_person(tool):
    donors = ["D1", "D2", "D3", *NO_ONE[tool]]
    table = pd.DataFrame({"donor": donors, "type": "T"})
    obs, notes = tidied(table, {"donor": "donor", "cell_type": "type"})
    assert obs["donor"].dropna().tolist() == ["D1", "D2", "D3"]
    assert all(repr(name) in notes[0] for name in NO_ONE[tool])


PEOPLE = [
    "CMV_negative",
    "AMB-001",
    "DBL-7",
    "P1_t0",
    "P1_t1",
    "donor 1",
    "HIV negative 3",
    "D1-7",
    "D1",
    "A/A",
    "DOUBLEDAY_1",
]


def test_names_that_only_look_like_these_are_people():
    obs, _ = tidied(pd.DataFrame({"donor": PEOPLE, "type": "T"}), {"donor": "donor", "cell_type": "type"})
    assert obs["donor"].tolist() == PEOPLE


def test_several_such_texts_are_one_note_with_their_numbers():
    _, notes = tidied(cells(type=["nan", "nan", "Doublet", "T"]), COLUMNS)
    assert notes[0] == "3 cells with cell type 'nan' (2), 'Doublet' (1) count as cells without one"


@pytest.mark.parametrize(("spellings", "sex"), [(SEXES[MALE], MALE), (SEXES[FEMALE], FEMALE)])
def test_every_spelling_of_a_sex_is_that_sex(spellings, sex):
    for spelling in spellings:
        for text in (spelling, spelling.upper(), f" {spelling} "):
            if len(text.upper().lower()) == len(text):  # 'ß' and the like change their length
                assert sexes_read({text: 1}) == {text: sex}


def test_other_values_of_sex_stay_and_are_told():
    assert sexes_read({"Intersex": 3, "intersex ": 1, "0": 1}) == {
        "Intersex": "Intersex",
        "intersex ": "Intersex",
        "0": "0",
    }
    obs, notes = tidied(cells(sex=["0", "0", "1", "1"]), COLUMNS)
    assert obs["sex"].tolist() == ["0", "0", "1", "1"] and "'0', '1' is neither male nor female" in notes[0]


def test_m_beside_h_is_no_man():
    assert sexes_read({"H": 1, "M": 1}) == {"H": "H", "M": "M"}


def test_a_column_of_sexes_with_numbers_and_gaps_is_read():
    obs, _ = tidied(cells(sex=[1.0, np.nan, 2.0, 2.0]), COLUMNS)
    assert obs["sex"].tolist() == ["1.0", "1.0", "2.0", "2.0"]


def test_spellings_of_donors_and_cell_types_are_never_merged_but_noted():
    obs, notes = tidied(cells(type=["T cell", "t cell", "T  cell", "B"]), COLUMNS)
    assert obs["type"].tolist() == ["T cell", "t cell", "T  cell", "B"]
    assert any("cell types that differ only by case or blanks are kept apart" in note for note in notes)
    assert note_spelt_alike(["A", "b"], what="donors") == []


@pytest.mark.parametrize("kind", ["float", "text", "categories", "Int64"])
def test_a_missing_age_is_that_of_the_donors_other_cells(kind):
    column = {
        "float": [30.0, np.nan, np.nan, 60.0],
        "text": ["30", None, "nan", "60"],
        "categories": pd.Categorical(["30", None, "unknown", "60"]),
        "Int64": pd.array([30, None, None, 60], dtype="Int64"),
    }[kind]
    obs, notes = tidied(cells(age=column), COLUMNS)
    assert [float(value) for value in obs["age"]] == [30, 30, 60, 60]
    assert any(
        "2 cells of 2 donors have no value and take the one of their donor's other cells" in note for note in notes
    )


def test_a_gap_stays_where_the_donors_cells_disagree_or_none_knows():
    obs, _ = tidied(cells(donor=list("aaab"), age=["30", "40", None, "unknown"]), COLUMNS)
    assert obs["age"].isna().tolist() == [False, False, True, False]
    assert obs["age"].iloc[3] == "unknown", "what the file says of a donor without an age can be told"


def test_the_table_that_is_given_stays_as_it_is():
    obs = cells(sex=["M", None, "F", "nan"])
    before = obs.copy(deep=True)
    tidied(obs, COLUMNS)
    pd.testing.assert_frame_equal(obs, before)


def donors(names, ages=None, sexes=None):
    n = len(names)
    return pd.DataFrame({"donor_id": names, "age_years": ages or [50.0] * n, "sex": sexes or ["male"] * n})


@pytest.mark.parametrize("names", [["D1", "D01"], ["d 1", "D-1"], ["P7_visit1", "P7_visit2"], ["P7_d0", "P7_d28"], ["H3 pre", "H3 post"]])  # fmt: skip
def test_names_that_may_be_one_persons_are_noted(names):
    assert "kept apart" in one_under_several_names(donors(names))[0]
    assert one_under_several_names(donors(names, ages=[20.0, 70.0])) == [], "people of two ages are two"
    assert one_under_several_names(donors(names, sexes=["male", "female"])) == []


@pytest.mark.parametrize("names", [["D1", "D2", "D11"], ["P1-1", "P11"], ["donor0", "donor1"], ["1_10", "11_0"]])
def test_different_names_raise_no_doubt(names):
    assert one_under_several_names(donors(names)) == []


def test_visits_and_libraries_of_a_donor_are_noted_and_what_is_known_of_cells_is_not():
    obs = cells(visit=["day 0", "day 7"] * 2, leiden=list("0123"), n_counts=[1.0, 2, 3, 4], tissue=["blood"] * 4)
    notes = donor_doubts(obs, donors(["a", "b"]), COLUMNS)
    assert len(notes) == 1 and "'visit' in 2 of 2 donors" in notes[0] and "leiden" not in notes[0]
    assert donor_doubts(cells(pool=list("xxyy")), donors(["a", "b"]), COLUMNS) == []
    assert donor_doubts(obs, donors(["a", "b"]), COLUMNS | {"sample": "visit"}) == [], "samples are told apart"


def test_a_column_that_groups_donors_into_people_is_noted():
    obs = cells(donor=["s1", "s2", "s3", "s3"], subject=["p1", "p1", "p2", "p2"])
    assert "groups the 3 donors of 'donor' into 2" in donor_doubts(obs, donors(["s1", "s2", "s3"]), COLUMNS)[0]


def test_a_pool_that_tells_people_of_one_name_apart_is_named():
    obs = cells(donor=["donor0"] * 4, lane=["L1", "L1", "L2", "L2"], pool=["x"] * 4)
    assert "within 'lane'" in several_facts_remedy(obs, COLUMNS)
    assert several_facts_remedy(obs.drop(columns="lane"), COLUMNS) == ""


def test_text_that_may_mean_missing_stays_a_level_elsewhere_and_is_noted():
    table = donors(["a", "b", "c"]).assign(
        treatment=["None", "drug", "drug"], site=["unknown"] * 3, bmi=[20.0, 21.0, None]
    )
    notes = missing_kept(table, ["donor_id", "age_years", "sex"])
    assert len(notes) == 1 and "'treatment' ('None': 1)" in notes[0] and "site" not in notes[0]


@pytest.mark.parametrize("text", ["pooled", "Pool", "mixed donors", "multiple"])
def test_a_pool_of_donors_is_no_donor(text):
    assert means_missing(text, what="donor") and not means_missing(text, what="cell type")


def test_an_untreated_sample_may_be_called_none():
    assert not means_missing("none", what="sample") and not means_missing("-", what="sample")
    assert means_missing("nan", what="sample") and means_missing("", what="sample")


@pytest.mark.parametrize(
    "pair", [("na\u00efve T", "nai\u0308ve T"), ("CD16\u2011 NK", "CD16- NK"), ("A\u00a0B", "A B")]
)
def test_names_that_look_alike_are_noted(pair):
    (note,) = note_spelt_alike(list(pair), what="cell types")
    assert "kept apart" in note
    by_case = pair[0] == "A\u00a0B"  # a blank of another kind
    assert ("differ only by case or blanks are" in note) is by_case
    assert ("letters and hyphens that look alike are" in note) is not by_case
    assert name_key(pair[0]) == name_key(pair[1])
    assert "kept apart" in one_under_several_names(donors(list(pair)))[0]


@pytest.mark.parametrize(
    "pair", [("D\uff11", "D1"), ("Stra\u00dfe 1", "STRASSE-1"), ("d\u2013001", "D1"), ("\ufb01t 2", "Fit2")]
)
def test_names_of_donors_are_compared_as_all_other_names(pair):
    assert name_key(pair[0]) == name_key(pair[1])
