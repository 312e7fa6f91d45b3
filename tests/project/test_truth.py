"""The scoring of a run against the truth: numbers worked out by hand, and a run that is wrong does not pass."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from immune_aging.task.checkpoints import write_parquet, write_tsv

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import score_run  # noqa: E402
import truth_fits  # noqa: E402
import truth_qc  # noqa: E402
import truth_tables  # noqa: E402


def load_command():
    """`benchmarks/truth` as a module: its name has no ending."""
    loader = importlib.machinery.SourceFileLoader("truth_command", str(BENCHMARKS / "truth"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("truth_command", loader))
    loader.exec_module(module)
    return module


truth_command = load_command()


def cohort_of_cells(*, dying_kept=0, good_lost=0, doublets_called=8, false_calls=0):
    """100 good cells, 10 dying, 10 doublets, 1 red cell, and what quality control made of them."""
    kinds = ["good"] * 100 + ["dying"] * 10 + ["doublet"] * 10 + ["red"]
    truth = pd.DataFrame({"cell_id": [f"c{i}" for i in range(121)], "is_doublet": [k == "doublet" for k in kinds],
                          "is_low_quality": [k == "dying" for k in kinds], "is_rbc": [k == "red" for k in kinds]})  # fmt: skip
    called = np.zeros(121, dtype=bool)
    called[110 : 110 + doublets_called], called[:false_calls] = True, True
    kept = ~called & (truth["is_low_quality"] | truth["is_rbc"]).eq(False).to_numpy()
    kept[100 : 100 + dying_kept], kept[50 : 50 + good_lost] = True, False
    score = np.where(truth["is_doublet"], 0.5, 0.1)
    score[100:110] = np.nan
    cells = truth[["cell_id"]].assign(doublet_score=score, is_doublet=called, kept=kept)
    return cells.sample(frac=1, random_state=0), truth


def found(verdicts):
    return {verdict.target: (verdict.figure, verdict.met) for verdict in verdicts}


def test_quality_control_is_scored_by_cell_whatever_their_order():
    scores = found(score_run.score_cells(*cohort_of_cells(), "QC"))
    assert scores == {
        "QC: dying cells out: >= 90 %": ("100.0 % of 10", True),
        "QC: good cells lost: <= 2 %": ("0.00 % of 100", True),
        "QC: doublet AUROC: >= .96": ("1.000", True),
        "QC: doublets called: recall >= .6 at precision >= .85": ("recall 0.80, precision 1.00 (8 calls)", True),
    }


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"dying_kept": 2}, "QC: dying cells out: >= 90 %"),
        ({"good_lost": 3}, "QC: good cells lost: <= 2 %"),
        ({"doublets_called": 5}, "QC: doublets called: recall >= .6 at precision >= .85"),
        ({"false_calls": 2}, "QC: doublets called: recall >= .6 at precision >= .85"),
    ],
)
def test_bad_quality_control_fails_its_line(fault, line):
    scores = found(score_run.score_cells(*cohort_of_cells(**fault), "QC"))
    assert {target for target, (_, met) in scores.items() if not met} == {line}


def test_cells_that_the_truth_does_not_know_are_a_failure():
    cells, truth = cohort_of_cells()
    (verdict,) = score_run.score_cells(cells, truth.iloc[1:], "QC")
    assert not verdict.met and verdict.figure == "1 are not"


@pytest.fixture
def finished(tmp_path):
    """A finished run of one cell type with 60 samples: 100 genes tested, 40 of 50 that age called, and one more."""
    results, truth = tmp_path / "results", tmp_path / "truth"
    cells, known = cohort_of_cells()
    write_parquet(cells, results / "qc/cells.parquet")
    write_parquet(known, truth / "cells.parquet")
    write_tsv(
        pd.DataFrame([{"id": "b", "cell_type": "B", "n_samples": 60, "kept": True}]), results / "cohort/cell_types.tsv"
    )
    genes = pd.DataFrame({"gene_id": [f"g{i}" for i in range(100)]})
    called = (genes.index < 40) | (genes.index == 60)
    genes = genes.assign(log2_fold_change=1.0, padj=np.where(called, 0.01, 0.5), robust=called)
    write_tsv(genes, results / "cell_types/b/de.tsv")
    effects = pd.DataFrame({"cell_type": "B", "gene_id": genes["gene_id"][:50], "lfc_per_sd": 0.5})
    write_tsv(effects, truth / "age_effects.tsv")
    sets = pd.DataFrame({"gene_set": ["HALLMARK_A", "HALLMARK_B", "HALLMARK_C"], "nes": [2.0, -2.0, 1.0]})
    write_tsv(sets.assign(direction=["up", "down", "up"], q_value=[0.01, 0.01, 0.6]), results / "cell_types/b/gsea.tsv")
    planted = pd.DataFrame({"cell_type": ["B", "B", "T"], "gene_set": ["HALLMARK_A", "HALLMARK_B", "HALLMARK_C"],
                            "direction": ["up", "down", "up"]})  # fmt: skip
    write_tsv(planted, truth / "gene_sets_planted.tsv")
    prediction = pd.DataFrame([{"cell_type": "B", "mae": 8.0, "baseline_mae": 16.0, "r2": 0.6}])
    write_tsv(prediction, results / "prediction_summary.tsv")
    return results, truth


def test_a_good_run_passes_every_line(finished, capsys):
    assert truth_command.main(["--results", str(finished[0]), "--truth", str(finished[1])]) == 0
    output = capsys.readouterr().out
    assert "| FAIL |" not in output and output.count("| pass |") == 14
    assert "Versions: immune-aging " in output and "scrublet 0.2.3" in output
    assert "power 0.80 (40 of 50 tested that age)" in output and "0.024 (1 of 41)" in output


def test_false_calls_missed_sets_and_bad_predictions_fail(finished):
    results, truth = finished
    genes = score_run.read_table(results / "cell_types/b/de.tsv")
    write_tsv(genes.assign(padj=np.where(genes.index < 70, 0.01, 0.5)), results / "cell_types/b/de.tsv")
    planted = score_run.read_table(truth / "gene_sets_planted.tsv")
    write_tsv(planted.assign(direction=["down", "down", "up"]), truth / "gene_sets_planted.tsv")
    write_tsv(
        pd.DataFrame([{"cell_type": "B", "mae": 17.0, "baseline_mae": 16.0, "r2": -0.1}]),
        results / "prediction_summary.tsv",
    )
    failed = {target for target, (_, met) in found(score_run.score_run(results, truth)).items() if not met}
    expected = (
        "DE, B, primary",
        "DE, all cell types, primary",
        "GSEA: every planted set",
        "prediction, best",
        "prediction: error",
    )
    assert len(failed) == len(expected) and all(any(t.startswith(e) for t in failed) for e in expected), failed


def test_few_samples_are_judged_by_the_robust_calls_only(finished):
    results, truth = finished
    types = score_run.read_table(results / "cohort/cell_types.tsv")
    write_tsv(types.assign(n_samples=30), results / "cohort/cell_types.tsv")
    targets = set(found(score_run.score_run(results, truth)))
    assert not any("primary" in target for target in targets)
    assert sum("robust" in target and "FDR" in target for target in targets) == 2


def test_what_a_run_lacks_is_a_line_that_fails(finished):
    results, truth = finished
    (results / "prediction_summary.tsv").unlink()
    (truth / "age_effects.tsv").unlink()
    failed = {target: figure for target, (figure, met) in found(score_run.score_run(results, truth)).items() if not met}
    assert list(failed) == ["all parts are there to be scored"]
    assert "prediction_summary.tsv" in failed["all parts are there to be scored"]
    assert "age_effects.tsv" in failed["all parts are there to be scored"]


def test_the_limit_of_one_run_is_two_standard_errors_above_five_per_cent():
    assert score_run.limit_of(10**9) == pytest.approx(0.1) and score_run.limit_of(100) == pytest.approx(
        0.1164, abs=1e-4
    )


def test_every_part_is_found_and_a_part_that_breaks_is_a_line_that_fails(monkeypatch):
    assert "qc" in truth_command.parts() and all(name.isidentifier() for name in truth_command.parts())
    monkeypatch.setattr(truth_qc, "quality_controlled", lambda *_: 1 / 0)
    (verdict,) = truth_command.run_parts(["qc"], quick=True)
    assert not verdict.met and verdict.figure == "ZeroDivisionError: division by zero"


@pytest.mark.long
def test_quality_control_by_the_steps_own_scripts_meets_its_targets_on_a_demo_cohort(tmp_path, monkeypatch):
    monkeypatch.setattr(truth_qc, "FOLDER", tmp_path)
    verdicts = list(truth_qc.verdicts(quick=True))
    assert sum("doublet" in verdict.target for verdict in verdicts) >= 2 and len(verdicts) > 6
    assert [f"{verdict.target}: {verdict.figure}" for verdict in verdicts if not verdict.met] == []


def test_cohorts_with_the_same_barcodes_are_told_apart():
    cells, truth = cohort_of_cells()
    both = found(score_run.score_cells(truth_qc.together([cells, cells]), truth_qc.together([truth, truth]), "QC"))
    assert both["QC: good cells lost: <= 2 %"][0] == "0.00 % of 200"


@pytest.mark.parametrize("arguments", [["--results", "."], ["--results", "/no/such", "--truth", "."]])
def test_results_without_their_truth_are_refused(arguments):
    with pytest.raises(SystemExit, match="2"):
        truth_command.main(arguments)


def fits_of(seconds, n_off, *, off=1e-5, n=1000):
    """What an engine's fit is said to give: the effects of `n_off` genes are `off` away."""
    lfc = np.where(np.arange(n) < n_off, off, 0.0)
    same = np.full(n, 0.5)
    return seconds, {"lfc": lfc, "p": same, "padj": same, "genewise": same, "dispersion": same, "prior": np.array(1.0)}


@pytest.mark.parametrize(
    ("seconds", "given_prior", "from_counts", "off", "met"),
    [
        (10.0, 0, 0, 1e-5, [True, True, True, True]),
        (10.0, 1, 900, 1e-5, [True, True, True, True]),
        (10.0, 2, 900, 1e-5, [True, False, True, True]),
        (10.0, 0, 1, 2e-3, [True, True, False, True]),
        (40.0, 0, 0, 1e-5, [False, True, True, True]),
    ],
)
def test_compiled_fits_are_scored_by_a_ratio_and_beside_pydeseq2s_agreement_with_itself(
    monkeypatch, tmp_path, seconds, given_prior, from_counts, off, met
):
    answers = {
        ("compiled", ""): fits_of(seconds, from_counts, off=off), ("compiled", "pydeseq2"): fits_of(9.0, given_prior),
        ("pydeseq2", ""): fits_of(100.0, 0), ("reversed", ""): fits_of(100.0, 500),
    }  # fmt: skip
    monkeypatch.setattr(truth_fits, "fit_of", lambda table, engine, prior_of="": answers[engine, prior_of])
    alike = lambda table, ours, theirs: truth_fits.agreement(ours, theirs) | {  # noqa: E731
        "least_gain_coefficients": 0.0, "least_gain_dispersions": -1e-9,
    }  # fmt: skip
    monkeypatch.setattr(truth_fits, "compare", alike)
    monkeypatch.setattr(truth_fits, "dispersion_gains", lambda *fits: np.array([-1e-9, 2.0]))
    np.savez(tmp_path / "t.npz")
    found = list(truth_fits.verdicts_of(tmp_path / "t.npz", "60 samples x 3 coefficients"))
    assert [bool(verdict.met) for verdict in found] == met
    assert found[0].figure == f"{seconds:.1f} / 100.0 s = {seconds / 100:.2f}"
    assert "PyDESeq2 with itself, samples reversed, 50.00%, 100.00%" in found[2].figure


def test_a_dispersion_gains_over_the_lowest_of_pydeseq2s_own_answers():
    rng = np.random.default_rng(0)
    counts, design = rng.negative_binomial(5, 0.05, (40, 3)), np.ones((40, 1))
    table = {"counts": counts, "design": design}
    ours = {"genewise": np.array([0.2, 0.2, 1e-8]), "mu_hat": np.full((40, 3), 95.0)}
    once, again = {"genewise": np.array([0.2, 1e-8, 0.2])}, {"genewise": np.array([0.2, 0.2, 1e-8])}
    better, worse = truth_fits.dispersion_gains(table, ours, once)
    assert better > 100 and worse < -100, "the first gene does not differ"
    assert truth_fits.dispersion_gains(table, ours, once, again) == pytest.approx([better, 0.0])


def test_a_truth_table_has_ids_and_symbols_that_gencode_knows_or_neither():
    table = truth_tables.simulated_table()
    known = truth_tables.read_symbol_table(truth_tables.SYMBOLS).symbols
    agree = [known.get(gene) == symbol for gene, symbol in table.var["symbol"].items()]
    assert 0.9 < np.mean(agree) < 1 and table.var_names.is_unique
    strange = table.var_names[~np.array(agree)]
    assert not set(strange) & set(known) and strange.str.startswith("ENSG9").all()
    assert truth_tables.equal_files({"a": b"1", "b": b"2"}, {"a": b"1", "b": b"3"}, ["a", "b"]) == ["a"]
