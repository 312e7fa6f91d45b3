"""A random term of the design reaches every test of differential expression, or the cell type says why it cannot."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.differential_expression import Answer, Question, analyse_cell_type
from immune_aging.statistics.random_terms import are_in_the_design, compares_groups, group_labels, told_apart
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.skipped import CannotFit

N_GENES = 40


def donors(n_pools: int = 10, *, each: int = 4, seed: int = 0) -> pd.DataFrame:
    """One sample of each donor, in pools of two sites; a ward crosses them."""
    pools = np.repeat(np.arange(n_pools), each)
    table = pd.DataFrame(
        {
            "donor_id": [f"D{i:02d}" for i in range(len(pools))],
            "age_years": np.random.default_rng(seed).uniform(25, 85, len(pools)).round(),
            "sex": np.resize(["female", "male"], len(pools)),
            "pool": [f"p{i}" for i in pools],
            "site": np.where(pools % 2, "B", "A"),
            "ward": np.resize(["w1", "w2", "w3"], len(pools)),
        }
    )
    return table.assign(cell_type="T", n_cells=50).set_axis([f"s{i:02d}" for i in range(len(pools))])


def visits(n_donors: int = 14) -> pd.DataFrame:
    """Two samples of each donor, in runs that are numbers."""
    rows = np.repeat(np.arange(n_donors), 2)
    table = donors(n_donors, each=1).iloc[rows].assign(run=np.resize([1, 2, 3], len(rows)))
    table[SAMPLE_OF_DONOR] = table["condition"] = np.tile(["ctrl", "stim"], n_donors)
    return table.set_axis([f"s{i:02d}" for i in range(len(rows))])


def answer_to(samples: pd.DataFrame, formula: str, term: str, *, seed: int = 0, **changed) -> Answer:
    """The tests of genes that differ between pools, and nothing else."""
    rng = np.random.default_rng(seed)
    codes, names = pd.factorize(samples["pool"])
    logs = rng.normal(0, 0.3, (len(names), N_GENES))[codes] + rng.normal(0, 0.1, (len(samples), N_GENES))
    counts = rng.poisson(200 * np.exp(logs + rng.normal(0, 0.7, N_GENES)))
    table = CellTypeSamples(counts, samples, pd.Series("", index=[f"g{i}" for i in range(N_GENES)]))
    asked = {"contrast": "", "pool_column": "none", "pool_effect": "none", "min_samples": 6, "keep_outliers": True}
    return analyse_cell_type(
        table, Question(formula, term, **{**asked, "method": "pydeseq2", "options": DeseqOptions(), **changed})
    )


def test_voom_leads_where_a_pool_is_random_because_pydeseq2_takes_its_samples_for_independent():
    answers = [answer_to(donors(seed=seed), "~ site + (1 | pool)", "site", seed=seed) for seed in range(3)]
    leading, companion = (
        np.mean([(one.leading[name] < 0.05).mean() for one in answers]) for name in ("p_value", "p_value_companion")
    )
    assert leading < 0.08 and companion > 0.15
    assert all(one.facts["method"] == "voom" and one.facts["design"] == "~ site + (1 | pool)" for one in answers)
    said = answers[0].facts["warnings"]
    assert any("'pool' is a random effect, so that voom leads" in note for note in said)
    assert any("between the 10 groups" in note and "one correlation for all genes" in note for note in said)


def test_a_term_within_pools_is_not_warned_of_and_a_donor_of_one_sample_is_no_random_effect():
    answer = answer_to(donors(), "~ age + (1 | pool)", "age")
    assert not any("one correlation" in note for note in answer.facts["warnings"])
    plain, own = (answer_to(donors(), formula, "age") for formula in ("~ age", "~ age + (1 | donor)"))
    pd.testing.assert_frame_equal(plain.leading, own.leading, check_exact=True)
    assert own.facts["method"] == "pydeseq2" and own.facts["warnings"] == plain.facts["warnings"]


@pytest.mark.parametrize(
    ("samples", "formula", "term", "changed", "reason"),
    [
        (donors(2, each=12), "~ site + (1 | pool)", "site", {}, "no level is to spare"),
        (donors(), "~ pool + age + (1 | pool)", "pool", {}, "no level is to spare"),
        (donors(1, each=20), "~ age + (1 | pool)", "age", {}, "'pool' has 1 levels in 20 samples"),
        (visits(), "~ sex + (1 | run)", "sex", {}, "'run' differs between samples of 14 of them"),
        (visits(), "~ sex + condition + (1 | run)", "sex", {}, "'run' differs between samples of 14 of them"),
        (
            donors(),
            "~ age + (1 | ward)",
            "age",
            {"pool_column": "pool", "pool_effect": "random"},
            "'ward' is a random effect; 'pool' .* cannot be another",
        ),
    ],
)
def test_what_cannot_be_a_random_effect_is_refused_and_not_left_out(samples, formula, term, changed, reason):
    answer = answer_to(samples, formula, term, **changed)
    assert answer.leading is None
    with pytest.raises(CannotFit, match=reason):
        raise CannotFit(answer.reason)


@pytest.mark.parametrize(
    ("samples", "formula", "term", "reason"),
    [
        (donors(2, each=12).assign(sex=lambda own: own["site"]), "~ sex + age", "sex", "confounded"),
        (visits().assign(age_years=lambda own: np.arange(len(own)) * 7 % 61 + 20.0), "~ sex + age", "age", "the donor"),
    ],
    ids=["pools that are the sexes", "donors at random"],
)
def test_a_pool_that_the_pipeline_found_itself_is_left_out_where_it_cannot_be_random_and_a_note_says_so(
    samples, formula, term, reason
):
    answer = answer_to(samples, formula, term, pool_column="pool", pool_effect="auto")
    assert answer.leading is not None and answer.facts["batches"]["use"] == "none"
    assert reason in answer.facts["batches"]["reason"]
    assert any(note.startswith("'pool' was not added to the design") for note in answer.facts["warnings"])


def test_groups_that_follow_from_the_design_are_known_and_a_term_within_them_needs_none():
    samples = donors(6)
    labels = group_labels(samples, "pool")
    for formula, term, in_design, compared in (
        ("~ site", "site", False, True),
        ("~ pool + age", "age", True, False),
        ("~ pool + age", "pool", True, True),
        ("~ age", "age", False, True),
    ):
        design = build_design(samples, formula=formula, test_term=term)
        assert are_in_the_design(design, labels) == in_design and compares_groups(design, labels) == compared
    assert told_apart(build_design(samples, formula="~ pool + age"), labels, "pool") is None
