"""How good predicted ages are: errors, correlation, calibration, with bootstrap intervals; regression to the mean."""

import numpy as np
import pandas as pd

METRICS = ("metric", "value", "low", "high")


def donor_means(predicted: dict[str, np.ndarray], ages: np.ndarray) -> dict[str, np.ndarray]:
    """What the metrics are made of: means over the repeats of each donor; ages less their mean over donors."""
    centre = ages.mean()
    model, age = predicted["model"] - centre, np.broadcast_to(ages - centre, predicted["model"].shape)
    products = {"p": model, "a": age, "pp": model**2, "aa": age**2, "pa": model * age, "ee": (model - age) ** 2}
    errors = {name: np.abs(values - ages) for name, values in predicted.items()}
    return {name: values.mean(axis=0) for name, values in (products | errors).items()}


def metric_values(
    predicted: dict[str, np.ndarray], ages: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray | float]:
    """Metrics over all repeats, donors weighted by `weights` (1 each, or how often a bootstrap draws them).

    mae: mean absolute error, years. r2: 1 - squared error / squared distance from the mean age; under 0 is
    worse than knowing the mean. r: Pearson correlation, NaN where the prediction is constant. baseline_mae,
    sex_mae, composition_mae: the error of the median, of sex alone, of composition and sex. calibration_slope: of
    age on predicted age; 1 where a year more of prediction means a year more of age. error_slope: of predicted minus
    true age on true age; -1 where everyone is given one age, 0 without regression to the mean.

    Parameters
    ----------
    predicted
        `model`, `median`, `sex` and, if it is to be judged, `composition`: repeats x donors.
    weights
        Donors, or draws x donors: then each metric is an array over the draws.
    """
    means = donor_means(predicted, ages)
    share = weights / weights.sum(axis=-1, keepdims=True)
    of = {name: share @ values for name, values in means.items()}
    age_variance, variance = of["aa"] - of["a"] ** 2, of["pp"] - of["p"] ** 2
    both = of["pa"] - of["p"] * of["a"]
    # Without a spread of ages or of predictions there is nothing to divide by.
    age_variance = np.where(age_variance < 1e-9, np.nan, age_variance)
    variance = np.where(variance < 1e-9, np.nan, variance)
    values = {
        "mae": of["model"],
        "r2": 1 - of["ee"] / age_variance,
        "r": both / np.sqrt(age_variance * variance),
        "baseline_mae": of["median"],
        "sex_mae": of["sex"],
    }
    if "composition" in predicted:
        values["composition_mae"] = of["composition"]
    return values | {"calibration_slope": both / variance, "error_slope": both / age_variance - 1}


def metric_table(
    predicted: dict[str, np.ndarray], ages: np.ndarray, *, n_bootstrap: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Metrics with 95 % percentile intervals from a bootstrap over donors, all repeats of a donor together.

    The intervals hold for these fits: they do not contain what other training donors would have changed.
    """
    n_donors = len(ages)
    draws = np.random.default_rng(seed).multinomial(n_donors, np.full(n_donors, 1 / n_donors), size=n_bootstrap)
    values = metric_values(predicted, ages, np.ones(n_donors))
    drawn = pd.DataFrame(metric_values(predicted, ages, draws))
    low, high = drawn.quantile(0.025), drawn.quantile(0.975)
    rows = [(name, float(value), low[name], high[name]) for name, value in values.items()]
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
