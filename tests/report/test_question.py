"""What the report calls the question of a run, for every kind of tested term."""

import pytest

from immune_aging.report.methods import methods
from immune_aging.report.question import facts_left_out, question_of

AGE = {"status": "done", "test_term": "age", "unit": "age", "contrast": "per SD"}
BMI = {"status": "done", "test_term": "bmi", "unit": "bmi", "contrast": "per SD"}
OWN_AGE = {"status": "done", "test_term": "age", "unit": "column 'age'", "contrast": "per SD"}
STAGE = {"status": "done", "test_term": "stage", "unit": "age", "contrast": "per SD"}
LEVELS = {"status": "done", "test_term": "condition", "unit": "", "contrast": "stim against ctrl"}
SLOPES = {"status": "done", "test_term": "sex:age", "unit": "age", "contrast": "male minus female, per SD of age"}
SKIPPED = {"status": "skipped", "reason": "too few"}


@pytest.mark.parametrize(
    ("facts", "parameters", "title", "moves", "up", "heads", "alike"),
    [
        (AGE, {}, "age", "go up or down with age", "up with age", ("Up", "Down"), "age"),
        (BMI, {}, "bmi", "go up or down with bmi", "up with bmi", ("Up", "Down"), "change"),
        (OWN_AGE, {}, "age", "go up or down with age", "up with column 'age'", ("Up", "Down"), "change"),
        (STAGE, {}, "stage", "go up or down with stage", "up with age", ("Up", "Down"), "age"),
        (LEVELS, {}, "condition (stim against ctrl)", "are higher or lower in stim than in ctrl", "higher in stim", ("Higher in stim", "Lower in stim"), "change"),
        (SLOPES, {}, "sex:age", "go up or down with sex:age", "effect above 0", ("Up", "Down"), "age"),
        (SKIPPED, {"test_term": "sex", "contrast": "male vs female"}, "sex (male against female)", "are higher or lower in male than in female", "higher in male", ("Higher in male", "Lower in male"), "change"),
        (SKIPPED, {"test_term": "age"}, "age", "go up or down with age", "up with age", ("Up", "Down"), "age"),
    ],
)  # fmt: skip
def test_a_question_is_called_by_its_term_and_levels(facts, parameters, title, moves, up, heads, alike):
    question = question_of([SKIPPED, facts], {"test_term": facts.get("test_term", "")} | parameters)
    assert (question.title, question.moves, question.up, question.heads, question.alike) == (
        title,
        moves,
        up,
        heads,
        alike,
    )
    assert question.has_ages and not question_of([facts], {"age_column": "none"}).has_ages


def test_shares_of_cell_types_are_higher_in_a_level_or_rise_with_a_number():
    levels, age = question_of([LEVELS], {"test_term": "condition"}), question_of([AGE], {"test_term": "age"})
    assert levels.frequent == ("more frequent in stim", "less frequent in stim")
    assert age.frequent == ("more frequent with age", "less frequent")
    assert levels.unmoved == "becomes surely more or less frequent in stim"
    assert (levels.way("up"), age.way("up")) == ("higher in stim", "up")


def test_facts_are_left_out_as_the_parameters_say():
    assert facts_left_out({"age_column": "none", "sex_column": "gender"}) == ["age_years"]
    assert facts_left_out({"age_column": "age", "sex_column": "none"}) == ["sex"]


def test_methods_name_neither_ages_nor_sexes_that_there_are_not():
    parts = [
        "cohort/filtering.json",
        "/de.tsv",
        "/predictions.tsv",
        "immune_age/immune_age.tsv",
        "pseudobulk/samples.tsv",
    ]
    given = dict.fromkeys(
        ("donor_percentile", "min_cells_per_type", "min_donor_fraction", "de_method", "test_term", "seed", "ridge_alphas",
         "prediction_models", "min_cells_per_sample", "min_depth_share", "min_samples_per_type"), 1,
    ) | {"design": "~ sex + age", "acceleration_columns": "sex,pool", "sample_column": "visit"}  # fmt: skip
    known, _ = methods(given, parts)
    sexless, _ = methods(given | {"sex_column": "none"}, parts)
    ageless, _ = methods(given | {"age_column": "none"}, parts[:2] + parts[4:])
    assert any("counts, and sex with 1" in one for one in known) and any(
        "tested against sex,pool with" in one for one in known
    )
    assert any("counts, with 1" in one for one in sexless) and any("tested against pool with" in one for one in sexless)
    assert any("the design ~ age, numeric" in one for one in sexless)
    assert known[0].startswith("Donors of unknown age, donors below") and ageless[0].startswith("Donors below")
    assert any("in the rules about donors those of a donor were added up." in one for one in ageless)
