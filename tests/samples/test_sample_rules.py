"""Which samples are used: those with enough cells, and not much shallower than the others of their cell type."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immune_aging.samples.sample_rules import (
    final_cell_types,
    mark_samples,
    reasons_to_leave_out,
    samples_of_cells,
    too_shallow,
)

RULES = {"min_cells": 10, "min_depth_share": 0.1}
FEW = "fewer than 10 cells"
SHALLOW = "fewer counts than 0.1 times the median sample's"
NONE = "no counts"
TOTALS = st.lists(st.integers(0, 10**7), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=float))


def test_a_sample_below_a_tenth_of_the_median_is_left_out_at_any_size_of_panel():
    totals = np.array([90.0, 100, 101, 8, 0, 10.1])
    assert too_shallow(totals, min_share=0.1).tolist() == [False, False, False, True, True, False]
    assert too_shallow(1000 * totals, min_share=0.1).tolist() == too_shallow(totals, min_share=0.1).tolist()
    assert too_shallow(totals, min_share=0).tolist() == [False, False, False, False, True, False]


def test_empty_samples_do_not_lower_the_median_and_a_table_of_them_is_left_out_whole():
    totals = np.array([0.0, 0, 0, 5, 100, 100])
    assert too_shallow(totals, min_share=0.1).tolist() == [True, True, True, True, False, False]
    assert too_shallow(np.zeros(3), min_share=0.1).all()


@given(TOTALS, st.floats(0, 1), st.integers(0, 5))
def test_what_is_kept_reaches_the_share_and_empty_samples_change_nothing_for_the_others(totals, share, n_empty):
    shallow = too_shallow(totals, min_share=share)
    assert shallow[totals == 0].all() and not too_shallow(totals, min_share=0)[totals > 0].any()
    if (totals > 0).any():
        assert ((totals[~shallow]) >= share * np.median(totals[totals > 0])).all()
        assert not shallow[totals == totals.max()].any(), "the deepest sample always stays"
    more = np.concatenate([totals, np.zeros(n_empty)])
    assert too_shallow(more, min_share=share).tolist() == [*shallow, *[True] * n_empty]
    assert (too_shallow(totals, min_share=share / 2) <= shallow).all(), "a lower share never takes more samples"


@pytest.mark.parametrize(
    ("n_cells", "n_counts", "rules", "reasons"),
    [
        ([20, 20, 20], [100, 100, 9], {}, ["", "", SHALLOW]),
        ([20, 20, 20], [100, 100, 0], {}, ["", "", NONE]),
        ([20, 20, 9], [100, 100, 0], {}, ["", "", FEW]),
        ([20, 20, 9], [100, 100, 9], {}, ["", "", FEW]),
        # The deep samples of few cells do not count for the median: else the 9 would be left out.
        ([20, 20, 9, 9, 9], [9, 10, 999, 999, 999], {}, ["", "", FEW, FEW, FEW]),
        ([np.nan] * 4, [100, 100, 9, 0], {}, ["", "", SHALLOW, NONE]),
        ([np.nan, 20, 9], [100, 100, 100], {}, ["", "", FEW]),
        ([20, 20, 20], [100, 100, 9], {"min_depth_share": 0.0}, ["", "", ""]),
        ([20, 20, 20], [100, 100, 0], {"min_depth_share": 0.0}, ["", "", NONE]),
        ([20, 20, 20], [100, 100, 40], {"min_depth_share": 0.5},
         ["", "", "fewer counts than 0.5 times the median sample's"]),
        ([20, 20], [0, 0], {}, [NONE, NONE]),
        ([9, 9], [100, 100], {}, [FEW, FEW]),
        ([], [], {}, []),
    ],
)  # fmt: skip
def test_each_sample_that_is_left_out_has_its_reason(n_cells, n_counts, rules, reasons):
    samples = pd.DataFrame({"cell_type": "T", "n_cells": n_cells, "n_counts": n_counts})
    before = samples.copy(deep=True)
    assert reasons_to_leave_out(samples, **(RULES | rules)).tolist() == reasons
    pd.testing.assert_frame_equal(samples, before)


def test_each_cell_type_is_judged_by_its_own_median_in_any_order():
    samples = pd.DataFrame(
        {
            "cell_type": ["deep", "shallow"] * 3, "n_cells": 50,
            "n_counts": [10_000, 100, 9_000, 90, 899, 80],
        }
    )  # fmt: skip
    expected = pd.Series(["", "", "", "", SHALLOW, ""])
    assert reasons_to_leave_out(samples, **RULES).tolist() == expected.tolist()
    order = np.random.default_rng(0).permutation(len(samples))
    assert reasons_to_leave_out(samples.iloc[order], **RULES).tolist() == expected[order].tolist()
    assert reasons_to_leave_out(samples.astype({"cell_type": "category"}), **RULES).tolist() == expected.tolist()


def test_a_sample_of_unknown_size_is_used_and_an_unknown_type_is_not():
    samples = pd.DataFrame(
        {"cell_type": ["T", "T", "T", "T", "X"], "n_cells": [10, 9, np.nan, 30, 50], "n_counts": [90, 90, 90, 8, 90]}
    )
    types = pd.DataFrame({"cell_type": ["T"], "kept": [True]})
    marked = mark_samples(samples, types, **RULES)
    assert marked["reason"].tolist() == ["", FEW, "", SHALLOW, "cell type not kept"]
    assert marked["kept"].tolist() == [True, False, True, False, False]
    assert "kept" not in samples, "the argument is not changed"


def cells_of(rows):
    """A table of cells from (donor, cell type, counts of each cell, number, kept)."""
    labels = [(d, t, counts, kept) for d, t, counts, n, kept in rows for _ in range(n)]
    return pd.DataFrame(labels, columns=["donor_id", "cell_type", "n_counts", "kept"])


CELLS = cells_of(
    [("D0", "T", 100, 20, True), ("D0", "T", 9999, 5, False), ("D1", "T", 100, 30, True), ("D2", "T", 5, 12, True),
     ("D3", "T", 100, 9, True), ("D0", "B", 0, 40, True), ("D1", "B", 10, 40, False)]
)  # fmt: skip


def test_the_samples_are_known_from_their_kept_cells_before_anything_is_summed():
    samples = samples_of_cells(CELLS, **RULES).set_index(["cell_type", "donor_id"])
    assert samples.index.tolist() == [("B", "D0"), ("T", "D0"), ("T", "D1"), ("T", "D2"), ("T", "D3")]
    assert samples["n_cells"].tolist() == [40, 20, 30, 12, 9]
    assert samples["n_counts"].tolist() == [0, 2000, 3000, 60, 900]
    assert samples["reason"].tolist() == [NONE, "", "", SHALLOW, FEW]


@pytest.mark.parametrize(
    ("min_samples", "kept", "reason"),
    [(2, True, ""), (3, False, "2 samples of 10 cells after quality control, 1 more with too few counts")],
)
def test_a_cell_type_needs_enough_samples_that_both_rules_leave(min_samples, kept, reason):
    types = pd.DataFrame(
        {"id": ["b", "t", "x"], "cell_type": ["B", "T", "X"], "n_cells": 9, "n_donors": 3, "kept": [True, True, False],
         "reason": ["", "", "before"]}
    )  # fmt: skip
    found = final_cell_types(types, samples_of_cells(CELLS, **RULES), min_cells=10, min_samples=min_samples).set_index(
        "id"
    )
    assert found["n_samples"].tolist() == [0, 2, 0]
    assert (found.loc["t", "kept"], found.loc["t", "reason"]) == (kept, reason)
    assert found.loc["b", "reason"] == "0 samples of 10 cells after quality control, 1 more with too few counts"
    assert found.loc["x", "reason"] == "before"
