"""Dots of many cells, drawn as one picture, with legends and labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.patheffects import withStroke

from immune_aging.figures.style import PALETTE, PDF_DPI

SEQUENTIAL = "viridis"


def dot_radius(n_points: int) -> float:
    """Radius of a dot in points: 2.2 for a few hundred, a third of a point for a million."""
    return float(np.clip(2.2 * (1000 / max(n_points, 1)) ** 0.3, 0.3, 2.2))


def _disc(radius: float) -> list[tuple[int, int]]:
    """Pixel offsets of a disc."""
    reach = int(radius)
    span = range(-reach, reach + 1)
    return [(dx, dy) for dx in span for dy in span if dx * dx + dy * dy <= radius * radius + 0.5]


def _scaled(ax: Axes, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates after the axes' own scales (log, symlog), in which pixels are equally wide."""
    scale_x, scale_y = ax.xaxis.get_transform(), ax.yaxis.get_transform()
    return scale_x.transform(np.asarray(x, dtype=float)), scale_y.transform(np.asarray(y, dtype=float))


def _frame(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Give the axes the limits of the points and a margin, unless the caller has set them."""
    for axis, values, set_limits, auto in (
        (ax.xaxis, x, ax.set_xlim, ax.get_autoscalex_on()),
        (ax.yaxis, y, ax.set_ylim, ax.get_autoscaley_on()),
    ):
        if auto:
            low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
            margin = 0.03 * (high - low) or 0.5
            set_limits(axis.get_transform().inverted().transform(np.array([low - margin, high + margin])))


def _pixels(ax: Axes, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Row and column of each point (scaled) in a picture that fills the axes, and that picture's rows and columns."""
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    n_columns, n_rows = (max(int(side / dpi * PDF_DPI), 50) for side in (box.width, box.height))
    (x0, x1), (y0, y1) = _scaled(ax, *(np.array(limits) for limits in (ax.get_xlim(), ax.get_ylim())))
    column = np.floor((x - x0) / (x1 - x0) * n_columns).astype(np.int64)
    row = np.floor((y - y0) / (y1 - y0) * n_rows).astype(np.int64)
    return row, column, (n_rows, n_columns)


def _pile(
    row: np.ndarray,
    column: np.ndarray,
    shape: tuple[int, int],
    disc: Sequence[tuple[int, int]],
    *,
    values: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What lies on each pixel (flat) when each point is a dot of the form `disc`.

    Returns
    -------
    The number of points; the sum of their `values` (zeros without); without values the last of the points, -1 where
    there is none.
    """
    n_rows, n_columns = shape
    count, total = np.zeros(n_rows * n_columns), np.zeros(n_rows * n_columns)
    last = np.full(n_rows * n_columns, -1, dtype=np.int64)
    for dx, dy in disc:
        inside = (column + dx >= 0) & (column + dx < n_columns) & (row + dy >= 0) & (row + dy < n_rows)
        pixel = ((row + dy) * n_columns + column + dx)[inside]
        np.add.at(count, pixel, 1)
        if values is not None:
            np.add.at(total, pixel, values[inside])
        else:
            # In all pixels of its dot, so that dots stay whole.
            np.maximum.at(last, pixel, np.flatnonzero(inside))
    return count, total, last


def _kind_colours(kinds: np.ndarray, count: np.ndarray, palette: Sequence[str]) -> np.ndarray:
    """Colour (RGBA) of each pixel that shows a kind, the paler the fewer points lie on it."""
    colours = np.array([to_rgb(colour) for colour in palette])
    depth = np.log1p(count)
    full = np.quantile(depth, 0.9) if len(depth) else 1.0
    alpha = np.clip(0.55 + 0.45 * depth / full, 0, 1)
    return np.column_stack([colours[kinds % len(colours)], alpha])


def _number_colours(numbers: np.ndarray, norm: Normalize, cmap: str) -> tuple[np.ndarray, ScalarMappable]:
    """Colour (RGBA) of each pixel that shows a number, and what a colour bar of them needs."""
    if not norm.scaled():
        norm.autoscale(numbers if len(numbers) else [1.0, 2.0])
    mappable = ScalarMappable(norm=norm, cmap=cmap)
    return mappable.to_rgba(numbers), mappable


def _show(ax: Axes, filled: np.ndarray, colours: np.ndarray, shape: tuple[int, int]) -> None:
    """Lay a picture over the axes without moving their limits: the colours (RGBA) of its filled pixels (flat)."""
    image = np.zeros((len(filled), 4))
    # Interpolating a transparent pixel's colour would darken the edges of dots: give it the paper's.
    image[~filled, :3] = 1.0
    image[filled] = colours
    limits = (ax.get_xlim(), ax.get_ylim())
    # In axes coordinates: an image in data coordinates would be stretched once more by a log scale.
    ax.imshow(
        image.reshape(*shape, 4),
        extent=(0, 1, 0, 1),
        transform=ax.transAxes,
        origin="lower",
        aspect="auto",
        interpolation="antialiased",
        zorder=1,
    )
    ax.set(xlim=limits[0], ylim=limits[1])


def _drawn(x: np.ndarray, y: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """The points (by number) that have a place and a value, in a seeded random order.

    So the last of a pixel's points is one of them at random.
    """
    known = np.isfinite(x) & np.isfinite(y)
    if values is not None:
        known &= np.isfinite(values)
    return np.random.default_rng(0).permutation(np.flatnonzero(known))


def scatter(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    *,
    codes: np.ndarray | None = None,
    palette: Sequence[str] = PALETTE,
    values: np.ndarray | None = None,
    norm: Normalize | None = None,
    cmap: str = SEQUENTIAL,
    radius: float | None = None,
) -> ScalarMappable | None:
    """Draw points as one image of fixed size, however many there are.

    Overplotting decides what a million markers show: the kind drawn last hides the others. Here each pixel
    shows

    - with `codes`, the colour of one of its points chosen at random (seeded), so that a mixed region looks
      mixed in its true proportions, the paler the fewer points there are;
    - with `values`, their mean over the pixel's points;
    - with neither, the number of points on a log scale.

    Scales (log) and limits of the axes must be set before.

    Parameters
    ----------
    x, y
        Coordinates, shape (n,). Points that are not finite or lie outside the limits are not drawn.
    codes
        Integer category of each point, an index into `palette` (repeated as needed).
    values
        Number of each point; NaN is not drawn.
    radius
        Of a dot, in points (1/72 inch); by default from the number of points.

    Returns
    -------
    What a colour bar needs; None with `codes`.
    """
    sx, sy = _scaled(ax, x, y)
    order = _drawn(sx, sy, values)
    _frame(ax, sx[order], sy[order])
    row, column, shape = _pixels(ax, sx[order], sy[order])
    disc = _disc((dot_radius(len(order)) if radius is None else radius) / 72 * PDF_DPI)
    numbers = None if values is None else np.asarray(values, dtype=float)[order]
    count, total, last = _pile(row, column, shape, disc, values=numbers)

    filled = count > 0
    mappable = None
    if codes is not None:
        colours = _kind_colours(np.asarray(codes)[order][last[filled]], count[filled], palette)
    elif values is not None:
        colours, mappable = _number_colours(total[filled] / count[filled], norm or Normalize(), cmap)
    else:
        colours, mappable = _number_colours(count[filled], norm or LogNorm(), cmap)
    _show(ax, filled, colours, shape)
    return mappable


def crowded_place(x: np.ndarray, y: np.ndarray, *, bins: int = 40) -> tuple[float, float]:
    """Where most of these points are: the mean of the points in and around the fullest cell of a grid."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=bins)
    padded = np.pad(counts, 1)
    around = sum(padded[i : i + bins, j : j + bins] for i in range(3) for j in range(3))
    i, j = np.unravel_index(np.argmax(around), counts.shape)
    near = (x >= x_edges[max(i - 1, 0)]) & (x <= x_edges[min(i + 2, bins)])
    near &= (y >= y_edges[max(j - 1, 0)]) & (y <= y_edges[min(j + 2, bins)])
    return float(x[near].mean()), float(y[near].mean())


def label(ax: Axes, x: float, y: float, text: str, **kwargs: object) -> None:
    """Text with a white rim that stays legible on any colour."""
    options = {"ha": "center", "va": "center", "fontsize": 10, "fontweight": "bold", "zorder": 5} | kwargs
    ax.text(x, y, text, path_effects=[withStroke(linewidth=2.5, foreground="white")], **options)


def numbered_legend(ax: Axes, names: Sequence[str], palette: Sequence[str], *, per_column: int = 18) -> None:
    """A legend to the right of `ax` in which each kind has a number and a colour."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=6, color=palette[i % len(palette)], label=name)
        for i, name in enumerate(names)
    ]
    columns = -(-len(names) // per_column)
    ax.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        ncols=columns,
        handletextpad=0.3,
        borderpad=0,
        columnspacing=1.0,
    )
