"""The comparison of variants: counts, overlaps and correlations are those of the tables; nothing missing is hidden."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import sensitivity
from immune_aging.figures import sensitivity as figures_sensitivity
from immune_aging.statistics import sensitivity as statistics_sensitivity
from immune_aging.task.checkpoints import read_parquet, read_tsv
from immune_aging.task.command_line import BadInput
from inputs.sensitivity_inputs import genes_of, write_inputs


def run(folder, out, labels=("base/b_cell", "strict/b_cell"), varied=True):
    variants = [label.split("/")[0] for label in labels]
    sensitivity.main(
        ["--labels", *labels, "--tables", *(str(folder / f"{v}_de.tsv") for v in variants), "--summaries",
         *(str(folder / f"{v}_de_summary.json") for v in variants), "--samples", str(folder / "samples.tsv"), "--variants",
         str(folder / "variants.json"), *(["--varied", str(folder / "strict_vary_qc_summary.json")] if varied else []),
         "--output", str(out), "--versions", str(out / "v.json")]
    )  # fmt: skip
    return read_tsv(out / "sensitivity.tsv").set_index("variant")


@pytest.fixture
def inputs(tmp_path):
    write_inputs(tmp_path / "in")
    return tmp_path / "in"


def test_calls_overlaps_signs_and_effects_are_compared_gene_by_gene():
    base = genes_of(
        [("a", 1.0, 0.01, True), ("b", -1.0, 0.01, True), ("c", 0.5, 0.9, False), ("d", 0.2, np.nan, False)]
    )
    other = genes_of([("a", 0.8, 0.01, True), ("b", 0.1, 0.30, False), ("c", 0.6, 0.01, True), ("e", 9.0, 0.01, True)])
    found = statistics_sensitivity.compare(other, base)
    assert (found["n_tested"], found["n_called"], found["n_called_base"], found["n_shared"]) == (4, 3, 2, 1)
    assert found["jaccard"] == 1 / 4 and found["jaccard_robust"] == 1 / 4
    assert found["sign_agreement"] == pytest.approx(2 / 3), "of a, b and c; e was not tested in the run"
    assert found["correlation"] == pytest.approx(np.corrcoef([0.8, 0.1, 0.6], [1.0, -1.0, 0.5])[0, 1])


def test_the_run_agrees_with_itself():
    base = genes_of([("a", 1.0, 0.01, True), ("b", -1.0, 0.2, False), ("c", 0.5, 0.9, False)])
    found = statistics_sensitivity.compare(base, base)
    assert [found[name] for name in ("jaccard", "sign_agreement", "correlation")] == pytest.approx([1, 1, 1])


def test_where_nothing_is_called_there_is_no_overlap_to_speak_of():
    quiet = genes_of([("a", 1.0, 0.5, False), ("b", -1.0, 0.2, False)])
    found = statistics_sensitivity.compare(quiet, quiet)
    assert found["n_called"] == 0 and np.isnan([found["jaccard"], found["sign_agreement"], found["correlation"]]).all()


def test_every_variant_has_a_row_a_cell_type_with_its_own_sizes(inputs, tmp_path):
    table = run(inputs, tmp_path / "out")
    assert table.index.tolist() == ["base", "strict", "design"] and table["id"].eq("b_cell").all()
    samples = read_tsv(inputs / "samples.tsv").query("kept")
    assert table.loc["base", ["n_samples", "n_cells"]].tolist() == [len(samples), samples["n_cells"].sum()]
    told = json.loads((inputs / "strict_vary_qc_summary.json").read_text())["cell_types"]["b_cell"]
    assert table.loc["strict", ["n_samples", "n_cells"]].tolist() == [told["n_samples"], told["n_cells"]]
    assert table.loc["base", "jaccard"] == 1 and table.loc["strict", "jaccard"] < 1
    genes = read_parquet(tmp_path / "out/genes.parquet")
    assert genes["variant"].drop_duplicates().tolist() == ["base", "strict"]
    assert (genes["padj"] < 0.05).groupby(genes["variant"]).sum().to_dict() == table["n_called"].dropna().to_dict()


def test_what_a_variant_could_not_test_is_there_with_its_reason(inputs, tmp_path):
    table = run(inputs, tmp_path / "out")
    assert table.loc["design", ["status", "reason"]].tolist() == ["skipped", "no cells are left"]
    summary = json.loads((inputs / "strict_vary_qc_summary.json").read_text())
    summary["cell_types"]["b_cell"] |= {"kept": False, "reason": "3 samples of 10 cells after quality control"}
    (inputs / "strict_vary_qc_summary.json").write_text(json.dumps(summary))
    table = run(inputs, tmp_path / "two", labels=["base/b_cell"])
    assert table.loc["strict", "reason"] == "3 samples of 10 cells after quality control"
    assert table["n_called"].isna().tolist() == [False, True, True]


def test_the_order_of_the_tables_does_not_matter(inputs, tmp_path):
    run(inputs, tmp_path / "one")
    run(inputs, tmp_path / "two", labels=["strict/b_cell", "base/b_cell"])
    for name in ("sensitivity.tsv", "cells.tsv", "genes.parquet", "figures/sensitivity.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_figure_shows_the_numbers_of_the_table(inputs, tmp_path):
    table = run(inputs, tmp_path / "out").reset_index()
    axes = figures_sensitivity.plot_sensitivity(table).axes
    shown = [[text.get_text() for text in ax.texts] for ax in axes]
    assert shown[0] == [f"{n:,.0f}" if n == n else "–" for n in table["n_called"]]
    assert shown[1] == [f"{n:.2f}" if n == n else "–" for n in table["jaccard"]]
    with Image.open(tmp_path / "out/figures/sensitivity.png") as image:
        assert "2 variants" in image.text["Description"]


def test_cells_lost_and_gained_are_those_of_the_summaries(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    assert read_tsv(tmp_path / "out/cells.tsv").to_dict("records") == [
        {"variant": "strict", "n_cells": 1000, "n_kept_in_run": 900, "n_kept": 700, "n_lost": 200, "n_gained": 0,
         "n_gained_without_doublet_score": 0}
    ]  # fmt: skip
    run(inputs, tmp_path / "design_only", varied=False)
    assert len(read_tsv(tmp_path / "design_only/cells.tsv")) == 0


def test_labels_that_do_not_fit_the_tables_are_refused(inputs, tmp_path):
    with pytest.raises(BadInput, match="differ in number"):
        sensitivity.main(
            ["--labels", "base/b", "base/c", "--tables", str(inputs / "base_de.tsv"), "--summaries", "x", "--samples", "x",
             "--variants", "x", "--output", str(tmp_path)]
        )  # fmt: skip


def test_base_sizes_count_used_samples():
    samples = pd.DataFrame({"cell_type": ["B", "B", "T"], "n_cells": [20, 30, 5], "kept": [True, True, False]})
    assert statistics_sensitivity.base_sizes(samples) == {"B": {"n_samples": 2, "n_cells": 50}}
