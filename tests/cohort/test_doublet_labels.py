"""Doublets that were called elsewhere: every tool's spelling, scores and codes that are no calls, and what is counted."""

import numpy as np
import pandas as pd
import pytest

import check_cohort
import qc_cells
import split_cohort
from immune_aging.cohort.doublet_labels import DOUBLET, NO_CALL, SINGLET, SPELLINGS, meaning_of, read_calls
from immune_aging.task.checkpoints import read_json, read_parquet
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options
from prepared_cohorts import prepared
from small_cohorts import small_cohort, write_cohort

D, S, N = DOUBLET, SINGLET, NO_CALL
COLUMNS = {
    "DoubletFinder": (["Doublet", "Singlet", "Singlet"], [D, S, S]),
    "scDblFinder": (pd.Categorical(["doublet", "singlet", "singlet"]), [D, S, S]),
    "scrublet": ([True, False, False], [D, S, S]),
    "nullable": (pd.array([True, False, None], dtype="boolean"), [D, S, N]),
    "text of booleans": (["TRUE", "FALSE", "False"], [D, S, S]),
    "numbers": ([1, 0, 0], [D, S, S]),
    "numbers with a gap": ([1.0, 0.0, np.nan], [D, S, N]),
    "text of numbers": (["1", "0", "0.0"], [D, S, S]),
    "demuxlet": (["DBL-S1-S2-0.500", "SNG-S1", "AMB-S1-S2-S1/S2"], [D, S, N]),
    "demuxlet types": (["DBL", "SNG", "AMB"], [D, S, N]),
    "hashing": (["Doublet", "Singlet", "Negative"], [D, S, N]),
    "souporcell": (["doublet", "singlet", "unassigned"], [D, S, N]),
    "missing": (["doublet", "singlet", None], [D, S, N]),
    "text that means missing": (["doublet", "singlet", "NA"], [D, S, N]),
    "blanks and case": ([" DOUBLET ", "Singlet", "singlet"], [D, S, S]),
}
NEITHER = "says neither doublet nor singlet; write 'doublet' and 'singlet', True and False, or 1 and 0, or name another"
SCORES = "scores and no calls; name the column of the calls (obs has 'scDblFinder.class'), or write one"
WRONG = {
    "a probability": ([0.93, 0.02, 0.4], f"holds numbers from 0.02 to 0.93, {SCORES}"),
    "a probability as text": (["0.93", "0.02", "0.4"], SCORES),
    "a probability beside 0 and 1": ([1.0, 0.0, 0.5], SCORES),
    "codes of a factor": ([1, 2, 1], f"'2' {NEITHER}"),
    "hashsolo's hypotheses": ([0, 1, 2], f"'2' {NEITHER}"),
    "cell types": (["B cell", "T cell", "T cell"], f"'B cell', 'T cell' {NEITHER}"),
    "one doubtful text": (["doublet", "singlet", "maybe"], f"'maybe' {NEITHER}"),
    "all doublets": (["doublet"] * 3, "calls every cell a doublet; name the column of the calls"),
    "nothing": ([None] * 3, "has no call for any cell; name the column of the calls"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_calls_of_every_tool_are_read(name):
    values, expected = COLUMNS[name]
    calls, problems, notes = read_calls(pd.Series(values, name="called"))
    assert calls.tolist() == expected and problems == [] and calls.dtype == np.int8
    missing = f"{expected.count(N)} of 3 cells have no doublet call in column 'called' and count as singlets"
    assert (missing in notes) == (N in expected)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_call_is_refused_with_the_remedy(name):
    values, message = WRONG[name]
    _, [problem], _ = read_calls(pd.Series(values, name="x"), others=["cell_type", "scDblFinder.class"])
    assert problem.startswith("--doublet_column x: ") and message in problem


def test_no_spelling_means_two_things_and_none_called_is_noted():
    every = [spelling for spellings in SPELLINGS.values() for spelling in spellings]
    assert len(every) == len(set(every))
    assert meaning_of("predicted_doublet") == D and meaning_of("T-cell") is None
    assert "column 'x' calls no cell a doublet" in read_calls(pd.Series(["singlet"] * 4, name="x"))[2]


def run_qc(folder, cohort, *options, column=""):
    """Check, filter, split and judge a cohort; the judged cells and the summaries of its shards."""
    folder.mkdir()
    path = write_cohort(cohort, folder / "cohort.h5ad")
    split = prepared(path, folder, *(["--doublet-column", column] if column else []))
    split[split.index("x")] = str(folder / "x")
    split_cohort.main(split)
    parts, summaries = [], []
    for i, shard in enumerate(sorted(folder.glob("x_shard-*.h5ad"))):
        out = folder / f"q{i}.parquet"
        qc_cells.main(
            [*default_options("qc_cells"), "--shard", str(shard), "--min-genes", "1", "--min-counts", "1",
             "--max-pct-mito", "100", "--max-pct-hb", "100", "--output", str(out), "--output-summary",
             str(folder / f"s{i}.json"), "--versions", str(folder / "v.json"), *options]
        )  # fmt: skip
        parts.append(read_parquet(out))
        summaries.append(read_json(folder / f"s{i}.json"))
    return pd.concat(parts, ignore_index=True).set_index("cell_id"), summaries


def test_calls_of_a_column_follow_their_cells_and_nothing_else_changes(tmp_path):
    cohort = small_cohort(donors=6, cells_per_type=20)
    draw = np.random.default_rng(3).random(cohort.n_obs)
    called = np.where(draw < 0.1, "Doublet", np.where(draw < 0.9, "Singlet", None)).astype(object)
    cohort.obs["DF.class"] = pd.Categorical(called)
    cells, summaries = run_qc(tmp_path / "a", cohort, "--doublet-method", "column", column="DF.class")
    expected = pd.Series(called == "Doublet", index=cohort.obs_names)
    assert cells["is_doublet"].to_dict() == expected.to_dict() and cells["doublet_score"].isna().all()
    assert (cells["reason"] == "doublet").sum() == expected.sum() == (~cells["kept"]).sum()
    how = {donor: text for one in summaries for donor, text in one["donors"].items()}
    missing = pd.isna(called) & (cohort.obs["donor_id"] == "D00").to_numpy()
    assert how["D00"] == f"called elsewhere; {missing.sum()} cells have no call"
    assert all(one["expected_doublet_rates"] == {} for one in summaries)
    notes = read_json(tmp_path / "a/check.json")["notes"]
    assert any(f"{pd.isna(called).sum()} of {cohort.n_obs} cells have no doublet call" in note for note in notes)
    none, _ = run_qc(tmp_path / "b", cohort, "--doublet-method", "none")
    assert none["kept"].all() and not none["is_doublet"].any()
    same = [name for name in cells if name not in ("is_doublet", "kept", "reason")]
    pd.testing.assert_frame_equal(cells[same], none[same])


def test_a_column_that_is_not_there_or_a_shard_without_calls_is_one_line(tmp_path):
    cohort = small_cohort(donors=6, cells_per_type=20)
    path = write_cohort(cohort, tmp_path / "c.h5ad")
    outputs = [
        part for name in ("cells", "donors", "genes", "check") for part in (f"--output-{name}", str(tmp_path / name))
    ]
    asked = ["--cohort", str(path), "--doublet-column", "doublets", *outputs]
    with pytest.raises(BadInput, match="--doublet_column doublets: obs has no such column"):
        check_cohort.main([*default_options("check_cohort"), *asked])
    with pytest.raises(BadInput, match="holds no calls of doublets; name their column with --doublet_column"):
        run_qc(tmp_path / "d", cohort, "--doublet-method", "column")


@pytest.mark.parametrize("name", ["is_singlet", "pass_doublet_filter", "keep_singlets"])
@pytest.mark.parametrize("yes_no", [(True, False), ("1", "0"), ("yes", "no")])
def test_a_column_in_which_yes_means_a_singlet_is_read_so(name, yes_no):
    yes, no = yes_no
    calls, problems, notes = read_calls(pd.Series([no, yes, yes], name=name))
    assert calls.tolist() == [D, S, S] and problems == []
    assert f"'{no}' (1 cells) as a doublet" in notes[0]


@pytest.mark.parametrize("name", ["canonical_doublet", "doublet_nonhash", "bypass", "singlet_or_doublet", "is_doublet"])
def test_a_column_is_not_turned_round_for_a_part_of_a_word(name):
    assert read_calls(pd.Series([True, False, False], name=name))[0].tolist() == [D, S, S]


def test_many_doublets_are_questioned():
    _, _, notes = read_calls(pd.Series([True, True, False], name="calls"))
    assert "calls 2 of 3 cells doublets" in notes[-1]
