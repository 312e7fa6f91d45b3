#!/usr/bin/env python3
"""Put the age predictions of all cell types, models and penalties into one table.

In: a folder with the summaries of PREDICT_AGE at any depth. Out: `prediction_summary.tsv`, one row each,
those that were skipped with their reason.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import read_json, write_tsv, write_versions
from command_line import BadInput, run

COLUMNS = (
    "id", "cell_type", "model", "alpha", "mae", "r2", "r", "baseline_mae", "n_donors", "sex_mae",
    "mae_low", "mae_high", "r2_low", "r2_high", "r_low", "r_high", "status", "reason", "composition_mae",
    "calibration_slope", "calibration_slope_low", "calibration_slope_high", "error_slope", "p_value", "alpha_used",
)  # fmt: skip


def alpha_text(alpha: float | str) -> str:
    """A penalty as its folder has it: 0.1, 10, nested."""
    return alpha if isinstance(alpha, str) else f"{alpha:g}"


def summary_row(summary: dict) -> dict[str, object]:
    """One row of the table from one summary; a skipped fit has no metrics."""
    row = {name: summary[name] for name in ("id", "cell_type", "model", "n_donors", "status", "reason")}
    row |= {"alpha": alpha_text(summary["alpha"]), "alpha_used": summary.get("alpha_used")}
    for name, metric in summary.get("metrics", {}).items():
        row |= {name: metric["value"], f"{name}_low": metric["low"], f"{name}_high": metric["high"]}
    return row


def summarize(summaries: list[dict]) -> pd.DataFrame:
    """One row a summary, sorted by cell type, model and penalty.

    Raises
    ------
    BadInput
        Two summaries are of the same cell type, model and penalty.
    """
    rows = pd.DataFrame([summary_row(summary) for summary in summaries]).reindex(columns=list(COLUMNS))
    key = ["id", "model", "alpha"]
    if rows.duplicated(key).any():
        twice = rows[rows.duplicated(key)].iloc[0]
        raise BadInput(
            f"--summaries: {twice['id']} has model {twice['model']} with alpha {twice['alpha']} twice; remove one"
        )
    numbers = rows.columns.difference(["id", "cell_type", "model", "alpha", "status", "reason"])
    rows[numbers] = rows[numbers].apply(pd.to_numeric).replace({None: np.nan})
    # Penalties by size, the nested choice after them.
    order = pd.to_numeric(rows["alpha"], errors="coerce")
    rows = rows.astype({"n_donors": int}).assign(order=order).sort_values(["id", "model", "order"], ignore_index=True)
    return rows.drop(columns="order")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--summaries", type=Path, required=True, help="folder that holds predict_age_summary.json files"
    )
    parser.add_argument("--output", type=Path, required=True, help="prediction_summary.tsv")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    # Staged inputs are links, which rglob does not follow into folders but does list as files.
    files = sorted(args.summaries.rglob("*.json"))
    write_tsv(summarize([read_json(file) for file in files]), args.output)
    write_versions("summarize_predictions", ["pandas"], args.versions)


if __name__ == "__main__":
    run(main)
