"""Figures of age predictions."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from immune_aging.figures.style import DOWN, PALE, colours_for, new_figure
from immune_aging.results import table_of


def donor_means(predictions: pd.DataFrame) -> pd.DataFrame:
    """True age, and mean and range of the predicted age over the repeats, by donor."""
    grouped = predictions.groupby("donor_id")
    return pd.DataFrame(
        {
            "age_years": grouped["age_years"].first(),
            "predicted": grouped["predicted"].mean(),
            "low": grouped["predicted"].min(),
            "high": grouped["predicted"].max(),
        }
    )


def plot_predictions(best: dict[str, tuple[pd.Series, pd.DataFrame]]) -> Figure:
    """Predicted against true age, one panel a model, each at its best penalty.

    Parameters
    ----------
    best
        By model: its row of metrics (alpha, mae, r, baseline_mae) and its predictions.tsv.
    """
    columns = min(3, len(best))
    rows = -(-len(best) // columns)
    figure = new_figure(0.6 + 3.3 * columns, 0.3 + 3.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    points = {model: donor_means(predictions) for model, (_, predictions) in best.items()}
    everything = pd.concat(points.values())
    low, high = everything[["age_years", "low"]].min().min(), everything[["age_years", "high"]].max().max()
    limits = (low - 0.04 * (high - low) - 0.1, high + 0.04 * (high - low) + 0.1)
    for ax, (model, (metrics, _)) in zip(axes.flat, best.items(), strict=False):
        own = points[model]
        size = float(np.clip(1500 / len(own), 4, 22))
        ax.vlines(
            own["age_years"],
            own["low"],
            own["high"],
            color=PALE,
            linewidth=0.8,
            zorder=1,
            rasterized=len(own) > 300,
        )
        ax.scatter(
            own["age_years"],
            own["predicted"],
            s=size,
            color=DOWN,
            alpha=0.8,
            linewidth=0,
            zorder=2,
            rasterized=len(own) > 300,
        )
        ax.plot(limits, limits, color="black", linestyle="--", linewidth=0.8, zorder=1)
        ax.set(xlim=limits, ylim=limits, aspect="equal")
        ax.set_title(
            f"{model.replace('_', ' ')}, alpha {alpha_name(metrics['alpha'])}\nMAE {metrics['mae']:.1f} years "
            f"(median age: {metrics['baseline_mae']:.1f}), r {metrics['r']:.2f}",
            loc="left", fontsize=8.5,
        )  # fmt: skip
    for ax in axes.flat[len(best) :]:
        ax.set_axis_off()
    figure.supxlabel("True age (years)", fontsize=9)
    figure.supylabel("Predicted age (years)", fontsize=9)
    return figure


SWEPT = {"mae": "Mean absolute error (years)", "r2": "R²", "r": "Pearson r"}


def plot_sweep(metrics: pd.DataFrame) -> Figure:
    """Metrics by penalty, one line a model with its interval, and the error of the median age.

    Parameters
    ----------
    metrics
        model, alpha, and for mae, r2, r the value and its `_low` and `_high`; baseline_mae.
    """
    models = sorted(metrics["model"].unique())
    colours = colours_for(models)
    figure = new_figure(10, 3.3)
    axes = figure.subplots(1, len(SWEPT))
    swept = np.sort(metrics["alpha"].dropna().unique())
    # The nested choice stands to the right of the penalties.
    beside = swept.max() * 4 if len(swept) else 1.0
    alphas = np.append(swept, beside) if metrics["alpha"].isna().any() else swept
    for ax, (metric, name) in zip(axes, SWEPT.items(), strict=True):
        for i, model in enumerate(models):
            of_model = metrics[metrics["model"] == model].sort_values("alpha")
            nested = of_model["alpha"].isna()
            for own, name_of in ((of_model[~nested], model.replace("_", " ")), (of_model[nested], None)):
                if own.empty:
                    continue
                # Side by side, so that intervals of models at one penalty do not hide each other.
                x = own["alpha"].fillna(beside) * 1.06 ** (i - (len(models) - 1) / 2)
                bars = np.abs(
                    own[[f"{metric}_low", f"{metric}_high"]].to_numpy(dtype=float).T - own[metric].to_numpy(dtype=float)
                )
                ax.errorbar(
                    x,
                    own[metric],
                    yerr=bars,
                    color=colours[model],
                    marker="osD^v"[i % 5],
                    markersize=5,
                    capsize=2,
                    elinewidth=0.9,
                    label=name_of,
                )
        if metric == "mae":
            ax.axhline(
                metrics["baseline_mae"].mean(),
                color="black",
                linestyle="--",
                linewidth=1,
                label="median age of others",
            )
        else:
            ax.axhline(0, color="black", linestyle="--", linewidth=1)
        ax.set_xscale("log")
        ax.set_xlim(alphas.min() / 1.6, alphas.max() * 1.6)
        ax.set_xticks(alphas, [f"{a:g}" for a in swept] + ["nested"] * (len(alphas) - len(swept)), minor=False)
        ax.set_xticks([], minor=True)
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.set_title(name, loc="left")
        ax.set_xlabel("alpha (penalty)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def alpha_name(alpha: float) -> str:
    """A penalty for a person."""
    return "nested" if np.isnan(alpha) else f"{alpha:g}"


def read_predictions(files: dict[str, Path], folder: str) -> tuple[pd.DataFrame, dict[tuple[str, str], pd.DataFrame]]:
    """Metrics of every fitted model and penalty, one row each, and the predictions of each."""
    rows, predictions = [], {}
    for name in sorted(
        name for name in files if name.startswith(f"{folder}/prediction/") and name.endswith("/metrics.tsv")
    ):
        metrics = table_of(files, name, ["metric", "value", "low", "high"])
        table = table_of(files, name.replace("metrics.tsv", "predictions.tsv"), ["donor_id", "age_years", "predicted"])
        if metrics is None or table is None:
            continue
        model, alpha = name.split("/")[-2].removeprefix("model-").split("_alpha-")
        metrics = metrics.set_index("metric")
        # NaN stands for the nested choice, which has no place on an axis of penalties.
        row = {"model": model, "alpha": float("nan" if alpha == "nested" else alpha)} | metrics["value"].to_dict()
        rows.append(row | {f"{m}_{end}": metrics.loc[m, end] for m in metrics.index for end in ("low", "high")})
        predictions[model, alpha_name(row["alpha"])] = table
    return pd.DataFrame(rows), predictions
