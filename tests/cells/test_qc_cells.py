"""Quality control: metrics equal scanpy's, thresholds are inclusive, Scrublet's scores are the package's own."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
import scrublet
from scipy import sparse
from threadpoolctl import threadpool_limits

import qc_cells
from immune_aging.cells import doublet_calls, shard_qc
from immune_aging.cells import metrics as cells_metrics
from immune_aging.cells.gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal
from immune_aging.cells.qc_rules import broken_rules, reasons_of
from immune_aging.task.checkpoints import read_json, read_parquet, write_h5ad
from immune_aging.task.command_line import limit_threads
from inputs.step_options import default_bounds, default_options
from small_cohorts import SYMBOLS, shard_of, small_cohort


@pytest.fixture(scope="module")
def shard():
    return shard_of(small_cohort(donors=3, cells_per_type=80, genes=400, seed=1))


def run(shard, folder, *options):
    """Run the step on a shard; returns its table and its summary."""
    write_h5ad(shard, folder / "shard.h5ad")
    floors = ["--min-genes", "5", "--min-counts", "10", "--max-pct-mito", "100", "--max-pct-hb", "100"]
    qc_cells.main(
        [*default_options("qc_cells"), "--shard", str(folder / "shard.h5ad"), *floors, "--output", str(folder / "qc.parquet"), "--output-summary",
         str(folder / "qc.json"), "--versions", str(folder / "v.json"), *options]
    )  # fmt: skip
    return read_parquet(folder / "qc.parquet"), read_json(folder / "qc.json")


def test_metrics_equal_scanpys(shard):
    symbols = shard.var["symbol"].to_numpy()
    metrics = cells_metrics.qc_metrics(shard.X, cells_metrics.gene_classes(symbols))
    reference = anndata.AnnData(X=shard.X.astype(np.float64), var=pd.DataFrame(index=shard.var_names))
    reference.var["mito"], reference.var["ribo"], reference.var["hb"] = (
        is_mitochondrial(symbols), is_ribosomal(symbols), is_hemoglobin(symbols),
    )  # fmt: skip
    scanpy.pp.calculate_qc_metrics(reference, qc_vars=["mito", "ribo", "hb"], percent_top=None, inplace=True)
    assert (metrics["n_genes"].to_numpy() == reference.obs["n_genes_by_counts"].to_numpy()).all()
    assert (metrics["n_counts"].to_numpy() == reference.obs["total_counts"].to_numpy()).all()
    for name in ("mito", "ribo", "hb"):
        np.testing.assert_allclose(metrics[f"pct_{name}"], reference.obs[f"pct_counts_{name}"], rtol=1e-12)


def test_look_alikes_do_not_count_as_mitochondrial_hemoglobin_or_ribosomal():
    counts = sparse.csr_matrix(np.eye(len(SYMBOLS), dtype=np.uint16))
    metrics = cells_metrics.qc_metrics(counts, cells_metrics.gene_classes(np.array(SYMBOLS, dtype=object)))
    share = dict(zip(SYMBOLS, metrics[["pct_mito", "pct_hb", "pct_ribo"]].to_numpy().tolist(), strict=True))
    assert share["MT-ND1"] == [100, 0, 0] and share["HBB"] == [0, 100, 0] and share["RPS6"] == [0, 0, 100]
    assert share["HBEGF"] == share["RPS6KA1"] == [0, 0, 0]


def test_an_empty_cell_has_shares_of_zero():
    classes = cells_metrics.gene_classes(np.array(["MT-ND1", "HBB"], dtype=object))
    metrics = cells_metrics.qc_metrics(sparse.csr_matrix((1, 2), dtype=np.uint16), classes)
    assert metrics.iloc[0].tolist() == [0, 0, 0, 0, 0]


def test_thresholds_are_inclusive_and_every_broken_rule_is_named():
    metrics = pd.DataFrame(
        {
            "n_genes": [200, 199, 6000, 6001],
            "n_counts": [500, 499, 30_000, 30_001],
            "pct_mito": [20, 20.1, 0, np.nan],
            "pct_hb": [5, 5.1, 0, np.nan],
        }
    )
    reasons = reasons_of(broken_rules(metrics, default_bounds()))
    assert reasons.tolist() == [
        "", "too few genes; too few counts; high mitochondrial share; high hemoglobin share", "", "too many genes; too many counts",
    ]  # fmt: skip


def test_scrublet_scores_are_the_packages_own_donor_by_donor(shard, tmp_path):
    table, _ = run(shard, tmp_path, "--seed", "3")
    for donor in table["donor_id"].unique():
        rows = (table["donor_id"] == donor).to_numpy()
        reference = scrublet.Scrublet(
            sparse.csc_matrix(shard.X[rows].astype(float)), expected_doublet_rate=0.06, random_state=3
        )
        with limit_threads(1):
            scores, _ = reference.scrub_doublets(use_approx_neighbors=False, verbose=False)
        np.testing.assert_array_equal(table.loc[rows, "doublet_score"], scores)


def test_a_donors_scores_do_not_depend_on_the_shard_or_the_threads(shard, tmp_path):
    whole, _ = run(shard, tmp_path)
    bytes_of_one_thread = (tmp_path / "qc.parquet").read_bytes()
    with threadpool_limits(limits=2):
        run(shard, tmp_path)
    assert (tmp_path / "qc.parquet").read_bytes() == bytes_of_one_thread
    alone, _ = run(shard[shard.obs["donor_id"] == "D01"].copy(), tmp_path)
    pd.testing.assert_frame_equal(whole[whole["donor_id"] == "D01"].reset_index(drop=True), alone)


def test_small_donors_are_not_scored_and_that_is_said(tmp_path):
    table, summary = run(shard_of(small_cohort(donors=2, cells_per_type=40)), tmp_path)
    assert table["doublet_score"].isna().all() and not table["is_doublet"].any()
    assert summary["donors"] == dict.fromkeys(["D00", "D01"], "not scored: fewer than 100 cells")


def test_cells_of_a_type_too_rare_in_the_donor_are_never_called_unless_donors_are_common(shard, tmp_path):
    every, _ = run(shard, tmp_path, "--analysed-donors", "common")
    called = np.flatnonzero(every["is_doublet"])
    first = every["donor_id"] == every.loc[called[0], "donor_id"]
    for n_own, stays in ((doublet_calls.MIN_CELLS_OF_TYPE - 1, False), (doublet_calls.MIN_CELLS_OF_TYPE, True)):
        good = np.flatnonzero(first & every["kept"])[: n_own - 1]
        renamed = shard.copy()
        kinds = renamed.obs["cell_type"].astype(str).to_numpy()
        kinds[[called[0], *good]] = "rare"
        renamed.obs["cell_type"] = kinds
        each, _ = run(renamed, tmp_path)
        assert bool(each.loc[called[0], "is_doublet"]) is stays
        np.testing.assert_array_equal(each["doublet_score"], every["doublet_score"])
        others = np.setdiff1d(np.arange(len(each)), called[0])
        np.testing.assert_array_equal(each.loc[others, "is_doublet"], every.loc[others, "is_doublet"])
        assert run(renamed, tmp_path, "--analysed-donors", "common")[0].loc[called[0], "is_doublet"]


def test_without_symbols_shares_are_unknown_and_no_cell_is_judged_by_them(shard, tmp_path):
    blind = shard.copy()
    blind.var["symbol"] = ""
    table, summary = run(blind, tmp_path, "--max-pct-mito", "0")
    assert table["pct_mito"].isna().all() and not table["reason"].str.contains("mito").any()
    assert "no gene symbols" in summary["notes"][0]


def test_a_class_without_genes_is_noted_once_each():
    classes = cells_metrics.gene_classes(np.array(["CD3E", "HBB"], dtype=object))
    assert shard_qc.notes_on_classes(classes) == ["no mitochondrial gene in the cohort: its share is 0 in every cell"]
    assert len(shard_qc.notes_on_classes(classes.assign(hb=False))) == 2
    assert len(shard_qc.notes_on_classes(None)) == 1


def test_kept_is_exactly_no_reason(shard, tmp_path):
    table, _ = run(shard, tmp_path, "--max-pct-mito", "5")
    assert (table["kept"] == (table["reason"] == "")).all()
    assert (table["is_doublet"] == table["reason"].str.contains("doublet")).all() and 0 < table["kept"].sum() < len(
        table
    )


@pytest.mark.parametrize(
    ("found", "how", "calls"),
    [
        (np.arange(100) >= 94, "scrublet", 6),
        (np.arange(100) >= 87, "scrublet, fewer", 11),
        (np.arange(100) >= 40, "expected rate", 6),
        (np.zeros(100, dtype=bool), "expected rate", 6),
        (None, "expected rate", 6),
    ],
)
def test_implausible_thresholds_are_replaced_by_the_stated_rule(found, how, calls):
    called, by = doublet_calls.call_doublets(np.arange(100) / 100, found, expected_rate=0.06)
    assert (by, called.sum()) == (how, calls) and called[-1]
