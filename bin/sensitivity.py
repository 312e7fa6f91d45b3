#!/usr/bin/env python3
"""What changes in the called genes when quality control or the design is another: all variants against the run itself.

In: `de.tsv` and `de_summary.json` of every variant and cell type, the run itself being the variant `base`; the run's
samples; the summaries of VARY_QC. Out: `sensitivity.tsv`, one row a variant and cell type; `cells.tsv`, the cells that
a variant loses and gains; `genes.parquet`, every gene of every variant; and a figure.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from checkpoints import read_json, read_tsv, write_parquet, write_tsv, write_versions
from command_line import BadInput, run
from plotting import NEUTRAL, new_figure, save_figure, shorten

BASE = "base"
ALPHA = 0.05
COLUMNS = (
    "variant", "changes", "id", "cell_type", "status", "reason", "n_cells", "n_samples", "n_tested", "n_called",
    "n_called_base", "n_shared", "jaccard", "n_robust", "n_robust_base", "jaccard_robust", "sign_agreement",
    "correlation",
)  # fmt: skip
CELL_COLUMNS = (
    "variant", "n_cells", "n_kept_in_run", "n_kept", "n_lost", "n_gained", "n_gained_without_doublet_score",
)  # fmt: skip
GENE_COLUMNS = ("gene_id", "symbol", "base_mean", "log2_fold_change", "p_value", "padj", "padj_companion", "robust")
TEXT = {"gene_id": str, "symbol": str}


def jaccard(one: set, other: set) -> float:
    """Size of the intersection over that of the union; NaN where both are empty."""
    return len(one & other) / len(one | other) if one | other else np.nan


def compare(variant: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """One cell type's table of genes under a variant against that of the run.

    Parameters
    ----------
    variant, base
        gene_id, log2_fold_change, padj, robust; one row a tested gene.

    Returns
    -------
    n_tested of the variant; n_called, n_called_base, n_shared, jaccard (padj below `ALPHA`); n_robust, n_robust_base,
    jaccard_robust; sign_agreement: share of the genes called by either, tested in both, whose effects have one sign;
    correlation: Pearson's of the effects of all genes tested in both. NaN where there is nothing to compare.
    """
    called, called_base = (set(table.loc[table["padj"] < ALPHA, "gene_id"]) for table in (variant, base))
    robust, robust_base = (set(table.loc[table["robust"].astype(bool), "gene_id"]) for table in (variant, base))
    effects = ("log2_fold_change", "log2_fold_change_base")
    both = variant[["gene_id", effects[0]]].merge(base[["gene_id", effects[0]]], on="gene_id", suffixes=("", "_base"))
    of_either = both[both["gene_id"].isin(called | called_base)]
    same = np.sign(of_either[effects[0]]) == np.sign(of_either[effects[1]])
    spread = len(both) > 2 and all(both[name].std() > 0 for name in effects)
    return {
        "n_tested": len(variant),
        "n_called": len(called),
        "n_called_base": len(called_base),
        "n_shared": len(called & called_base),
        "jaccard": jaccard(called, called_base),
        "n_robust": len(robust),
        "n_robust_base": len(robust_base),
        "jaccard_robust": jaccard(robust, robust_base),
        "sign_agreement": same.mean() if len(same) else np.nan,
        "correlation": np.corrcoef(both[effects[0]], both[effects[1]])[0, 1] if spread else np.nan,
    }


def base_sizes(samples: pd.DataFrame) -> dict[str, dict]:
    """Samples and cells that the run's statistics used, by cell type."""
    used = samples[samples["kept"]].groupby("cell_type", observed=True)["n_cells"]
    return {name: {"n_samples": len(sizes), "n_cells": sizes.sum(min_count=1)} for name, sizes in used}


def sensitivity_table(
    tables: dict[tuple[str, str], pd.DataFrame],
    summaries: dict[tuple[str, str], dict],
    variants: Sequence[dict],
    sizes: dict[str, dict],
    varied: dict[str, dict],
) -> pd.DataFrame:
    """Every variant against the run, a row for each cell type that the run analysed or the variant would.

    Parameters
    ----------
    tables, summaries
        By variant and cell type id: genes, and what the step said of them.
    variants
        id and changes (text), in the order of the rows; the first is the run itself.
    sizes
        n_samples and n_cells of the run by cell type name.
    varied
        By variant that changes cells: the summary of VARY_QC.
    """
    rows = []
    base_ids = {identifier for variant, identifier in tables if variant == BASE}
    for variant in variants:
        name = variant["id"]
        told = varied.get(name, {}).get("cell_types", {})
        added = {identifier for identifier, entry in told.items() if entry["kept"]}
        for identifier in sorted(base_ids | added):
            summary = summaries.get((name, identifier), {})
            known = summaries.get((BASE, identifier), summary)
            cell_type = known.get("cell_type") or told.get(identifier, {}).get("cell_type", identifier)
            size = told.get(identifier, {}) if name in varied else sizes.get(cell_type, {})
            table, base = (tables.get((one, identifier)) for one in (name, BASE))
            done = table is not None and summary.get("status") == "done"
            missing = size.get("reason") or "no cells are left" if table is None else summary.get("reason", "")
            row = {
                "variant": name,
                "changes": variant["changes"],
                "id": identifier,
                "cell_type": cell_type,
                "status": "done" if done else "skipped",
                "reason": "" if done else missing,
                "n_cells": size.get("n_cells", np.nan),
                "n_samples": size.get("n_samples", np.nan),
            }
            if done:
                nothing = table.iloc[:0]
                row |= compare(table, nothing if base is None else base)
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def gene_table(tables: dict[tuple[str, str], pd.DataFrame], variants: Sequence[dict]) -> pd.DataFrame:
    """Effects and p values of every gene, cell type and variant, in the order of the variants."""
    order = {variant["id"]: place for place, variant in enumerate(variants)}
    parts = [
        tables[label][list(GENE_COLUMNS)].assign(variant=label[0], id=label[1])
        for label in sorted(tables, key=lambda label: (order[label[0]], label[1]))
    ]
    return pd.concat(parts, ignore_index=True)[["variant", "id", *GENE_COLUMNS]]


PANELS = (
    ("n_called", "Genes called", "{:,.0f}", "viridis", None),
    ("jaccard", "Overlap of the called genes\nwith the run (Jaccard)", "{:.2f}", "cividis", (0, 1)),
    ("correlation", "Correlation of all effects\nwith the run", "{:.3f}", "cividis", (0.8, 1)),
)


def plot_sensitivity(table: pd.DataFrame) -> Figure:
    """Variants x cell types three times: how many genes are called, which, and with what effects."""
    variants, types = list(dict.fromkeys(table["variant"])), sorted(table["cell_type"].astype(str).unique())
    width = 1.3 + 0.42 * max(len(types), 4)
    figure = new_figure(1.6 + 3 * width, 2.2 + 0.32 * len(variants) + 0.02 * max(map(len, types)) * 5)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for ax, (column, title, form, colours, limits) in zip(axes, PANELS, strict=True):
        grid = table.pivot(index="variant", columns="cell_type", values=column).reindex(index=variants, columns=types)
        values = grid.to_numpy(dtype=float)
        if limits is None:
            norm = LogNorm(1, max(np.nanmax(values, initial=1), 10), clip=True)
        else:
            norm = Normalize(*limits, clip=True)
        ax.set_facecolor("#EEEEEE")
        image = ax.imshow(np.where(np.isfinite(values), values, np.nan), aspect="auto", cmap=colours, norm=norm)
        for row, column_number in np.ndindex(values.shape):
            value = values[row, column_number]
            shade = image.cmap(norm(value)) if np.isfinite(value) else (1, 1, 1)
            dark = np.dot(shade[:3], (0.299, 0.587, 0.114)) < 0.5
            ax.text(
                column_number, row, form.format(value) if np.isfinite(value) else "–", ha="center", va="center",
                fontsize=6, color="white" if dark else "black" if np.isfinite(value) else NEUTRAL,
            )  # fmt: skip
        ax.set_title(title, loc="left", fontsize=9)
        ax.set_xticks(range(len(types)), [shorten(name, 26) for name in types], rotation=90)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    axes[0].set_yticks(range(len(variants)), [shorten(name, 34) for name in variants])
    return figure


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="de.tsv of each label")
    parser.add_argument("--summaries", type=Path, nargs="+", required=True, help="de_summary.json of each label")
    parser.add_argument("--labels", nargs="+", required=True, help="VARIANT/CELL_TYPE_ID of each table")
    parser.add_argument("--samples", type=Path, required=True, help="samples.tsv of the run")
    parser.add_argument("--variants", type=Path, required=True, help="id and changes of each variant (JSON list)")
    parser.add_argument("--varied", type=Path, nargs="*", default=[], help="summaries of VARY_QC")
    parser.add_argument("--output", type=Path, required=True, help="folder")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    if not len(args.tables) == len(args.summaries) == len(args.labels):
        raise BadInput("--tables, --summaries, --labels: differ in number; give one of each for each label")
    labels = [tuple(label.split("/")) for label in args.labels]
    tables = dict(zip(labels, (read_tsv(path, dtype=TEXT) for path in args.tables), strict=True))
    summaries = dict(zip(labels, map(read_json, args.summaries), strict=True))
    varied = {summary["variant"]: summary for summary in map(read_json, args.varied)}
    variants = [{"id": BASE, "changes": "none: the run itself"}, *read_json(args.variants)]
    samples = read_tsv(args.samples, dtype={"cell_type": str, "donor_id": str})
    table = sensitivity_table(tables, summaries, variants, base_sizes(samples), varied)
    write_tsv(table, args.output / "sensitivity.tsv")
    write_parquet(gene_table(tables, variants), args.output / "genes.parquet")
    cells = pd.DataFrame(
        [{k: v for k, v in varied[name].items() if k.startswith(("variant", "n_"))} for name in sorted(varied)],
        columns=[
            "variant",
            "n_cells",
            "n_kept_in_run",
            "n_kept",
            "n_lost",
            "n_gained",
            "n_gained_without_doublet_score",
        ],
    )
    write_tsv(cells, args.output / "cells.tsv")
    n = table["variant"].nunique() - 1
    save_figure(
        plot_sensitivity(table),
        args.output / "figures/sensitivity",
        title="What changes with other quality control or another design",
        description=f"{n} variants (rows) against the run itself (base), by cell type. Left: genes at an adjusted p "
        f"below {ALPHA:g}. Middle: of the genes called by the variant or the run, the share called by both. Right: "
        "correlation of the log2 fold changes of all genes tested in both. A dash: not computed.",
    )
    write_versions("sensitivity", ["matplotlib", "numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
