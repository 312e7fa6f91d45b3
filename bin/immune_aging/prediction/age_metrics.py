"""How good predicted ages are: errors, correlation, calibration, with bootstrap intervals; regression to the mean.

Out of fold, whoever knows nothing predicts the mean of the training donors. A fold whose donors are old leaves young
donors to train on, so this guess goes the wrong way: its correlation with age is negative (-.13 with 94 donors, -.30
with 27), and it is a little worse than the mean of all donors, which nobody knows before the fold is opened. So R2
compares with the training mean, and r is to be read beside what permuted ages give.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

METRICS = ("metric", "value", "low", "high")


def donor_means(predicted: dict[str, np.ndarray], ages: np.ndarray) -> dict[str, np.ndarray]:
    """What the metrics are made of: means over the repeats of each donor; ages less their mean over donors."""
    centre = ages.mean()
    model, age = predicted["model"] - centre, np.broadcast_to(ages - centre, predicted["model"].shape)
    products = {"p": model, "a": age, "pp": model**2, "aa": age**2, "pa": model * age, "ee": (model - age) ** 2}
    products["mm"] = (predicted["training_mean"] - ages) ** 2
    errors = {name: np.abs(values - ages) for name, values in predicted.items()}
    return {name: values.mean(axis=0) for name, values in (products | errors).items()}


def metric_values(
    predicted: dict[str, np.ndarray], ages: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray | float]:
    """Metrics over all repeats, donors weighted by `weights` (1 each, or how often a bootstrap draws them).

    mae: mean absolute error, years. r2: 1 - squared error / squared error of the training mean of each fold, so that 0
    is what the training mean scores. r: Pearson correlation, NaN where the prediction is constant. baseline_mae,
    sex_mae, composition_mae: the error of the median, of sex alone, of composition and sex. calibration_slope: of
    age on predicted age; 1 where a year more of prediction means a year more of age. error_slope: of predicted minus
    true age on true age; -1 where everyone is given one age, 0 without regression to the mean.

    Parameters
    ----------
    predicted
        `model`, `training_mean` (mean age of the donors that each prediction was trained on), `median`, `sex` and, if
        it is to be judged, `composition`: repeats x donors.
    weights
        Donors, or draws x donors: then each metric is an array over the draws.

    References
    ----------
    Campbell, Thompson (2008), Review of Financial Studies 21:1509, eq. 1, and Hawinkel, Waegeman, Maere (2024), The
    American Statistician 78:15, for R2 against the mean of the training data.
    """
    means = donor_means(predicted, ages)
    share = weights / weights.sum(axis=-1, keepdims=True)
    of = {name: share @ values for name, values in means.items()}
    age_variance, variance = of["aa"] - of["a"] ** 2, of["pp"] - of["p"] ** 2
    both = of["pa"] - of["p"] * of["a"]
    # Without a spread of ages or of predictions there is nothing to divide by.
    age_variance = np.where(age_variance < 1e-9, np.nan, age_variance)
    variance = np.where(variance < 1e-9, np.nan, variance)
    guess = np.where(of["mm"] < 1e-9, np.nan, of["mm"])
    values = {
        "mae": of["model"],
        "r2": 1 - of["ee"] / guess,
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


@dataclass
class PooledSums:
    """Sums over held-out donors, one per column of ages, that r and R2 of all folds together are made of.

    Column 0 holds the true ages, the others permuted ones. Folds are added one after the other, so that predictions
    of a thousand permutations need not be kept: eight numbers per permutation are enough.

    Attributes
    ----------
    centre
        Subtracted from ages and predictions before squaring, years: any age near the mean keeps the digits.
    """

    centre: float
    n: int = 0
    sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add_inplace(self, predicted: np.ndarray, ages: np.ndarray, training_mean: np.ndarray) -> None:
        """Add the held-out donors of one fold.

        Parameters
        ----------
        predicted, ages
            Held-out donors x columns.
        training_mean
            Mean age of the training donors, one per column: permuting ages changes it.
        """
        p, a, m = predicted - self.centre, ages - self.centre, training_mean - self.centre
        new = {"p": p, "a": a, "pp": p * p, "aa": a * a, "pa": p * a, "ee": (p - a) ** 2, "mm": (m - a) ** 2}
        for name, values in new.items():
            self.sums[name] = self.sums.get(name, 0.0) + values.sum(axis=0)
        self.n += len(predicted)

    def r(self) -> np.ndarray:
        """Pooled Pearson correlation per column; NaN where a column's predictions are constant."""
        s, n = self.sums, self.n
        spread = (s["pp"] / n - (s["p"] / n) ** 2) * (s["aa"] / n - (s["a"] / n) ** 2)
        covariance = s["pa"] / n - s["p"] * s["a"] / n**2
        return np.where(spread > 1e-12, covariance / np.sqrt(np.maximum(spread, 1e-12)), np.nan)

    def r2(self) -> np.ndarray:
        """R2 against the training mean of each fold, per column."""
        return 1 - self.sums["ee"] / np.maximum(self.sums["mm"], 1e-12)


@dataclass(frozen=True)
class PermutationNull:
    """A measure of the prediction, and what the same procedure makes of permuted ages.

    Attributes
    ----------
    observed
        On the true ages.
    mean, sd
        Of the permutations. NaN where there are none.
    p_value
        One-sided: the share of permutations, the observed one among them, that are as large or larger. NaN where there
        are none.

    References
    ----------
    Phipson, Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39 (the observed value counts as a permutation, so that p
    is never 0).
    """

    observed: float
    mean: float
    sd: float
    p_value: float


def permutation_null(values: np.ndarray) -> PermutationNull:
    """The null of a measure whose first value is the observed one, the others of permuted ages.

    A permutation without a value (constant predictions have no correlation) is left out of mean and SD, and stays in
    the denominator of p as one that is no better.
    """
    observed, drawn = float(values[0]), np.asarray(values[1:], dtype=float)
    if not len(drawn):
        return PermutationNull(observed, np.nan, np.nan, np.nan)
    p_value = (1 + (drawn >= observed - 1e-12).sum()) / (1 + len(drawn)) if np.isfinite(observed) else np.nan
    known = drawn[np.isfinite(drawn)]
    mean = float(known.mean()) if len(known) else np.nan
    sd = float(known.std(ddof=1)) if len(known) > 1 else np.nan
    return PermutationNull(observed, mean, sd, float(p_value))


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
