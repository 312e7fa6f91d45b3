"""The tables of an age model: predictions, coefficients, inner predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from immune_aging.prediction.age_features import mean_rates
from immune_aging.prediction.age_metrics import corrected_for_age
from immune_aging.prediction.age_models import AgeModel
from immune_aging.prediction.held_out import HeldOut
from immune_aging.samples.cell_type_samples import CellTypeSamples


def prediction_table(table: CellTypeSamples, predicted: np.ndarray, folds: np.ndarray) -> pd.DataFrame:
    """predictions.tsv: one row per donor and repeat, sorted by them; repeats and folds count from 1."""
    n_repeats = len(folds)
    ages = table.samples["age_years"].to_numpy(dtype=float)
    rows = pd.DataFrame(
        {
            "donor_id": np.tile(table.samples["donor_id"].to_numpy(), n_repeats),
            "age_years": np.tile(ages, n_repeats),
            "predicted": predicted.ravel(),
            "fold": folds.ravel() + 1,
            "repeat": np.repeat(np.arange(n_repeats) + 1, folds.shape[1]),
            "corrected": corrected_for_age(predicted, ages, folds).ravel(),
        }
    )
    return rows.sort_values(["repeat", "donor_id"], ignore_index=True)


def coefficient_table(fitted: AgeModel, table: CellTypeSamples) -> pd.DataFrame:
    """coefficients.tsv: genes by |years per SD|, with the mean and SD of the log rate, and the mean rate."""
    gene = fitted.features < len(table.symbols)
    columns = fitted.features[gene]
    rows = pd.DataFrame(
        {
            "gene_id": table.gene_ids[columns],
            "symbol": table.symbols.to_numpy()[columns],
            "coefficient": fitted.coefficients[gene],
            "mean": fitted.mean[gene],
            "sd": fitted.sd[gene],
            "rate": mean_rates(table.counts[:, columns], table.counts.sum(axis=1)),
        }
    )
    return rows.iloc[np.lexsort((rows["gene_id"], -rows["coefficient"].abs()))].reset_index(drop=True)


def inner_table(held_out: HeldOut, donors: Sequence[str], folds: np.ndarray, *, facts: dict) -> pd.DataFrame:
    """What a model of models needs: for each repeat and fold, predictions of its training and its held-out donors.

    Those of the training donors come from fits that saw neither the donor nor anyone of the fold.

    Returns
    -------
    id, model, repeat, fold (from 1), donor_id, held (whether the fold holds the donor out), predicted.
    """
    assert held_out.inner is not None, "only the nested choice has inner predictions"
    parts = []
    for repeat, fold_of_donor in enumerate(folds):
        for fold in np.unique(fold_of_donor):
            held = fold_of_donor == fold
            predicted = np.where(held, held_out.model[repeat], held_out.inner[repeat, fold])
            parts.append(
                pd.DataFrame(
                    {"repeat": repeat + 1, "fold": fold + 1, "donor_id": donors, "held": held, "predicted": predicted}
                )
            )
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "model", facts["model"])
    table.insert(0, "id", facts["id"])
    return table
