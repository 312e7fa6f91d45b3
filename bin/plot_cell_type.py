#!/usr/bin/env python3
"""Draw one cell type's results: volcano, MA, gene sets, genes against age, predicted against true age, penalties.

In: published trees with `cell_types/<id>/...`, the cell type's counts, the gene sets; what is not there or has no
rows is not drawn. Out: figures, and `expression_by_age.tsv`: the donors' expression of the genes one looks at first.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from age_models import log_cpm, sex_labels
from cell_type_samples import CellTypeSamples, read_samples
from checkpoints import write_tsv, write_versions
from command_line import BadInput, run
from gene_set_curves import plot_running_sums, top_sets
from gene_sets import GeneSets, by_symbol, read_gmt
from gsea import rank_symbols
from plotting import DOWN, NEUTRAL, PALE, UP, colours_for, log_ticks, new_figure, save_figure, shorten
from published_tree import merge_trees, summary_of, table_of

ALPHA = 0.05
N_LABELLED = 12  # genes named on a volcano
N_SETS = 20  # gene sets in a dot plot, at most
SMALLEST_P = 1e-300
N_CURVES = 3  # gene sets of either direction whose running sums are drawn
N_EXPRESSION = 40  # genes of smallest p whose expression is written by donor
N_AGE_PANELS = 6  # of them drawn against age


def gene_names(table: pd.DataFrame) -> pd.Series:
    """Symbol of each gene, its id where there is none."""
    return table["symbol"].where(table["symbol"].fillna("") != "", table["gene_id"]).astype(str)


def called_colours(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Masks of genes called up and down at the false discovery rate."""
    called = (table["padj"] < ALPHA).to_numpy()
    up = (table["log2_fold_change"] > 0).to_numpy()
    return called & up, called & ~up


def draw_genes(ax: Axes, x: np.ndarray, y: np.ndarray, table: pd.DataFrame) -> None:
    """Genes as dots: grey, up and down; those that both engines call have a black rim."""
    up, down = called_colours(table)
    rim = table["robust"].to_numpy(dtype=bool)
    n = len(table)
    size = float(np.clip(3e4 / max(n, 1), 4, 14))
    ax.scatter(x[~up & ~down], y[~up & ~down], s=size, color=PALE, linewidth=0, rasterized=True, label="not called")
    for mask, colour, marker, name in ((up, UP, "^", "up with age"), (down, DOWN, "v", "down with age")):
        edge = np.where(rim[mask], "black", colour)
        ax.scatter(
            x[mask],
            y[mask],
            s=size * 2,
            c=colour,
            marker=marker,
            edgecolors=edge,
            linewidths=0.5,
            rasterized=True,
            label=f"{name}: {mask.sum():,} ({(mask & rim).sum():,} robust)",
            zorder=2,
        )


def name_genes(ax: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Write names beside points; a name that would lie on one already written is moved up, or left out."""
    figure = ax.figure
    figure.canvas.draw()
    to_pixels = ax.transData.transform
    frame, dpi = ax.get_window_extent(), figure.dpi
    taken: list[tuple[float, float, float, float]] = []
    for px, py, name in zip(*to_pixels(np.column_stack([x, y])).T, names, strict=True):
        width, height = 0.062 * dpi * len(name) + 4, 0.12 * dpi
        for dx, dy in (
            (5, 0),
            (-5 - width, 0),
            (5, height),
            (-5 - width, height),
            (5, -height),
            (-5 - width, -height),
        ):
            box = (px + dx, py + dy - height / 2, px + dx + width, py + dy + height / 2)
            inside = box[0] >= frame.x0 and box[2] <= frame.x1 and box[3] <= frame.y1
            if inside and all(box[2] < t[0] or box[0] > t[2] or box[3] < t[1] or box[1] > t[3] for t in taken):
                taken.append(box)
                ax.annotate(
                    name,
                    ax.transData.inverted().transform((px, py)),
                    xytext=(dx * 72 / dpi, dy * 72 / dpi),
                    textcoords="offset points",
                    fontsize=7,
                    va="center",
                    zorder=4,
                )
                break


def most_striking(table: pd.DataFrame) -> np.ndarray:
    """Rows of the genes to name: the smallest p values among the called, as many up as down."""
    up, down = called_colours(table)
    p_value = table["p_value"].to_numpy()
    rows = [np.flatnonzero(mask)[np.argsort(p_value[mask], kind="stable")][: N_LABELLED // 2] for mask in (up, down)]
    return np.concatenate(rows)


def plot_volcano(table: pd.DataFrame, *, unit: str) -> Figure:
    """Log2 fold change against -log10 p of every tested gene; the most striking genes are named.

    Parameters
    ----------
    table
        de.tsv.
    unit
        Of the fold change: 'per SD of age'.
    """
    figure = new_figure(6, 4.8)
    ax = figure.subplots()
    table = table[table["p_value"].notna()].reset_index(drop=True)
    x = table["log2_fold_change"].to_numpy()
    y = -np.log10(table["p_value"].clip(lower=SMALLEST_P).to_numpy())
    draw_genes(ax, x, y, table)
    called = table["padj"] < ALPHA
    if called.any():
        cut = -np.log10(max(table.loc[called, "p_value"].max(), SMALLEST_P))
        ax.axhline(cut, color=NEUTRAL, linestyle="--", linewidth=0.8)
        ax.annotate(f"adjusted p {ALPHA:g}", (1, cut), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                    textcoords="offset points", ha="right", fontsize=7, color=NEUTRAL)  # fmt: skip
    reach = max(np.abs(x).max(initial=0) * 1.12, 0.1)
    ax.set(xlim=(-reach, reach), ylim=(0, max(y.max(initial=1) * 1.08, 2)))
    ax.set_xlabel(f"log2 fold change {unit}")
    ax.set_ylabel("-log10 p")
    figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        handletextpad=0.2,
        columnspacing=1,
    )
    rows = most_striking(table)
    name_genes(ax, x[rows], y[rows], gene_names(table).to_numpy()[rows])
    return figure


def plot_ma(table: pd.DataFrame, *, unit: str) -> Figure:
    """Mean count against log2 fold change of every tested gene."""
    figure = new_figure(6, 4.2)
    ax = figure.subplots()
    table = table[(table["base_mean"] > 0) & table["log2_fold_change"].notna()].reset_index(drop=True)
    x, y = table["base_mean"].to_numpy(), table["log2_fold_change"].to_numpy()
    ax.set_xscale("log")
    draw_genes(ax, x, y, table)
    ax.axhline(0, color="black", linewidth=0.8)
    reach = max(np.abs(y).max(initial=0) * 1.1, 0.1)
    ax.set(xlim=(x.min() / 1.3, x.max() * 1.3) if len(x) else (1, 10), ylim=(-reach, reach))
    log_ticks(ax.xaxis)
    ax.set_xlabel("Mean count (normalised)")
    ax.set_ylabel(f"log2 fold change {unit}")
    figure.legend(
        *ax.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        handletextpad=0.2,
        columnspacing=1,
    )
    return figure


def set_label(name: str) -> str:
    """A gene set's name for a person: HALLMARK_G2M_CHECKPOINT -> G2M CHECKPOINT."""
    return shorten(name.removeprefix("HALLMARK_").replace("_", " "), 46)


def draw_sets(
    ax: Axes, x: np.ndarray, q: np.ndarray, size: np.ndarray, names: Sequence[str], colours: Sequence[str]
) -> None:
    """A dot plot of gene sets, one row a set, the first on top: area by size; hollow where not called."""
    place = np.arange(len(names))[::-1]
    area = 15 + 110 * np.sqrt(size / max(size.max(), 1))
    called = q < ALPHA
    for filled in (True, False):
        mask = called == filled
        own = np.array(colours)[mask]
        ax.scatter(
            x[mask],
            place[mask],
            s=area[mask],
            facecolors=own if filled else "none",
            edgecolors=own,
            linewidths=1.2,
            zorder=2,
        )
    for y, chance in zip(place, q, strict=True):
        ax.annotate(
            f"{chance:.1g}",
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="black" if chance < ALPHA else NEUTRAL,
        )
    ax.set_yticks(place, [set_label(name) for name in names])
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.grid(axis="y", color=NEUTRAL, alpha=0.2, linewidth=0.5)
    ax.margins(x=0.12)


def plot_gsea(table: pd.DataFrame) -> Figure:
    """Normalised enrichment score of the gene sets with the smallest q, from up to down."""
    top = table.sort_values(["q_value", "p_value", "gene_set"], kind="stable").head(N_SETS)
    top = top.sort_values(["nes", "gene_set"], ascending=[False, True], kind="stable")
    figure = new_figure(7, 1.3 + 0.26 * len(top))
    ax = figure.subplots()
    nes = top["nes"].to_numpy(dtype=float)
    draw_sets(
        ax,
        nes,
        top["q_value"].to_numpy(dtype=float),
        top["size"].to_numpy(dtype=float),
        top["gene_set"].tolist(),
        np.where(nes > 0, UP, DOWN).tolist(),
    )
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel("Normalised enrichment score (down with age < 0 < up with age)")
    ax.set_title("q", loc="right")
    return figure


def plot_ora(tables: dict[str, pd.DataFrame]) -> Figure:
    """Odds ratios of the sets over-represented among the genes that go up and among those that go down."""
    rows = []
    for direction, table in tables.items():
        top = table.sort_values(["p_value", "gene_set"], kind="stable").head(N_SETS // 2)
        rows.append(top.assign(direction=direction))
    top = pd.concat(rows)
    figure = new_figure(7, 1.7 + 0.27 * len(top))
    ax = figure.subplots()
    odds = top["odds_ratio"].to_numpy(dtype=float)
    finite = odds[np.isfinite(odds) & (odds > 0)]
    ceiling = finite.max() * 2 if len(finite) else 10.0
    colours = np.where(top["direction"] == "up", UP, DOWN).tolist()
    shown = np.clip(np.where(np.isfinite(odds), odds, ceiling), 0.1, ceiling)
    draw_sets(
        ax,
        shown,
        top["padj"].to_numpy(dtype=float),
        top["overlap"].to_numpy(dtype=float),
        top["gene_set"].tolist(),
        colours,
    )
    ax.set_xscale("log")
    ax.set_xlim(min(1, shown.min()) / 1.2, shown.max() * 1.3)
    log_ticks(ax.xaxis)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xlabel("Odds ratio (log scale)")
    ax.set_title("adjusted p", loc="right")
    n_up = int((top["direction"] == "up").sum())
    if 0 < n_up < len(top):
        ax.axhline(len(top) - n_up - 0.5, color="black", linewidth=0.6)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=f"genes {direction} with age")
        for direction, colour in (("up", UP), ("down", DOWN))
        if direction in set(top["direction"])
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


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


DONOR_COLUMNS = ("donor_id", "age_years", "sex")  # of expression_by_age.tsv, before its genes


def expression_by_age(table: CellTypeSamples, de: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """Donors with log2 counts per million of the genes of smallest p, then of those `wanted` by symbol or id.

    Genes that the table does not hold have no column.

    Returns
    -------
    donor_id, age_years, sex, then one column a gene, named by its id; sorted by donor.
    """
    first = de[de["p_value"].notna()].sort_values(["p_value", "gene_id"], kind="stable")["gene_id"].head(N_EXPRESSION)
    asked = table.gene_ids[table.gene_ids.isin(wanted) | table.symbols.isin(wanted)]
    genes = [gene for gene in dict.fromkeys([*first, *asked]) if gene in table.gene_ids]
    values = pd.DataFrame(log_cpm(table.counts), columns=table.gene_ids)[genes]
    donors = pd.DataFrame(
        {
            "donor_id": table.samples["donor_id"].to_numpy(),
            "age_years": table.samples["age_years"].to_numpy(dtype=float),
            "sex": sex_labels(table.samples["sex"]).to_numpy(),
        }
    )
    return pd.concat([donors[list(DONOR_COLUMNS)], values], axis=1).sort_values("donor_id", ignore_index=True)


def plot_genes_by_age(expression: pd.DataFrame, genes: pd.DataFrame) -> Figure:
    """Expression of a few genes against age, one dot a donor, by sex.

    Parameters
    ----------
    expression
        As `expression_by_age` gives it.
    genes
        Rows of de.tsv to draw; their ids are columns of `expression`.
    """
    columns = min(3, len(genes))
    rows = -(-len(genes) // columns)
    figure = new_figure(0.4 + 3.1 * columns, 0.5 + 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    sexes = sorted(expression["sex"].unique())
    size = float(np.clip(1500 / len(expression), 4, 20))
    for ax, gene, name in zip(axes.flat, genes.to_dict("records"), gene_names(genes), strict=False):
        for i, sex in enumerate(sexes):
            own = expression[expression["sex"] == sex]
            ax.scatter(
                own["age_years"], own[gene["gene_id"]], s=size, color=(DOWN, UP, NEUTRAL)[i % 3], marker="oDs^"[i % 4],
                alpha=0.8, linewidth=0, label=sex, rasterized=len(own) > 300,
            )  # fmt: skip
        chance = "not given" if np.isnan(gene["padj"]) else f"{gene['padj']:.1g}"
        ax.set_title(f"{shorten(name, 24)}, adjusted p {chance}", loc="left", fontsize=8.5)
    for ax in axes.flat[len(genes) :]:
        ax.set_axis_off()
    figure.supxlabel("Age (years)", fontsize=9)
    figure.supylabel("log2 counts per million", fontsize=9)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(sexes))
    return figure


def draw(
    files: dict[str, Path], identifier: str, *, expression: pd.DataFrame | None = None, sets: GeneSets | None = None
) -> dict[str, tuple[Figure, str, str]]:
    """Every figure that the results of the cell type carry: figure, title and description by file name."""
    folder = f"cell_types/{identifier}"
    summary = summary_of(files, f"{folder}/de_summary.json")
    cell_type = summary.get("cell_type", identifier)
    term, contrast = summary.get("test_term", "age"), summary.get("contrast", "per SD")
    unit = f"{contrast} of {term}" if contrast == "per SD" else f"({contrast})"
    drawn = {}
    de = table_of(
        files,
        f"{folder}/de.tsv",
        ["gene_id", "symbol", "base_mean", "log2_fold_change", "stat", "p_value", "padj", "robust"],
    )
    if de is not None:
        up, down = called_colours(de)
        what = (
            f"{len(de):,} genes of {cell_type}: {up.sum():,} up and {down.sum():,} down with {term} at "
            f"adjusted p < {ALPHA:g}; "
            "black rims mark genes that both engines call."
        )
        drawn["volcano"] = (
            plot_volcano(de, unit=unit),
            "Volcano",
            f"Log2 fold change {unit} against -log10 p of {what}",
        )
        drawn["ma"] = plot_ma(de, unit=unit), "MA", f"Mean count against log2 fold change {unit} of {what}"
        if expression is not None:
            first = de[de["gene_id"].isin(expression.columns)].sort_values(["p_value", "gene_id"], kind="stable")
            first = first.head(N_AGE_PANELS)
            drawn["genes"] = (
                plot_genes_by_age(expression, first),
                "Genes against age",
                f"Log2 counts per million in {cell_type} of the {len(first)} genes with the smallest p by the donor's "
                f"age; each dot is one of {len(expression):,} donors.",
            )
    gsea = table_of(files, f"{folder}/gsea.tsv", ["gene_set", "nes", "p_value", "q_value", "size"])
    if gsea is not None:
        drawn["gsea"] = (
            plot_gsea(gsea),
            "Gene set enrichment",
            f"Normalised enrichment scores in {cell_type} of the {min(N_SETS, len(gsea))} gene sets with the "
            "smallest q of "
            f"{len(gsea)}; filled dots have q < {ALPHA:g} ({int((gsea['q_value'] < ALPHA).sum())} sets in "
            "all); area by set size.",
        )
    curves = pd.DataFrame() if gsea is None else top_sets(gsea[gsea["gene_set"].isin(sets or {})], N_CURVES)
    if len(curves) and de is not None:
        ranking = rank_symbols(by_symbol(de)[0].set_index("symbol")["stat"])
        drawn["running_sums"] = (
            plot_running_sums(ranking, sets, curves),
            "Running sums of the top gene sets",
            f"How the enrichment scores of up to {N_CURVES} gene sets of either direction with the smallest q come "
            f"about in {cell_type}: all {len(ranking):,} genes from the most increasing to the most decreasing, ticks "
            "where the set's genes stand; dotted: the score; dashed: where the effect changes its sign.",
        )
    columns = ["gene_set", "overlap", "odds_ratio", "p_value", "padj"]
    ora = {direction: table_of(files, f"{folder}/ora_{direction}.tsv", columns) for direction in ("up", "down")}
    ora = {direction: table for direction, table in ora.items() if table is not None}
    if ora:
        found = " and ".join(f"{int((table['padj'] <= ALPHA).sum())} for genes {name}" for name, table in ora.items())
        drawn["ora"] = (
            plot_ora(ora),
            "Over-representation",
            f"Gene sets over-represented among the age genes of {cell_type}; sets with adjusted p <= "
            f"{ALPHA:g} (filled): {found}. "
            "Area by the number of genes shared.",
        )
    metrics, predictions = read_predictions(files, folder)
    if len(metrics):
        # The nested choice where there is one: its error is not the best of many.
        ordered = metrics.assign(swept=metrics["alpha"].notna()).sort_values(["model", "swept", "mae", "alpha"])
        ordered = ordered.groupby("model").head(1)
        best = {
            row["model"]: (row, predictions[row["model"], alpha_name(row["alpha"])]) for _, row in ordered.iterrows()
        }
        first = ordered.sort_values("mae", kind="stable").iloc[0]
        drawn["prediction"] = (
            plot_predictions(best),
            "Predicted against true age",
            f"Age of held-out donors predicted from {cell_type}, each model with its penalty chosen within training "
            "donors, or at its best one; dots are means and lines the range "
            f"over repeats. Best: {first['model'].replace('_', ' ')} with a mean absolute error of "
            f"{first['mae']:.1f} years, against "
            f"{first['baseline_mae']:.1f} for the median age of the other donors.",
        )
        drawn["sweep"] = (
            plot_sweep(metrics),
            "Prediction by penalty",
            f"Three metrics of age prediction from {cell_type} by penalty and model, with 95 % bootstrap "
            "intervals over donors; nested: chosen within the training donors of each fold. The "
            "dashed line is the error of the median age, or zero.",
        )
    return drawn


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees")
    parser.add_argument("--id", required=True, help="id of the cell type")
    parser.add_argument("--counts", type=Path, help="pseudobulk table of the cell type: draws genes against age")
    parser.add_argument("--gene-sets", type=Path, help="GMT file: draws running sums")
    parser.add_argument("--genes", default="", help="symbols or ids to write the expression of, comma-separated")
    parser.add_argument("--output", type=Path, required=True, help="folder of the cell type; figures go below it")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    files = merge_trees(args.published)
    if not any(name.startswith(f"cell_types/{args.id}/") for name in files):
        raise BadInput(f"--id {args.id}: none of the trees holds cell_types/{args.id}/")
    figures = args.output / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    de = table_of(files, f"cell_types/{args.id}/de.tsv", ["gene_id", "p_value"])
    expression = None
    if args.counts and de is not None:
        wanted = [gene.strip() for gene in args.genes.split(",") if gene.strip()]
        expression = expression_by_age(read_samples(args.counts), de, wanted)
        write_tsv(expression, args.output / "expression_by_age.tsv")
    sets = read_gmt(args.gene_sets) if args.gene_sets else None
    for name, (figure, title, description) in draw(files, args.id, expression=expression, sets=sets).items():
        save_figure(figure, figures / name, title=title, description=description)
    write_versions("plot_cell_type", ["matplotlib", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
