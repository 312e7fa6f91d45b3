"""A tested term means what it says: against predictions of another library's fit at the reference grid."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from immune_aging.statistics.designs import build_design
from immune_aging.task.command_line import BadInput
from unbalanced_donors import unbalanced_donors


def fitted(formula: str, table: pd.DataFrame):
    """Predictions of statsmodels' fit, which codes by another library."""
    fit = smf.ols("y" + formula, table.assign(age=table["age_years"])).fit()

    def at(**point: object) -> float:
        return float(fit.predict(pd.DataFrame({name: [value] for name, value in point.items()})).iloc[0])

    return at


def estimated(formula: str, term: str, table: pd.DataFrame, contrast: str = "") -> tuple[np.ndarray, object]:
    """The effects of a term's contrasts in least squares of y on our design."""
    design = build_design(table, formula=formula, test_term=term, contrast=contrast)
    beta = np.linalg.lstsq(design.matrix.to_numpy(), table["y"], rcond=None)[0]
    return np.array([one.weights @ beta for one in design.contrasts]), design


def mean_of(values) -> float:
    return float(np.mean(list(values)))


SEXES, SITES = ("female", "male"), ("a", "b", "c")


def test_a_slope_beside_an_interaction_is_the_mean_of_the_levels_slopes():
    table = unbalanced_donors()
    at = fitted("~ sex * age", table)
    slope = mean_of(at(sex=sex, age=51) - at(sex=sex, age=50) for sex in SEXES)
    (effect,), design = estimated("~ sex * age", "age", table)
    assert effect == pytest.approx(slope * table["age_years"].std(), rel=1e-6)
    assert design.meaning == "log2 fold change per SD of 'age', averaged over the levels of 'sex'"


def test_a_factor_beside_an_interaction_is_compared_at_the_mean_age():
    table = unbalanced_donors()
    at, mean = fitted("~ sex * age", table), table["age_years"].mean()
    (effect,), design = estimated("~ sex * age", "sex", table)
    assert effect == pytest.approx(at(sex="male", age=mean) - at(sex="female", age=mean), rel=1e-6)
    assert "at the mean of 'age'" in design.meaning


def test_a_slope_beside_a_square_is_that_at_the_mean():
    table = unbalanced_donors()
    at, mean = fitted("~ sex + age + I(age**2)", table), table["age_years"].mean()
    slope = (at(sex="male", age=mean + 0.01) - at(sex="male", age=mean - 0.01)) / 0.02
    (effect,), design = estimated("~ sex + age + I(age**2)", "age", table)
    assert effect == pytest.approx(slope * table["age_years"].std(), rel=1e-4)
    assert "at the mean of 'age'" in design.meaning


@pytest.mark.parametrize("term", ["sex:age", "age:sex"])
def test_an_interaction_is_the_difference_of_the_slopes(term):
    table = unbalanced_donors()
    at = fitted("~ sex * age", table)
    slopes = {sex: at(sex=sex, age=51) - at(sex=sex, age=50) for sex in SEXES}
    (effect,), design = estimated("~ sex * age", term, table)
    assert effect == pytest.approx((slopes["male"] - slopes["female"]) * table["age_years"].std(), rel=1e-6)
    assert design.signed and "male minus female" in design.meaning and "per SD" in design.contrasts[0].name


def test_levels_are_compared_at_equal_weights_of_the_other_factors_and_means_of_the_numbers():
    table = unbalanced_donors()
    formula = "~ site * sex + site * bmi + age"
    at, bmi = fitted(formula, table), table["bmi"].mean()
    means = {site: mean_of(at(site=site, sex=sex, bmi=bmi, age=60) for sex in SEXES) for site in SITES}
    effects, design = estimated(formula, "site", table)
    np.testing.assert_allclose(effects, [means["b"] - means["a"], means["c"] - means["a"]], rtol=1e-6)
    assert "averaged over the levels of 'sex' and at the mean of 'bmi'" in design.meaning
    (named,), _ = estimated(formula, "site", table, contrast="b vs c")
    assert named == pytest.approx(means["b"] - means["c"], rel=1e-6)


def test_a_column_made_a_factor_by_the_formula_is_tested_by_levels():
    table = unbalanced_donors()
    at = fitted("~ C(run) * sex + age", table)
    means = {run: mean_of(at(run=run, sex=sex, age=60) for sex in SEXES) for run in (1.0, 2.0, 3.0, 4.0)}
    effects, design = estimated("~ C(run) * sex + age", "C(run)", table)
    np.testing.assert_allclose(effects, [means[run] - means[1.0] for run in (2.0, 3.0, 4.0)], rtol=1e-6)
    assert design.contrasts[0].name == "2 against 1"
    (slope,), _ = estimated("~ C(run) * age", "age", table)
    assert estimated("~ C( run ) * age", "age", table)[0] == pytest.approx(slope, rel=1e-12), "blanks say nothing"
    at = fitted("~ C(run) * age", table)
    expected = mean_of(at(run=run, age=51) - at(run=run, age=50) for run in (1.0, 2.0, 3.0, 4.0))
    assert slope == pytest.approx(expected * table["age_years"].std(), rel=1e-6)


@pytest.mark.parametrize(
    ("formula", "term", "other", "width"),
    [
        ("~ sex + bs(age, df=4)", "bs(age, df=4)", "~ sex + bs(age, df=4)", 4),
        ("~ sex + poly(age, 3)", "poly(age,3)", "~ sex + age + I(age**2) + I(age**3)", 3),
        ("~ sex + cr(age, df=3, constraints='center')", "cr(age, df=3, constraints='center')", None, 3),
        ("~ site * age", "site:age", "~ site * age", 2),
        ("~ sex + site * C(run) + age", "site:C(run)", "~ sex + site * C(run) + age", 6),
    ],
)
def test_a_term_of_several_coefficients_is_tested_as_one(formula, term, other, width):
    """F of the hypothesis, from our matrix, is that of leaving the term out, as the other library has it."""
    table = unbalanced_donors(140)
    design = build_design(table, formula=formula, test_term=term)
    (only,) = design.contrasts
    assert not only.signed and np.linalg.matrix_rank(only.hypothesis) == len(only.hypothesis) == width
    x, y = design.matrix.to_numpy(), table["y"].to_numpy()
    beta, inverse = np.linalg.lstsq(x, y, rcond=None)[0], np.linalg.inv(x.T @ x)
    s2 = ((y - x @ beta) ** 2).sum() / (len(y) - x.shape[1])
    effects = only.hypothesis @ beta
    f = effects @ np.linalg.solve(only.hypothesis @ inverse @ only.hypothesis.T, effects) / width / s2
    if other:
        from patsy import dmatrices

        data = table.assign(age=table["age_years"])
        whole = smf.ols("y" + other, data).fit()
        names = dmatrices("y" + other, data)[1].design_info.column_names
        tested = [name for name in names if (":" in name if ":" in term else ("age" in name and ":" not in name))]
        reference = whole.f_test(np.eye(len(names))[[names.index(name) for name in tested]])
        assert f == pytest.approx(float(reference.fvalue), rel=1e-5)
    assert "any of the" in design.meaning


def test_the_effect_of_a_curve_is_the_difference_between_its_10th_and_90th_percentile():
    table = unbalanced_donors()
    at = fitted("~ sex * bs(age, df=4)", table)
    low, high = np.percentile(table["age_years"], [10, 90])
    expected = mean_of(at(sex=sex, age=high) - at(sex=sex, age=low) for sex in SEXES)
    (effect,), _ = estimated("~ sex * bs(age, df=4)", "bs(age, df=4)", table)
    assert effect == pytest.approx(expected, rel=1e-5)


def test_a_curve_beside_an_interaction_is_averaged_over_the_levels():
    """Curves that are opposite in the sexes have no average: the hypothesis says so, whatever the coding."""
    table = unbalanced_donors()
    line = (table["age_years"] - table["age_years"].mean()) / 20
    bend = line**2 - (line**2).mean()
    table["y"] = np.where(table["sex"] == "male", 1.0, -1.0) * (line + bend)
    design = build_design(table, formula="~ sex * poly(age, 2)", test_term="poly(age, 2)")
    beta = np.linalg.lstsq(design.matrix.to_numpy(), table["y"], rcond=None)[0]
    np.testing.assert_allclose(design.contrasts[0].hypothesis @ beta, 0, atol=1e-7)
    differing = build_design(table, formula="~ sex * poly(age, 2)", test_term="sex:poly(age, 2)")
    assert np.abs(differing.contrasts[0].hypothesis @ beta).max() > 0.1


@pytest.mark.parametrize("term", ["I(age**2)", "np.log(age)", "scale(age)", "log(age)"])
def test_a_function_with_one_coefficient_keeps_its_sign_and_is_per_sd_of_its_values(term):
    table = unbalanced_donors()
    formula = f"~ sex + {term}"
    (effect,), design = estimated(formula, term, table)
    x = {"I(age**2)": table["age_years"] ** 2, "scale(age)": table["age_years"]}.get(term, np.log(table["age_years"]))
    plain = smf.ols("y ~ sex + x", table.assign(x=(x - x.mean()) / x.std())).fit()
    assert effect == pytest.approx(plain.params["x"], rel=1e-6)
    assert design.signed and design.contrasts[0].name == "per SD"


@pytest.mark.parametrize(
    ("formula", "term", "contrast", "message"),
    [
        ("~ sex * age", "sex:age", "male vs female", "compares no two levels"),
        ("~ sex + bs(age, df=3)", "age", "", "has no coefficient of its own.*bs"),
        ("~ sex + age", "sex:age", "", "is not a term of the design"),
    ],
)
def test_what_cannot_be_tested_as_asked_is_refused(formula, term, contrast, message):
    with pytest.raises(BadInput, match=message):
        build_design(unbalanced_donors(), formula=formula, test_term=term, contrast=contrast)


def test_the_contrast_does_not_depend_on_units_shifts_or_the_names_of_levels():
    table = unbalanced_donors()
    formula = "~ sex * age + site * bmi"
    (effect,), _ = estimated(formula, "age", table)
    other = table.assign(bmi=table["bmi"] * 1000 - 7)
    renamed = other.replace({"sex": {"female": "z", "male": "a"}})
    for changed in (other, renamed):
        assert estimated(formula, "age", changed)[0][0] == pytest.approx(effect, rel=1e-6)


def test_a_random_term_is_taken_apart_from_the_fixed_ones():
    table = unbalanced_donors()
    plain = build_design(table, formula="~ sex + age")
    for formula in ("~ sex + age + (1 | site)", "~ (1|site) + sex + age", "~ sex + (1 | `site`)+age"):
        design = build_design(table, formula=formula)
        pd.testing.assert_frame_equal(design.matrix, plain.matrix)
        assert design.random == "site" and "(1 | site)" in design.formula
    assert build_design(table, formula="~ sex + age + (1 | donor)").random == "donor"


@pytest.mark.parametrize(
    ("term", "compared"),
    [
        ("site", [("b", "a"), ("c", "a")]),
        ("C(site)", [("b", "a"), ("c", "a")]),
        ("C(site, Treatment('b'))", [("a", "b"), ("c", "b")]),
        ("C(site, contr.treatment(base='c'))", [("a", "c"), ("b", "c")]),
        ("C(site, levels=['c', 'a', 'b'])", [("a", "c"), ("b", "c")]),
        ("C(site, contr.treatment('a'), levels=['c', 'b', 'a'])", [("c", "a"), ("b", "a")]),
        ("C(site, contr.SAS)", [("a", "c"), ("b", "c")]),
        ("C(site, contr.sum)", [("b", "a"), ("c", "a")]),
        ("C(run, contr.treatment(3))", [("1", "3"), ("2", "3"), ("4", "3")]),
    ],
)
def test_the_reference_level_is_the_one_that_the_formula_names(term, compared):
    table = unbalanced_donors()
    effects, design = estimated(f"~ sex + {term}", term, table)
    assert [(one.level, one.reference) for one in design.contrasts] == compared
    column = "run" if "run" in term else "site"
    at, number = fitted(f"~ sex + C({column})", table), float if column == "run" else str
    expected = [
        at(sex="male", **{column: number(level)}) - at(sex="male", **{column: number(reference)})
        for level, reference in compared
    ]
    np.testing.assert_allclose(effects, expected, rtol=1e-6)


@pytest.mark.parametrize("values", [(0, 1), (1, 2), (-0.5, 0.5), (10, 30)])
def test_a_number_of_two_values_compares_its_two_groups(values):
    table = unbalanced_donors()
    table["group"] = np.where(table["site"] == "c", values[1], values[0])
    (effect,), design = estimated("~ sex + age + group", "group", table)
    at = fitted("~ sex + age + C(group)", table)
    expected = at(sex="male", age=50, group=values[1]) - at(sex="male", age=50, group=values[0])
    assert effect == pytest.approx(expected, rel=1e-6)
    assert design.contrasts[0].name == f"{values[1]:g} against {values[0]:g}" and np.isnan(design.sd)


def test_two_ages_stay_ages():
    table = unbalanced_donors().assign(age_years=lambda donors: np.where(donors["sex"] == "male", 30.0, 60.0))
    assert estimated("~ age", "age", table)[1].contrasts[0].name == "per SD"
