"""What a name in a formula stands for: the donor, the age and the sex have names of their own in every cohort."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.statistics.batches import choose_batches
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.formulas import columns_of_term, drawn_column, is_donor, source_column
from immune_aging.statistics.repeated_samples import choose_repeats
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput


def samples(**changes):
    """Twelve patients with two samples each, as pseudobulk tables have them."""
    donor = np.repeat(np.arange(12), 2)
    texts = [f"{30 + 4 * d}-year-old stage" for d in donor]
    names = [f"P{d}" for d in donor]
    known = {"donor_id": names, "patient": names, "age_years": 30.0 + 4 * donor, "age_text": texts, "stage": texts}
    known |= {"sex": np.where(donor % 2, "male", "female"), "condition": ["ctrl", "stim"] * 12, "bmi": 20.0 + donor % 5}
    known |= {SAMPLE_OF_DONOR: known["condition"], "pool": [f"pool{d % 3}" for d in donor]}
    return pd.DataFrame(known, index=[f"s{i:02d}" for i in range(24)]).assign(**changes)


@pytest.mark.parametrize(
    ("name", "changes", "source"),
    [
        ("age", {}, "age_years"),
        ("age", {"age": 1.0}, "age_years"),
        ("age", {"age": 1.0, "age_years": np.nan}, "age"),
        ("stage", {}, "age_years"),
        ("bmi", {"age_text": [f"{20.0 + d % 5}" for d in np.repeat(np.arange(12), 2)]}, "age_years"),
        ("bmi", {}, "bmi"),
        ("stage", {"age_years": np.nan, "age_text": None}, "stage"),
        ("donor", {}, "donor_id"),
        ("donor", {"donor": "x"}, "donor"),
        ("sex", {}, "sex"),
        ("sex", {"sex": None, "sex_as_given": "x"}, "sex_as_given"),
        ("sex", {"sex_as_given": "x"}, "sex"),
    ],
)
def test_a_name_stands_for_one_column(name, changes, source):
    assert source_column(name, samples(**changes)) == source


@pytest.mark.parametrize("name", ["donor", "donor_id", "patient"])
@pytest.mark.parametrize("form", ["{} + condition", "condition + (1 | {})"])
def test_the_donor_columns_own_name_is_the_donor(name, form):
    table = samples()
    assert is_donor(name, table) and not is_donor("pool", table)
    design = build_design(table, formula=f"~ {form.format(name)}", test_term="condition")
    expected = "random" if "|" in form else "none"
    repeats = choose_repeats(table, design)
    assert repeats.use == expected and "donor" in repeats.reason


def test_an_own_name_with_a_blank_is_quoted_and_still_the_donor():
    table = samples(**{"Patient ID": samples()["patient"]})
    design = build_design(table, formula="~ condition + (1 | `Patient ID`)", test_term="condition")
    assert choose_repeats(table, design).use == "random"


def test_the_age_columns_own_name_is_age_and_not_a_level_for_each_text():
    own, plain = (build_design(samples(), formula=f"~ sex + {name}", test_term=name) for name in ("stage", "age"))
    np.testing.assert_allclose(own.matrix.to_numpy(), plain.matrix[["Intercept", *plain.matrix.columns[1:]]].to_numpy())
    assert (own.unit, own.of_age, own.mean) == ("age", True, plain.mean)


def test_a_column_called_age_is_no_age_where_there_are_none():
    table = samples(age_years=np.nan, age_text=None, age=samples()["bmi"])
    design = build_design(table, formula="~ age + condition", test_term="age")
    assert (design.unit, design.of_age) == ("column 'age'", False)
    with pytest.raises(BadInput, match="'age': is known of no donor, as with --age_column none"):
        build_design(table.drop(columns="age"), formula="~ age + condition", test_term="condition")


def test_without_sex_the_default_design_is_still_the_default():
    table = samples(sex=None).iloc[::2].drop(columns=SAMPLE_OF_DONOR)
    design = build_design(table)
    assert design.formula == "~ age" and "no donor's sex is known" in design.notes[0]
    for formula in ("~ sex + age", "~ age"):
        assert "with fewer than 45 samples" in choose_batches(table, formula=formula, test_term="age").reason
    assert "not the default" in choose_batches(samples(), formula="~ age", test_term="age").reason


@pytest.mark.parametrize(
    ("term", "column"),
    [("age", "age_years"), ("sex:age", "age_years"), ("condition", "condition"), ("C(pool)", "pool"), ("stage", "age_years"), ("bs(bmi, df=3)", "bmi"), ("x", "")],
)  # fmt: skip
def test_results_are_drawn_against_the_tested_column(term, column):
    assert drawn_column(term, samples()) == column


@pytest.mark.parametrize(
    ("term", "columns"),
    [("bmi", ("bmi",)), ("bmi:smoker", ("bmi", "smoker")), ("np.log(bmi)", ("bmi",)), ("`a b`", ("a b",)), ("a b", ("a b",))],
)  # fmt: skip
def test_figures_are_labelled_with_the_column_that_they_show_and_not_with_a_function_of_it(term, columns):
    assert columns_of_term(term) == columns
