"""Maps of cells: points in a plane coloured by what is known of them, with numbers or a legend."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from immune_aging.figures.dots import crowded_place, label, numbered_legend, scatter
from immune_aging.figures.style import PALETTE, colour_limits, colours_for, log_ticks, new_figure, shorten

MOST_NUMBERED = 36  # kinds that a legend can tell apart by number and colour
MOST_COLOURED = 12  # by colour alone
SQUARE_INCHES = 5.2


def frame_of(points: np.ndarray) -> np.ndarray:
    """Limits of a map that a handful of far cells cannot squeeze: all but the outermost 0.01 % on each side.

    Parameters
    ----------
    points
        Coordinates, cells x 2.

    Returns
    -------
    Low and high of each coordinate, 2 x 2; never wider than the points and a margin.
    """
    low, high = np.quantile(points, [1e-4, 1 - 1e-4], axis=0)
    margin = np.where(high > low, 0.06 * (high - low), 0.5)
    return np.column_stack([low - margin, high + margin])


def inside(points: np.ndarray) -> np.ndarray:
    """Whether each point lies in the frame, shape (cells,)."""
    limits = frame_of(points)
    return np.asarray(((points >= limits[:, 0]) & (points <= limits[:, 1])).all(axis=1))


def _map_axes(ax: Axes, names: Sequence[str], points: np.ndarray) -> None:
    """Axes of a map: named, without numbers that mean nothing."""
    limits = frame_of(points)
    ax.set(xticks=[], yticks=[], xlabel=names[0], ylabel=names[1], xlim=limits[0], ylim=limits[1])


def _legend_room(n_kinds: int, longest: int) -> float:
    """Inches that a legend needs to the right of a map."""
    return -(-n_kinds // 18) * (0.5 + 0.068 * longest)


def draw_categories(ax: Axes, points: np.ndarray, kinds: pd.Series, *, numbered: bool, palette: Sequence[str]) -> None:
    """Points by kind; with `numbered`, each kind carries its place among the kinds where most of it lies.

    Parameters
    ----------
    points
        Coordinates, cells x 2.
    kinds
        Categorical.
    """
    codes = kinds.cat.codes.to_numpy()
    scatter(ax, points[:, 0], points[:, 1], codes=codes, palette=palette)
    if numbered:
        for code, name in enumerate(kinds.cat.categories):
            own = points[codes == code]
            if len(own):
                place = crowded_place(own[:, 0], own[:, 1])
                label(ax, *place, str(name) if str(name).isdigit() else str(code + 1))


def plot_categories(
    points: np.ndarray, kinds: pd.Series, *, axis_names: Sequence[str], numbered: bool, clusters: bool = False
) -> Figure:
    """One map coloured by kind, with a legend where there are few enough.

    Parameters
    ----------
    points
        Coordinates, cells x 2.
    kinds
        Categorical.
    numbered
        Kinds lie apart: number each on the map and in the legend, since no 30 colours can be told apart.
    clusters
        The categories are numbers already.
    """
    categories = [str(name) for name in kinds.cat.categories]
    by_name = colours_for(categories)
    palette = [PALETTE[i % len(PALETTE)] if clusters else by_name[name] for i, name in enumerate(categories)]
    counts = kinds.value_counts(sort=False).to_numpy()
    few = len(categories) <= (MOST_NUMBERED if numbered else MOST_COLOURED)
    legend = [
        f"{f'{i + 1} ' if numbered and not clusters else ''}{shorten(name, 36)} ({n:,})"
        for i, (name, n) in enumerate(zip(categories, counts, strict=True))
        if few
    ]
    figure = new_figure(
        SQUARE_INCHES + 0.2 + _legend_room(len(legend), max(map(len, legend), default=0)), SQUARE_INCHES
    )
    ax = figure.subplots()
    _map_axes(ax, axis_names, points)
    draw_categories(ax, points, kinds, numbered=numbered and few, palette=palette)
    if legend:
        numbered_legend(ax, legend, palette)
    return figure


def plot_values(
    points: np.ndarray, values: np.ndarray, *, axis_names: Sequence[str], bar: str, log: bool = False
) -> Figure:
    """One map coloured by a number: the mean of the cells under each dot; cells without it are not drawn.

    Parameters
    ----------
    bar
        Label of the colour bar.
    log
        Colour on a log scale.
    """
    figure = new_figure(SQUARE_INCHES + 1, SQUARE_INCHES)
    ax = figure.subplots()
    _map_axes(ax, axis_names, points)
    known = values[np.isfinite(values)]
    if not len(known):
        ax.text(0.5, 0.5, f"{bar}: not known for these cells", ha="center", transform=ax.transAxes)
        return figure
    low, high = colour_limits(known)
    norm = LogNorm(max(low, 1), max(high, 2)) if log else Normalize(low, high)
    mappable = scatter(ax, points[:, 0], points[:, 1], values=values, norm=norm)
    colour_bar = figure.colorbar(mappable, ax=ax, label=bar, extend="both", shrink=0.8)
    if log:
        log_ticks(colour_bar.ax.yaxis)
    return figure


def plot_pca(pca: pd.DataFrame, kinds: pd.Series) -> Figure:
    """First against second and third against fourth principal component by cell type."""
    components = [name for name in pca.columns if name.startswith("PC")]
    pairs = [components[i : i + 2] for i in (0, 2) if len(components) >= i + 2]
    names = [str(name) for name in kinds.cat.categories]
    colours = colours_for(names)
    legend = [f"{i + 1} {shorten(name, 36)}" for i, name in enumerate(names)]
    legend = legend if len(legend) <= MOST_NUMBERED else []
    figure = new_figure(4.6 * len(pairs) + _legend_room(len(legend), max(map(len, legend), default=0)), 4.6)
    axes = figure.subplots(1, len(pairs), squeeze=False)[0]
    for ax, pair in zip(axes, pairs, strict=True):
        ax.set(xlabel=pair[0], ylabel=pair[1])
        draw_categories(ax, pca[pair].to_numpy(), kinds, numbered=bool(legend), palette=list(colours.values()))
    if legend:
        numbered_legend(axes[-1], legend, list(colours.values()))
    return figure
