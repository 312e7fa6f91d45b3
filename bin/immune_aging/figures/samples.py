"""The figure of pseudobulk samples."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.style import CUT, NEUTRAL, OKABE_ITO, Drawing, log_ticks, new_figure, no_data, shorten
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR


def plot_sample_sizes(samples: pd.DataFrame, *, min_cells: int) -> Figure:
    """Cells of each sample, one row per cell type in order of the median; samples left out are crosses.

    Parameters
    ----------
    samples
        cell_type, n_cells (NaN where unknown), kept.
    min_cells
        Samples with fewer cells were left out.
    """
    known = samples[samples["n_cells"].notna()]
    medians = known.groupby("cell_type")["n_cells"].median().sort_index(ascending=False).sort_values(kind="stable")
    figure = new_figure(7.5, 1.4 + 0.3 * max(len(medians), 2))
    ax = figure.subplots()
    if known.empty:
        no_data(ax, "The table of samples does not say how many cells each sample was summed from.")
        return figure
    names = []
    spread = np.random.default_rng(0)
    for place, name in enumerate(medians.index):
        own = known[known["cell_type"] == name].sort_values("sample_id")
        jitter = spread.uniform(-0.3, 0.3, len(own))
        kept = own["kept"].to_numpy(dtype=bool)
        size = float(np.clip(2000 / len(own), 3, 20))
        ax.scatter(
            own["n_cells"][kept],
            place + jitter[kept],
            s=size,
            color=OKABE_ITO[0],
            alpha=0.6,
            linewidth=0,
            rasterized=True,
        )
        ax.scatter(
            own["n_cells"][~kept],
            place + jitter[~kept],
            s=size,
            color=CUT,
            marker="x",
            linewidth=0.8,
            rasterized=True,
        )
        ax.plot([medians[name]] * 2, [place - 0.38, place + 0.38], color="black", linewidth=1.6)
        names.append(f"{shorten(name, 40)} ({kept.sum()} of {len(own)})")
    ax.axvline(min_cells, color=CUT, linestyle="--", linewidth=1)
    ax.annotate(f"at least {min_cells:,}", (min_cells, 1), xycoords=("data", "axes fraction"), xytext=(3, 2),
                textcoords="offset points", fontsize=7, color=CUT)  # fmt: skip
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xscale("log")
    log_ticks(ax.xaxis)
    ax.set_xlabel("Cells in the sample (log scale)")
    ax.grid(axis="x", color=NEUTRAL, alpha=0.25, linewidth=0.5)
    return figure


def draw(samples: pd.DataFrame, *, min_cells: int) -> Drawing:
    """The figure of samples.tsv, whose samples have at least `min_cells` cells where they are used."""
    kept = int(samples["kept"].sum())
    whose = "one sample of a donor," if SAMPLE_OF_DONOR in samples else "one donor's"
    return Drawing(
        plot_sample_sizes(samples, min_cells=min_cells),
        "Pseudobulk sample sizes",
        f"Cells summed into each of {len(samples):,} samples ({whose} cells of one type), by cell type with its "
        f"median; {kept:,} samples of at least {min_cells} cells are used, {len(samples) - kept:,} (crosses) are not. "
        "In brackets: samples used of all.",
    )
