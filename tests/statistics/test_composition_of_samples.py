"""Composition where donors gave several samples: persons are the units, and a condition is compared within them."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.statistics.composition import compare_donors
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING
from immune_aging.task.skipped import CannotFit

TYPES = ["B", "DC", "Mono", "NK", "T"]
IDS = pd.Series([name.lower() for name in TYPES], index=TYPES)
SHARES = np.array([0.15, 0.05, 0.2, 0.2, 0.4])
PAIRED = {"formula": "~ condition", "test_term": "condition", "min_samples": 6}
AGE = {"formula": "~ sex + age", "test_term": "age", "min_samples": 6}


def cells_of_persons(
    seed: int,
    *,
    n_donors: int = 16,
    person_sd: float = 0.5,
    sample_sd: float = 0.1,
    effect: float = 0.0,
    years: float = 0.0,
) -> pd.DataFrame:
    """Cells of each type in two samples of each donor, as `read_cells` gives them; NK cells grow by log `effect`."""
    rng = np.random.default_rng(seed)
    rows = []
    for donor in range(n_donors):
        own, age = rng.normal(0, person_sd, len(TYPES)), float(rng.integers(20, 90))
        for sample in (0, 1):
            logs = np.log(SHARES) + own + rng.normal(0, sample_sd, len(TYPES))
            logs[TYPES.index("NK")] += effect * sample
            counts = rng.multinomial(rng.integers(300, 900), np.exp(logs) / np.exp(logs).sum())
            facts = (f"P{donor:02d}", ("ctrl", "stim")[sample], age + years * sample, ("female", "male")[donor % 2])
            rows += [(*facts, name, n) for name, n in zip(TYPES, counts, strict=True) if n]
    table = pd.DataFrame(rows, columns=["donor_id", SAMPLE_OF_DONOR, "age_years", "sex", "cell_type", "n_cells"])
    return table.assign(condition=table[SAMPLE_OF_DONOR], **{VARYING: "[]"})


def without_samples(samples: pd.DataFrame) -> pd.DataFrame:
    """The same cells, a donor's added up by hand."""
    known = samples.groupby("donor_id").agg(sex=("sex", "first"))
    known["age_years"] = samples.drop_duplicates(["donor_id", SAMPLE_OF_DONOR]).groupby("donor_id")["age_years"].mean()
    summed = samples.groupby(["donor_id", "cell_type"])["n_cells"].sum().reset_index()
    return summed.join(known, on="donor_id")


def test_a_condition_is_compared_within_donors_whatever_makes_persons_differ():
    shares, table, facts = compare_donors(cells_of_persons(1, person_sd=1.0, effect=0.5), IDS, **PAIRED)
    found = table.set_index("cell_type")
    assert found.loc["NK", "padj"] < 1e-3 and found.loc["NK", "log2_fold_change"] == pytest.approx(
        0.5 / np.log(2), abs=0.3
    )
    assert (found.drop("NK")["padj"] > 0.05).all()
    assert (facts["n_donors"], facts["n_samples"]) == (16, 32)
    assert (found["n_donors"] == 16).all()
    assert "its samples are compared with each other" in facts["notes"][-1]
    assert shares.columns[:2].tolist() == ["donor_id", SAMPLE_OF_DONOR] and len(shares) == 32 * 5
    np.testing.assert_allclose(shares.groupby(["donor_id", SAMPLE_OF_DONOR])["proportion"].sum(), 1)


@pytest.mark.long
@pytest.mark.parametrize(("question", "n_seeds"), [(PAIRED, 24), (AGE, 24)])
def test_without_a_change_few_are_called(question, n_seeds):
    tables = [compare_donors(cells_of_persons(seed), IDS, **question)[1] for seed in range(n_seeds)]
    rates = np.array([(table["p_value"] < 0.05).mean() for table in tables])
    assert rates.mean() <= 0.05 + 2 * rates.std(ddof=1) / np.sqrt(n_seeds)


def test_age_is_tested_on_persons_whose_samples_are_added_up():
    samples = cells_of_persons(2, years=3.0)
    shares, table, facts = compare_donors(samples, IDS, **AGE)
    expected = compare_donors(without_samples(samples), IDS, **AGE)
    pd.testing.assert_frame_equal(shares, expected[0])
    pd.testing.assert_frame_equal(table, expected[1])
    assert facts | {"notes": []} == expected[2] and facts["n_donors"] == 16 and "n_samples" not in facts
    assert "a donor's samples were added up" in facts["notes"][-1]


def test_names_and_order_of_samples_change_nothing():
    samples = cells_of_persons(3, effect=0.3)
    other = samples.sample(frac=1, random_state=0)
    other[SAMPLE_OF_DONOR] = other[SAMPLE_OF_DONOR].map({"ctrl": "visit 2", "stim": "visit 1"})
    one, two = (compare_donors(table, IDS, **PAIRED)[1] for table in (samples, other))
    pd.testing.assert_frame_equal(one.round(9), two.round(9))


def test_donors_of_one_sample_say_nothing_of_a_condition():
    samples = cells_of_persons(4)
    once = samples["donor_id"] < "P03"
    some = compare_donors(samples[~(once & (samples["condition"] == "stim"))], IDS, **PAIRED)[1].set_index("id")
    none = compare_donors(samples[~once], IDS, **PAIRED)[1].set_index("id").loc[some.index]
    np.testing.assert_allclose(some["log2_fold_change"], none["log2_fold_change"], atol=0.03)
    np.testing.assert_allclose(some["lfc_se"], none["lfc_se"], rtol=0.1)


def test_what_is_the_same_in_a_donor_is_left_to_its_effect():
    with_sex = compare_donors(cells_of_persons(5), IDS, **PAIRED | {"formula": "~ sex + condition"})[1]
    pd.testing.assert_frame_equal(with_sex, compare_donors(cells_of_persons(5), IDS, **PAIRED)[1])


def test_a_covariate_that_differs_within_donors_is_averaged_over_their_cells():
    """Where every donor has both conditions, each in the same share, it explains nothing between donors."""
    samples = cells_of_persons(7)
    even = samples.assign(n_cells=np.maximum(samples.groupby(["donor_id", "cell_type"])["n_cells"].transform("min"), 1))
    asked = {"test_term": "age", "min_samples": 6}
    alone = compare_donors(even, IDS, formula="~ age", **asked)[1].set_index("id")
    beside = compare_donors(even, IDS, formula="~ age + condition", **asked)[1].set_index("id").loc[alone.index]
    np.testing.assert_allclose(beside["log2_fold_change"], alone["log2_fold_change"], atol=0.02)
    facts = compare_donors(
        samples[samples["condition"].eq("ctrl") | (samples["donor_id"] > "P04")],
        IDS,
        formula="~ age + condition",
        **asked,
    )[2]
    assert facts["n_donors"] == 16


def with_facts(samples: pd.DataFrame, missing: tuple[str, ...], column: str) -> pd.DataFrame:
    """Body mass of each sample and smoking of each donor; one of them is missing in the second sample of some donors."""
    number = samples["donor_id"].str[1:].astype(int)
    mass = 22 + number % 5 + 0.7 * (samples["condition"] == "stim") * (number % 3)
    known = samples.assign(bmi=mass, smoker=np.array(["no", "yes", "no"])[number % 3])
    known[column] = known[column].mask(known["donor_id"].isin(missing) & (known["condition"] == "stim"))
    return known


@pytest.mark.parametrize(
    ("column", "formula", "notes"),
    [
        ("smoker", "~ smoker + age", ["2 samples of 2 donors have no value for a design column"]),
        (
            "bmi",
            "~ bmi + age",
            ["2 samples of 2 donors have no value", "'bmi': differs between the samples of a donor"],
        ),
        ("bmi", "~ smoker + bmi + age", ["2 samples of 2 donors", "'bmi': differs between the samples of a donor"]),
    ],
)
def test_samples_without_a_value_are_in_no_sum_and_are_counted(column, formula, notes):
    """As if they were not in the table: a donor's own columns are told by its other sample."""
    samples = with_facts(cells_of_persons(8), ("P03", "P07"), column)
    asked = {"formula": formula, "test_term": "age", "min_samples": 6}
    shares, table, facts = compare_donors(samples, IDS, **asked)
    alone = compare_donors(samples[samples[column].notna()], IDS, **asked)
    pd.testing.assert_frame_equal(table, alone[1])
    pd.testing.assert_frame_equal(shares, alone[0])
    assert facts["n_donors"] == facts["n_donors_in"] == 16
    said = facts["notes"][1:]
    assert len(said) == len(notes) and all(part in note for part, note in zip(notes, said, strict=True)), said


def test_a_number_that_differs_between_summed_samples_is_its_mean_by_their_cells():
    samples = with_facts(cells_of_persons(8), (), "bmi")
    table = compare_donors(samples, IDS, formula="~ bmi + age", test_term="age", min_samples=6)[1].set_index("id")
    by_cells = (samples["bmi"] * samples["n_cells"]).groupby(samples["donor_id"]).sum()
    means = by_cells / samples.groupby("donor_id")["n_cells"].sum()
    by_hand = without_samples(samples).assign(bmi=lambda own: own["donor_id"].map(means))
    plain = compare_donors(by_hand, IDS, formula="~ bmi + age", test_term="age", min_samples=6)[1].set_index("id")
    np.testing.assert_allclose(table["p_value"], plain.loc[table.index, "p_value"], rtol=1e-6)
    np.testing.assert_allclose(table["lfc_per_decade"], plain.loc[table.index, "lfc_per_decade"], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "question", "reason"),
    [
        (lambda rows: rows[rows["donor_id"] < "P03"], PAIRED, "too few"),
        (
            lambda rows: rows.assign(run=rows["condition"] + "!"),
            PAIRED | {"formula": "~ condition + run"},
            "follows from the terms before it",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_the_reason(change, question, reason):
    with pytest.raises(CannotFit, match=reason):
        compare_donors(change(cells_of_persons(6)), IDS, **question)
