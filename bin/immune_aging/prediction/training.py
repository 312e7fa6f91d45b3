"""Age models of one cell type: donors, folds, facts about the fit."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from immune_aging.prediction.age_metrics import age_line
from immune_aging.prediction.age_models import (
    NESTED,
    AgeModel,
    HeldOut,
    sex_labels,
)
from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

PREDICTIONS = ("donor_id", "age_years", "predicted", "fold", "repeat", "corrected")
COEFFICIENTS = ("gene_id", "symbol", "coefficient", "mean", "sd")
APPLIED = ("sample_id", "donor_id", "age_years", "predicted", "corrected")
PACKAGES = ("numpy", "pandas", "scikit-learn")


def usable_donors(table: CellTypeSamples, *, min_donors: int) -> CellTypeSamples:
    """The samples whose age is known and that have any counts; `CannotFit` where these are too few."""
    known = (table.samples["age_years"].notna() & (table.counts.sum(axis=1) > 0)).to_numpy()
    if known.sum() < min_donors:
        raise CannotFit(f"{int(known.sum())} donors; at least {min_donors} are needed")
    return CellTypeSamples(table.counts[known], table.samples[known], table.symbols)


def cells_by_donor(samples: pd.DataFrame, donors: Sequence[str]) -> np.ndarray | None:
    """Numbers of cells, donors x cell types (sorted by name), of all samples; None where they are not known.

    Parameters
    ----------
    samples
        donor_id, cell_type, n_cells of every sample, those left out of the statistics too.
    """
    if samples["n_cells"].isna().any() or samples["cell_type"].nunique() < 2:
        return None
    wide = samples.pivot_table(index="donor_id", columns="cell_type", values="n_cells", aggfunc="sum", fill_value=0)
    return wide.reindex(list(donors), fill_value=0).to_numpy(dtype=float)


def alpha_of(text: str) -> float | None:
    """A penalty over 0, or None for the nested choice."""
    if text == NESTED:
        return None
    try:
        alpha = float(text)
    except ValueError as error:
        raise BadInput(f"--alpha {text}: must be a number over 0 or {NESTED}") from error
    if not 0 < alpha < np.inf:
        raise BadInput(f"--alpha {text}: a penalty must be over 0")
    return alpha


def model_facts(facts: dict, fitted: AgeModel, held_out: HeldOut, table: CellTypeSamples) -> dict:
    """What a model file says of itself beside its numbers."""
    ages = table.samples["age_years"].to_numpy(dtype=float)
    intercept, slope = age_line(held_out.model.mean(axis=0), ages)
    return {
        **facts,
        "alpha_used": fitted.alpha,
        "training": {
            "n_donors": len(ages),
            "age_low": ages.min(),
            "age_mean": ages.mean(),
            "age_high": ages.max(),
        },
        "sex_levels": sorted(set(sex_labels(table.samples["sex"]))),
        "regression_to_mean": {"intercept": intercept, "slope": slope},
    }
