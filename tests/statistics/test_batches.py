"""A batch enters the default design where it helps, and the reason is said either way."""

import re

import numpy as np
import pandas as pd
import pytest

from immune_aging.statistics.batches import choose_batches
from immune_aging.statistics.designs import build_design
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

DEFAULT = {"formula": "~ sex + age", "test_term": "age"}


def samples(n: int = 80, n_pools: int = 10, column: str = "pool") -> pd.DataFrame:
    """Donors whose age and sex have nothing to do with their pool."""
    rng = np.random.default_rng(3)
    index = [f"s{i:03d}" for i in range(n)]
    columns = {
        "donor_id": index,
        "age_years": rng.uniform(20, 90, n),
        "sex": rng.choice(["female", "male"], n),
        column: [f"p{i % n_pools}" for i in range(n)],
    }
    return pd.DataFrame(columns, index=index)


def test_pools_of_enough_samples_enter():
    found = choose_batches(samples(), **DEFAULT)
    assert (found.column, found.use) == ("pool", "fixed")
    assert "80 samples in 10 levels" in found.reason


def test_75_pools_of_982_donors_enter_also_where_they_hold_most_of_the_ages_variance():
    table = samples(982, 75)
    assert choose_batches(table, **DEFAULT).use == "fixed"
    older = table["pool"].str[1:].astype(int)
    for share, use in ((0.3, "fixed"), (0.02, "none")):
        ages = 40 + older + np.sqrt(share / (1 - share)) * older.std() * np.random.default_rng(1).normal(size=982)
        found = choose_batches(table.assign(age_years=ages), **DEFAULT)
        assert found.use == use and found.reason.startswith("confounded"), found


def test_known_names_are_found_and_none_is_none():
    assert choose_batches(samples(column="pool_number"), **DEFAULT).column == "pool_number"
    assert choose_batches(samples(column="site"), **DEFAULT).column == ""
    assert choose_batches(samples(column="site"), **DEFAULT, column="site").use == "fixed"
    assert choose_batches(samples(), **DEFAULT, column="none").use == "none"


@pytest.mark.parametrize(
    ("table", "use", "reason"),
    [
        (samples(40, 5), "random", "40 samples in 5 levels: with fewer than 45"),
        (samples(40, 29), "none", "40 samples in 29 levels: with fewer than 45"),
        (samples(80, 20), "random", "80 samples in 20 levels: with fewer than 5 samples a level"),
        (samples(1100, 110), "none", "1100 samples in 110 levels: with more than 100 levels"),
        (samples(80, 1), "none", "all samples are of one 'pool'"),
        (samples().assign(pool=[None] * 3 + ["a", "b", "c"] * 25 + ["a"] * 2), "none", "unknown for 3 of 80"),
        (samples().assign(pool=samples()["sex"] + "s"), "random", "confounded: design '~ sex .* 'pool' follows"),
        (samples().assign(pool=(samples()["age_years"] // 10).astype(str)), "random", "confounded: .* of 'age' within"),
    ],
)
def test_a_pool_that_would_do_harm_is_no_fixed_term_and_the_reason_is_said(table, use, reason):
    found = choose_batches(table, **DEFAULT)
    assert (found.column, found.use) == ("pool", use)
    assert re.search(reason, found.reason), found.reason


def test_a_design_of_the_users_own_is_taken_as_it_is_unless_told():
    own = {"formula": "~ age", "test_term": "age"}
    assert choose_batches(samples(), **own).use == "none"
    assert choose_batches(samples(), **own, effect="fixed").use == "fixed"
    assert choose_batches(samples(), **own, effect="random").use == "random"
    inside = choose_batches(samples(), formula="~ pool + age", test_term="age", effect="fixed")
    assert (inside.use, inside.reason) == ("none", "'pool' is in the design already")


def test_the_pool_that_was_asked_for_must_be_there():
    with pytest.raises(BadInput, match=r"--pool_column 'site': is no donor column; there are: .*pool"):
        choose_batches(samples(), **DEFAULT, column="site")


def test_a_pool_that_varies_within_donors_stays_out_or_skips_where_it_was_asked_for():
    table = samples(column="other").assign(varies_within_donor='["site"]')
    assert "varies within donors" in choose_batches(table, **DEFAULT, column="site").reason
    with pytest.raises(CannotFit, match="'site' of the design varies within donor 's000'"):
        choose_batches(table, **DEFAULT, column="site", effect="fixed")


def test_a_pool_unrelated_to_age_leaves_the_information_on_age():
    from immune_aging.statistics.batches import information_kept

    table = samples(400, 8)
    kept = information_kept(build_design(table), build_design(table, batch="pool"))
    assert kept == pytest.approx(1, abs=0.05)


def test_choosing_changes_nothing():
    table = samples()
    before = table.copy(deep=True)
    choose_batches(table, **DEFAULT)
    pd.testing.assert_frame_equal(table, before)
