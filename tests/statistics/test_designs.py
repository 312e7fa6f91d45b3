"""Formulas become design matrices that can be fitted, or a reason why not."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.statistics.designs import build_design
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit
from unbalanced_donors import unbalanced_donors


def samples(n: int = 20) -> pd.DataFrame:
    """Donors whose age, sex and pool are not collinear."""
    index = [f"s{i:02d}" for i in range(n)]
    return pd.DataFrame(
        {
            "donor_id": index,
            "age_years": np.linspace(20, 90, n) ** 1.1,
            "sex": ["male", "female", "female"] * (n // 3) + ["male"] * (n % 3),
            "pool": [f"p{i % 4}" for i in range(n)],
            "smoker": [i % 5 == 0 for i in range(n)],
            "body mass": np.random.default_rng(0).normal(25, 4, n),
        },
        index=index,
    )


def test_age_is_scaled_to_sd_units_of_these_samples_and_sex_is_coded_against_the_first_level():
    table = samples()
    design = build_design(table)
    age = table["age_years"]
    np.testing.assert_allclose(design.matrix["age"], (age - age.mean()) / age.std(ddof=1))
    np.testing.assert_array_equal(design.matrix["sex[T.male]"], table["sex"] == "male")
    np.testing.assert_array_equal(design.matrix["Intercept"], 1)
    assert list(design.matrix.columns) == ["Intercept", "sex[T.male]", "age"]
    np.testing.assert_array_equal(design.contrasts[0].weights, [0, 0, 1])
    assert (design.contrasts[0].name, design.sd) == ("per SD", pytest.approx(age.std()))
    assert design.meaning == "log2 fold change per SD of 'age'"


def test_scaling_uses_only_the_cell_types_own_samples():
    older = samples()[10:]
    assert build_design(older).mean == pytest.approx(older["age_years"].mean())
    assert build_design(older).matrix["age"].std() == pytest.approx(1)


def test_the_default_design_loses_sex_where_one_sex_has_samples_and_says_so():
    design = build_design(samples().assign(sex="female"))
    assert list(design.matrix.columns) == ["Intercept", "age"]
    assert design.formula == "~ age"
    assert "sex dropped" in design.notes[0] and "female" in design.notes[0]


def test_a_design_of_the_users_own_loses_nothing_silently():
    with pytest.raises(CannotFit, match="'sex' has one value in all 20 samples"):
        build_design(samples().assign(sex="female"), formula="~ age + sex + pool")
    with pytest.raises(CannotFit, match="'sex' has one value"):
        build_design(samples().assign(sex="female"), test_term="sex")


@pytest.mark.parametrize(
    ("change", "formula", "reason"),
    [
        ({"age_years": 50.0}, "~ sex + age", "'age' has one value"),
        ({}, "~ pool + pool2 + age", "not of full rank: in these samples 'pool2' follows"),
        ({}, "~ `body mass` + half + age", "not of full rank: in these samples 'half' follows"),
        ({}, "~ donor_id + age", "20 samples for 21 coefficients"),
    ],
)
def test_what_the_samples_cannot_carry_is_said_before_fitting(change, formula, reason):
    table = samples().assign(**change)
    table["half"] = table["body mass"] / 2 - 7
    table["pool2"] = table["pool"].map({"p0": "a", "p1": "b", "p2": "c", "p3": "d"})
    with pytest.raises(CannotFit, match=reason):
        build_design(table, formula=formula)


def test_too_few_samples_are_said():
    with pytest.raises(CannotFit, match="9 samples; at least 10"):
        build_design(samples(9), min_samples=10)


@pytest.mark.parametrize(
    ("formula", "term", "message"),
    [
        ("~ sex + agee", "agee", "'agee' is no donor column; there are: .*pool"),
        ("~ sex + age", "pool", "is not a term of the design"),
        ("sex + age", "age", "must begin with '~'"),
        ("y ~ age", "age", "must begin with '~'"),
        ("~ 0 + age", "age", "no intercept"),
        ("~ sex + (age", "age", "not a formula"),
        ("~ sex:age", "age", "no coefficient of its own"),
        ("~ sex + age + nosuch(age)", "age", "cannot be evaluated: .*nosuch"),
        ("~ sex + age + as_text(age)", "age", "cannot be evaluated: .*as_text"),
        ("~ age + C(sex, levels=['female'])", "age", "cannot be evaluated: .*male"),
        ("~ sex + age + (1 | pool) + (1 | smoker)", "age", "2 random terms; only one"),
        ("~ sex + age + (age | pool)", "age", r"only '\+ \(1 \| COLUMN\)' can be fitted"),
        ("~ sex * age", "sex*age", "means 3 terms .*name one"),
        ("~ age * pool", "age + pool", "means 2 terms"),
        ("~ sex + age + log(`body mass` - 25)", "age", "cannot be evaluated"),
    ],
)
def test_a_wrong_formula_is_bad_input_of_one_line(formula, term, message):
    with pytest.raises(BadInput, match=message) as error:
        build_design(samples(), formula=formula, test_term=term)
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


def test_two_levels_are_one_contrast():
    design = build_design(samples(), formula="~ age + smoker", test_term="smoker")
    (only,) = design.contrasts
    assert (only.name, only.level, only.reference) == ("True against False", "True", "False")
    np.testing.assert_array_equal(only.weights, design.matrix.columns == "smoker[T.True]")
    assert np.isnan(design.sd)


def test_every_further_level_is_compared_with_the_first_and_the_first_contrast_leads():
    design = build_design(samples(), formula="~ age + pool", test_term="pool")
    assert [one.name for one in design.contrasts] == [f"p{i} against p0" for i in (1, 2, 3)]
    assert "de.tsv holds p1 against p0" in design.notes[0]


@pytest.mark.parametrize("contrast", ["p3 vs p1", "p0 vs p2", "p2 vs p0"])
def test_a_named_contrast_is_the_difference_of_two_levels(contrast):
    design = build_design(samples(), formula="~ age + pool", test_term="pool", contrast=contrast)
    level, reference = contrast.split(" vs ")
    table = samples()
    y = table["pool"].map({"p0": 1.0, "p1": 5.0, "p2": 7.0, "p3": 2.0})
    beta = np.linalg.lstsq(design.matrix.to_numpy(), y, rcond=None)[0]
    (only,) = design.contrasts
    assert only.weights @ beta == pytest.approx(
        y[table["pool"] == level].iloc[0] - y[table["pool"] == reference].iloc[0]
    )
    assert design.notes == ()


def test_a_contrast_of_a_level_that_no_sample_has_skips_the_cell_type():
    with pytest.raises(CannotFit, match="'pool' has no 'p9'"):
        build_design(samples(), formula="~ age + pool", test_term="pool", contrast="p9 vs p0")


@pytest.mark.parametrize(
    ("term", "contrast", "message"),
    [("pool", "p1-p0", "write it 'LEVEL vs REFERENCE'"), ("age", "90 vs 20", "'age' is a number")],
)
def test_a_contrast_that_makes_no_sense_is_bad_input(term, contrast, message):
    with pytest.raises(BadInput, match=message):
        build_design(samples(), formula="~ age + pool", test_term=term, contrast=contrast)


def test_a_column_that_varies_within_a_donor_skips_the_cell_type_with_the_donors_name():
    table = samples()
    table["varies_within_donor"] = ["[]"] * 7 + ['["visit", "n_counts"]'] + [None] * 12
    assert build_design(table).notes == (), "columns that the design does not ask for may vary"
    with pytest.raises(CannotFit, match="'visit' of the design varies within donor 's07'"):
        build_design(table, formula="~ visit + age")


def test_a_batch_is_a_factor_whatever_its_type():
    table = samples().assign(pool=[float(i % 4) for i in range(20)])
    table.loc["s02", "pool"] = np.nan
    design = build_design(table, batch="pool")
    assert list(design.matrix.columns) == ["Intercept", "sex[T.male]", "age", "pool[T.1]", "pool[T.2]", "pool[T.3]"]
    assert design.formula == "~ sex + age + pool"
    assert len(design.matrix) == 19
    spaced = build_design(table.rename(columns={"pool": "my pool"}), batch="my pool")
    assert spaced.formula == "~ sex + age + `my pool`"


def test_the_default_design_loses_sex_with_a_batch_too():
    assert build_design(samples().assign(sex="female"), batch="pool").formula == "~ age + pool"


def test_a_sample_without_a_value_is_left_out_and_counted():
    table = samples()
    table.loc["s03", "sex"] = None
    design = build_design(table)
    assert "s03" not in design.matrix.index
    assert len(design.matrix) == 19
    assert design.notes == ("1 samples left out: no value for a design column ('sex')",)


@pytest.mark.parametrize(
    "name",
    ["body mass", "my.cov", "C", "Q", "I", "größe", "Alter (Jahre)", "a/b", "x:y", "np", "bs", "1st", "a`"[:1], "if"],
)
def test_any_column_name_works_in_backticks_beside_functions_of_that_name(name):
    table = samples().rename(columns={"body mass": name})
    design = build_design(
        table, formula=f"~ C(pool) + bs(age, df=3) + I(age*0 + `{name}`**2) + `{name}`", test_term=name
    )
    assert name in design.matrix and design.sd == pytest.approx(table[name].std())
    assert build_design(table, formula=f"~ age + `{name}`", test_term=f"`{name}`").sd == design.sd


@pytest.mark.parametrize("name", ["my.cov", "C", "Q", "größe", "weight_kg"])
def test_names_without_blanks_need_no_backticks(name):
    table = samples().rename(columns={"body mass": name})
    assert name in build_design(table, formula=f"~ sex + {name} + age").matrix


def test_functions_see_a_column_in_its_own_unit_and_their_result_is_scaled():
    table = samples()
    design = build_design(table, formula="~ age + log(`body mass`)")
    column = design.matrix.columns[2]
    logs = np.log(table["body mass"])
    np.testing.assert_allclose(design.matrix[column], (logs - logs.mean()) / logs.std())


def test_building_a_design_changes_nothing():
    table = samples()
    before = table.copy(deep=True)
    build_design(table, formula="~ sex + age + pool + `body mass`")
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("formula", "values", "message"),
    [
        (
            "~ load + age",
            [-np.inf] * 3,
            r"'load' is infinite \(-inf\) in 3 of 90 samples \('s00', ...\); give a number",
        ),
        ("~ load + age", [np.inf], "'load' is infinite"),
        ("~ np.log(load) + age", [0.0, 0.0], r"'np.log\(load\)' is not a finite number in 2 of 90 samples"),
        ("~ np.log(load) + age", [-1.0], r"cannot be evaluated: .*`np.log\(load\)` contains null values"),
        ("~ I(1 / load) + age", [0.0], "is not a finite number in 1 of 90 samples"),
    ],
)
def test_numbers_that_are_not_finite_are_told_by_name(formula, values, message):
    table = unbalanced_donors()
    table["load"] = [*values, *table["bmi"][len(values) :]]
    with pytest.raises((BadInput, CannotFit), match=message):
        build_design(table, formula=formula, test_term="age")
