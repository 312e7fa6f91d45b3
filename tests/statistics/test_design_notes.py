"""What is noted of a design: codes that enter as a slope, collinearity, few degrees of freedom."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

from immune_aging.statistics.design_notes import MAX_INFLATION, variance_inflation
from immune_aging.statistics.designs import MIN_PAIRED_RESIDUAL_DF, build_design
from unbalanced_donors import unbalanced_donors


def test_codes_of_a_batch_that_enter_as_a_slope_are_noted_and_ages_are_not():
    table = unbalanced_donors()
    assert "write C(run) in --design" in " ".join(build_design(table, formula="~ age + run").notes)
    for formula in ("~ age + C(run)", "~ age + bmi", "~ sex + age"):
        assert not build_design(table, formula=formula).notes
    assert "write C(`my run`)" in " ".join(
        build_design(table.rename(columns={"run": "my run"}), formula="~ age + `my run`").notes
    )


@pytest.mark.parametrize(
    ("values", "term", "note"),
    [
        ([1, 2, 3], "code", "'code' has 3 values, 1 to 3, and enters as a slope"),
        ([1, 2, 4, 7], "age", "'code' has 4 values, 1 to 7, and enters as a slope"),
        ([0, 1], "age", ""),
        ([20.5, 21, 23, 29], "age", ""),
        (range(20, 60), "age", ""),
        (["1.5", "2.5", "7"], "age", "'code' is text in the file, so it enters as a factor of 3 levels"),
        ([str(i) for i in range(20, 35)], "age", "enters as a factor of 15 levels"),
        (["1", "2", "3"], "age", ""),
        (["a1", "b2", "3"], "age", ""),
    ],
)
def test_columns_that_may_be_read_otherwise_than_meant_are_noted(values, term, note):
    table = unbalanced_donors().assign(code=pd.Series(np.resize(np.array(list(values)), 90), unbalanced_donors().index))
    design = build_design(table, formula="~ age + code", test_term=term)
    assert note in " ".join(design.notes) and bool(note) == bool(design.notes)


@pytest.mark.parametrize(
    ("formula", "contrast", "note"),
    [
        ("~ sex", "", "effects are those of 'male' against 'female'; --contrast 'female vs male' turns them round"),
        ("~ sex", "male vs female", ""),
        ("~ site", "", "de.tsv holds b against a"),
        ("~ age", "", ""),
    ],
)
def test_which_levels_are_compared_is_said_where_the_user_did_not_say_it(formula, contrast, note):
    design = build_design(unbalanced_donors(), formula=formula, test_term=formula[2:], contrast=contrast)
    assert note in " ".join(design.notes) and bool(note) == bool(design.notes)


def test_collinearity_that_leaves_nothing_of_the_tested_term_is_said():
    table = unbalanced_donors()
    table["nearly"] = table["age_years"] + np.random.default_rng(0).normal(0, 1, len(table))
    (note,) = build_design(table, formula="~ age + nearly").notes
    assert "nearly determine 'age'" in note
    assert not build_design(table, formula="~ sex * age + I(age**2)").notes, "terms of age itself are no confounders"


@pytest.mark.parametrize("noise", [0.5, 3.0, 6.0, 9.0, 30.0])
def test_the_inflation_is_that_of_statsmodels_and_noted_from_its_limit_on(noise):
    table = unbalanced_donors()
    table["other"] = table["age_years"] + np.random.default_rng(1).normal(0, noise, len(table))
    design = build_design(table, formula="~ bmi + other + age")
    matrix = design.matrix.to_numpy()
    expected = variance_inflation_factor(matrix, design.matrix.columns.get_loc("age"))
    kept = design.matrix.columns.isin(["Intercept", "age"])
    assert variance_inflation(matrix, design.contrasts[0].weights, kept) == pytest.approx(expected, rel=1e-9)
    assert any("nearly determine 'age'" in note for note in design.notes) == (expected >= MAX_INFLATION)


@pytest.mark.parametrize(("pairs", "left"), [(2, 1), (3, 2), (4, 3)])
def test_pairs_that_leave_hardly_a_degree_of_freedom_are_noted(pairs, left):
    donors = [f"d{i}" for i in range(pairs) for _ in range(2)]
    table = pd.DataFrame(
        {"donor_id": donors, "age_years": 50.0, "sex": "female", "condition": ["a", "b"] * pairs},
        index=[f"s{i}" for i in range(2 * pairs)],
    )
    design = build_design(table, formula="~ donor + condition", test_term="condition", few_pairs=True)
    noted = [note for note in design.notes if f"leave {left} residual degrees of freedom" in note]
    assert len(noted) == (left < 3) and left >= MIN_PAIRED_RESIDUAL_DF
