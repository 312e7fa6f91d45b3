"""The report: its numbers are those of the tables, they add up, and nothing in the data can harm the page."""

import html as html_module
import io
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from immune_aging import results
from immune_aging.figures.style import new_figure, save_figure
from immune_aging.report import clocks, immune_age
from immune_aging.report.cell_types import best_prediction, failed_steps, surest_sets
from immune_aging.report.comparison import comparison_part, composition_part
from immune_aging.report.formats import floored, number, shown
from immune_aging.report.funnel import breaks, funnel
from immune_aging.report.methods import methods
from immune_aging.report.notes import unknown_genes
from immune_aging.report.parameters import changed
from immune_aging.report.pictures import embed, in_folder
from immune_aging.report.versions import version_rows
from immune_aging.results import Results
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv, write_json, write_tsv
from immune_aging.task.command_line import BadInput
from inputs.report_inputs import SCRIPT_NAME, SLUGS, UNFITTED
from report import main
from report_runs import TEMPLATE, trees_of, write


class Page(HTMLParser):
    """Elements with their attributes, the text of each section, and the rows of each table."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.open, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link", "br", "input"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += " ".join(data.split()) + (" " if data.strip() else "")

    def table(self, *headings):
        """The first table that has all of these headings, cells stripped."""
        for table in self.tables:
            rows = [[cell.strip() for cell in row] for row in table]
            if set(headings) <= set(rows[0]):
                return rows
        raise AssertionError(f"no table with {headings}")


@pytest.fixture(scope="module")
def html(inputs, tmp_path_factory):
    return write(inputs, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_is_well_formed_and_has_each_id_once(page):
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {
        attributes["href"][1:] for tag, attributes in page.elements if tag == "a" and attributes["href"].startswith("#")
    }
    assert targets <= set(ids) and {"findings", "funnel", "methods"} <= targets


def test_nothing_in_the_data_becomes_markup(page, html):
    assert not [tag for tag, _ in page.elements if tag in ("b", "iframe")]
    assert SCRIPT_NAME in " ".join(page.words)
    assert "/data/<cohort>.h5ad" in " ".join(page.words)
    # Besides the report's own script there is only data, in letters that are no markup.
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == html.count("<script") == len(SLUGS) - 3 + 3
    for attributes, content in scripts[:-1]:
        assert 'type="application/gzip"' in attributes and re.fullmatch("[A-Za-z0-9+/=]+", content)
    assert scripts[-1] == ("", (TEMPLATE / "report.js").read_text())


def test_the_page_needs_nothing_from_elsewhere(page, html):
    for tag, attributes in page.elements:
        source = attributes.get("src") or ""
        assert tag not in ("link", "object", "embed")
        assert not source or source.startswith("data:image/png;base64,")
        assert not re.match("[a-z]+:", attributes.get("href", ""))
    assert "@import" not in html and "url(" not in html


def test_every_picture_has_words(page):
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 2
    for image in images:
        assert image["alt"] == 'A <b>title</b>. Says "5 > 4" & more'
        assert int(image["width"]) == 450 and int(image["height"]) == 300


def test_findings_are_those_of_the_tables(page, inputs):
    rows = {row[0]: row[1:] for row in page.table("Gene sets up", "Robust")[1:]}
    cells = read_parquet(inputs / "merge_qc/published/qc/cells.parquet")
    summary = read_tsv(inputs / "summarize_predictions/published/prediction_summary.tsv")
    for name, identifier in SLUGS.items():
        if name not in set(cells["cell_type"]):
            assert name not in rows
            continue
        kept = cells[(cells["cell_type"] == name) & cells["kept"]]
        sizes = kept.groupby("donor_id").size()
        assert rows[name][:2] == [str((sizes >= 15).sum()), f"{sizes[sizes >= 15].sum():,}"]
        if name == UNFITTED:
            assert rows[name][2] == "age and sex cannot be told apart in these samples"
            continue
        folder = f"published/cell_types/{identifier}"
        de = read_tsv(inputs / f"de-{identifier}/{folder}/de.tsv")
        called = de["padj"] < 0.05
        up, down = (int((called & (sign * de["log2_fold_change"] > 0)).sum()) for sign in (1, -1))
        assert rows[name][2:5] == [str(up), str(down), str(int(de["robust"].sum()))]
        gsea = read_tsv(inputs / f"gsea-{identifier}/{folder}/gsea.tsv").query("q_value < 0.05 and direction == 'up'")
        assert all(s.removeprefix("HALLMARK_").replace("_", " ") in rows[name][5] for s in gsea["gene_set"])
        best = summary[summary["id"] == identifier].sort_values("mae").iloc[0]
        assert rows[name][7].startswith(f"{best['mae']:.3g} ({best['mae_low']:.3g} to {best['mae_high']:.3g})")
        assert rows[name][8] == f"{best['baseline_mae']:.3g}"


def test_composition_and_comparison_are_those_of_the_tables(html, inputs):
    text = " ".join(" ".join(Page(html).words).split())
    table = read_tsv(inputs / "composition/published/composition/composition.tsv")
    for row in table.itertuples():
        assert f"{row.cell_type} {number(100 * row.mean_proportion)} %" in text
    patterns = read_json(inputs / "compare_cell_types/published/comparison/comparison_summary.json")["patterns"]
    assert f"{number(patterns['shared'])} age alike in two or more (shared)" in text
    assert f"{number(patterns['opposed'])} rise in one and fall in another (opposed)" in text
    power = read_tsv(inputs / "compare_cell_types/published/comparison/power.tsv").query("expression == 'all'")
    for row in power.itertuples():
        assert f"{number(row.smallest_lfc, 2)} in {row.cell_type}" in text


def test_cell_types_called_are_named_by_direction(tmp_path):
    columns = {"mean_proportion": 0.2, "ci_low": -1.0, "ci_high": 1.0, "share_padj": 1.0}
    table = pd.DataFrame({"id": list("abc"), "cell_type": ["A", "B", "C"], "log2_fold_change": [0.5, -0.5, 0.5]})
    write_tsv(table.assign(padj=[0.01, 0.02, 0.5], **columns), tmp_path / "composition.tsv")
    part = composition_part(Results({"composition/composition.tsv": tmp_path / "composition.tsv"}), {})
    assert (part["up"], part["down"]) == (["A"], ["B"])
    assert composition_part(Results({}), {})["rows"] == [] and comparison_part(Results({}), {})["genes"] == []


def test_the_funnel_adds_up_and_is_recomputed_from_the_tables(inputs, page):
    stages = funnel(results.open(*trees_of(inputs)))
    assert breaks(stages) == []
    cells = read_parquet(inputs / "merge_qc/published/qc/cells.parquet")
    donors = read_tsv(inputs / "filter_cohort/published/cohort/donors.tsv")
    samples = read_tsv(inputs / "merge_pseudobulk/published/pseudobulk/samples.tsv")
    genes = read_tsv(inputs / "select_genes/published/embedding/genes.tsv")
    found = {(unit, stage.step): (stage.n_in, stage.n_out) for unit, chain in stages.items() for stage in chain}
    assert found["donors", "Cohort filter"] == (len(donors), donors["kept"].sum())
    assert found["cells", "Cohort filter"] == (donors["n_cells"].sum(), len(cells))
    assert found["cells", "Quality control"] == (len(cells), cells["kept"].sum())
    assert found["cells", "Pseudobulk"] == (
        cells["kept"].sum(),
        samples.loc[samples["kept"], "n_cells"].sum(),
    )
    assert found["genes", "Genes for the embedding"] == (len(genes), genes["selected"].sum())
    assert found["cell types", "Differential expression"] == (5, 4)
    assert "All numbers add up" in " ".join(" ".join(page.words).split())
    rows = page.table("Step", "In", "Left out", "Left")
    assert [row[0] for row in rows if len(row) == 1] == [
        "Donors",
        "Cells",
        "Cell types",
        "Genes",
        "Samples (donor x cell type)",
        "Samples tested",
        "Genes tested",
    ]
    for name, identifier in SLUGS.items():
        path = inputs / f"de-{identifier}/published/cell_types/{identifier}/de.tsv"
        if path.exists() and len(de := read_tsv(path)):
            assert found["genes tested", name] == (found["genes", "Expressed genes"][1], de["p_value"].notna().sum())
    assert sum(unit == "genes tested" for unit, _ in found) == 4


def test_each_rule_of_quality_control_is_shown_with_its_threshold_and_cells(page, inputs):
    rules = read_tsv(inputs / "merge_qc/published/qc/rules.tsv").fillna("").set_index("rule")
    rows = {row[0]: row[1:] for row in page.table("Only this rule", "Others too")[1:]}
    assert list(rows) == rules.index.tolist() and rules.loc["any rule", "alone"] > 0
    for rule, row in rows.items():
        expected = rules.loc[rule]
        assert row[0] == expected["threshold"]
        numbers = (expected["alone"], expected["only"], expected["with_others"])
        assert (row[1], row[3], row[4]) == tuple(f"{n:,}" for n in numbers)


def test_samples_left_out_are_counted_with_their_cells_and_donors(tmp_path):
    write_tsv(
        pd.DataFrame(
            {
                "sample_id": ["b|1", "b|2", "b|3", "t|1"], "donor_id": ["1", "2", "3", "1"],
                "cell_type": ["b", "b", "b", "t"],
                "n_cells": [40, 4, 20, 30], "n_counts": [9000, 900, 0, 9000], "kept": [True, False, False, False],
                "reason": ["", "fewer than 10 cells", "no counts", "cell type not kept"],
            }
        ),
        tmp_path / "pseudobulk/samples.tsv",
    )  # fmt: skip
    stages = funnel(results.open(tmp_path))
    assert (
        stages["cells"][0].losses == (("cell type not kept", 30), ("no counts", 20), ("fewer than 10 cells", 4))
        and stages["cells"][0].n_out == 40
    )
    assert stages["donors"][0].losses == (("no sample is used", 2),)
    assert breaks(stages) == []


def test_samples_that_a_test_left_out_are_counted_by_reason(tmp_path):
    types = pd.DataFrame({"id": ["b"], "cell_type": ["B"], "n_cells": [900], "n_donors": [40], "n_samples": [40]})
    write_tsv(types.assign(kept=True, reason=""), tmp_path / "cohort/cell_types.tsv")
    empty, outlier = {"sample_id": "b|1", "donor_id": "1"}, {"sample_id": "b|9", "donor_id": "9", "residuals": 2.0}
    numbers = {"n_samples_in": 40, "n_samples": 34, "n_genes_in": 9, "n_tested": 9, "n_low_count": 0}
    left_out = {"outlier_samples": [outlier], "empty_samples": [empty] * 3}
    write_json({"status": "done", "reason": "", **numbers, **left_out}, tmp_path / "cell_types/b/de_summary.json")
    (stage,) = funnel(results.open(tmp_path))["samples tested"]
    assert stage.losses == (
        ("outlier", 1), ("no counts in the tested genes", 3), ("no value for a column of the design", 2),
    )  # fmt: skip
    assert stage.adds_up


def test_numbers_that_do_not_add_up_are_shown_not_hidden(inputs, tmp_path):
    broken = read_json(inputs / "merge_qc/published/qc/qc.json")
    broken["cells"]["kept"] -= 1
    trees = [tree for tree in trees_of(inputs) if tree.parent.name != "merge_qc"]
    for name in ("cohort/cell_types.tsv",):
        (tmp_path / "tree" / name).parent.mkdir(parents=True)
        (tmp_path / "tree" / name).write_text((inputs / "merge_qc/published" / name).read_text())
    write_json(broken, tmp_path / "tree/qc/qc.json")
    found = breaks(funnel(results.open(*trees, tmp_path / "tree")))
    assert len(found) == 2 and "cells, Quality control" in found[0] and "after Quality control" in found[1]
    text = write(inputs, tmp_path, [*trees, tmp_path / "tree"])
    assert "These numbers do not add up" in text and "All numbers add up" not in text


def test_a_run_that_stopped_early_says_which_parts_it_does_not_hold(inputs, tmp_path):
    parameters = read_json(inputs / "params.json") | {"stop_after": {"value": "qc", "default": None, "group": "g"}}
    write_json(parameters, tmp_path / "p.json")
    early = [inputs / task / "published" for task in ("filter_cohort", "merge_qc", "split_cohort")]
    text = " ".join(" ".join(Page(write(inputs, tmp_path, early, tmp_path / "p.json")).words).split())
    assert (
        "asked to stop after qc), or without any result: Embedding, Clusters, Pseudobulk, Differential "
        "expression, "
        "Gene set enrichment, Over-representation, Age prediction, Immune age, Composition, Comparison of cell types."
        in text
    )
    assert "Scrublet" in text and "Harmony" not in text and "No statistics were run on this cell type." in text


def test_a_run_that_left_out_the_embedding_says_so_where_its_maps_would_be(inputs, tmp_path):
    parameters = read_json(inputs / "params.json") | {"skip_embedding": {"value": True, "default": False, "group": "g"}}
    write_json(parameters, tmp_path / "p.json")
    steps = ("filter_cohort", "merge_qc", "split_cohort", "merge_pseudobulk")
    text = write(inputs, tmp_path, [inputs / task / "published" for task in steps], tmp_path / "p.json")
    words = " ".join(" ".join(Page(text).words).split())
    assert "asked to leave out the embedding), or without any result: Embedding, Clusters, Differential" in words
    assert "The embedding was left out (--skip_embedding): there are no maps and no clusters." in words
    assert "Harmony" not in words and "seurat_v3" not in words and "UMAP was computed" not in words


def test_a_run_from_a_pseudobulk_table_has_no_cells(inputs, tmp_path):
    late = [tree for tree in trees_of(inputs) if tree.parent.name.split("-")[0] in ("merge_pseudobulk", "de", "gsea")]
    types = pd.DataFrame(
        {"id": ["b_cell"], "cell_type": ["B cell"], "n_cells": [np.nan], "n_donors": [28], "n_samples": [28]}
    )
    write_tsv(types.assign(kept=True, reason=""), tmp_path / "tree/cohort/cell_types.tsv")
    text = " ".join(Page(write(inputs, tmp_path, [*late, tmp_path / "tree"])).words)
    assert "Quality control was not run." in text and "B cell" in text


def test_a_step_that_failed_for_one_cell_type_alone_is_named():
    files = [
        f"cell_types/{name}/{step}_summary.json"
        for name in "abc"
        for step in ("de", "gsea", "prediction/m/predict_age")
    ]
    left = {name: Path(name) for name in files if name not in ("cell_types/b/gsea_summary.json", files[-1])}
    assert failed_steps(left, "a") == []
    why = "no result, because this step or one before it failed; see pipeline_info/trace.tsv"
    assert failed_steps(left, "b") == [f"Gene set enrichment: {why}"]
    assert failed_steps(left, "c") == [f"Age prediction, m: {why}"]


def test_a_report_of_nothing_is_still_a_report(inputs, tmp_path):
    text = write(inputs, tmp_path, [])
    assert "No step of this run has counted anything." in text and Page(text).open == []


def test_what_could_not_be_computed_is_said_with_its_reason(page):
    words = " ".join(" ".join(page.words).split())
    for step in ("Differential expression", "Gene set enrichment", "Over-representation"):
        assert f"{step}: age and sex cannot be told apart in these samples" in words
    assert "Age prediction, ridge, alpha 1: 6 donors; at least 10 are needed" in words


def test_changed_parameters_are_marked_in_words(page):
    rows = {row[0]: row[1:] for row in page.table("Parameter", "Value")[1:] if len(row) == 4}
    marked = {name for name, row in rows.items() if row[0].endswith("changed")}
    assert marked == {
        "dataset",
        "input",
        "n_top_genes",
        "leiden_resolutions",
        "prediction_models",
        "min_cells_per_sample",
    }
    assert rows["leiden_resolutions"][:2] == ["0.5, 1 changed", "1.0"]


@pytest.mark.parametrize(
    ("value", "default", "differs"),
    [
        (1, 1.0, False),
        ("0.1,1,10", [0.1, 1, 10], False),
        (None, "", False),
        ("ridge", ["ridge"], False),
        ("a, b", "a,b", False),
        (2, 1, True),
        (None, 0, True),
        ("0.1,1", "0.1,1,10", True),
        (True, False, True),
        ("b,a", "a,b", True),
    ],
)
def test_a_parameter_is_changed_only_if_it_means_something_else(value, default, differs):
    assert changed(value, default) is differs


def test_versions_that_differ_between_steps_both_show(tmp_path):
    for step, version in (("one", "1.0"), ("two", "2.0")):
        write_json({"step": step, "python": "3.11.7", "packages": {"numpy": version}}, tmp_path / f"{step}.json")
    write_json({}, tmp_path / "stub.json")
    rows = version_rows([read_json(path) for path in sorted(tmp_path.iterdir())])
    assert rows == [
        {"package": "Python", "version": "3.11.7", "steps": ["one", "two"]},
        {"package": "numpy", "version": "1.0", "steps": ["one"]},
        {"package": "numpy", "version": "2.0", "steps": ["two"]},
    ]


def test_methods_name_the_parameters_in_effect_and_only_what_was_run():
    parameters = {
        "min_genes": 123,
        "max_genes": 9,
        "min_counts": 1,
        "max_counts": 2,
        "max_pct_mito": 7,
        "max_pct_hb": 3,
    }
    sentences, references = methods(parameters | {"expected_doublet_rate": 0.08, "seed": 5}, ["qc/cells.parquet"])
    assert sentences[0].startswith("Cells with 123 to 9 genes, 1 to 2 counts, at most 7 %")
    assert "expected rate 0.08" in sentences[1] and sentences[-1] == "The seed of all random steps was 5."
    assert len(sentences) == 3 and len(references) == 1 and "10.1016/j.cels.2018.11.005" in references[0]
    own = {"qc_thresholds": "mad", "mad_cutoff": 4, "mad_group": "pool"}
    own |= {"doublet_rate_per_1000": None, "doublet_rate_column": None}
    sentences, references = methods(own, ["qc/thresholds.tsv"])
    assert "4 scaled median absolute deviations within pool" in sentences[0] and "1,000 cells not set" in sentences[0]
    assert references[0].startswith("McCarthy")
    for chosen, said in (
        ({"doublet_column": "DF"}, "input's column DF calls"),
        ({"doublet_method": "none"}, "not called."),
    ):
        sentences, works = methods({"expected_doublet_rate": 0.08, **chosen}, ["qc/cells.parquet"])
        assert said in sentences[0] and "Scrublet" not in " ".join(sentences) and works == []
    embedded = ["embedding/genes.tsv", "embedding/pca.parquet", "embedding/umap.parquet"]
    known = {"n_top_genes": 9, "hvg_span": 0.8, "batch_column": "pool"}
    sentences, _ = methods(
        known | {"hvg_flavor": "seurat_v3", "integration": "harmony"}, [*embedded, "embedding/harmony.parquet"]
    )
    assert "seurat_v3, span 0.8" in sentences[0] and "corrected for pool with Harmony" in " ".join(sentences)
    sentences, works = methods(known | {"hvg_flavor": "pearson_residuals", "integration": "none"}, embedded)
    assert "Pearson residuals vary most" in sentences[0] and "seurat_v3" not in " ".join(sentences)
    assert "They were not corrected for any differences between batches." in sentences and works[0].startswith("Lause")
    each, _ = methods({"donors": "each", "donor_percentile": 1, "min_donor_fraction": None}, ["cohort/filtering.json"])
    assert "each cell type was analysed in the donors who have enough" in each[0] and len(each) == 1
    asked = {"donors": "each", "donor_percentile": 1, "min_cells_per_type": 10, "min_donor_fraction": 0.5}
    assert "less than 50 % of donors were not analysed" in methods(asked, ["cohort/filtering.json"])[0][1]
    share, _ = methods(
        {"donor_percentile": 1, "min_cells_per_type": 10, "min_donor_fraction": 0.95},
        ["cohort/filtering.json"],
    )
    assert "less than 95 % of donors" in share[0]


def test_two_results_of_one_name_are_an_error(inputs, tmp_path):
    tree = inputs / "merge_qc/published"
    (tmp_path / "qc").mkdir()
    (tmp_path / "qc/qc.json").write_text("{}")
    with pytest.raises(BadInput, match=r"qc/qc.json: published twice"):
        results.open(tree, tmp_path)


def test_a_gene_or_donor_named_like_a_number_or_like_nothing_stays_a_name(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("donor_id\tgene_id\tsymbol\tp_value\n007\t1e5\tNaN\t0.5\n")
    row = Results({"t.tsv": path}).table("t.tsv").iloc[0]
    assert row[["donor_id", "gene_id", "symbol"]].tolist() == ["007", "1e5", "NaN"] and row["p_value"] == 0.5


def noisy_png(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)).save(path)


def test_pictures_shrink_until_they_fit(tmp_path):
    noisy_png(tmp_path / "qc/figures/a.png")
    noisy_png(tmp_path / "qc/figures/b.png")
    published = results.open(tmp_path)
    whole, small = embed(published), embed(published, budget=100_000)
    assert whole == embed(published, threads=2) and small == embed(published, budget=100_000, threads=2)
    assert whole["qc/figures/a.png"].width == 400 and small["qc/figures/a.png"].width < 300
    assert sum(len(picture.uri) for picture in small.values()) < 100_000 * 4 / 3 + 200
    assert [picture.name for picture in in_folder(whole, "qc/figures", ["b"])] == [
        "qc/figures/b.png",
        "qc/figures/a.png",
    ]


def test_a_picture_keeps_its_looks(tmp_path):
    figure = new_figure(3, 2)
    figure.subplots().imshow(np.arange(256).reshape(16, 16))
    save_figure(figure, tmp_path / "x", title="t", description="d")
    import base64

    uri = embed(results.open(tmp_path))["x.png"].uri
    small = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"), dtype=int)
    with Image.open(tmp_path / "x.png") as image:
        assert np.abs(small - np.asarray(image.convert("RGB"), dtype=int)).mean() < 2


def test_the_best_prediction_says_whether_it_beats_the_baseline():
    rows = pd.DataFrame(
        {
            "id": ["b", "b", "t"],
            "model": ["ridge"] * 3,
            "alpha": [1.0, 10.0, 1.0],
            "mae": [9.0, 8.0, np.nan],
            "mae_low": [7.0, 6.0, np.nan],
            "mae_high": [11.0, 10.5, np.nan],
            "baseline_mae": [10.0, 10.0, np.nan],
        }
    )
    assert best_prediction(rows, "b")["alpha"] == 10 and best_prediction(rows, "b")["better"] is False
    assert best_prediction(rows.assign(mae_high=9.5), "b")["better"] is True
    assert best_prediction(rows, "t") is None and best_prediction(None, "b") is None


def test_top_sets_are_significant_ones_by_direction():
    gsea = pd.DataFrame(
        {
            "gene_set": ["HALLMARK_A_B", "C", "D"],
            "nes": [2.0, -2, 1.5],
            "direction": ["up", "down", "up"],
            "p_value": [0.01] * 3,
            "q_value": [0.01, 0.01, 0.2],
            "p_value_preranked": [0.01] * 3,
            "q_value_preranked": [0.01] * 3,
        }
    )
    assert surest_sets(gsea) == {"up": ["A B"], "down": ["C"]}
    other = gsea.assign(direction=["down", "down", "up"])
    assert surest_sets(other) == {"up": [], "down": ["C", "A B"]}, "the direction is the test's, not the score's"
    untested = gsea.assign(direction=np.nan, p_value=np.nan, q_value=np.nan)
    assert surest_sets(untested) == {"up": [], "down": []}, "the preranked test calls no set by itself"


def test_a_p_of_permutations_at_its_floor_is_printed_as_less():
    floor = 0.00199601  # as a table holds 2 / 1002
    assert [floored(value, 2 / 1002) for value in (floor, 0.3)] == ["< 0.002", "0.3"]
    assert floored(0.001, None) == "0.001" and floored(float("nan"), 0.002) == "–"


def test_no_q_of_the_page_is_zero_and_its_limits_stand_under_the_tables(html):
    page = Page(html)
    text = " ".join(" ".join(page.words).split())
    assert "< 0.002" in text
    assert "its p takes them for independent draws" in text
    assert "is not confirmed by each" in text and "is not a number of independent findings" in text
    assert "that test calls some set in a quarter to a half of all tries" in text and "nar/gks461" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0.000123456, "0.000123"),
        (np.nan, "–"),
        (None, "–"),
        (np.inf, "∞"),
        (12.0, "12"),
        (1417.3, "1,417"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text


def test_values_are_shown_for_people():
    assert [shown(value) for value in (None, [0.1, 1.0], True, 3.50, "x")] == [
        "not set",
        "0.1, 1",
        "yes",
        "3.5",
        "x",
    ]


def test_the_report_has_the_same_bytes_whatever_the_order_of_its_inputs(inputs, tmp_path, html):
    assert write(inputs, tmp_path, trees_of(inputs)[::-1]) == html


def test_parameters_and_versions_are_published_beside_the_report(inputs, tmp_path):
    write(inputs, tmp_path)
    assert read_json(tmp_path / "info/params.json") == read_json(inputs / "params.json")
    steps = [read_json(path) for path in (inputs / "versions").iterdir()]
    assert read_json(tmp_path / "info/versions.json") == {step["step"]: step for step in steps}


def test_a_template_that_is_not_there_is_named(inputs, tmp_path):
    with pytest.raises(BadInput, match=r"has no report.html.j2"):
        main(
            [
                "--parameters",
                str(inputs / "params.json"),
                "--template",
                str(tmp_path),
                "--pipeline-info",
                str(tmp_path),
                "--output",
                str(tmp_path / "r.html"),
            ]
        )


def test_time_and_memory_of_each_step_are_shown_with_what_was_asked_for(inputs, tmp_path):
    write(inputs, tmp_path)
    page = (tmp_path / "report.html").read_text()
    table = page[page.index('id="resources"') :].split("</section>")[0]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table[table.index("<tbody>") :])
    assert cells[:7] == ["Pca", "1", "5.0", "10.0", "0.50", "4.00", "12"]
    assert cells[7:] == ["Qc cells", "1", "1.5", "1.5", "1.00", "2.00", "50"]


def test_the_fit_whose_penalty_was_chosen_within_training_donors_is_the_one_shown():
    rows = pd.DataFrame({"id": "b", "model": "ridge", "alpha": ["1", "nested"], "mae": [7.0, 8.0], "baseline_mae": 9.0})
    assert best_prediction(rows, "b")["alpha"] == "nested"


def write_immune_age(folder):
    """What IMMUNE_AGE publishes, in small."""
    write_json(
        {"status": "done", "reason": "", "best_single_mae": 5.5, "acceleration_sd": 4.25},
        folder / "immune_age_summary.json",
    )
    metrics = [("mae", 4.5, 4.0, 5.0), ("baseline_mae", 17.5, 15, 20), ("r", 0.97, 0.96, 0.98)]
    write_tsv(pd.DataFrame(metrics, columns=["metric", "value", "low", "high"]), folder / "immune_age_metrics.tsv")
    tests = pd.DataFrame(
        {
            "column": ["sex", SCRIPT_NAME], "kind": ["categorical", np.nan], "levels": ["female;male", np.nan], "n_donors": [40, 40],
            "effect_years": [1.25, np.nan], "low": [0.5, np.nan], "high": [2.0, np.nan], "p_value": [0.002, np.nan],
            "padj": [0.002, np.nan], "reason": ["", "the donors have no such column"],
        }
    )  # fmt: skip
    write_tsv(tests, folder / "age_acceleration_tests.tsv")
    weights = pd.DataFrame(
        {"id": ["b_cell", "t"], "model": "elastic_net", "weight": [0.6, 0.0], "low": 0, "high": 1, "mae": 5.5}
    )
    write_tsv(weights, folder / "immune_age_weights.tsv")


def test_the_immune_age_has_its_section(inputs, tmp_path):
    write_immune_age(tmp_path / "tree/immune_age")
    text = " ".join(" ".join(Page(write(inputs, tmp_path, [*trees_of(inputs), tmp_path / "tree"])).words).split())
    assert "error 4.5 (4 to 5) years (median age: 17.5; best cell type and model by itself: 5.5)" in text
    assert "female, male 40 1.25 (0.5 to 2) 0.002 0.002" in text
    assert "the donors have no such column" in text
    assert "Weights: b_cell, elastic net 0.6 ." in text or "Weights: b_cell, elastic net 0.6." in text


def test_without_an_immune_age_its_reason_is_given(inputs, tmp_path):
    write_json(
        {"status": "skipped", "reason": "8 donors; at least 10 are needed"},
        tmp_path / "tree/immune_age/immune_age_summary.json",
    )
    text = " ".join(" ".join(Page(write(inputs, tmp_path, [*trees_of(inputs), tmp_path / "tree"])).words).split())
    assert "No immune age: 8 donors; at least 10 are needed." in text


def test_the_immune_age_lists_the_largest_weights_that_are_any(tmp_path):
    write_immune_age(tmp_path)
    weights = pd.DataFrame({"id": "b_cell", "model": "ridge", "weight": [*np.linspace(0.2, 0.01, 14), 0.0], "mae": 5.5})
    write_tsv(weights, tmp_path / "immune_age_weights.tsv")
    said = immune_age.immune_age(Results({f"immune_age/{path.name}": path for path in tmp_path.iterdir()}))
    assert said["metrics"]["mae"] == {"value": 4.5, "low": 4.0, "high": 5.0}
    assert [row["weight"] for row in said["weights"]] == pytest.approx(np.linspace(0.2, 0.01, 14)[:12], abs=1e-6)
    assert [row["column"] for row in said["tests"]] == ["sex", SCRIPT_NAME]
    assert immune_age.immune_age(Results({})) == {"reason": ""}


def write_published_clocks(folder, *, recognised):
    """What PUBLISHED_CLOCKS publishes, in small: a clock of these donors' training cohort or not, and one without a cell type."""
    metrics = pd.DataFrame(
        {
            "clock": ["GRNimmuneClock_CD4T", "MONO"], "cell_types": ["b;t", np.nan], "n_donors": [20, 0], "mae": [3.25, np.nan],
            "baseline_mae": [12.5, np.nan], "r": [0.91, np.nan], "spearman": [0.9, np.nan], "weight_missing": [0.125, 1.0],
        }
    )  # fmt: skip
    write_tsv(metrics, folder / "clock_metrics.tsv")
    training = {"cohorts": ["OneK1K"], "recognised": recognised, "text": f"Trained on OneK1K. {SCRIPT_NAME}."}
    notes = [
        "clock MONO: no cell type of this cohort is its own",
        f"clock GRNimmuneClock_CD4T: trained on OneK1K. {SCRIPT_NAME}",
    ]
    write_json({"clocks": 2, "training": {"GRNimmuneClock_CD4T": training}, "notes": notes}, folder / "clocks.json")


@pytest.mark.parametrize("recognised", [{}, {"OneK1K": "its file says so"}])
def test_published_clocks_stand_beside_what_they_were_trained_on(inputs, tmp_path, recognised):
    write_published_clocks(tmp_path / "tree/published_clocks", recognised=recognised)
    text = " ".join(" ".join(Page(write(inputs, tmp_path, [*trees_of(inputs), tmp_path / "tree"])).words).split())
    said = f"Trained on OneK1K. {SCRIPT_NAME}."
    assert f"GRNimmuneClock_CD4T b; t 20 3.25 12.5 0.91 0.9 0.12 {said}" in text
    assert "clock MONO: no cell type of this cohort is its own" in text
    top = text[text.index("Before reading") : text.index("Genes that go up or down")]
    assert (f"published clock GRNimmuneClock_CD4T: trained on OneK1K. {SCRIPT_NAME}" in top) == bool(recognised)


def test_without_published_clocks_the_report_does_not_speak_of_them(inputs, tmp_path):
    assert "Published clocks" not in write(inputs, tmp_path)
    assert clocks.published_clocks(Results({})) == {"rows": [], "notes": []} and clocks.seen_ages(Results({})) == []


def test_the_command_holds_every_changed_parameter_quoted_for_a_shell(inputs, tmp_path):
    text = write(inputs, tmp_path)
    command = html_module.unescape(re.search(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)[1])
    assert command.startswith("./nextflow run main.nf -resume ")
    shell = command.replace("./nextflow", "printf '%s\\n'", 1)
    words = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout.splitlines()
    assert dict(zip(words[3::2], words[4::2], strict=True)) == {
        "--dataset": "small-example", "--input": "/data/<cohort>.h5ad", "--n_top_genes": "200",
        "--leiden_resolutions": "0.5,1.0", "--prediction_models": "ridge,elastic_net", "--min_cells_per_sample": "15",
    }  # fmt: skip


def test_the_headline_says_composition_shared_genes_and_immune_age_first(inputs, tmp_path):
    write_immune_age(tmp_path / "tree/immune_age")
    text = " ".join(" ".join(Page(write(inputs, tmp_path, [*trees_of(inputs), tmp_path / "tree"])).words).split())
    patterns = read_json(inputs / "compare_cell_types/published/comparison/comparison_summary.json")["patterns"]
    findings = text[text.index("Error of predicted age") : text.index("What went into each step")]
    assert f"Shared ageing genes : {number(patterns['shared'])} genes age alike" in findings
    assert "with an error of 4.5 (4 to 5) years; guessing the median age: 17.5" in findings
    assert "Composition :" in findings


def test_a_gene_asked_for_that_the_cohort_does_not_hold_is_named(inputs):
    published = results.open(*trees_of(inputs))
    note = "report_genes: NOPE is no gene expressed in this cohort"
    assert unknown_genes(published, "GENE1, ENSG00000000002,NOPE") == unknown_genes(published, ["NOPE"]) == [note]
    assert unknown_genes(published, None) == [] and unknown_genes(Results({}), "NOPE") == []
