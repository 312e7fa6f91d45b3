"""Quality control of all shards together: losses add up, and cell types are judged by the samples that are left."""

import numpy as np
import pandas as pd
import pytest

import merge_qc
from immune_aging.cells.qc_rules import RULES
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv, write_json, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_bounds, default_options


def cells_of(rows):
    """A table of cells from (donor, cell type, reason, number)."""
    labels = [(d, t, r) for d, t, r, n in rows for _ in range(n)]
    table = pd.DataFrame(labels, columns=["donor_id", "cell_type", "reason"])
    return table.assign(
        cell_id=[f"{d}-{i}" for i, (d, _, _) in enumerate(labels)],
        n_counts=1000,
        kept=table["reason"] == "",
        is_doublet=table["reason"].str.contains("doublet"),
        doublet_score=np.where(table["donor_id"] == "D2", np.nan, 0.1),
    )


def run(shards, folder, *options):
    types = pd.DataFrame(
        {"id": ["b", "t"], "cell_type": ["B", "T"], "n_cells": 9, "n_donors": 3, "kept": [True, True], "reason": ""}
    )
    write_parquet(types, folder / "types.parquet")
    for i, shard in enumerate(shards):
        write_parquet(shard, folder / f"{i}.parquet")
        how = {
            donor: "not scored: fewer than 100 cells" if donor == "D2" else "scrublet"
            for donor in shard["donor_id"].unique()
        }
        bounds = {name: [low, low + i] for name, low in vars(default_bounds()).items()}
        rates = dict.fromkeys(how, 0.06)
        summary = {"donors": how, "notes": ["a note"], "thresholds": bounds, "expected_doublet_rates": rates}
        write_json(summary, folder / f"{i}.json")
    tables, summaries = ([str(folder / f"{i}.{kind}") for i in range(len(shards))] for kind in ("parquet", "json"))
    merge_qc.main(
        [*default_options("merge_qc"), "--cells", *tables[::-1], "--summaries", *summaries, "--cell-types", str(folder / "types.parquet"), "--output",
         str(folder / "p"), "--versions", str(folder / "v.json"), "--min-samples-per-type", "2", *options]
    )  # fmt: skip
    return folder / "p"


@pytest.fixture
def shards():
    return [
        cells_of(
            [("D0", "B", "", 12), ("D0", "T", "", 30), ("D0", "T", "doublet", 4), ("D0", "T", "too few genes", 3)]
        ),
        cells_of(
            [
                ("D1", "B", "", 9),
                ("D1", "T", "", 25),
                ("D2", "T", "too few genes; too few counts", 5),
                ("D2", "T", "", 10),
            ]
        ),
    ]


def test_losses_add_up_and_each_cell_counts_once(shards, tmp_path):
    folder = run(shards, tmp_path)
    summary = read_tsv(folder / "qc/summary.tsv").set_index("rule")
    assert summary.loc["too few genes"].tolist() == [8, 3]
    assert summary.loc["several rules", "alone"] == 5 and summary.loc["all", "cells"] == 98
    parts = summary.drop(index=["all"])["alone"].sum()
    assert parts == summary.loc["all", "alone"] == 98
    funnel = read_json(folder / "qc/qc.json")["cells"]
    assert funnel["input"] == funnel["kept"] + sum(funnel["lost"].values())


def test_each_rule_is_counted_alone_only_and_with_others(shards, tmp_path):
    folder = run(shards, tmp_path)
    table = read_tsv(folder / "qc/rules.tsv").set_index("rule")
    assert table.index.tolist() == [*RULES, "any rule"]
    assert table.loc["too few genes", ["alone", "only", "with_others"]].tolist() == [8, 3, 5]
    assert table.loc["too few counts", ["alone", "only", "with_others"]].tolist() == [5, 0, 5]
    assert table.loc["any rule", ["alone", "only"]].tolist() == [12, 7]
    assert table.loc["any rule", "percent"] == pytest.approx(100 * 12 / 98, rel=1e-5)
    assert (
        table.loc["too few genes", "threshold"] == "< 200 to 201"
        and table.loc["doublet", "threshold"] == "doublet score"
    )
    assert table.loc["high mitochondrial share", "threshold"] == "> 20 to 21 %"


def test_combinations_of_rules_hold_every_cell_once(shards, tmp_path):
    table = read_tsv(run(shards, tmp_path) / "qc/rule_combinations.tsv")
    assert table["rules"].tolist() == ["none", "doublet", "too few genes", "too few genes; too few counts"]
    assert table["cells"].tolist() == [86, 4, 3, 5] and table["n_rules"].tolist() == [0, 1, 1, 2]


def test_cells_of_all_shards_are_in_the_order_of_the_shards(shards, tmp_path):
    cells = read_parquet(run(shards, tmp_path) / "qc/cells.parquet")
    assert cells["cell_id"].tolist() == [name for shard in shards for name in shard["cell_id"]]


def test_cell_types_are_kept_by_samples_that_are_left(shards, tmp_path):
    types = read_tsv(run(shards, tmp_path) / "cohort/cell_types.tsv").set_index("id")
    assert types["n_samples"].to_dict() == {"b": 1, "t": 3}
    assert types["kept"].to_dict() == {"b": False, "t": True}
    assert types.loc["b", "reason"] == "1 samples of 10 cells after quality control"


@pytest.mark.parametrize(
    ("of_d2", "options", "n_samples"),
    [
        (1000, [], 3),
        (0, [], 2),
        (100, [], 2),
        (100, ["--min-depth-share", "0.03"], 3),
        (0, ["--min-depth-share", "0"], 2),
    ],
)
def test_a_sample_of_few_counts_is_none_of_its_cell_types_samples(shards, tmp_path, of_d2, options, n_samples):
    """D2 has 10 kept T cells beside 30 and 25: with 100 counts a cell, 1,000 beside the median's 25,000."""
    shards[1].loc[shards[1]["donor_id"] == "D2", "n_counts"] = of_d2
    types = read_tsv(run(shards, tmp_path, *options) / "cohort/cell_types.tsv").set_index("id")
    assert types.loc["t", "n_samples"] == n_samples and types.loc["t", "kept"]
    strict = run(shards, tmp_path, *options, "--min-samples-per-type", "3")
    types = read_tsv(strict / "cohort/cell_types.tsv").fillna({"reason": ""}).set_index("id")
    assert types.loc["t", "kept"] == (n_samples == 3)
    few = "2 samples of 10 cells after quality control, 1 more with too few counts"
    assert types.loc["t", "reason"] == ("" if n_samples == 3 else few)


def test_unscored_donors_are_named(shards, tmp_path):
    folder = run(shards, tmp_path)
    doublets = read_tsv(folder / "qc/doublets.tsv").set_index("donor_id")
    assert doublets.loc["D0", ["n_cells", "n_scored", "n_doublets", "how", "expected_rate"]].tolist() == [
        49, 49, 4, "scrublet", 0.06,
    ]  # fmt: skip
    assert doublets.loc["D2", "how"].startswith("not scored")
    assert read_json(folder / "qc/qc.json")["notes"] == [
        "a note",
        "1 of 3 donors were not scored for doublets: see qc/doublets.tsv",
    ]


def test_no_cell_left_names_the_rule_that_took_most(tmp_path):
    shard = cells_of([("D0", "B", "too few genes", 12), ("D0", "T", "doublet", 1)])
    with pytest.raises(BadInput, match="none of 13 cells is left; 12 had too few genes"):
        run([shard], tmp_path)
