"""Numbers that stand for a missing value: those of programs are missing, those of people are noted."""

import numpy as np
import pandas as pd
import pytest

from cohort.test_cohorts_without_ages import planned
from cohort.test_public_bug_reports import by_donor, column
from immune_aging.cohort.number_codes import far_codes, note_far_codes, without_missing_numbers

OWN = ["donor_id", "age_years"]


def donors(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"donor_id": [f"D{i}" for i in range(n)], "age_years": [-(2.0**31)] * n, **columns})


SURE = {
    "R's NA_integer_": [20, 24, -2147483648, 31],
    "the same as a float": [20.5, 24, -2147483648.0, 31],
    "pandas's gap in 64 bits": np.array([20, 24, -(2**63), 31]),
    "that as a float": np.array([20, 24, -(2.0**63), 31]),
    "netCDF": [20, 24, 9.969209968386869e36, 31],
    "FLT_MAX": np.array([20, 24, -3.4028235e38, 31], dtype=np.float32),
    "1e30": [20, 24, 1e30, 31],
    "no number at all": [20, 24, -np.inf, 31],
}  # fmt: skip


@pytest.mark.parametrize("kind", SURE)
def test_what_programs_write_for_a_missing_number_is_missing_and_counted(kind):
    given = donors(bmi=SURE[kind])
    before = given.copy()
    found, (note,) = without_missing_numbers(given, OWN)
    assert found["bmi"].isna().tolist() == [False, False, True, False] and found["bmi"].dropna().max() == 31
    assert note.startswith("column 'bmi': ") and note.endswith("counts as a missing value for 1 of 4 donors")
    pd.testing.assert_frame_equal(given, before)
    assert found["age_years"].tolist() == before["age_years"].tolist(), "our own columns are as they are"


@pytest.mark.parametrize(
    "values",
    [[1, 2, 3], [1.5, np.nan, 3], [True, False, True], ["-2147483648", "a", "b"], [-2147483647, 1, 2], [1e12, 5e11, 3]],
)
def test_other_numbers_and_text_stay(values):
    given = donors(x=values)
    found, notes = without_missing_numbers(given, OWN)
    assert notes == []
    pd.testing.assert_frame_equal(found, given)


@pytest.mark.parametrize(
    ("others", "codes"),
    [
        ([20.4, 24, 31, 27], [999]),
        ([20.4, 24, 31, 27], [99]),
        ([20.4, 24, 31, 27], [99.9]),
        ([20.4, 24, 31, 27], [-9, 999]),
        ([20.4, 24, 31, 27], [-1]),
        ([0, 1, 2, 3], [77, 88]),
        ([0, 1, 2, 3], [-99]),
        ([150, 2300, 4100], [9999]),
        ([-1.5, 0.2, 2.2], [-999]),
        ([-1.5, 0.2, 2.2], [99]),
    ],
)
def test_codes_of_questionnaires_far_from_all_others_are_noted(others, codes):
    values = [*others, *codes, codes[0]]
    assert far_codes(values) == sorted(codes)
    (note,) = note_far_codes(donors(bmi=values), OWN)
    assert f"{codes[0]:g} (2)" in note and f"({min(others):g} to {max(others):g})" in note


@pytest.mark.parametrize(
    "values",
    [
        [20, 24, 31, 99, 150],  # among the others
        [80, 88, 92, 99, 101],
        [-1, 0, 1],  # a code of three levels
        [1, 2, 99],  # perhaps the third of three
        [-3.1, -1, 0.2, 2.4],  # scores
        [-9, -3, 4, 8],
        [60, 70, 90, 99],
        [],
        [np.nan],
    ],
)
def test_numbers_among_others_are_not(values):
    assert far_codes(values) == []


@pytest.mark.parametrize(
    ("value", "said"), [(-2147483648, "counts as a missing value for 1 of 12"), (999, "is far from all")]
)
def test_a_plan_says_so_and_leaves_out_the_sample_that_has_no_number(value, said, tmp_path):
    path = tmp_path / "cohort.h5ad"
    column("bmi", by_donor(lambda d: value if d == 3 else 20 + (d * 7) % 11)).write_h5ad(path)
    notes = planned(path, "--designs", "~ sex + age + bmi")["notes"]
    assert any(said in note for note in notes)
    assert any("1 samples left out: no value for a design column ('bmi')" in note for note in notes) == (value < 0)
