"""A trained model of age on the samples of another cohort."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.prediction.age_model_file import PortableModel, apply_model
from immune_aging.prediction.training import APPLIED
from immune_aging.task.command_line import BadInput


def rows_of_cell_type(obs: pd.DataFrame, model: PortableModel, cell_type: str | None, path: str | Path) -> np.ndarray:
    """Which samples are of the cell type: all where there is only one, else those of its name.

    Parameters
    ----------
    cell_type
        None for the model's own.
    path
        Where the samples are from, for the message of an error.

    Raises
    ------
    BadInput
        No sample is.
    """
    if "cell_type" not in obs:
        return np.ones(len(obs), dtype=bool)
    names = obs["cell_type"].astype(str)
    wanted = cell_type or (names.iloc[0] if names.nunique() == 1 else str(model.facts.get("cell_type")))
    rows = (names == wanted).to_numpy()
    if not rows.any():
        have = ", ".join(sorted(names.unique())[:8])
        raise BadInput(f"{path}: no sample of cell type '{wanted}'; name one with --cell-type: {have}")
    return rows


def whole_counts(values: object, path: str | Path) -> np.ndarray:
    """The counts, samples x genes, as a dense array; `BadInput` where a value is no count, or no sample has any."""
    dense = values.toarray() if hasattr(values, "toarray") else values
    counts = np.asarray(dense, dtype=np.float64)
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.floor(counts)).any():
        raise BadInput(f"{path}: X holds values that are no counts; give summed raw counts")
    if not counts.any():
        raise BadInput(f"{path}: none of the {len(counts)} samples has any counts; give summed raw counts")
    return counts


def gene_symbols(var: pd.DataFrame) -> pd.Series:
    """Symbol of each gene, '' where there is none."""
    symbols = var["symbol"].astype(object) if "symbol" in var else pd.Series("", index=var.index)
    return symbols.where(symbols.notna(), "").astype(str)


def predict_cohort(
    model: PortableModel, counts: np.ndarray, obs: pd.DataFrame, var: pd.DataFrame, *, library: str
) -> tuple[pd.DataFrame, dict]:
    """Predicted age of each sample that has counts (`APPLIED`), and how well the table fits the model.

    Parameters
    ----------
    counts
        Samples x genes, raw sums.
    obs, var
        Samples and genes as of an h5ad file; every column is optional.
    library
        As of `apply_model`.
    """
    counted = counts.sum(axis=1) > 0
    counts, samples = counts[counted], obs[counted].reset_index(names="sample_id")
    unknown = pd.Series([None] * len(samples), dtype=object)
    predicted, facts = apply_model(
        model, counts, var.index.astype(str), gene_symbols(var), samples.get("sex", unknown), library=library
    )
    ages = pd.to_numeric(samples.get("age_years", unknown), errors="coerce").to_numpy(dtype=float)
    line: Mapping[str, float] = model.facts["regression_to_mean"]
    rows = pd.DataFrame(
        {
            "sample_id": samples["sample_id"].astype(str),
            "donor_id": samples.get("donor_id", samples["sample_id"]).astype(str),
            "age_years": ages,
            "predicted": predicted,
            "corrected": ages + predicted - (line["intercept"] + line["slope"] * ages),
        }
    )
    return rows[list(APPLIED)], facts | {"n_without_counts": int((~counted).sum())}


def application_facts(model: PortableModel, rows: pd.DataFrame) -> dict:
    """Which model was applied to how many samples, and the mean absolute error in years where ages are known.

    Parameters
    ----------
    rows
        `APPLIED`.
    """
    facts = {"cell_type": model.facts.get("cell_type"), "model": model.facts.get("model"), "n_samples": len(rows)}
    error = (rows["predicted"] - rows["age_years"]).abs()
    known = np.isfinite(rows["age_years"].to_numpy())
    if known.sum() > 1:
        facts["mae"] = float(error.to_numpy()[known].mean())
    return facts
