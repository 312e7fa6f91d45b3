#!/usr/bin/env python3
"""How good predicted ages are: errors, correlation, calibration, with bootstrap intervals; regression to the mean."""

import numpy as np
import pandas as pd

METRICS = ("metric", "value", "low", "high")


def weighted(share: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Covariance of two arrays under weights that sum to 1."""
    return (share * (x - (share * x).sum()) * (y - (share * y).sum())).sum()


def ratio(above: float, below: float) -> float:
    """A quotient, NaN where there is nothing to divide by."""
    return above / below if below > 1e-12 else np.nan


def metric_values(predicted: dict[str, np.ndarray], ages: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Metrics over all repeats, donors weighted by `weights` (1 each, or how often a bootstrap draws them).

    mae: mean absolute error, years. r2: 1 - squared error / squared distance from the mean age; under 0 is
    worse than knowing the mean. r: Pearson correlation, NaN where the prediction is constant. baseline_mae,
    sex_mae, composition_mae: the error of the median, of sex alone, of composition and sex. calibration_slope: of
    age on predicted age; 1 where a difference of a year in prediction means a year. error_slope: of predicted minus
    true age on true age; -1 where everyone is given one age, 0 without regression to the mean.

    Parameters
    ----------
    predicted
        `model`, `median`, `sex` and, if it is to be judged, `composition`: repeats x donors.
    """
    model = predicted["model"]
    share = np.broadcast_to(weights / weights.sum() / len(model), model.shape)
    age = np.broadcast_to(ages, model.shape)
    error = model - age
    age_variance, variance = weighted(share, age, age), weighted(share, model, model)
    both = weighted(share, model, age)
    values = {
        "mae": (share * np.abs(error)).sum(),
        "r2": 1 - ratio((share * error**2).sum(), age_variance),
        "r": ratio(both, np.sqrt(age_variance * variance)) if min(age_variance, variance) > 1e-12 else np.nan,
        "baseline_mae": (share * np.abs(predicted["median"] - age)).sum(),
        "sex_mae": (share * np.abs(predicted["sex"] - age)).sum(),
    }
    if "composition" in predicted:
        values["composition_mae"] = (share * np.abs(predicted["composition"] - age)).sum()
    return values | {
        "calibration_slope": ratio(both, variance),
        "error_slope": ratio(weighted(share, error, age), age_variance),
    }


def metric_table(
    predicted: dict[str, np.ndarray], ages: np.ndarray, *, n_bootstrap: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Metrics with 95 % percentile intervals from a bootstrap over donors, all repeats of a donor together.

    The intervals hold for these fits: they do not contain what other training donors would have changed.
    """
    n_donors = len(ages)
    draws = np.random.default_rng(seed).multinomial(n_donors, np.full(n_donors, 1 / n_donors), size=n_bootstrap)
    values = metric_values(predicted, ages, np.ones(n_donors))
    drawn = pd.DataFrame([metric_values(predicted, ages, weights) for weights in draws], columns=list(values))
    low, high = drawn.quantile(0.025), drawn.quantile(0.975)
    rows = [(name, value, low[name], high[name]) for name, value in values.items()]
    return pd.DataFrame([*rows, ("n_donors", n_donors, np.nan, np.nan)], columns=list(METRICS))


def age_line(predicted: np.ndarray, ages: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of predicted on true age: what regression to the mean makes of an age."""
    age_variance = ages.var()
    slope = ((predicted - predicted.mean()) * (ages - ages.mean())).mean() / age_variance if age_variance else 0.0
    return predicted.mean() - slope * ages.mean(), slope


def corrected_for_age(predicted: np.ndarray, ages: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Predictions without regression to the mean: true age plus the distance from what its age is usually given.

    The line of predicted on true age comes from the donors of the other folds. A corrected prediction makes use of the
    donor's true age: it serves to compare donors, never to judge accuracy.

    Parameters
    ----------
    predicted, folds
        Repeats x donors.
    ages
        Years.

    References
    ----------
    de Lange & Cole (2020), NeuroImage: Clinical 26:102229.
    """
    corrected = np.empty_like(predicted)
    for repeat, fold_of_donor in enumerate(folds):
        for fold in np.unique(fold_of_donor):
            held = fold_of_donor == fold
            intercept, slope = age_line(predicted[repeat, ~held], ages[~held])
            corrected[repeat, held] = ages[held] + predicted[repeat, held] - (intercept + slope * ages[held])
    return corrected
