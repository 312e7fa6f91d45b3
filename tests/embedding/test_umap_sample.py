"""The sample of the UMAP: bounded, the same each time, every cell type in it, no donor over the others."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.embedding.map_sample import COLUMNS, FEWEST, N_CELLS, drawn_rows, sample_table


def kinds(**sizes):
    """Cells sorted by type, as a file sorted by donor is by donor."""
    return pd.Series(np.repeat(list(sizes), list(sizes.values())))


def everywhere(cell_types):
    return np.ones(len(cell_types), dtype=bool)


def test_a_small_cohort_is_drawn_whole_and_a_large_one_is_bounded():
    few, many = kinds(T=300, B=100), kinds(T=60_000, B=40_000)
    assert sorted(drawn_rows(few, everywhere(few))) == list(range(400))
    rows = drawn_rows(many, everywhere(many))
    assert len(rows) == len(set(rows)) == N_CELLS


def test_the_same_cells_give_the_same_rows():
    types = kinds(T=60_000, B=40_000)
    assert (drawn_rows(types, everywhere(types)) == drawn_rows(types.astype("category"), everywhere(types))).all()


def test_every_cell_type_is_drawn_and_common_ones_in_their_proportion():
    types = kinds(T=60_000, B=30_000, pDC=30, rare=3)
    drawn = types.iloc[drawn_rows(types, everywhere(types))].value_counts()
    assert drawn["rare"] == 3 and FEWEST <= drawn["pDC"] <= FEWEST + 2
    assert drawn["T"] / drawn["B"] == pytest.approx(2, rel=0.1)


def test_many_cell_types_leave_half_of_the_sample_to_chance():
    types = pd.Series(np.repeat([f"type {i}" for i in range(500)], 100))
    drawn = types.iloc[drawn_rows(types, everywhere(types))].value_counts()
    assert len(drawn) == 500 and drawn.sum() == N_CELLS and drawn.min() >= 4
    types = pd.Series([f"type {i}" for i in range(5000)])
    assert len(drawn_rows(types, everywhere(types))) == N_CELLS


def test_cells_are_in_random_order_so_that_none_is_drawn_over_the_others():
    types = kinds(T=60_000, B=40_000)
    rows = drawn_rows(types, everywhere(types))
    assert abs(np.corrcoef(rows, np.arange(len(rows)))[0, 1]) < 0.05
    # Also the cells that are there for their type's sake.
    types = kinds(T=50_000, pDC=25)
    places = np.flatnonzero(drawn_rows(types, everywhere(types)) >= 50_000)
    assert len(places) >= FEWEST and 0.2 < places.mean() / N_CELLS < 0.8


def test_far_cells_are_left_out_but_a_type_that_lies_far_off_is_not():
    types = kinds(T=1000, platelet=5)
    inside = everywhere(types)
    inside[[0, 1, *range(1000, 1005)]] = False
    assert sorted(drawn_rows(types, inside)) == list(range(2, 1005))


def test_a_cohort_without_cells_gives_an_empty_table():
    cells = pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS[2:]})
    table = sample_table(np.zeros((0, 2)), cells, {}, pd.DataFrame(), inside=np.zeros(0, dtype=bool))
    assert list(table.columns) == list(COLUMNS) and table.empty
