"""One variant of quality control: only what it changes changes, nothing is measured again, and losses add up."""

import numpy as np
import pandas as pd
import pytest

import merge_qc
import qc_cells
import qc_thresholds
import vary_qc
from immune_aging.cells import variants
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv, write_h5ad, write_parquet, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_bounds, default_options
from small_cohorts import shard_of, small_cohort

FLOORS = ["--min-genes", "5", "--min-counts", "370", "--max-pct-mito", "60", "--max-pct-hb", "60"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """Two shards with their quality control, donors, cell types."""
    folder = tmp_path_factory.mktemp("run")
    shard = shard_of(small_cohort(donors=4, cells_per_type=80, genes=150, seed=5))
    for i, names in enumerate((["D00", "D01"], ["D02", "D03"])):
        write_h5ad(shard[shard.obs["donor_id"].isin(names)].copy(), folder / f"d_shard-{i:03d}_step-split_counts.h5ad")
        qc_cells.main(
            [*default_options("qc_cells"), "--shard", str(folder / f"d_shard-{i:03d}_step-split_counts.h5ad"), *FLOORS, "--output",
             str(folder / f"d_shard-{i:03d}_step-qc_cells.parquet"), "--output-summary", str(folder / f"{i}.json"),
             "--versions", str(folder / "v.json")]
        )  # fmt: skip
    donors = pd.DataFrame({"donor_id": [f"D{i:02d}" for i in range(4)], "pool": ["a", "b", "a", "b"]})
    write_parquet(donors, folder / "donors.parquet")
    write_tsv(donors.assign(n_cells=160, kept=True, reason=""), folder / "donors.tsv")
    names = sorted(shard.obs["cell_type"].astype(str).unique())
    types = pd.DataFrame(
        {"id": ["b", "t"], "cell_type": names, "n_cells": 9, "n_donors": 4, "kept": True, "reason": ""}
    )
    write_parquet(types, folder / "types.parquet")
    return folder


def varied(run_folder, out, *changes, options=()):
    """Apply changes; returns the cells of all shards that are left, and the summary."""
    out.mkdir(exist_ok=True)
    paths = sorted(run_folder.glob("*_step-qc_cells.parquet"))
    vary_qc.main(
        [*default_options("vary_qc"), "--variant", "v", "--changes", *changes, "--cells", *map(str, paths[::-1]), "--shards", "shard-001", "shard-000",
         "--output-files", str(out / "files.tsv"), "--cell-types", str(run_folder / "types.parquet"), "--donors", str(run_folder / "donors.parquet"), *FLOORS,
         "--min-samples-per-type", "4", "--output", str(out), "--output-cell-types", str(out / "t.tsv"),
         "--output-summary", str(out / "s.json"), "--versions", str(out / "v.json"), *options]
    )  # fmt: skip
    tables = [read_parquet(path) for path in sorted(out.glob("*_step-qc_cells.parquet"))]
    return (pd.concat(tables, ignore_index=True) if tables else None), read_json(out / "s.json")


def cells_of(run_folder):
    return pd.concat(map(read_parquet, sorted(run_folder.glob("*_step-qc_cells.parquet"))), ignore_index=True)


def test_a_variant_that_changes_nothing_gives_the_same_files(run_folder, tmp_path):
    varied(run_folder, tmp_path, "doublets=drop")
    assert read_tsv(tmp_path / "files.tsv").values.tolist() == [
        ["shard-000", "d_shard-000_step-qc_cells.parquet"], ["shard-001", "d_shard-001_step-qc_cells.parquet"],
    ]  # fmt: skip
    for path in run_folder.glob("*_step-qc_cells.parquet"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    merge_qc.main(
        [*default_options("merge_qc"), "--cells", *map(str, run_folder.glob("*_step-qc_cells.parquet")), "--summaries", str(run_folder / "0.json"),
         str(run_folder / "1.json"), "--cell-types", str(run_folder / "types.parquet"), "--min-samples-per-type", "4",
         "--output", str(tmp_path / "p"), "--versions", str(tmp_path / "v.json")]
    )  # fmt: skip
    assert (tmp_path / "t.tsv").read_bytes() == (tmp_path / "p/cohort/cell_types.tsv").read_bytes()


@pytest.mark.parametrize(
    ("change", "options"), [("max_pct_mito=4", ["--max-pct-mito", "4"]), ("min_counts=400", ["--min-counts", "400"])]
)
def test_a_stricter_threshold_gives_the_reasons_of_a_run_with_it(run_folder, tmp_path, change, options):
    """But for the doublets, whose scores are those of the run."""
    cells, summary = varied(run_folder, tmp_path, change)
    shards = []
    for path in sorted(run_folder.glob("*_step-split_counts.h5ad")):
        qc_cells.main(
            [*default_options("qc_cells"), "--shard", str(path), *FLOORS, *options, "--output", str(tmp_path / "q.parquet"), "--output-summary",
             str(tmp_path / "q.json"), "--versions", str(tmp_path / "v.json")]
        )  # fmt: skip
        shards.append(read_parquet(tmp_path / "q.parquet"))
    anew, run = pd.concat(shards, ignore_index=True), cells_of(run_folder)

    def without(reasons):
        return reasons.str.replace("(; )?doublet", "", regex=True)

    assert (without(cells["reason"]) == without(anew["reason"])).all()
    assert (without(cells["reason"]) != without(run["reason"])).any()
    pd.testing.assert_series_equal(cells["doublet_score"], run["doublet_score"])
    assert (
        summary["n_kept"] == cells["kept"].sum() == run["kept"].sum() - summary["n_lost"] and summary["n_gained"] == 0
    )


def test_a_milder_threshold_gains_cells_without_a_score_and_counts_them(run_folder, tmp_path):
    cells, summary = varied(run_folder, tmp_path, "min_counts=0")
    run = cells_of(run_folder)
    gained = cells["kept"] & ~run["kept"]
    assert summary["n_gained"] == gained.sum() > 0 and summary["n_lost"] == 0
    assert summary["n_gained_without_doublet_score"] == cells.loc[gained, "doublet_score"].isna().sum() > 0


def test_doublets_can_be_kept_or_called_at_another_score(run_folder, tmp_path):
    run = cells_of(run_folder)
    kept, summary = varied(run_folder, tmp_path / "keep", "doublets=keep")
    assert (
        not kept["reason"].str.contains("doublet").any() and summary["n_gained"] == (run["reason"] == "doublet").sum()
    )


def test_another_score_calls_the_cells_above_it_and_none_without_a_score():
    cells = pd.DataFrame({"doublet_score": [0.1, 0.2, 0.3, np.nan], "is_doublet": [False, False, True, False]})
    assert variants.varied_doublets(cells, {"max_doublet_score": 0.15}).tolist() == [False, True, True, False]
    assert variants.varied_doublets(cells, {"min_genes": 3.0}).tolist() == [False, False, True, False]


def test_deviations_are_those_of_the_step_that_makes_thresholds(run_folder, tmp_path):
    cells, _ = varied(run_folder, tmp_path, "mad_cutoff=2", "min_counts=0", options=("--mad-group", "pool"))
    qc_thresholds.main(
        [*default_options("qc_thresholds"), "--shards", *map(str, run_folder.glob("*_step-split_counts.h5ad")), "--donors", str(run_folder / "donors.parquet"),
         "--donors-table", str(run_folder / "donors.tsv"), *FLOORS, "--min-counts", "0", "--mad-group", "pool",
         "--mad-cutoff", "2", "--output", str(tmp_path / "th.parquet"), "--output-table", str(tmp_path / "th.tsv"),
         "--versions", str(tmp_path / "v.json")]
    )  # fmt: skip
    low = cells["donor_id"].map(read_parquet(tmp_path / "th.parquet").set_index("donor_id")["min_counts"])
    assert (cells["reason"].str.contains("too few counts") == (cells["n_counts"] < low)).all()
    assert cells["reason"].str.contains("too few counts").any()


def test_a_changed_bound_replaces_the_donors_own_and_leaves_the_others(run_folder, tmp_path):
    table = pd.DataFrame(
        [{"donor_id": f"D{i:02d}", **vars(default_bounds(max_counts=300 + i, min_counts=i))} for i in range(4)]
    )
    cells = cells_of(run_folder)
    bounds = variants.varied_bounds(cells, {"min_counts": 7.0}, fixed=default_bounds(), table=table, groups=None)
    assert (bounds["min_counts"] == 7).all()
    assert (bounds["max_counts"] == 300 + cells["donor_id"].str[1:].astype(int)).all()


def test_a_variant_that_leaves_no_cell_writes_no_table_and_says_so(run_folder, tmp_path):
    cells, summary = varied(run_folder, tmp_path, "min_genes=1000")
    assert cells is None and summary["n_kept"] == 0
    assert (tmp_path / "files.tsv").read_text() == "id\tfile\n"
    types = read_tsv(tmp_path / "t.tsv")
    assert not types["kept"].any() and types["reason"].str.contains("0 samples of 10 cells").all()
    assert [entry["n_cells"] for entry in summary["cell_types"].values()] == [0, 0]


def test_sizes_are_the_samples_with_enough_cells(run_folder, tmp_path):
    cells, summary = varied(run_folder, tmp_path, "min_counts=430")
    sizes = cells[cells["kept"]].groupby(["cell_type", "donor_id"]).size()
    for entry in summary["cell_types"].values():
        own = sizes[entry["cell_type"]] if entry["cell_type"] in sizes else pd.Series(dtype=int)
        assert (entry["n_samples"], entry["n_cells"]) == ((own >= 10).sum(), own[own >= 10].sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("min_gene=3", "'min_gene' cannot be varied; there are: min_genes"),
        ("min_genes=few", "'few' is no number"),
        ("doublets=some", "give one of drop, keep"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        variants.parse_changes([change])


def test_groups_without_cells_or_donors_without_a_group_keep_the_fixed_bounds():
    cells = pd.DataFrame({"donor_id": ["a", "b"], "n_genes": 9, "n_counts": 20, "pct_mito": np.nan, "pct_hb": 0.0})
    groups = pd.DataFrame({"donor_id": ["a", "b"], "group": ["x", None]}, dtype=object)
    bounds = variants.varied_bounds(cells, {"mad_cutoff": 3.0}, fixed=default_bounds(), table=None, groups=groups)
    assert (bounds == pd.Series(vars(default_bounds()))).all(axis=None)
