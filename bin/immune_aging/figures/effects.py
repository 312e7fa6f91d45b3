"""How effects and the genes they belong to are named and marked on all figures."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from immune_aging.figures.style import NEUTRAL
from immune_aging.statistics.contrasts import AGAINST
from immune_aging.statistics.multiple_testing import ALPHA

OF_AGE = ("up with age", "down with age")


def gene_names(table: pd.DataFrame) -> pd.Series:
    """Symbol of each gene, its id where there is none."""
    return table["symbol"].where(table["symbol"].fillna("") != "", table["gene_id"]).astype(str)


def called_genes(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the genes of de.tsv that are called up and down at the false discovery rate."""
    called = (table["padj"] < ALPHA).to_numpy()
    up = (table["log2_fold_change"] > 0).to_numpy()
    return called & up, called & ~up


def unit_of(summary: Mapping[str, object]) -> str:
    """Of the effects, given a step's summary: 'per SD of age', or the two levels that are compared."""
    contrast = summary.get("contrast", "per SD")
    column = summary.get("unit") or summary.get("test_term", "age")
    return f"per SD of {column}" if contrast == "per SD" else f"({contrast})"


def directions(summary: Mapping[str, object]) -> tuple[str, str]:
    """What a positive and what a negative effect is, in words, given a step's summary."""
    contrast = str(summary.get("contrast", "per SD"))
    if contrast == "per SD":
        column = summary.get("unit") or summary.get("test_term", "age")
        return f"up with {column}", f"down with {column}"
    level, against, _ = contrast.partition(AGAINST)
    return (f"higher in {level}", f"lower in {level}") if against else ("effect above 0", "effect below 0")


def is_about_age(summary: Mapping[str, object]) -> bool:
    """Whether effects are those of the donors' age, given a step's summary."""
    return (summary.get("unit") or summary.get("test_term", "age")) == "age"


def span_of(words: tuple[str, str]) -> str:
    """From one direction to the other: 'from up to down with age'.

    Parameters
    ----------
    words
        Of `directions`.
    """
    (up, *of_up), (down, *of_down) = (one.split(" ") for one in words)
    return " ".join(["from", up, "to", down, *of_up] if of_up == of_down else ["from", words[0], "to", words[1]])


def write_p_values(ax: Axes, rows: Iterable[float], p_values: Iterable[float]) -> None:
    """Write adjusted p values to the right of their rows, black where the row is called, a dash where there is none."""
    for y, p_value in zip(rows, p_values, strict=True):
        ax.annotate(
            f"{p_value:.1g}" if np.isfinite(p_value) else "–",
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="black" if p_value < ALPHA else NEUTRAL,
        )
