"""Ages are read in every form in which cohorts give them, and what cannot be read is no age."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort import ages

EXACT = {
    "45": 45, "45.5": 45.5, "45,5": 45.5, "45y": 45, "45 yo": 45, "45 y.o.": 45, "45yrs": 45, "Age 45": 45, "aged 45": 45,
    "45-year-old": 45, "45 year old human stage": 45, "45 years of age": 45, " 45 ": 45, "45 ans": 45, "45 Jahre": 45,
    "P45Y": 45, "P45Y6M": 45.5, "P540M": 45, "P2W": 14 / 365.25, "18 months": 1.5, "18-month-old stage": 1.5, "18 mo": 1.5,
    "52 weeks": 52 * 7 / 365.25, "30 days": 30 / 365.25, "16,436 days": 16436 / 365.25, "45 y/o": 45, "45Y/O": 45,
    "~45": 45, "ca. 45 years": 45, "about 45": 45, "40Y6M": 40.5, "40Y6M15D": 40.5 + 15 / 365.25, "45,125": 45.125, "2 years and 6 months": 2.5, "2y 6m": 2.5, "0": 0,
}  # fmt: skip
INTERVALS = {
    "60-69": (60, 69), "60–69": (60, 69), "60 - 69 years": (60, 69), "60 to 69": (60, 69), "60-79 year-old stage": (60, 79),
    "15-19 year-old stage": (15, 19), "2-5 year-old child stage": (2, 5), "(60, 70]": (60, 70), "[59.5, 65.0)": (59.5, 65),
    "60_69": (60, 69), "1-6 months": (1 / 12, .5), "sixth decade stage": (50, 59), "Sixth decade human stage": (50, 59),
    "6th decade": (50, 59), "50s": (50, 59), "in her 50s": (50, 59), "fifties": (50, 59),
    "tenth decade stage": (90, 99), "between 60 and 69": (60, 69),
}  # fmt: skip
OPEN = {
    ">89": 89, "> 89 years": 89, ">=90": 90, "≥90": 90, "90+": 90, "90 plus": 90, "90 and over": 90, "90 or older": 90,
    "80 year-old and over stage": 80, "80 year-old and over human stage": 80, "over 89": 89, "older than 89 years": 89,
    "<1": 1, "under-1-year-old human stage": 1, "younger than 18": 18, "18 or younger": 18, "centenarian stage": 100,
}  # fmt: skip
NO_AGES = [
    "", "unknown", "adult stage", "newborn human stage", "infant stage", "HsapDv:0000139", "12-05-1960", "1960", "1940s",
    "69-60", "17th week post-fertilization human stage", "20 pcw", "embryonic day 45", "old", "45 kg", "P", "-3", "4e1x",
    "1,948", "2,001", "18M", "True", "14-Oct", "45±2",
]  # fmt: skip


@pytest.mark.parametrize("text", EXACT)
def test_an_exact_age_is_read(text):
    age = ages.read_age(text)
    assert age.years == pytest.approx(EXACT[text]) and not age.is_interval


@pytest.mark.parametrize("text", INTERVALS)
def test_an_interval_is_read_with_its_midpoint_and_its_width(text):
    age = ages.read_age(text)
    assert (age.low, age.high) == pytest.approx(INTERVALS[text])
    assert age.years == pytest.approx(sum(INTERVALS[text]) / 2)
    assert np.isnan(ages.age_in_years(text, age_ranges=ages.DROP))


@pytest.mark.parametrize("text", OPEN)
def test_an_open_interval_is_read_as_its_bound(text):
    age = ages.read_age(text)
    assert age.years == OPEN[text] and age.is_interval and age.form == "open"
    assert np.isnan(ages.age_in_years(text, age_ranges=ages.DROP))


@pytest.mark.parametrize("text", NO_AGES)
def test_what_is_no_age_of_a_person_is_not_read(text):
    assert ages.read_age(text) is None


@pytest.mark.parametrize(("column", "years"), [("age", 30), ("age_months", 2.5), ("age_years_months", 30), ("ageInDays", 30 / 365.25), ("age_at_last_birthday", 30), ("age_today", 30)])  # fmt: skip
def test_plain_numbers_have_the_unit_that_their_column_is_named_for(column, years):
    per_year, _ = ages.unit_of_column(column)
    assert ages.age_in_years(30, per_year=per_year) == pytest.approx(years)
    assert ages.age_in_years("30 years", per_year=per_year) == 30, "a text with its unit is what it says"


def test_notes_count_each_form_and_say_what_is_taken():
    texts = ["45", "60-69", "60-69", "sixth decade stage", ">89", "P45Y", None]
    notes = ages.age_notes(texts, column="age", age_ranges=ages.MIDPOINT)
    assert len(notes) == 3
    assert "1 donors have ISO 8601" in notes[0]
    assert "3 donors have an interval of up to 9 years" in notes[1] and "'60-69' (2)" in notes[1]
    assert "1 donors have an open interval" in notes[2] and "'>89' (1)" in notes[2]
    dropped = ages.age_notes(texts, column="age", age_ranges=ages.DROP)
    assert any("4 donors have an interval instead of an age and are left out" in note for note in dropped)
    assert ages.age_notes(["45", "46-year-old stage"], column="age", age_ranges=ages.MIDPOINT) == []
    assert "taken for months" in ages.age_notes(["540"], column="age_months", age_ranges=ages.MIDPOINT)[0]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([str(i) for i in range(26)], "codes"),
        ([f"{i}.0" for i in range(1, 27)], "codes"),
        ([str(i % 3) for i in range(26)], "codes"),
        ([str(i % 18) for i in range(200)], "perhaps"),
        ([str(i) for i in range(2, 20)], ""),
        (["0", "1", "2", "4", "5", "6", "7"], ""),
        ([f"{i} years" for i in range(26)], ""),
        ([str(30 + i) for i in range(26)], ""),
        (["1"], ""),
        ([], ""),
    ],
)
def test_consecutive_numbers_from_nought_on_look_like_codes(texts, found):
    assert ages.code_like(texts) == found


def test_years_of_birth_are_recognised():
    assert "years of birth" in ages.no_age_problem(["1950", "1961.0"], column="age")
    assert "years of birth" not in ages.no_age_problem(["9000"], column="age")


def test_a_categorical_column_of_ages_is_read():
    column = pd.Series(pd.Categorical(["45", ">89", None]))
    years = [ages.age_in_years(value) for value in column]
    np.testing.assert_equal(years, [45, 89, np.nan])


@pytest.mark.parametrize("value", [True, False, np.True_])
def test_true_and_false_are_no_ages(value):
    assert ages.read_age(value) is None


@pytest.mark.parametrize(("text", "years"), [("16,436", 45), ("45", 45 / 365.25), ("1,461", 4)])
def test_commas_between_thousands_are_no_decimal_commas_where_the_unit_is_small(text, years):
    """A day's column that pandas or a spreadsheet wrote with thousands was read as ages of weeks"""
    assert ages.age_in_years(text, per_year=ages.DAYS) == pytest.approx(years, abs=0.01)


MEANINGS = {
    "years of birth": ["1948", "1962.0"], "dates": ["1948-03-02", "1950-12-01"], "ontology": ["HsapDv:0000139"],
    "spreadsheet": ["14-Oct", "9-May", "Oct-14"], "months": ["312", "540.0", "1020"], "days": ["17365.0", "9131"],
}  # fmt: skip


@pytest.mark.parametrize("what", MEANINGS)
def test_what_is_no_age_is_told_by_its_form(what):
    """ben-domingue/irw#1779 (years of birth, dates); Ziemann et al. 2016 (dates); bigbio/proteomics-sample-metadata#149"""
    assert what in ages.no_age_problem(MEANINGS[what], column="age")
    assert ages.other_meaning([*MEANINGS[what], "adult"]) == "", "where some are something else, nothing is claimed"


@pytest.mark.parametrize(
    ("years", "found"),
    [
        ([0, 0, 25, 60], [0]),
        ([99, 25, 60], [99]),
        ([0, 25, 60, 99, np.nan], [0, 99]),
        ([123, 25, 60], [123]),
        ([0, 1, 2, 60], []),
        ([99, 95, 60], []),
        ([88, 77, 60, 70], []),
        ([88, 60, 70], [88]),
        ([0, 0], []),
        ([25, 60], []),
        ([], []),
    ],
)
def test_ages_far_from_all_others_that_stand_for_unknown_ones_are_noted(years, found):
    """ben-domingue/irw#1779 (sentinels), #1856 (0 for missing)"""
    assert ages.stand_ins(years) == found
    notes = ages.note_stand_ins(years, column="age")
    assert len(notes) == bool(found) and all(f"{year} (" in notes[0] for year in found)


def test_a_comma_in_an_age_is_read_as_a_decimal_one_and_said():
    (note,) = ages.age_notes(["45,46", "50,51", "60"], column="age", age_ranges="midpoint")
    assert "2 donors have a comma in their age" in note and "('45,46' as 45.46)" in note and "two visits" in note
    assert ages.age_notes(["45.46", "50"], column="age", age_ranges="midpoint") == []
    assert not any("comma" in note for note in ages.age_notes(["16,425"], column="age_days", age_ranges="midpoint"))
