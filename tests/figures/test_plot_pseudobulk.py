"""The figure of sample sizes: every sample, the least size, and which are used."""

import pandas as pd
from PIL import Image

from immune_aging.figures.samples import plot_sample_sizes
from inputs.step_options import default_options
from plot_pseudobulk import main

SAMPLES = pd.DataFrame(
    {
        "sample_id": ["b|1", "b|2", "t|1", "t|2", "t|3"],
        "donor_id": ["1", "2", "1", "2", "3"],
        "cell_type": ["B", "B", "T", "T", "T"],
        "n_cells": [4.0, 30.0, 100.0, 200.0, 300.0],
        "kept": [False, True, True, True, True],
        "reason": ["fewer than 10 cells", "", "", "", ""],
    }
)


def test_every_sample_is_drawn_and_the_least_size():
    ax = plot_sample_sizes(SAMPLES, min_cells=10).axes[0]
    sizes = sorted(float(x) for points in ax.collections for x in points.get_offsets()[:, 0])
    assert sizes == sorted(SAMPLES["n_cells"])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["B (1 of 2)", "T (3 of 3)"]
    assert [10, 10] in [list(line.get_xdata()) for line in ax.lines]


def test_sizes_that_are_not_known_are_said_to_be():
    ax = plot_sample_sizes(SAMPLES.assign(n_cells=float("nan")), min_cells=10).axes[0]
    assert "does not say how many cells" in ax.texts[0].get_text()


def test_the_script_counts_samples_as_the_table_does(tmp_path):
    SAMPLES.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    main(
        [
            *default_options("plot_pseudobulk"),
            "--samples",
            str(tmp_path / "samples.tsv"),
            "--output",
            str(tmp_path),
            "--versions",
            str(tmp_path / "v.json"),
        ]
    )
    with Image.open(tmp_path / "sample_sizes.png") as image:
        assert "4 samples of at least 10 cells are used, 1 (crosses) are not" in image.text["Description"]
