"""A shard's quality control is found again in the published table of all cells."""

import pandas as pd
import pytest

import kept_cells
from immune_aging.task.checkpoints import read_parquet, write_h5ad, write_parquet
from immune_aging.task.command_line import BadInput
from small_cohorts import shard_of, small_cohort


@pytest.fixture
def parted(tmp_path):
    """Two shards of a cohort, the quality control of each, and that of all cells as it is published."""
    whole = shard_of(small_cohort(donors=6))
    tables = []
    for i, donors in enumerate((["D00", "D01", "D02"], ["D03", "D04", "D05"])):
        shard = whole[whole.obs["donor_id"].isin(donors)].copy()
        write_h5ad(shard, tmp_path / f"shard-{i}.h5ad")
        rows = {
            "cell_id": shard.obs_names,
            "donor_id": shard.obs["donor_id"].astype(str).to_numpy(),
            "kept": True,
            "reason": "",
        }
        tables.append(pd.DataFrame(rows).assign(n_counts=range(len(shard))))
        write_parquet(tables[-1], tmp_path / f"{i}.parquet")
    write_parquet(pd.concat(tables, ignore_index=True), tmp_path / "cells.parquet")
    return tmp_path


def take(folder, shard):
    kept_cells.main(
        ["--shard", str(folder / shard), "--cells", str(folder / "cells.parquet"), "--output", str(folder / "own.parquet"),
         "--versions", str(folder / "v.json")]
    )  # fmt: skip
    return folder / "own.parquet"


@pytest.mark.parametrize("i", [0, 1])
def test_a_shard_gets_its_own_rows_in_its_order(parted, i):
    assert take(parted, f"shard-{i}.h5ad").read_bytes() == (parted / f"{i}.parquet").read_bytes()


@pytest.mark.parametrize("change", ["a cell less", "another name", "another order"])
def test_a_table_of_other_cells_is_refused(parted, change):
    cells = read_parquet(parted / "cells.parquet")
    if change == "a cell less":
        cells = cells.drop(index=3)
    elif change == "another name":
        cells.loc[3, "cell_id"] = "x"
    else:
        cells = cells.iloc[::-1]
    write_parquet(cells, parted / "cells.parquet")
    with pytest.raises(BadInput, match=r"cells\.parquet: "):
        take(parted, "shard-0.h5ad")
