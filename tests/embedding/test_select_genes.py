"""Selection over all donors: the same for any sharding, nuisance genes out by symbol, a reason for each."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import select_genes
from immune_aging.embedding import seurat_v3, variable_genes
from immune_aging.task.checkpoints import read_json, read_tsv, write_json, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.embedding_inputs import NUISANCE, embedding_cohort
from inputs.step_options import default_options
from rankings import rank_donors

COUNTS, OBS, VAR = embedding_cohort()
RANKINGS = {name: of.variance_norm for name, of in rank_donors(COUNTS, OBS["donor_id"].to_numpy()).items()}


def write_ranks(folder: Path, groups: list[list[str]], var: pd.DataFrame = VAR, **lost: str) -> list[str]:
    """Write the ranks of shards of these donors, those in `lost` left out; the options of the script."""
    ranks, summaries = [], []
    for number, donors in enumerate(groups):
        cells = OBS["donor_id"].isin(donors).to_numpy()
        table = var.assign(n_counts=np.asarray(COUNTS[cells].sum(axis=0, dtype=np.int64)).ravel())
        for donor in donors:
            if donor not in lost:
                table[f"donor:{donor}"] = RANKINGS[donor]
        ranks.append(folder / f"shard-{number:03d}_ranks.parquet")
        summaries.append(folder / f"shard-{number:03d}_summary.json")
        write_parquet(table, ranks[-1])
        rows = [{"donor_id": d, "n_cells": 60, "jitter": 0.0, "reason": lost.get(d, "")} for d in donors]
        write_json({"donors": rows}, summaries[-1])
    return ["--ranks", *map(str, ranks), "--summaries", *map(str, summaries)]


def run(folder: Path, options: list[str], n_top_genes: int = 120) -> tuple[pd.DataFrame, dict]:
    select_genes.main(
        [*default_options("select_genes"), *options, "--n-top-genes", str(n_top_genes), "--output", str(folder / "genes.tsv"),
         "--output-summary", str(folder / "genes.json"), "--versions", str(folder / "versions.json")]
    )  # fmt: skip
    return read_tsv(folder / "genes.tsv", dtype={"gene_id": str}), read_json(folder / "genes.json")


@pytest.fixture(scope="module")
def in_one_shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    run(folder, write_ranks(folder, [sorted(RANKINGS)]))
    return (folder / "genes.tsv").read_bytes(), (folder / "genes.json").read_bytes()


@settings(max_examples=25, deadline=None)
@given(st.permutations(sorted(RANKINGS)), st.sets(st.integers(1, len(RANKINGS) - 1)))
def test_any_split_of_donors_into_shards_gives_the_same_bytes(in_one_shard, order, cuts):
    bounds = [0, *sorted(cuts), len(order)]
    groups = [order[low:high] for low, high in itertools.pairwise(bounds)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, write_ranks(folder, groups))
        assert ((folder / "genes.tsv").read_bytes(), (folder / "genes.json").read_bytes()) == in_one_shard


def test_nuisance_genes_are_matched_by_symbol_and_go_after_the_top_genes_are_taken(tmp_path):
    table, summary = run(tmp_path, write_ranks(tmp_path, [sorted(RANKINGS)]))
    reasons = table.set_index("symbol")["reason"]
    for symbol, reason in NUISANCE.items():
        assert reasons[symbol] == reason
    assert not table["selected"][table["symbol"].isin(list(NUISANCE))].any()
    assert table["selected"].sum() == 120 - len(NUISANCE)
    by_id = VAR.assign(gene_id=VAR["symbol"], symbol=[f"X{i}" for i in range(len(VAR))])
    renamed, _ = run(tmp_path, write_ranks(tmp_path, [sorted(RANKINGS)], by_id))
    assert renamed["selected"].sum() == 120, "an id that looks like a nuisance symbol is no symbol"
    assert sum(summary["genes"].values()) == len(VAR)
    assert summary["genes"]["selected"] == table["selected"].sum()


def test_genes_keep_the_order_of_the_input_and_each_has_a_reason_or_is_selected(tmp_path):
    table, _ = run(tmp_path, write_ranks(tmp_path, [sorted(RANKINGS)]))
    assert list(table["gene_id"]) == list(VAR["gene_id"])
    assert list(table.columns) == [
        "gene_id",
        "symbol",
        "rank",
        "n_donors",
        "variance_norm",
        "selected",
        "reason",
    ]
    assert ((table["reason"] == "") == table["selected"]).all()
    expressed = np.asarray(COUNTS.sum(axis=0)).ravel() > 0
    assert ((table["reason"] == "not expressed") == ~expressed).all() and not expressed.all()
    worst_selected = table.loc[table["selected"], "rank"].max()
    others = table[table["reason"] == "not variable enough"]
    assert (others["rank"].fillna(np.inf) >= worst_selected).all()


def test_more_genes_asked_for_than_expressed_takes_all_expressed_and_says_so(tmp_path):
    table, summary = run(tmp_path, write_ranks(tmp_path, [sorted(RANKINGS)]), n_top_genes=5000)
    expressed = np.asarray(COUNTS.sum(axis=0)).ravel() > 0
    nuisance = table["symbol"].isin(list(NUISANCE))
    np.testing.assert_array_equal(table["selected"], expressed & ~nuisance)
    assert any(f"{expressed.sum()} genes are expressed, not more than the 5000" in note for note in summary["notes"])


def test_missing_symbols_are_said_and_the_selection_goes_on(tmp_path):
    table, summary = run(tmp_path, write_ranks(tmp_path, [sorted(RANKINGS)], VAR.assign(symbol="")))
    assert table["selected"].sum() == 120
    assert summary["notes"] == ["no gene symbols: nuisance genes could not be recognised and were not taken out"]


def test_donors_left_out_are_listed_and_do_not_vote(tmp_path):
    table, summary = run(tmp_path, write_ranks(tmp_path, [sorted(RANKINGS)], D01="fewer than 3 cells"))
    assert summary["donors"] == 6
    assert [(row["donor_id"], row["reason"]) for row in summary["donors_left_out"]] == [("D01", "fewer than 3 cells")]
    others = [values for name, values in RANKINGS.items() if name != "D01"]
    np.testing.assert_allclose(table["variance_norm"], np.mean(others, axis=0), rtol=1e-5)


def test_no_donor_at_all_is_bad_input(tmp_path):
    lost = dict.fromkeys(RANKINGS, "fewer than 3 cells")
    with pytest.raises(BadInput, match=r"all 6 donors were left out \(fewer than 3 cells\)"):
        run(tmp_path, write_ranks(tmp_path, [sorted(RANKINGS)], **lost))


def test_shards_with_other_genes_are_refused(tmp_path):
    options = write_ranks(tmp_path, [["D00"], ["D01"]])
    write_parquet(VAR.assign(n_counts=1, gene_id=VAR["gene_id"][::-1].to_numpy()), tmp_path / "shard-001_ranks.parquet")
    with pytest.raises(BadInput, match=r"shard-001_ranks\.parquet: column 'gene_id' differs"):
        run(tmp_path, options)


ranks_with_gaps = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.integers(0, 20) | st.just(np.nan)
)


@settings(max_examples=200, deadline=None)
@given(ranks_with_gaps)
def test_median_is_that_of_a_masked_array(ranks):
    expected = np.ma.median(np.ma.masked_invalid(ranks), axis=0)
    np.testing.assert_array_equal(seurat_v3.median_ignoring_nan(ranks), np.ma.filled(expected.astype(float), np.nan))


def test_arguments_stay_as_they_are():
    genes = VAR.assign(n_counts=1)
    ranked = seurat_v3.merge_donors(list(RANKINGS.values()), n_top_genes=50)
    copies = genes.copy(), ranked.copy()
    variable_genes.select(genes, ranked)
    variable_genes.notes_on(genes, n_top_genes=50)
    pd.testing.assert_frame_equal(genes, copies[0])
    pd.testing.assert_frame_equal(ranked, copies[1])
