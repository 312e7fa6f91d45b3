"""Composition with a random term: what pools or persons share is allowed for, or the question is refused."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from immune_aging.statistics.composition import compare_donors
from immune_aging.statistics.designs import build_design
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.skipped import CannotFit

TYPES = ["B", "DC", "Mono", "NK", "T"]
IDS = pd.Series([name.lower() for name in TYPES], index=TYPES)
SHARES = np.array([0.15, 0.05, 0.2, 0.2, 0.4])
POOLS = {"test_term": "site", "min_samples": 6}
AGE = {"test_term": "age", "min_samples": 6}


def cells_of(samples: pd.DataFrame, logs: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Cells of each type in each sample, as `read_cells` gives them."""
    counts = rng.poisson(600 * SHARES * np.exp(logs))
    parts = [samples.assign(cell_type=name, n_cells=own) for name, own in zip(TYPES, counts.T, strict=True)]
    return pd.concat(parts, ignore_index=True)


def in_pools(seed: int, *, n_pools: int = 10, pool_sd: float = 0.6, effect: float = 0.0) -> pd.DataFrame:
    """Four donors in each pool, the pools of two sites; NK cells are more by log `effect` at site B."""
    rng = np.random.default_rng(seed)
    pools = np.repeat(np.arange(n_pools), 4)
    samples = pd.DataFrame(
        {
            "donor_id": [f"D{i:02d}" for i in range(len(pools))],
            "age_years": rng.integers(20, 90, len(pools)).astype(float),
            "sex": np.resize(["female", "male"], len(pools)),
            "pool": pools,
            "site": np.where(pools % 2, "B", "A"),
        }
    )
    logs = rng.normal(0, pool_sd, (n_pools, 5))[pools] + rng.normal(0, 0.1, (len(pools), 5))
    logs[:, TYPES.index("NK")] += effect * (pools % 2)
    return cells_of(samples, logs, rng)


def of_persons(seed: int, *, n_donors: int = 16, years: float = 5.0) -> pd.DataFrame:
    """Two visits of each donor, some years apart; the donors of four runs, and a clinic for each visit."""
    rng = np.random.default_rng(seed)
    donors = np.repeat(np.arange(n_donors), 2)
    visit = np.tile([0, 1], n_donors)
    samples = pd.DataFrame(
        {
            "donor_id": [f"D{i:02d}" for i in donors],
            SAMPLE_OF_DONOR: [f"v{i}" for i in visit],
            "age_years": rng.integers(20, 90, n_donors)[donors] + years * visit,
            "sex": np.where(donors % 2, "male", "female"),
            "visit": [f"v{i}" for i in visit],
            "run": [f"r{i % 4}" for i in donors],
            "clinic": np.resize([1, 2, 3], len(donors)),
        }
    )
    logs = rng.normal(0, 0.5, (n_donors, 5))[donors] + rng.normal(0, 0.15, (len(donors), 5))
    return cells_of(samples, logs, rng)


def test_what_differs_between_pools_alone_is_called_no_more_than_it_should_be():
    rates = {
        formula: np.array(
            [
                (compare_donors(in_pools(s), IDS, formula=formula, **POOLS)[1]["p_value"] < 0.05).mean()
                for s in range(10)
            ]
        )
        for formula in ("~ site", "~ site + (1 | pool)")
    }
    own = rates["~ site + (1 | pool)"]
    assert own.mean() <= 0.05 + 2 * own.std(ddof=1) / np.sqrt(10)
    assert rates["~ site"].mean() > 0.15, "the trap is there"


def test_a_change_between_pools_is_found_with_its_size():
    found = compare_donors(
        in_pools(1, n_pools=16, pool_sd=0.2, effect=0.8), IDS, formula="~ site + (1 | pool)", **POOLS
    )
    table = found[1].set_index("cell_type")
    assert table["log2_fold_change"]["NK"] == pytest.approx(0.8 / np.log(2), abs=0.3)
    assert table["padj"]["NK"] < 0.01 and (table["padj"].drop("NK") > 0.05).all()
    assert found[2]["design"] == "~ site + (1 | pool)" and "16 levels in 64 samples" in found[2]["notes"][-1]


@pytest.mark.parametrize(
    ("samples", "formula", "question", "group"),
    [
        (in_pools(2), "~ site + (1 | pool)", POOLS, "pool"),
        (in_pools(3), "~ sex + age + (1 | pool)", AGE, "pool"),
        (of_persons(4), "~ visit + age + (1 | donor)", AGE, "donor_id"),
        (of_persons(5, n_donors=9), "~ visit + (1 | donor)", {"test_term": "visit", "min_samples": 6}, "donor_id"),
    ],
)
def test_plain_shares_are_a_mixed_model_of_log_odds(samples, formula, question, group):
    table = compare_donors(samples, IDS, formula=formula, **question)[1].set_index("cell_type")
    units = samples.drop_duplicates(["donor_id", SAMPLE_OF_DONOR] if SAMPLE_OF_DONOR in samples else ["donor_id"])
    counts = samples["n_cells"].to_numpy().reshape(5, -1).T + 0.5
    design = build_design(units, formula=formula, **question)
    weights = design.contrasts[0].weights
    for place, name in enumerate(TYPES):
        odds = np.log2(counts[:, place] / (counts.sum(axis=1) - counts[:, place]))
        fit = sm.MixedLM(odds, design.matrix.to_numpy(), groups=units[group].to_numpy()).fit(reml=True)
        assert table.loc[name, "share_log2_odds"] == pytest.approx(fit.fe_params @ weights, rel=5e-3, abs=2e-4)
        # The normal test of statsmodels takes the variances for known.
        assert table.loc[name, "share_p_value"] >= float(np.squeeze(fit.t_test(weights[None, :]).pvalue)) * 0.99


@pytest.mark.parametrize(
    ("samples", "question", "random"),
    [
        (in_pools(6), {"formula": "~ sex + age", **AGE}, "donor"),
        (of_persons(7), {"formula": "~ visit", "test_term": "visit", "min_samples": 6}, "run"),
    ],
    ids=["donors of one sample", "runs of whole donors, who are terms"],
)
def test_a_term_that_the_design_has_already_changes_nothing_and_a_note_says_so(samples, question, random):
    with_term = question | {"formula": f"{question['formula']} + (1 | {random})"}
    plain, own = (compare_donors(samples, IDS, **one) for one in (question, with_term))
    pd.testing.assert_frame_equal(plain[1], own[1], check_exact=True)
    assert own[2]["notes"][-1].startswith(f"(1 | {random}): ") and own[2]["notes"][-1].endswith("it adds nothing")


def test_a_pool_of_samples_is_random_beside_the_donors():
    samples = of_persons(8)
    asked = {"test_term": "visit", "min_samples": 6}
    plain, own = (
        compare_donors(samples, IDS, formula=formula, **asked) for formula in ("~ visit", "~ visit + (1 | clinic)")
    )
    assert "(1 | clinic): 3 levels in 32 samples" in own[2]["notes"][-1]
    assert not plain[1]["p_value"].equals(own[1]["p_value"])


@pytest.mark.parametrize(
    ("samples", "question", "reason"),
    [
        (in_pools(9, n_pools=2), POOLS | {"formula": "~ site + (1 | pool)"}, "no level is to spare"),
        (of_persons(9), {"formula": "~ sex + (1 | clinic)", "test_term": "sex", "min_samples": 6}, "'clinic' differs"),
        (in_pools(9).assign(pool="one"), POOLS | {"formula": "~ site + (1 | pool)"}, "1 levels in 40 samples"),
    ],
    ids=["a pool for each site", "sums of several clinics", "one pool"],
)
def test_a_random_term_that_cannot_be_told_is_refused_and_not_left_out(samples, question, reason):
    with pytest.raises(CannotFit, match=reason):
        compare_donors(samples, IDS, **question)
