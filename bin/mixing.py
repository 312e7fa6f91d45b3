#!/usr/bin/env python3
"""How well batches mix and cell types stay apart, before and after Harmony: the local inverse Simpson index (LISI)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from plotting import DOWN, NEUTRAL, PALETTE, UP, new_figure, scatter

N_CELLS = 4000  # the index compares all pairs: 5 s of CPU at 4,000 cells, a minute and a half at 20,000
PERPLEXITY = 30  # Korsunsky et al. (2019)
SEED = 0
TABLE = ("label", "embedding", "n_cells", "n_labels", "median", "q25", "q75")
BEFORE, AFTER = "before Harmony", "after Harmony"


def sampled(n: int, most: int = N_CELLS) -> np.ndarray:
    """Rows of `n` cells to measure, sorted: all, or `most` drawn at random from a fixed seed."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(SEED).choice(n, most, replace=False))


def lisi(embedding: np.ndarray, labels: pd.Series) -> np.ndarray:
    """The effective number of labels among each cell's neighbours: 1 where all are alike.

    Parameters
    ----------
    embedding
        Cells x dimensions.
    labels
        Of each cell.

    References
    ----------
    Korsunsky et al. (2019), Nature Methods 16:1289.
    """
    from harmonypy import compute_lisi

    perplexity = min(PERPLEXITY, (len(labels) - 1) // 3)  # it looks at three times as many neighbours
    return compute_lisi(embedding, pd.DataFrame({"label": labels.astype(str).to_numpy()}), ["label"], perplexity)[:, 0]


def measure(embeddings: Mapping[str, np.ndarray], labels: Mapping[str, pd.Series]) -> pd.DataFrame:
    """LISI of every cell: columns label, embedding, lisi.

    Parameters
    ----------
    embeddings
        By name: cells x dimensions.
    labels
        By name: one of each cell.
    """
    return pd.concat(
        pd.DataFrame({"label": name, "embedding": when, "lisi": lisi(points, values)})
        for name, values in labels.items()
        for when, points in embeddings.items()
    ).reset_index(drop=True)


def summarize(measured: pd.DataFrame, labels: Mapping[str, pd.Series]) -> pd.DataFrame:
    """A row a label and embedding: numbers of cells and of labels, median and quartiles of LISI."""
    grouped = measured.groupby(["label", "embedding"], sort=False)["lisi"]
    table = grouped.agg(n_cells="size", median="median", q25=lambda x: x.quantile(0.25), q75=lambda x: x.quantile(0.75))
    table = table.reset_index()
    table.insert(3, "n_labels", [labels[name].nunique() for name in table["label"]])
    return table[list(TABLE)]


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
