"""The figure of how well batches mix before and after Harmony."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.dots import scatter
from immune_aging.figures.style import DOWN, NEUTRAL, PALETTE, UP, new_figure

BEFORE, AFTER = "before Harmony", "after Harmony"


def plot_mixing(embeddings: Mapping[str, np.ndarray], batches: pd.Series, measured: pd.DataFrame) -> Figure:
    """The first two dimensions before and after, coloured by batch, and how LISI is distributed in either.

    Parameters
    ----------
    embeddings
        By name: cells x dimensions; all cells.
    batches
        Of all cells.
    measured
        As `measure` gives it, of some cells.
    """
    names = list(measured["label"].unique())
    figure = new_figure(10.5, 3.7 + 3)
    axes = figure.subplots(2, 2)
    codes = batches.astype("category").cat.codes.to_numpy()
    for ax, (when, points) in zip(axes[0], embeddings.items(), strict=True):
        ax.set(xticks=[], yticks=[], xlabel="Dimension 1", ylabel="Dimension 2")
        ax.set_title(f"{when[0].upper()}{when[1:]}, by {batches.name}", loc="left")
        scatter(ax, points[:, 0], points[:, 1], codes=codes, palette=PALETTE)
    for ax, name in zip(axes[1], names, strict=True):
        own = measured[measured["label"] == name]
        for (when, style), colour in zip(((BEFORE, "--"), (AFTER, "-")), (UP, DOWN), strict=True):
            values = np.sort(own.loc[own["embedding"] == when, "lisi"].to_numpy())
            ax.step(values, np.arange(1, len(values) + 1) / len(values), color=colour, linestyle=style, where="post",
                    label=f"{when}: median {np.median(values):.2f}")  # fmt: skip
            ax.axvline(np.median(values), color=colour, linestyle=":", linewidth=1)
        ax.axhline(0.5, color=NEUTRAL, linewidth=0.6)
        ax.set(xlabel=f"LISI of {name}", ylabel="Share of cells at or below", ylim=(0, 1))
        ax.legend(loc="lower right")
    return figure
