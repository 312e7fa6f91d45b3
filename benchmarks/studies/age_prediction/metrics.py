"""R2 against the training mean of each fold, and the pooled correlation beside what it is on permuted ages.

Both answer the same trap. Out of fold, whoever knows nothing predicts the mean of the training donors. A fold whose
donors are old leaves young donors to train on, so this guess goes the wrong way: it has a negative correlation with
age, and it is a little worse than the mean of all donors, which nobody knows before the fold is opened.

Predictions are repeats x donors, ages and means in years.
"""

from dataclasses import dataclass, field

import numpy as np


def training_means(ages: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Mean age of the donors outside each donor's fold, repeats x donors.

    Parameters
    ----------
    ages
        Years, one per donor.
    folds
        Fold of each donor, repeats x donors, counted from 0.
    """
    means = np.empty(folds.shape)
    for row, fold_of_donor in enumerate(folds):
        size = np.bincount(fold_of_donor)
        total = np.bincount(fold_of_donor, weights=ages)
        means[row] = ((ages.sum() - total) / (len(ages) - size))[fold_of_donor]
    return means


def r2_against_training_mean(
    predicted: np.ndarray, training_mean: np.ndarray, ages: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """1 - squared error / squared error of the training mean, pooled over folds and repeats.

    0 is what the training mean itself scores, so everything above 0 is learned from expression. The usual R2 compares
    with the mean of all donors, which contains the held-out ones: there the training mean scores below 0, by about
    1 / (number of training donors). This is the Q2 of chemometrics and the out-of-sample R2 of forecasting.

    Parameters
    ----------
    training_mean
        Mean age of the donors that each prediction was trained on, repeats x donors (see `training_means`).
    weights
        One per donor (1, or how often a bootstrap draws the donor), or draws x donors; then one R2 per draw.

    Returns
    -------
    R2; NaN where all ages are the training mean.

    References
    ----------
    Campbell, Thompson (2008), Review of Financial Studies 21:1509, eq. 1; Hawinkel, Waegeman, Maere (2024), The
    American Statistician 78:15 (why the mean has to come from the training data).
    """
    error = np.square(predicted - ages).mean(axis=0)
    guess = np.square(training_mean - ages).mean(axis=0)
    bottom = np.asarray(weights @ guess, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottom > 1e-9, 1 - (weights @ error) / bottom, np.nan)


def pooled_r(predicted: np.ndarray, ages: np.ndarray) -> float:
    """Pearson correlation of predicted and true age over all donors and repeats; NaN where either is constant."""
    truth = np.broadcast_to(ages, predicted.shape)
    if predicted.std() < 1e-9 or truth.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(predicted.ravel(), truth.ravel())[0, 1])


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
        One-sided: the share of permutations, the observed one among them, that are as large or larger.
    n
        Number of permutations.
    """

    observed: float
    mean: float
    sd: float
    p_value: float
    n: int

    def __str__(self) -> str:
        """As a report prints it: `r 0.31 (permuted ages: -0.16 ± 0.14, p = 0.002)`."""
        if not self.n:
            return f"{self.observed:.2f} (no permutations)"
        return f"{self.observed:.2f} (permuted ages: {self.mean:.2f} ± {self.sd:.2f}, p = {self.p_value:.2g})"


def permutation_null(values: np.ndarray) -> PermutationNull:
    """The null of a measure whose first value is the observed one, the others of permuted ages.

    A permutation without a value (constant predictions have no correlation) counts as no better than the observed
    one would be by guessing: it is left out of mean and SD and stays in the denominator of p.

    References
    ----------
    Phipson, Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39 (the observed value counts as a permutation, so that p
    is never 0).
    """
    observed, drawn = float(values[0]), np.asarray(values[1:], dtype=float)
    if not len(drawn):
        return PermutationNull(observed, np.nan, np.nan, np.nan, 0)
    p_value = np.nan
    if np.isfinite(observed):
        p_value = float((1 + (drawn >= observed - 1e-12).sum()) / (1 + len(drawn)))
    known = drawn[np.isfinite(drawn)]
    mean = float(known.mean()) if len(known) else np.nan
    sd = float(known.std(ddof=1)) if len(known) > 1 else np.nan
    return PermutationNull(observed, mean, sd, p_value, len(drawn))
