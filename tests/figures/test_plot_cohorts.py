"""Effects of this cohort against another: each gene is drawn as what became of it."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.figures.other_cohorts import KINDS, draw_other_cohorts, kinds_of_genes, plot_effects
from immune_aging.results import Results

EFFECTS = pd.DataFrame(
    {
        "cell_type": "T", "gene": ["a", "b", "c", "d"], "effect_this": [0.1, 0.3, 0.3, 0.3],
        "effect_x": [0.1, 0.3, 0.0, -0.3], "padj_this": [0.9, 0.01, 0.01, 0.01], "padj_x": [0.9, 0.2, 0.9, 0.01],
    }
)  # fmt: skip
DISCOVERIES = pd.DataFrame(
    {
        "cell_type": "T", "discovery": ["this", "this", "this", "x", "this"], "replication": ["x", "x", "x", "this", "y"],
        "gene": ["b", "c", "d", "d", "a"], "replicated": [True, False, False, False, True],
    }
)  # fmt: skip


def test_a_gene_is_what_became_of_it_in_these_two_cohorts():
    assert kinds_of_genes(EFFECTS, DISCOVERIES, "x").to_list() == [
        "not called", "replicated", "called, not replicated", "both call it, opposite",
    ]  # fmt: skip


@pytest.mark.parametrize("n_types", [1, 3, 15])
def test_a_panel_shows_all_genes_of_a_cell_type_and_large_numbers_of_types_are_cut(n_types):
    effects = pd.concat([EFFECTS.assign(cell_type=f"type {number}") for number in range(n_types)], ignore_index=True)
    found = pd.concat([DISCOVERIES.assign(cell_type=f"type {number}") for number in range(n_types)])
    figure = plot_effects(effects, found, other="x", scale="log2 fold change per decade of age")
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert len(panels) == min(n_types, 12)
    points = np.concatenate([dots.get_offsets() for dots in panels[0].collections])
    assert sorted(map(tuple, points)) == sorted(zip(EFFECTS["effect_this"], EFFECTS["effect_x"], strict=True))
    assert panels[0].get_title().endswith("1 of 3 replicated")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(KINDS)


def test_nothing_is_drawn_where_nothing_was_compared():
    assert list(draw_other_cohorts(Results({}))) == []
