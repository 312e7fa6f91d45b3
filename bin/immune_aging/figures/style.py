"""One style for all figures: colours, sizes, axes, how a figure is saved."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from immune_aging.task.checkpoints import atomic_path

PNG_DPI = 150
PDF_DPI = 300
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "immune-aging",  # ids that are the same in every run
    "pdf.fonttype": 42,  # text stays text in an editor
    "text.parse_math": False,  # a '$' in a cell type's name is a '$'
    "text.usetex": False,
}

# Okabe & Ito (2008), without their black. The palette goes on with colours chosen one by one from the sRGB
# cube (L* 26-86), each the furthest (CIEDE2000) from white and all before it, as seen with normal vision,
# protanopia and deuteranopia (Machado, Oliveira, Fernandes 2009). Hue alone cannot tell 30 kinds apart, so
# figures number them too.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442")
PALETTE = (
    *OKABE_ITO,
    "#4B3C3C", "#872D00", "#00E1A5", "#2D3C69", "#2D7869", "#1E0FD2", "#A5D2E1", "#3C87FF", "#B44B3C",
    "#2D6978", "#B4B4B4", "#D2A569", "#693C2D", "#691EFF", "#B41E5A", "#D20F96", "#E17887", "#967887",
    "#D2695A", "#69F087", "#96D2FF", "#E1D2D2", "#5AB4C3",
)  # fmt: skip
UP, DOWN = "#D55E00", "#0072B2"
NEUTRAL, PALE, CUT = "#767676", "#C4C4C4", "#B41E5A"


def colours_for(categories: Iterable[str]) -> dict[str, str]:
    """A colour for each distinct category by its place in sorted order; from the 31st on, colours repeat."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(sorted(set(categories)))}


def colour_limits(known: np.ndarray) -> tuple[float, float]:
    """Low and high end of the colours of some numbers, none missing, at least one: percentiles 1 and 99.

    A handful of extreme cells would leave one colour for all the others.
    """
    low, high = np.percentile(known, [1, 99])
    return float(low), float(high) if high > low else float(low) + 1


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches in the one style, without any window or global figure."""
    matplotlib.rcParams.update(STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(
    figure: Figure,
    stem: str | Path,
    *,
    title: str = "",
    description: str = "",
    kinds: Sequence[str] = ("png", "pdf"),
) -> None:
    """Write `stem`.png, .pdf or .svg with the figure's title and description and nothing that changes.

    Parameters
    ----------
    title
        What the figure is, in a few words.
    description
        What is drawn and what it shows, for the caption and for readers who cannot see it.
    """
    stem = Path(stem)
    words = {"Title": title or None, "Description": description or None}
    nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    metadata = {
        "png": {key: text for key, text in words.items() if text} | {"Software": None},
        "pdf": {"Title": title or None, "Subject": description or None} | nothing,
        "svg": words | {"Date": None, "Creator": None},
    }
    for kind in kinds:
        with atomic_path(stem.with_name(f"{stem.name}.{kind}")) as temporary:
            figure.savefig(temporary, format=kind, dpi=PNG_DPI if kind == "png" else PDF_DPI, metadata=metadata[kind])


@dataclass(frozen=True)
class Drawing:
    """A figure and the words that it is saved with: what it is, and what it shows."""

    figure: Figure
    title: str
    description: str


# Drawings by file name (without its ending), each made when it is asked for.
Drawings = Iterator[tuple[str, Drawing]]


def save_drawing(drawing: Drawing, stem: Path) -> None:
    """Write `stem`.png and .pdf."""
    save_figure(drawing.figure, stem, title=drawing.title, description=drawing.description)


def save_drawings(drawings: Iterable[tuple[str, Drawing]], folder: Path) -> None:
    """Save each drawing in `folder` before the next is made, so that memory holds one figure of all cells at a time."""
    for name, drawing in drawings:
        save_drawing(drawing, folder / name)


def shorten(text: str, length: int = 40) -> str:
    """`text` with its middle left out where it is longer than `length`: names often differ at their ends."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def log_ticks(axis: Axis) -> None:
    """Label a log axis, whose limits are final, with plain numbers: more a decade where there are few."""
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low)
    subs = (1, 1.5, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 2.5 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def no_data(ax: Axes, text: str) -> None:
    """Say in words why there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, color=NEUTRAL, wrap=True)
