"""Metrics of all age models side by side."""

import numpy as np
import pandas as pd

from immune_aging.task.command_line import BadInput

COLUMNS = (
    "id", "cell_type", "model", "alpha", "mae", "r2", "r", "baseline_mae", "n_donors", "sex_mae",
    "mae_low", "mae_high", "r2_low", "r2_high", "r_low", "r_high", "status", "reason", "composition_mae",
    "calibration_slope", "calibration_slope_low", "calibration_slope_high", "error_slope", "p_value", "alpha_used",
    "r_null_mean", "r_null_sd", "r_p_value",
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
