"""Donors in two cohorts are found by their names or by their samples' cells and counts, and not by chance."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.samples.shared_donors import note_on_shared, shared_donors


def samples(donors, *, seed: int, n_types: int = 4) -> pd.DataFrame:
    """A samples.tsv of donors of 100 to 200 cells and 200,000 to 400,000 counts per sample."""
    rng = np.random.default_rng(seed)
    rows = [(f"type_{number}|{donor}", donor) for donor in donors for number in range(n_types)]
    table = pd.DataFrame(rows, columns=["sample_id", "donor_id"])
    n_cells = rng.integers(100, 200, len(table))
    return table.assign(n_cells=n_cells, n_counts=n_cells * 2000 + rng.integers(0, 2000, len(table)))


def test_a_donor_is_found_under_another_name_by_cells_and_counts():
    one, other = samples("abc", seed=1), samples(["x1", "x2"], seed=2)
    other.loc[other["donor_id"] == "x2", ["n_cells", "n_counts"]] = one.loc[
        one["donor_id"] == "b", ["n_cells", "n_counts"]
    ].to_numpy()
    found = shared_donors(one, other)
    assert found.to_dict("records") == [
        {"donor_id": "b", "other_donor_id": "x2", "how": "counts", "n_equal_samples": 4}
    ]
    assert note_on_shared(found, "aida").startswith("1 donors are also in aida, by the cells and counts")


@pytest.mark.parametrize(("same", "how"), [(True, "name and counts"), (False, "name")])
def test_equal_names_are_told_from_equal_samples(same, how):
    one = samples(["1", "2"], seed=1)
    found = shared_donors(one, samples(["2", "3"], seed=2) if not same else one[one["donor_id"] == "2"])
    assert found[["donor_id", "other_donor_id", "how"]].to_numpy().tolist() == [["2", "2", how]]
    assert ("if they are the same persons" in note_on_shared(found, "x")) != same


def test_numbers_as_names_are_text():
    one = samples(["1", "2"], seed=1).assign(donor_id=lambda table: table["donor_id"].astype(int))
    assert len(shared_donors(one, samples(["1", "2"], seed=2))) == 2


def test_large_cohorts_without_common_donors_share_none_by_chance():
    """A thousand donors each: a few samples have the same numbers, no two of one donor."""
    one = samples([f"a{i}" for i in range(1000)], seed=1, n_types=8)
    other = samples([f"b{i}" for i in range(1000)], seed=2, n_types=8)
    chance = one.merge(other, on=["n_cells", "n_counts"])
    assert len(chance) > 100 and len(shared_donors(one, other)) <= 2


def test_a_donor_of_one_sample_needs_many_counts():
    one = pd.DataFrame({"sample_id": ["t|a"], "donor_id": ["a"], "n_cells": [20], "n_counts": [40_000]})
    assert not len(shared_donors(one, one.assign(donor_id="b")))
    assert len(shared_donors(one.assign(n_counts=400_000), one.assign(donor_id="b", n_counts=400_000))) == 1


def test_tables_without_numbers_of_cells_are_compared_by_counts():
    one = samples("ab", seed=1).assign(n_cells=np.nan)
    assert list(shared_donors(one, samples("ab", seed=1).assign(donor_id="c"))["how"]) == ["counts", "counts"]


def test_cohorts_that_share_no_donor_have_no_note():
    assert note_on_shared(shared_donors(samples("ab", seed=1), samples("cd", seed=2)), "x") == ""
