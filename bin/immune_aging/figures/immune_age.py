"""The figure of the immune age."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.style import DOWN, NEUTRAL, UP, Drawing, new_figure, shorten


def plot_immune_age(immune: pd.DataFrame, metrics: pd.DataFrame, weights: pd.DataFrame) -> Figure:
    """Immune age against true age, acceleration against age, and the weight of each cell type.

    Parameters
    ----------
    immune
        immune_age.tsv.
    metrics
        immune_age_metrics.tsv.
    weights
        immune_age_weights.tsv.
    """
    figure = new_figure(10, 3.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.9))
    value = metrics.set_index("metric")["value"]
    size = float(np.clip(1500 / len(immune), 4, 22))
    style = {"s": size, "linewidth": 0, "alpha": 0.8, "rasterized": len(immune) > 300}
    left.scatter(immune["age_years"], immune["predicted"], color=DOWN, **style)
    low = immune[["age_years", "predicted"]].min().min() - 2
    high = immune[["age_years", "predicted"]].max().max() + 2
    left.plot([low, high], [low, high], color="black", linestyle="--", linewidth=0.8)
    left.set(xlim=(low, high), ylim=(low, high), xlabel="True age (years)", ylabel="Immune age (years)", aspect="equal")
    left.set_title(f"MAE {value['mae']:.1f} years (median age: {value['baseline_mae']:.1f})", loc="left", fontsize=8.5)
    middle.scatter(
        immune["age_years"], immune["acceleration"], color=np.where(immune["acceleration"] > 0, UP, DOWN), **style
    )
    middle.axhline(0, color="black", linewidth=0.8)
    middle.set(xlabel="True age (years)", ylabel="Age acceleration (years)")
    shown = weights.groupby("id")["weight"].sum().sort_values()
    right.barh(np.arange(len(shown)), shown, color=NEUTRAL)
    right.set_yticks(np.arange(len(shown)), [shorten(name.replace("_", " "), 28) for name in shown.index], fontsize=7)
    right.set_xlabel("Weight")
    return figure


def draw(immune: pd.DataFrame, metrics: pd.DataFrame, weights: pd.DataFrame, *, n_cell_types: int) -> Drawing:
    """The figure of the immune age of all donors, learned from `n_cell_types` cell types."""
    return Drawing(
        plot_immune_age(immune, metrics, weights),
        "Immune age",
        f"Immune age of {len(immune)} donors held out, from {n_cell_types} cell types together, against true age; what "
        "is left of it once true age is taken out (age acceleration); and the weight of each cell type in it.",
    )
