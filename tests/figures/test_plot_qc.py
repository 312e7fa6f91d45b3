"""Figures of quality control: thresholds where they were, distributions as they are, losses that add up."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import gaussian_kde

from immune_aging.figures.qc_metrics import bounds_text, metrics_of
from immune_aging.figures.quality_control import plot_counts_and_genes, plot_losses
from immune_aging.figures.violins import plot_violins, violin
from immune_aging.task.checkpoints import read_parquet
from inputs.report_inputs import write_inputs
from inputs.step_options import default_options
from plot_qc import main

THRESHOLDS = {
    "min_genes": 200,
    "max_genes": 6000,
    "min_counts": 500,
    "max_counts": 30000,
    "max_pct_mito": 20,
    "max_pct_hb": 5,
}


@pytest.fixture(scope="module")
def cells_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder / "merge_qc/published/qc/cells.parquet"


@pytest.fixture
def cells(cells_path):
    return read_parquet(cells_path)


def test_thresholds_are_drawn_where_they_were(cells):
    axes = plot_violins(cells, metrics_of(THRESHOLDS)).axes
    by_title = {ax.get_title(loc="left"): ax for ax in axes}
    expected = {
        "Genes": np.log10([200, 6000]), "Counts": np.log10([500, 30000]), "Mitochondrial (%)": np.sqrt([20]),
        "Hemoglobin (%)": np.sqrt([5]), "Ribosomal (%)": [], "Doublet score": [],
    }  # fmt: skip
    for title, bounds in expected.items():
        lines = [line.get_ydata()[0] for line in by_title[title].lines if line.get_linestyle() == "--"]
        assert lines == pytest.approx(list(bounds)), title


def test_where_donors_have_their_own_thresholds_the_band_between_them_is_drawn(cells):
    own = pd.DataFrame([THRESHOLDS, THRESHOLDS | {"max_pct_mito": 9, "min_counts": 700}])
    metrics = metrics_of(THRESHOLDS, own)
    by_title = {ax.get_title(loc="left"): ax for ax in plot_violins(cells, metrics).axes}
    lines = {
        title: [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
        for title, ax in by_title.items()
    }
    assert lines["Mitochondrial (%)"] == pytest.approx(np.sqrt([9, 20]))
    assert lines["Counts"] == pytest.approx(np.log10([500, 700, 30000])) and len(lines["Genes"]) == 2
    assert "mitochondrial at most 9 or 20 %" in bounds_text(metrics) and "donors have their own" in bounds_text(metrics)


def test_a_violin_is_the_kernel_density_of_the_cells():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 4000), rng.normal(5, 0.5, 2000)])
    stats = violin(values, low=values.min(), high=values.max())
    exact = gaussian_kde(values, "silverman")(stats["coords"])
    ours = stats["vals"] / stats["vals"].sum()
    assert np.corrcoef(ours, exact)[0, 1] > 0.98
    assert stats["median"] == np.median(values)


def test_the_median_of_each_cell_type_is_drawn(cells):
    ax = plot_violins(cells, metrics_of(THRESHOLDS)).axes[1]
    medians = {line.get_xdata()[0]: line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"}
    expected = cells.groupby("cell_type")["n_counts"].median().sort_index()
    assert [10 ** medians[i] for i in range(len(expected))] == pytest.approx(expected.to_numpy(), rel=1e-2)


def test_a_share_that_is_not_known_is_said_to_be(cells):
    unknown = cells.assign(pct_mito=np.nan, pct_hb=np.nan)
    words = [text.get_text() for ax in plot_violins(unknown, metrics_of(THRESHOLDS)).axes for text in ax.texts]
    assert "Mitochondrial (%): not known for this cohort" in words
    words = [text.get_text() for ax in plot_counts_and_genes(unknown, metrics_of(THRESHOLDS)).axes for text in ax.texts]
    assert words == [
        "Mitochondrial share: not known for this cohort",
        "Hemoglobin share: not known for this cohort",
    ]


def test_a_cohort_whose_cells_are_all_alike_can_be_drawn(cells):
    alike = cells.head(20).assign(n_genes=300, n_counts=600, pct_mito=0.0, pct_hb=0.0, pct_ribo=0.0, doublet_score=0.1)
    assert len(plot_violins(alike, metrics_of(THRESHOLDS)).axes) == 6
    assert plot_counts_and_genes(alike, metrics_of(THRESHOLDS)).axes


def test_every_lost_cell_is_in_a_bar(cells):
    ax = plot_losses(cells).axes[0]
    names = [text.get_text() for text in ax.get_yticklabels()]
    widths = np.array([patch.get_width() for patch in ax.patches]).reshape(2, -1).sum(axis=0)
    expected = {
        name: int(cells["reason"].str.split("; ").map(lambda broken, name=name: name in broken).sum()) for name in names
    }
    assert dict(zip(names, widths, strict=True)) == expected
    assert set(names) == {rule for reason in cells["reason"] for rule in reason.split("; ")} - {""}


def test_a_cohort_that_loses_nothing_says_so(cells):
    kept = cells[cells["kept"]]
    assert "removed none of" in plot_losses(kept).axes[0].texts[0].get_text()


def test_the_script_names_its_thresholds_and_numbers(cells_path, tmp_path):
    main(
        [
            *default_options("plot_qc"),
            "--cells",
            str(cells_path),
            "--max-pct-mito",
            "12",
            "--output",
            str(tmp_path),
            "--versions",
            str(tmp_path / "v.json"),
        ]
    )
    cells = read_parquet(cells_path)
    with Image.open(tmp_path / "violins.png") as image:
        assert "mitochondrial at most 12 %" in image.text["Description"]
    with Image.open(tmp_path / "cells_lost.png") as image:
        assert f"removed {(~cells['kept']).sum():,} of {len(cells):,} cells" in image.text["Description"]
