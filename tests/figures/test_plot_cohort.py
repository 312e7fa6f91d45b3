"""Figures of the cohort: the cut is drawn where it was, and who is left out is shown with the reason."""

import pandas as pd
import pytest
from PIL import Image

from immune_aging.figures.cohort import plot_age_and_sex, plot_cell_types, plot_cells_per_donor
from immune_aging.task.checkpoints import read_json, read_tsv
from inputs.report_inputs import write_inputs
from plot_cohort import main


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


@pytest.fixture
def donors():
    return pd.DataFrame(
        {
            "donor_id": ["a", "b", "c", "d"],
            "age_years": [30.0, 61.0, 64.0, None],
            "sex": ["female", "male", "male", "male"],
            "n_cells": [900.0, 1000.0, 12.0, 500.0],
            "kept": [True, True, False, False],
        }
    )


def test_the_cut_and_every_donor_are_drawn(donors):
    ax = plot_cells_per_donor(donors, cut=40.0).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[40.0, 40.0]]
    kept, out = (points.get_offsets().tolist() for points in ax.collections)
    assert kept == [[1, 1000], [2, 900]] and out == [[3, 500], [4, 12]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "kept: 2 donors", "left out: 2 donors", "least number of cells: 40",
    ]  # fmt: skip


def test_without_a_rule_no_cut_is_drawn(donors):
    assert not plot_cells_per_donor(donors, cut=None).axes[0].lines


def test_numbers_of_cells_that_are_not_known_are_said_to_be(donors):
    ax = plot_cells_per_donor(donors.assign(n_cells=float("nan")), cut=None).axes[0]
    assert "not known" in ax.texts[0].get_text()


def test_ages_are_of_kept_donors_only_by_sex(donors):
    axes = plot_age_and_sex(donors).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "female: 1 donors, median 30 years", "male: 1 donors, median 61 years",
    ]  # fmt: skip
    assert [sum(patch.get_height() for patch in ax.patches) for ax in axes] == [1, 1]


def test_every_cell_type_has_its_bar_and_those_left_out_their_reason():
    types = pd.DataFrame(
        {
            "cell_type": ["B", "T $x$", "rare"],
            "n_cells": [200, 3000, 5],
            "kept": [True, True, False],
            "reason": ["", "", "10 cells in only 0 of 4 donors"],
        }
    )
    ax = plot_cell_types(types).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["rare", "B", "T $x$"]
    assert sorted(patch.get_width() for patch in ax.patches) == [5, 200, 3000]
    assert [text.get_text() for text in ax.texts] == ["5  10 cells in only 0 of 4 donors", "200", "3,000"]


def test_the_script_writes_figures_that_say_what_the_tables_say(inputs, tmp_path):
    donors, filtering = (inputs / f"filter_cohort/published/cohort/{name}" for name in ("donors.tsv", "filtering.json"))
    main(
        [
            "--donors", str(donors), "--cell-types", str(inputs / "merge_qc/published/cohort/cell_types.tsv"),
            "--filtering", str(filtering), "--output", str(tmp_path), "--versions", str(tmp_path / "v.json"),
        ]
    )  # fmt: skip
    with Image.open(tmp_path / "cells_per_donor.png") as image:
        said = image.text["Description"]
    table = read_tsv(donors)
    assert f"{len(table)} donors" in said and f"{int(table['kept'].sum())} are kept" in said and "needs, 40." in said
    assert {path.name for path in tmp_path.glob("*.p*")} == {
        f"{name}.{kind}" for name in ("cells_per_donor", "age_sex", "cell_types") for kind in ("png", "pdf")
    }
    assert read_json(tmp_path / "v.json")["step"] == "plot_cohort"
