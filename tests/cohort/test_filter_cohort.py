"""The cohort filter keeps what the stated rules keep, and every cell and donor that goes is counted with its reason."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filter_cohort
from immune_aging.cohort import filtering
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options

COMMON = ["--analysed-donors", "common", "--min-donor-fraction", "0.9"]


def cohort(counts: dict[tuple[str, str], int], ages: dict[str, float]):
    """Cells and donors from the number of cells of each donor and cell type."""
    labels = [pair for pair, n in counts.items() for _ in range(n)]
    cells = pd.DataFrame(labels, columns=["donor_id", "cell_type"])
    cells.insert(0, "cell_id", [f"c{i}" for i in range(len(cells))])
    cells.insert(0, "row", np.arange(len(cells)))
    donors = pd.DataFrame({"donor_id": list(ages), "age_years": list(ages.values()), "sex": "female"})
    return cells, donors


def run(cells, donors, folder, *options):
    """Run the step; returns kept cells, donors, cell types and the funnel."""
    write_parquet(cells, folder / "cells.parquet")
    write_parquet(donors, folder / "donors.parquet")
    outputs = {
        "cells": "k.parquet",
        "dropped": "o.parquet",
        "cell-types": "t.parquet",
        "donors": "d.tsv",
        "summary": "s.json",
    }
    arguments = [part for name, file in outputs.items() for part in (f"--output-{name}", str(folder / file))]
    filter_cohort.main(
        [*default_options("filter_cohort"), "--cells", str(folder / "cells.parquet"), "--donors", str(folder / "donors.parquet"), *arguments,
         "--versions", str(folder / "v.json"), *options]
    )  # fmt: skip
    kept, types = read_parquet(folder / "k.parquet"), read_parquet(folder / "t.parquet")
    return kept, read_tsv(folder / "d.tsv"), types, read_json(folder / "s.json")


@pytest.fixture
def mixed():
    counts = {(f"D{d:02d}", "T"): 30 for d in range(20)} | {(f"D{d:02d}", "B"): 12 for d in range(20)}
    counts |= {("D00", "rare"): 15, ("D01", "rare"): 3}
    counts |= {("D02", "B"): 0, ("small", "T"): 2, ("ageless", "T"): 40, ("ageless", "B"): 40}
    ages = {f"D{d:02d}": 30.0 + d for d in range(20)} | {"small": 50.0, "ageless": np.nan}
    return cohort(counts, ages)


def test_donors_and_types_are_kept_by_the_stated_rules(mixed, tmp_path):
    kept, donors, types, _ = run(*mixed, tmp_path, *COMMON)
    reasons = donors.set_index("donor_id")["reason"]
    assert reasons["ageless"] == "age unknown"
    assert reasons["small"].startswith("fewer than")
    assert reasons["D02"] == "no B"
    assert sorted(donors.loc[donors["kept"], "donor_id"]) == sorted({f"D{d:02d}" for d in range(20)} - {"D02"})
    assert types.set_index("cell_type")["kept"].to_dict() == {"B": True, "T": True, "rare": False}
    assert types.set_index("cell_type").loc["rare", "reason"] == "10 cells in only 1 of 20 donors"
    assert set(kept["donor_id"]) == set(donors.loc[donors["kept"], "donor_id"])


def test_the_funnel_adds_up(mixed, tmp_path):
    cells, donors = mixed
    cells.loc[:4, "cell_type"] = None
    cells.loc[5:6, "donor_id"] = None
    kept, donor_rows, _, funnel = run(cells, donors, tmp_path, *COMMON)
    for part in ("cells", "donors", "cell_types"):
        assert funnel[part]["input"] == funnel[part]["kept"] + sum(funnel[part]["lost"].values()), part
    assert (
        funnel["cells"]["input"] == len(cells)
        and funnel["cells"]["kept"] == len(kept) == donor_rows["n_cells_kept"].sum()
    )
    assert funnel["cells"]["lost"]["no cell type"] == 5 and funnel["cells"]["lost"]["no donor"] == 2
    assert funnel["cells"]["lost"]["donor left out: age unknown"] == 80
    dropped = read_parquet(tmp_path / "o.parquet")
    assert sorted([*kept["cell_id"], *dropped["cell_id"]]) == sorted(cells["cell_id"])
    assert dropped["reason"].value_counts().to_dict() == funnel["cells"]["lost"]


def test_ninety_five_percent_of_twenty_donors_is_nineteen():
    table = pd.DataFrame({"a": [10] * 19 + [9], "b": [10] * 18 + [9] * 2})
    assert filtering.choose_cell_types(table, min_cells=10, min_fraction=0.95).to_dict() == {"a": True, "b": False}


def test_no_surviving_cell_type_names_the_nearest_and_the_remedy(mixed, tmp_path):
    with pytest.raises(BadInput, match=r"no cell type has 50 cells in 95 % .*--min_cells_per_type"):
        run(*mixed, tmp_path, "--analysed-donors", "common", "--min-cells-per-type", "50")


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(50, 2000))
def test_shards_hold_whole_consecutive_donors_and_none_is_empty(sizes, cells_per_shard):
    n_cells = pd.Series(sizes, index=[f"D{i:03d}" for i in range(len(sizes))]).sample(frac=1, random_state=0)
    shards = filtering.plan_shards(n_cells, cells_per_shard=cells_per_shard)
    assert shards.index.tolist() == sorted(n_cells.index)
    assert (np.diff(shards) >= 0).all() and sorted(set(shards)) == list(range(shards.max() + 1))
    assert n_cells.groupby(shards).sum().max() <= 2 * cells_per_shard + max(sizes)


def test_the_order_of_cells_in_the_file_does_not_matter(mixed, tmp_path):
    cells, donors = mixed
    one = run(cells, donors, tmp_path, *COMMON)[0]
    other = run(cells.sample(frac=1, random_state=1), donors, tmp_path, *COMMON)[0]
    columns = ["cell_id", "shard"]
    pd.testing.assert_frame_equal(
        one.sort_values("cell_id")[columns].reset_index(drop=True),
        other.sort_values("cell_id")[columns].reset_index(drop=True),
    )


def test_each_cell_type_keeps_its_cells_and_no_donor_goes_for_lack_of_one(mixed, tmp_path):
    kept, donors, types, funnel = run(*mixed, tmp_path)
    reasons = donors.set_index("donor_id")["reason"].fillna("")
    assert reasons["D02"] == "" and reasons["ageless"] == "age unknown" and reasons["small"].startswith("fewer than")
    assert types["kept"].all() and kept["cell_type"].value_counts()["rare"] == 18, "those of a donor of three as well"
    assert funnel["rules"] == {"donors": "each", "donor_percentile": 1, "min_cells_of_a_donor": pytest.approx(7.6)}
    assert sum(funnel["cell_types"]["lost"].values()) == 0


def test_a_share_of_donors_counts_where_it_is_given_and_takes_no_cell(mixed, tmp_path):
    whole = run(*mixed, tmp_path)[0]
    kept, donors, types, funnel = run(*mixed, tmp_path, "--min-donor-fraction", "0.5")
    assert types.set_index("cell_type")["kept"].to_dict() == {"B": True, "T": True, "rare": False}
    assert types.set_index("cell_type").loc["rare", "reason"] == "10 cells in only 1 of 20 donors"
    assert funnel["cell_types"]["lost"] == {"in too few donors": 1} and funnel["rules"]["min_donor_fraction"] == 0.5
    pd.testing.assert_frame_equal(kept, whole)
    assert donors.set_index("donor_id").loc["D02", "kept"]


def test_common_without_a_share_is_the_rule_of_the_reference_analysis(mixed, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    asked = run(*mixed, tmp_path / "one", "--analysed-donors", "common")
    named = run(*mixed, tmp_path / "two", "--analysed-donors", "common", "--min-donor-fraction", "0.95")
    for name in ("k.parquet", "o.parquet", "t.parquet", "d.tsv", "s.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert asked[3]["rules"]["min_donor_fraction"] == 0.95 and "donors" not in asked[3]["rules"]
    assert named[2].equals(asked[2])


def test_a_donor_without_any_labelled_cell_is_counted_and_one_line_says_that_no_donor_is_left(tmp_path):
    cells, donors = cohort({("a", "T"): 20, ("b", "T"): 20, ("c", "T"): 20}, {"a": 30.0, "b": 40.0, "c": 50.0})
    cells.loc[cells["donor_id"] == "b", "cell_type"] = None
    _, rows, _, funnel = run(cells, donors, tmp_path, "--donor-percentile", "0")
    assert rows.set_index("donor_id").loc["b", "reason"] == "no cell with a cell type"
    assert funnel["donors"] == {"input": 3, "lost": {"no cell with a cell type": 1}, "kept": 2}
    with pytest.raises(BadInput, match="no donor that is left has a cell with a cell type"):
        run(cells.assign(cell_type=None), donors, tmp_path, "--donor-percentile", "0")
