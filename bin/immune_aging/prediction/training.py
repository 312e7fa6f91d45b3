"""An age model of one cell type: judged on donors held out, fitted on all donors, and described."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from immune_aging.prediction.age_features import features_of, sex_indicators, sex_labels
from immune_aging.prediction.age_metrics import METRICS, age_line, metric_table
from immune_aging.prediction.age_model_file import PortableModel, portable
from immune_aging.prediction.age_models import AgeModel, fit_age_model, fit_nested
from immune_aging.prediction.folds import fold_table
from immune_aging.prediction.held_out import HeldOut, predict_held_out
from immune_aging.prediction.penalty_choice import INNER_FOLDS, NESTED
from immune_aging.prediction.tables import coefficient_table, inner_table, prediction_table
from immune_aging.samples.cell_type_samples import CellTypeSamples, summed_by_donor
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

PREDICTIONS = ("donor_id", "age_years", "predicted", "fold", "repeat", "corrected")
COEFFICIENTS = ("gene_id", "symbol", "coefficient", "mean", "sd", "rate")
APPLIED = ("sample_id", "donor_id", "age_years", "predicted", "corrected")
# Columns of the tables of a fit, by their names.
TABLES = {"predictions": PREDICTIONS, "metrics": METRICS, "coefficients": COEFFICIENTS}
PACKAGES = ("numpy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Plan:
    """How a model is fitted and judged.

    Attributes
    ----------
    model
        One of `MODELS`.
    alpha
        Penalty; None for the nested choice.
    folds, repeats
        Of the cross-validation.
    min_donors
        Fewer cannot be fitted.
    bootstrap
        Draws for the intervals of the metrics.
    permutations
        Of the ages, for the p value.
    seed
        Of folds, bootstrap and permutations.
    """

    model: str
    alpha: float | None
    folds: int
    repeats: int
    min_donors: int
    bootstrap: int
    permutations: int
    seed: int


@dataclass(frozen=True)
class Trained:
    """What is said of one fit.

    Attributes
    ----------
    tables
        By the names of `TABLES`.
    model
        The fit on all donors, as its file holds it.
    inner
        As of `inner_table`; None without the nested choice.
    facts
        The summary, except `status` and `reason`.
    """

    tables: dict[str, pd.DataFrame]
    model: PortableModel
    inner: pd.DataFrame | None
    facts: dict


def train(whole: CellTypeSamples, list_of_samples: pd.DataFrame | None, plan: Plan, *, facts: dict) -> Trained:
    """Cross-validate one model, fit it on all donors, and describe both.

    Parameters
    ----------
    list_of_samples
        As of `cells_by_donor`, for the baseline of composition; None for no such baseline.
    facts
        id, cell_type, model, alpha: what tells the fit from others.

    Raises
    ------
    CannotFit
        Too few donors of known age, all of one age, or no gene with enough counts.
    """
    table = usable_donors(whole, min_donors=plan.min_donors)
    donors = table.samples["donor_id"].tolist()
    ages = table.samples["age_years"].to_numpy(dtype=float)
    covariates = sex_indicators(table.samples["sex"])
    layout: dict[str, Any] = {"n_repeats": plan.repeats, "seed": plan.seed}
    folds = fold_table(donors, n_folds=plan.folds, **layout)
    inner_folds = fold_table(donors, n_folds=INNER_FOLDS[plan.model], level="inner", **layout)
    held_out = predict_held_out(
        table.counts,
        covariates,
        ages,
        folds,
        model=plan.model,
        alpha=plan.alpha,
        inner_folds=inner_folds,
        composition=None if list_of_samples is None else cells_by_donor(list_of_samples, donors),
        n_permutations=plan.permutations,
        seed=plan.seed,
    )
    features = features_of(table.counts, covariates)
    if plan.alpha is None:
        fitted = fit_nested(table.counts, features, ages, inner_folds[0], model=plan.model)
    else:
        fitted = fit_age_model(table.counts, features, ages, model=plan.model, alpha=plan.alpha)
    metrics = metrics_with_nulls(held_out, ages, n_bootstrap=plan.bootstrap, seed=plan.seed)
    return Trained(
        {
            "predictions": prediction_table(table, held_out.model, folds),
            "metrics": metrics,
            "coefficients": coefficient_table(fitted, table),
        },
        portable(fitted, table, facts=model_facts(facts, fitted, held_out, table)),
        None if plan.alpha is not None else inner_table(held_out, donors, folds, facts=facts),
        facts | fit_facts(whole, table, fitted, held_out, metrics, plan),
    )


def metrics_with_nulls(held_out: HeldOut, ages: np.ndarray, *, n_bootstrap: int, seed: int) -> pd.DataFrame:
    """metrics.tsv: the metrics of the predictions and, before the number of donors, what permuted ages say of them."""
    metrics = metric_table(held_out.by_name(), ages, n_bootstrap=n_bootstrap, seed=seed)
    nulls = {
        "p_value": held_out.r2.p_value,
        "r_null_mean": held_out.r.mean,
        "r_null_sd": held_out.r.sd,
        "r_p_value": held_out.r.p_value,
    }
    rows = pd.DataFrame([(name, value, np.nan, np.nan) for name, value in nulls.items()], columns=list(METRICS))
    return pd.concat([metrics.iloc[:-1], rows, metrics.iloc[-1:]], ignore_index=True)


def fit_facts(
    whole: CellTypeSamples,
    table: CellTypeSamples,
    fitted: AgeModel,
    held_out: HeldOut,
    metrics: pd.DataFrame,
    plan: Plan,
) -> dict:
    """What the summary says of a fit.

    Parameters
    ----------
    whole, table
        All samples, and the donors that were used.
    """
    values = metrics.set_index("metric")
    n_genes = len(table.symbols)
    of_samples = {"n_samples": len(whole.samples)} if SAMPLE_OF_DONOR in whole.samples else {}
    return {
        "n_donors": len(table.samples),
        **of_samples,
        "n_donors_left_out": whole.samples["donor_id"].nunique() - len(table.samples),
        "n_genes": int((fitted.features < n_genes).sum()),
        "n_nonzero": int((fitted.coefficients != 0).sum()),
        "alpha_used": fitted.alpha,
        "alpha_weights": {f"{alpha:g}": weight for alpha, weight in held_out.weights.items()},
        "trust_in_blend": held_out.trust,
        "intercept": fitted.intercept,
        "sex_coefficients": fitted.coefficients[fitted.features >= n_genes],
        "folds": plan.folds,
        "repeats": plan.repeats,
        "n_permutations": plan.permutations,
        "metrics": {name: dict(values.loc[name]) for name in values.index if name != "n_donors"},
    }


def usable_donors(table: CellTypeSamples, *, min_donors: int) -> CellTypeSamples:
    """The donors whose age is known and that have any counts; `CannotFit` where these are too few.

    A donor's samples are added up, and its age is their mean: folds, permutations and bootstraps are of persons.
    """
    known = (table.samples["age_years"].notna() & (table.counts.sum(axis=1) > 0)).to_numpy()
    n_donors = table.samples["donor_id"][known].nunique()
    if n_donors < min_donors:
        raise CannotFit(f"{n_donors} donors; at least {min_donors} are needed")
    return summed_by_donor(CellTypeSamples(table.counts[known], table.samples[known], table.symbols))


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
            "library_median": float(np.median(table.counts.sum(axis=1))),
        },
        "sex_levels": sorted(set(sex_labels(table.samples["sex"]))),
        "regression_to_mean": {"intercept": intercept, "slope": slope},
    }
