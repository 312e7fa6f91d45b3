"""Figures of all cell types side by side: what is called is drawn as called, what is not there is not drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from immune_aging.figures.comparison import (
    by_similarity,
    plot_genes,
    plot_nes,
    plot_power,
    striking_genes,
)
from immune_aging.figures.composition import plot_effects
from immune_aging.figures.style import DOWN, UP
from immune_aging.task.checkpoints import read_tsv
from inputs.report_inputs import SCRIPT_NAME, write_inputs
from plot_comparison import main


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


def table(inputs, name):
    return read_tsv(inputs / name, dtype={"id": str, "symbol": str, "cell_types_up": str, "cell_types_down": str})


def test_every_figure_is_drawn_and_describes_itself(inputs, tmp_path):
    trees = [str(inputs / name / "published") for name in ("composition", "compare_cell_types")]
    main(["--published", *trees, "--output", str(tmp_path), "--versions", str(tmp_path / "v.json")])
    drawn = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    names = ["comparison/figures/nes", "comparison/figures/power", "comparison/figures/shared_genes"]
    assert drawn == [f"{n}.png" for n in [*names, "composition/figures/effects", "composition/figures/proportions"]]
    with Image.open(tmp_path / "composition/figures/effects.png") as image:
        assert "28 donors" in image.text["Description"]
    with Image.open(tmp_path / "comparison/figures/power.png") as image:
        assert "80% power" in image.text["Description"]


def test_nothing_is_drawn_of_what_is_not_there(tmp_path):
    (tmp_path / "in").mkdir()
    main(
        ["--published", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--versions", str(tmp_path / "v.json")]
    )
    assert not list(tmp_path.rglob("*.png"))


def test_called_cell_types_are_filled_in_the_colour_of_their_direction(inputs):
    changes = table(inputs, "composition/published/composition/composition.tsv")
    changes["log2_fold_change"] = [0.5, -0.5, 0.1, -0.1, 0.2]
    changes["padj"] = [0.01, 0.02, 0.9, 0.9, 0.9]
    ax = plot_effects(changes, unit="per SD of age").axes[0]
    points = ax.collections[1]
    colours = {
        round(float(x), 3): to_hex(colour).upper()
        for (x, _), colour in zip(points.get_offsets(), points.get_facecolors(), strict=True)
    }
    assert (colours[0.5], colours[-0.5], colours[0.1]) == (UP, DOWN, "#FFFFFF")


def test_the_heatmap_shows_scores_where_they_belong_and_dots_where_called(inputs):
    sets = table(inputs, "compare_cell_types/published/comparison/gsea_nes.tsv")
    ids = [c.removeprefix("nes_") for c in sets.columns if c.startswith("nes_")]
    sets.loc[0, f"nes_{ids[0]}"] = np.nan
    sets.loc[0, f"q_{ids[0]}"] = np.nan
    ax = plot_nes(sets, dict.fromkeys(ids, SCRIPT_NAME)).axes[0]
    values = ax.images[0].get_array()
    assert values.shape == (len(sets), len(ids)) and values.mask.sum() == 1
    expected = (sets[[f"q_{i}" for i in ids]] < 0.05).to_numpy().sum()
    assert len(ax.collections[0].get_offsets()) == expected
    for x, y in ax.collections[0].get_offsets().astype(int):
        assert abs(values[y, x]) > 1
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert rows[0] == "TNFA SIGNALING VIA NFKB", "from those that rise to those that fall"


def test_shared_genes_come_first_and_rising_before_falling():
    rows = pd.DataFrame(
        {
            "gene_id": list("abcdef"), "symbol": ["A", "B", "", "D", "E", "F"], "stat": [5, -5, 6, 4, -4, 1],
            "pattern": ["shared", "shared", "shared", "specific", "opposed", "none"],
            "p_value_shared": [0.1, 0.2, 0.3, 1, 1, 1], "heterogeneity_p_value": [1, 1, 1, 0.1, 0.2, 1],
            "cell_types_up": ["x;y", "", "x", "x", "x", ""], "cell_types_down": ["", "x;y", "", "", "y", ""],
            "lfc_x": [1.0, -1, 1, 1, 1, 0], "lfc_y": [1.0, -1, np.nan, 0, -1, 0],
        }
    )  # fmt: skip
    chosen = striking_genes(rows)
    assert chosen["gene_id"].tolist() == ["c", "a", "b", "e", "d"]
    ax = plot_genes(chosen, {"x": "X cell", "y": "Y cell"}, unit="per SD of age").axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["c", "A", "B", "E", "D"]
    dots = {tuple(place) for place in ax.collections[0].get_offsets().astype(int)}
    assert dots == {(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3), (0, 4)}
    assert striking_genes(rows[rows["pattern"] == "none"]).empty


def test_like_cell_types_are_neighbours():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 30))
    values = pd.DataFrame({"a": one, "b": two, "c": one + 0.1, "d": two + 0.1})
    order = by_similarity(values)
    assert abs(order.index("a") - order.index("c")) == 1 and abs(order.index("b") - order.index("d")) == 1


def test_power_is_drawn_for_each_third(inputs):
    power = table(inputs, "compare_cell_types/published/comparison/power.tsv")
    ax = plot_power(power, unit="per SD of age").axes[0]
    n_types = power["id"].nunique()
    assert sum(len(points.get_offsets()) for points in ax.collections[1:]) == 3 * n_types
    assert len(ax.get_yticklabels()) == n_types
