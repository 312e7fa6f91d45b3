"""Ages whose unit stands in a column of its own (age_units)."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.cohort.age_units import column_of_units, unit_of
from immune_aging.cohort.donors import donor_table
from immune_aging.cohort.tidy_labels import tidied

COLUMNS = {"donor": "donor", "cell_type": "type", "age": "age"}


def ages_of(ages, units, *, name="age_unit"):
    """Ages in years of donors, as a cohort gives them in two columns; and the notes."""
    table = pd.DataFrame({"donor": [f"D{i}" for i in range(len(ages))], "type": "T", "age": ages, name: units})
    obs, notes = tidied(table, COLUMNS)
    donors, problems = donor_table(obs, donor="donor", age="age")
    assert not problems
    return donors["age_years"].tolist(), notes


@pytest.mark.parametrize("ages", [[24, 40, 730.5], ["24", "40", "730.5"], pd.Categorical([24, 40, 730.5])])
def test_numbers_have_the_unit_of_the_other_column(ages):
    """DataBiosphere/azul#2571 and HCA's organism_age_unit, waldronlab/curatedMetagenomicDataCuration#132"""
    years, notes = ages_of(ages, ["month", "year", "days"])
    assert years == pytest.approx([2, 40, 2])
    assert "units of column 'age_unit' ('days', 'month')" in notes[0]


@pytest.mark.parametrize("units", [["year"] * 3, ["Years", "yr", "UO:0000036"], [None, "", "unknown"]])
def test_years_and_no_unit_change_nothing(units):
    assert ages_of([24, 40, 60], units) == ([24, 40, 60], [])


def test_text_with_its_own_unit_is_what_it_says_and_an_unknown_unit_is_none():
    years, _ = ages_of(["24-year-old stage", "40", np.nan], ["month", "fortnight", "month"])
    np.testing.assert_equal(years, [24, np.nan, np.nan])


@pytest.mark.parametrize("name", ["age_unit", "ageUnit", "age.units", "Age unit", "unit_age", "unit_of_age"])
def test_the_column_is_known_by_its_name(name):
    assert ages_of([24], ["month"], name=name)[0] == [2]
    assert column_of_units("organism_age_value", ["unit", "organism_age_unit"]) == "organism_age_unit"
    assert column_of_units("age", ["unit", "stage_unit", "age"]) == ""


def test_spellings_of_units():
    assert [unit_of(text) for text in ("Months", "wk", "UO:0000033", " YRS ")] == ["month", "week", "day", "year"]
