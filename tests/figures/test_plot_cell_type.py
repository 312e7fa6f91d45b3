"""Figures of one cell type: what is called is drawn as called, what could not be computed is not drawn."""

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from immune_aging import results
from immune_aging.figures.cell_type import draw as draw_all
from immune_aging.figures.gene_sets import plot_gsea, plot_ora
from immune_aging.figures.genes_by_age import plot_genes_by_age
from immune_aging.figures.predictions import donor_means, plot_sweep, read_predictions
from immune_aging.figures.style import DOWN, UP
from immune_aging.figures.volcano import most_striking, plot_volcano
from immune_aging.task.checkpoints import read_tsv
from immune_aging.task.command_line import BadInput
from inputs.report_inputs import SCRIPT_NAME, SLUGS, UNFITTED, write_inputs
from inputs.step_options import default_options
from plot_cell_type import main

ALL = {"volcano", "ma", "genes", "gsea", "running_sums", "ora", "prediction", "sweep"}

WORDS = ("up with age", "down with age")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


def draw(inputs, out, identifier):
    trees = [str(path / "published") for path in sorted(inputs.iterdir()) if f"-{identifier}" in path.name]
    more = ["--counts", str(inputs / f"counts/{identifier}.h5ad"), "--gene-sets", str(inputs / "gene_sets.gmt")]
    places = ["--output", str(out), "--versions", str(out / "v.json")]
    main(
        [
            *default_options("plot_cell_type"),
            "--published",
            *trees,
            "--id",
            identifier,
            *more,
            "--genes",
            "GENE599,nothing",
            *places,
        ]
    )
    return {path.stem: path for path in (out / "figures").glob("*.png")}


def table(inputs, name, identifier="b_cell"):
    task = name.split("_")[0].split(".")[0]
    return read_tsv(inputs / f"{task}-{identifier}/published/cell_types/{identifier}/{name}")


def test_descriptions_say_what_the_tables_say(inputs, tmp_path):
    figures = draw(inputs, tmp_path, "b_cell")
    assert set(figures) == ALL
    de = table(inputs, "de.tsv")
    up, down = ((de["padj"] < 0.05) & (sign * de["log2_fold_change"] > 0) for sign in (1, -1))
    with Image.open(figures["volcano"]) as image:
        assert (
            f"{len(de)} genes of B cell: {up.sum()} up with age and {down.sum()} down with age"
            in image.text["Description"]
        )
    summary = read_tsv(inputs / "summarize_predictions/published/prediction_summary.tsv")
    best = summary[summary["id"] == "b_cell"].sort_values("mae").iloc[0]
    with Image.open(figures["prediction"]) as image:
        said = image.text["Description"]
    assert f"{best['model'].replace('_', ' ')} with a mean absolute error of {best['mae']:.1f} years" in said


def test_a_cell_type_that_was_not_fitted_gives_no_figure_and_no_error(inputs, tmp_path):
    assert draw(inputs, tmp_path, SLUGS[UNFITTED]) == {}
    assert (tmp_path / "v.json").exists()


def test_the_expression_written_is_that_of_the_counts_by_donor(inputs, tmp_path):
    draw(inputs, tmp_path, "b_cell")
    written = read_tsv(tmp_path / "expression_by_age.tsv", dtype={"donor_id": str})
    first = table(inputs, "de.tsv").sort_values("p_value")["gene_id"].head(40).tolist()
    assert list(written) == ["donor_id", "age_years", "sex", *first, "ENSG00000000599"]
    counts = anndata.read_h5ad(inputs / "counts/b_cell.h5ad")
    for row in written.to_dict("records"):
        own = counts[(counts.obs["donor_id"] == row["donor_id"]).to_numpy()]
        assert row["age_years"] == own.obs["age_years"].item() and row["sex"] == own.obs["sex"].item()
        for gene in (first[0], first[-1], "ENSG00000000599"):
            cpm = (own[:, gene].X.item() + 0.5) / (own.X.sum() + 1) * 1e6
            assert row[gene] == pytest.approx(np.log2(cpm), rel=1e-5)


def test_genes_against_age_are_drawn_with_one_dot_a_donor(inputs):
    expression = read_tsv(inputs / "expression-b_cell/published/cell_types/b_cell/expression_by_age.tsv")
    de = table(inputs, "de.tsv").head(2)
    for ax, gene in zip(plot_genes_by_age(expression, de).axes, de["gene_id"], strict=True):
        dots = np.concatenate([points.get_offsets() for points in ax.collections])
        expected = sorted(zip(expression["age_years"], expression[gene], strict=True))
        np.testing.assert_allclose(sorted(map(tuple, dots)), expected)


def test_the_name_of_a_cell_type_is_only_text(inputs, tmp_path):
    figures = draw(inputs, tmp_path, SLUGS[SCRIPT_NAME])
    with Image.open(figures["gsea"]) as image:
        assert SCRIPT_NAME in image.text["Description"]


def test_an_id_without_results_is_an_error(inputs, tmp_path):
    with pytest.raises(BadInput, match="--id t_cell"):
        main(
            [
                *default_options("plot_cell_type"),
                "--published",
                str(inputs / "de-b_cell/published"),
                "--id",
                "t_cell",
                "--output",
                str(tmp_path),
            ]
        )


def test_a_volcano_shows_every_gene_and_names_called_ones(inputs):
    de = table(inputs, "de.tsv")
    ax = plot_volcano(de, unit="per SD of age", words=WORDS).axes[0]
    drawn = [points.get_offsets() for points in ax.collections]
    called = de["padj"] < 0.05
    expected = [~called, called & (de["log2_fold_change"] > 0), called & (de["log2_fold_change"] < 0)]
    for points, mask in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(
            np.sort(points[:, 1]), np.sort(-np.log10(de.loc[mask, "p_value"])), rtol=1e-6, atol=1e-12
        )
    named = {text.get_text() for text in ax.texts} - {"adjusted p 0.05"}
    assert named and named <= set(de.loc[called, "symbol"])


def test_genes_without_a_symbol_are_named_by_their_id(inputs):
    de = table(inputs, "de.tsv").assign(symbol="")
    named = {text.get_text() for text in plot_volcano(de, unit="", words=WORDS).axes[0].texts}
    assert any(name.startswith("ENSG") for name in named)


def test_a_volcano_without_a_called_gene_or_with_p_of_zero_is_drawn(inputs):
    de = table(inputs, "de.tsv")
    assert not most_striking(de.assign(padj=1.0)).size
    assert plot_volcano(de.assign(padj=np.nan), unit="", words=WORDS).axes
    ax = plot_volcano(de.assign(p_value=0.0), unit="", words=WORDS).axes[0]
    assert np.isfinite(ax.get_ylim()).all()


def test_gene_sets_are_filled_where_called_and_coloured_by_direction(inputs):
    gsea = table(inputs, "gsea.tsv")
    filled, hollow = plot_gsea(gsea).axes[0].collections
    called = gsea[gsea["q_value"] < 0.05]
    assert sorted(filled.get_offsets()[:, 0]) == pytest.approx(sorted(called["nes"]))
    assert len(hollow.get_offsets()) == len(gsea) - len(called) and len(hollow.get_facecolors()) == 0
    for (x, _), colour in zip(filled.get_offsets(), filled.get_facecolors(), strict=True):
        assert to_hex(colour).upper() == (UP if x > 0 else DOWN)


def test_infinite_odds_stay_on_the_figure():
    ora = pd.DataFrame(
        {
            "gene_set": ["A_B", "C"],
            "overlap": [5, 3],
            "size": [5, 30],
            "odds_ratio": [np.inf, 3.0],
            "p_value": [1e-9, 0.2],
            "padj": [1e-8, 0.2],
            "genes": ["x", "y"],
        }
    )
    ax = plot_ora({"up": ora}).axes[0]
    x = np.concatenate([points.get_offsets()[:, 0] for points in ax.collections])
    assert np.isfinite(x).all() and x.max() < ax.get_xlim()[1]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["A B", "C"]


def test_predictions_of_a_donor_are_averaged_over_repeats():
    rows = pd.DataFrame({"donor_id": ["a", "b", "a"], "age_years": [30.0, 50, 30], "predicted": [20.0, 51, 50]})
    means = donor_means(rows)
    assert means.loc["a"].tolist() == [30, 35, 20, 50] and means.loc["b", "predicted"] == 51


def test_each_model_has_its_line_at_the_penalties_tried(inputs):
    summary = read_tsv(inputs / "summarize_predictions/published/prediction_summary.tsv")
    own = summary[summary["id"] == "b_cell"]
    ax = plot_sweep(own).axes[0]
    models = sorted(own["model"].unique())
    assert [container.get_label() for container in ax.containers] == [model.replace("_", " ") for model in models]
    for model, container in zip(models, ax.containers, strict=True):
        errors = own[own["model"] == model].sort_values("alpha")["mae"].to_numpy()
        np.testing.assert_allclose(np.asarray(container[0].get_ydata(), dtype=float), errors)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1", "1", "10"]


def test_the_nested_choice_stands_beside_the_penalties_and_is_the_one_shown(inputs, tmp_path):
    tree = tmp_path / "tree/cell_types/b_cell/prediction/model-ridge_alpha-nested"
    tree.mkdir(parents=True)
    source = "cell_types/b_cell/prediction/model-ridge_alpha-1"
    trees = [path / "published" for path in inputs.iterdir() if (path / "published").is_dir()]
    for name in ("metrics.tsv", "predictions.tsv"):
        (tree / name).write_text(results.open(*trees).path(f"{source}/{name}").read_text())
    published = results.open(*trees, tmp_path / "tree")
    metrics, predictions = read_predictions(published, "cell_types/b_cell")
    assert metrics["alpha"].isna().sum() == 1 and ("ridge", "nested") in predictions
    ax = plot_sweep(metrics).axes[0]
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    assert ticks[-1] == "nested" and ax.get_xticks()[-1] > metrics["alpha"].max()
    figure = dict(draw_all(published, "b_cell"))["prediction"].figure
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert sum("ridge, alpha nested" in title for title in titles) == 1
