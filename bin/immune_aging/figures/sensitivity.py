"""The figure of the sensitivity analysis."""

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from immune_aging.figures.style import NEUTRAL, Drawing, new_figure, shorten
from immune_aging.statistics.multiple_testing import ALPHA

PANELS = (
    ("n_called", "Genes called", "{:,.0f}", "viridis", None),
    ("jaccard", "Overlap of the called genes\nwith the run (Jaccard)", "{:.2f}", "cividis", (0, 1)),
    ("correlation", "Correlation of all effects\nwith the run", "{:.3f}", "cividis", (0.8, 1)),
)


def plot_sensitivity(table: pd.DataFrame) -> Figure:
    """Variants x cell types three times: how many genes are called, which, and with what effects."""
    variants, types = list(dict.fromkeys(table["variant"])), sorted(table["cell_type"].astype(str).unique())
    width = 1.3 + 0.42 * max(len(types), 4)
    figure = new_figure(1.6 + 3 * width, 2.2 + 0.32 * len(variants) + 0.02 * max(map(len, types)) * 5)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for ax, (column, title, form, colours, limits) in zip(axes, PANELS, strict=True):
        grid = table.pivot(index="variant", columns="cell_type", values=column).reindex(index=variants, columns=types)
        values = grid.to_numpy(dtype=float)
        if limits is None:
            norm = LogNorm(1, max(np.nanmax(values, initial=1), 10), clip=True)
        else:
            norm = Normalize(*limits, clip=True)
        ax.set_facecolor("#EEEEEE")
        image = ax.imshow(np.where(np.isfinite(values), values, np.nan), aspect="auto", cmap=colours, norm=norm)
        for row, column_number in np.ndindex(values.shape):
            value = values[row, column_number]
            shade = image.cmap(norm(value)) if np.isfinite(value) else (1, 1, 1)
            dark = np.dot(shade[:3], (0.299, 0.587, 0.114)) < 0.5
            ax.text(
                column_number, row, form.format(value) if np.isfinite(value) else "–", ha="center", va="center",
                fontsize=6, color="white" if dark else "black" if np.isfinite(value) else NEUTRAL,
            )  # fmt: skip
        ax.set_title(title, loc="left", fontsize=9)
        ax.set_xticks(range(len(types)), [shorten(name, 26) for name in types], rotation=90)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    axes[0].set_yticks(range(len(variants)), [shorten(name, 34) for name in variants])
    return figure


def draw(table: pd.DataFrame) -> Drawing:
    """The figure of sensitivity.tsv."""
    n = table["variant"].nunique() - 1
    return Drawing(
        plot_sensitivity(table),
        "What changes with other quality control or another design",
        f"{n} variants (rows) against the run itself (base), by cell type. Left: genes at an adjusted p below "
        f"{ALPHA:g}. Middle: of the genes called by the variant or the run, the share called by both. Right: "
        "correlation of the log2 fold changes of all genes tested in both. A dash: not computed.",
    )
