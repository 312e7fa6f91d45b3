"""Curves of expression by age, genes of one shape together."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.effects import gene_names
from immune_aging.figures.style import NEUTRAL, PALETTE, new_figure, shorten

N_LINES = 60  # genes drawn of each shape, those of smallest p
N_NAMED = 3  # of each shape


def plot_curves(points: pd.DataFrame) -> Figure:
    """One panel per shape: the curves of its genes, their mean, and the names of the surest.

    Parameters
    ----------
    points
        de_curve_points.tsv, with at least one gene; genes in order of their p.
    """
    sizes = points.drop_duplicates("gene_id")["shape"].value_counts()
    shapes = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    columns = min(3, len(shapes))
    rows = -(-len(shapes) // columns)
    figure = new_figure(0.4 + 2.9 * columns, 0.4 + 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for place, (ax, shape) in enumerate(zip(axes.flat, shapes, strict=False)):
        own = points[points["shape"] == shape]
        curves = own.pivot(index="gene_id", columns="age_years", values="log2_expression")
        curves = curves.reindex(own["gene_id"].unique())
        ages, colour = curves.columns.to_numpy(dtype=float), PALETTE[place % len(PALETTE)]
        ax.plot(ages, curves.head(N_LINES).to_numpy().T, color=colour, linewidth=0.5, alpha=0.35, rasterized=True)
        ax.plot(ages, curves.to_numpy().mean(axis=0), color=colour, linewidth=2.2)
        ax.axhline(0, color=NEUTRAL, linewidth=0.6)
        named = ", ".join(shorten(name, 12) for name in gene_names(own.drop_duplicates("gene_id").head(N_NAMED)))
        ax.set_title(f"{shape}: {sizes[shape]:,}\n{named}", loc="left", fontsize=8.5)
    for ax in axes.flat[len(shapes) :]:
        ax.set_axis_off()
    for ax in axes.flat[max(0, len(shapes) - columns) : len(shapes)]:
        ax.tick_params(labelbottom=True)  # also where nothing is drawn below
    reach = float(np.percentile(np.abs(points["log2_expression"]), 99.5)) * 1.1
    axes.flat[0].set_ylim(-max(reach, 0.1), max(reach, 0.1))
    figure.supxlabel("Age (years)", fontsize=9)
    figure.supylabel("log2 expression, centred", fontsize=9)
    return figure
