"""The figure of the immune age."""

import numpy as np
import pandas as pd


def draw(immune: pd.DataFrame, metrics: pd.DataFrame, weights: pd.DataFrame):
    """Immune age against true age, acceleration against age, and the weight of each cell type."""
    from immune_aging.figures.style import DOWN, NEUTRAL, UP, new_figure, shorten

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
