"""Figures of age predictions."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from immune_aging.figures.style import DOWN, PALE, colours_for, new_figure
from immune_aging.results import Results


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
    """Predicted against true age, one panel per model, each at its best penalty.

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


def draw_model(
    ax: Axes, own: pd.DataFrame, metric: str, *, beside: float, shift: float, colour: str, marker: str
) -> None:
    """One metric of a model by penalty with its intervals; the nested choice stands apart.

    Parameters
    ----------
    own
        Rows of the model, in order of the penalty.
    beside
        Where on the axis of penalties the nested choice stands.
    shift
        Factor that moves the model's points along that axis.
    """
    nested = own["alpha"].isna()
    for rows, label in ((own[~nested], own["model"].iloc[0].replace("_", " ")), (own[nested], None)):
        if rows.empty:
            continue
        ends = rows[[f"{metric}_low", f"{metric}_high"]].to_numpy(dtype=float).T
        ax.errorbar(
            rows["alpha"].fillna(beside) * shift,
            rows[metric],
            yerr=np.abs(ends - rows[metric].to_numpy(dtype=float)),
            color=colour,
            marker=marker,
            markersize=5,
            capsize=2,
            elinewidth=0.9,
            label=label,
        )


def plot_sweep(metrics: pd.DataFrame) -> Figure:
    """Metrics by penalty, one line per model with its interval, and the error of the median age.

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
        for place, model in enumerate(models):
            # Side by side, so that intervals of models at one penalty do not hide each other.
            shift = 1.06 ** (place - (len(models) - 1) / 2)
            own = metrics[metrics["model"] == model].sort_values("alpha")
            draw_model(ax, own, metric, beside=beside, shift=shift, colour=colours[model], marker="osD^v"[place % 5])
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


def read_predictions(results: Results, folder: str) -> tuple[pd.DataFrame, dict[tuple[str, str], pd.DataFrame]]:
    """Metrics of every fitted model and penalty, one row each, and the predictions of each."""
    rows, predictions = [], {}
    for name in results.under(f"{folder}/prediction"):
        if not name.endswith("/metrics.tsv"):
            continue
        metrics = results.table(name, ["metric", "value", "low", "high"])
        table = results.table(name.replace("metrics.tsv", "predictions.tsv"), ["donor_id", "age_years", "predicted"])
        if metrics is None or table is None:
            continue
        model, alpha = name.split("/")[-2].removeprefix("model-").split("_alpha-")
        metrics = metrics.set_index("metric")
        # NaN stands for the nested choice, which has no place on an axis of penalties.
        row = {"model": model, "alpha": float("nan" if alpha == "nested" else alpha)} | metrics["value"].to_dict()
        rows.append(row | {f"{m}_{end}": metrics.loc[m, end] for m in metrics.index for end in ("low", "high")})
        predictions[model, alpha_name(row["alpha"])] = table
    return pd.DataFrame(rows), predictions


def best_fits(
    metrics: pd.DataFrame, predictions: dict[tuple[str, str], pd.DataFrame]
) -> dict[str, tuple[pd.Series, pd.DataFrame]]:
    """By model: the metrics and the predictions of the fit to show, given what `read_predictions` returns.

    That is the nested choice of the penalty where there is one (its error is not the best of many), else the penalty
    of least error.
    """
    ordered = metrics.assign(swept=metrics["alpha"].notna()).sort_values(["model", "swept", "mae", "alpha"])
    rows = [row for _, row in ordered.groupby("model").head(1).iterrows()]
    return {row["model"]: (row, predictions[row["model"], alpha_name(row["alpha"])]) for row in rows}
