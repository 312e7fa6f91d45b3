"""The nested choice: which penalty, and how far to trust it, by training donors left out.

It starts from a fixed penalty, and moves away from it only as far as training donors that were left out show that to be
better. To choose the penalty of least inner error and to rescale its predictions by a free slope follows noise where
there are few donors and little signal: on real tables that was up to .5 years worse than the fixed penalty
(docs/decisions/0022-age-prediction-penalties-and-depth.md).

1. Work with deviations from the mean of the ages that a fit was trained on. A donor that is left out moves this mean
   the other way, so that predictions near the mean look wrong in sign, and a slope fitted to them is too small.
2. For each penalty, shrink the slope of true on predicted deviations towards 1.
3. Average the penalties, each weighted by how likely it makes the ages of the donors left out.
4. Compare the average with the fixed penalty, donor by donor. Nothing changes below `TRUST_FROM` paired standard errors
   of gain, everything from `TRUST_FULL` on, a share of it between.

Ages are in years. A column is one vector of ages: the true ones, or a permutation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NESTED = "nested"
# What the nested choice tries. For ridge a further penalty costs one product of matrices; weaker ones than these never
# had any weight.
NESTED_ALPHAS = {
    "ridge": (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01),
    "elastic_net": (3.0, 1.0, 0.3, 0.1),
    "linear_svr": (30.0, 10.0, 3.0, 1.0, 0.3, 0.1),
}
REFERENCE_ALPHA = 3.0  # best, or within .02 R2 of the best fixed penalty, on eight real tables
# Folds within training donors. The line of support vectors is steeper the more donors a fold takes away.
INNER_FOLDS = {"ridge": 5, "elastic_net": 5, "linear_svr": 10}
# SD of the prior of a slope around 1; .5 kept too much shrinkage where signal is strong. The elastic net is calibrated
# as it is: a slope learned with a fifth of the donors less would overdo it.
SLOPE_SD = {"ridge": 2.0, "elastic_net": 0.0, "linear_svr": 2.0}
TRUST_FROM, TRUST_FULL = 2.5, 4.5  # paired standard errors of the inner gain over the reference


@dataclass(frozen=True)
class PenaltyBlend:
    """A linear combination of the predictions for several penalties; arrays are penalties x columns.

    `predicted = age_mean + sum over penalties of share * (prediction - age_mean)`

    Attributes
    ----------
    share
        What a penalty's deviation from the mean is multiplied by: its weight times its slope.
    weight
        Weight of each penalty, sums to 1: for the summary.
    trust
        Per column, 0 (the reference alone) to 1 (the blend alone).
    age_mean
        Per column, mean age of the training donors, years.
    """

    share: np.ndarray
    weight: np.ndarray
    trust: np.ndarray
    age_mean: np.ndarray

    def typical_alpha(self, alphas: Sequence[float]) -> float:
        """Geometric mean of the penalties by their weights, of the first column."""
        return float(np.exp(self.weight[:, 0] @ np.log(alphas)))

    def of(self, predicted: np.ndarray) -> np.ndarray:
        """Blended predictions, samples x columns; from penalties x samples x columns."""
        deviation = np.zeros(predicted.shape[1:])
        for share, own in zip(self.share, predicted, strict=True):  # one penalty at a time stays within the cache
            deviation += share * (own - self.age_mean)
        return self.age_mean + deviation

    def of_left_out(self, predicted: np.ndarray, inner_means: np.ndarray) -> np.ndarray:
        """The same for training donors left out: each prediction deviates from the mean of its own fit.

        Parameters
        ----------
        inner_means
            As of `blend_penalties`.
        """
        return inner_means + np.einsum("ac,anc->nc", self.share, predicted - inner_means)


def leave_one_out_means(ages: np.ndarray) -> np.ndarray:
    """Mean age of the other donors, donors x columns."""
    return (ages.sum(axis=0) - ages) / (len(ages) - 1)


def left_out_means(ages: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Mean age of the donors outside each donor's inner fold, donors x columns.

    Parameters
    ----------
    folds
        Inner fold of each training donor.
    """
    means = np.empty(ages.shape)
    for fold in np.unique(folds):
        means[folds == fold] = ages[folds != fold].mean(axis=0)
    return means


def shrunk_slope(product: np.ndarray, square: np.ndarray, variance: np.ndarray, *, sd: float) -> np.ndarray:
    """Posterior mean of the slope of true on predicted deviations, prior N(1, sd^2), never below 0.

    Parameters
    ----------
    product, square
        Sums over donors of predicted x true and of predicted x predicted deviations.
    variance
        Of the true deviations around the line, years^2.
    """
    return np.maximum((product / variance + 1 / sd**2) / (square / variance + 1 / sd**2), 0.0)


def log_evidence(
    product: np.ndarray, square: np.ndarray, total: np.ndarray, variance: np.ndarray, n_donors: int, *, sd: float
) -> np.ndarray:
    """Log likelihood of the true deviations given the predicted ones, the slope integrated over its prior.

    Deviations are normal with mean `predicted` and covariance `variance I + sd^2 predicted predicted'`; constants
    that all penalties share are left out.

    Parameters
    ----------
    total
        Sum over donors of squared true deviations.
    """
    residual = total - 2 * product + square  # around a slope of 1
    explained = (product - square) ** 2 * sd**2 / (variance + sd**2 * square)
    return -0.5 * (
        n_donors * np.log(variance) + np.log1p(sd**2 * square / variance) + (residual - explained) / variance
    )


def trust_in(gain: np.ndarray) -> np.ndarray:
    """How far to follow a blend whose squared error is smaller by `gain` (donors x columns) than the reference's."""
    spread = gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
    z = np.where(spread > 1e-12, gain.mean(axis=0) / np.maximum(spread, 1e-12), 0.0)
    return np.clip((z - TRUST_FROM) / (TRUST_FULL - TRUST_FROM), 0.0, 1.0)


def blend_penalties(
    left_out: np.ndarray, inner_means: np.ndarray, ages: np.ndarray, *, reference: int, slope_sd: float
) -> PenaltyBlend:
    """The blend of penalties that predictions of training donors left out justify.

    Parameters
    ----------
    left_out
        Penalties x donors x columns: predictions of each training donor by fits without it.
    inner_means
        Donors x columns: mean age of the donors that each of these fits was trained on.
    ages
        Donors x columns. All ages of a column must not be equal.
    reference
        Position of the penalty to keep to without evidence.
    slope_sd
        SD of the prior of a slope around 1; 0 leaves predictions as they are.
    """
    truth = ages - inner_means
    total = np.square(truth).sum(axis=0)
    n_donors = len(ages)
    shape = (len(left_out), ages.shape[1])
    square, product = np.empty(shape), np.empty(shape)
    for i, own in enumerate(left_out):  # one penalty at a time: all of them do not fit into a cache
        deviation = own - inner_means
        square[i], product[i] = np.square(deviation).sum(axis=0), (deviation * truth).sum(axis=0)
    if slope_sd > 0:
        best = np.where(square > 1e-9, product**2 / np.maximum(square, 1e-9), 0.0)
        variance = np.maximum(total - best, 1e-6 * np.maximum(total, 1e-9)) / n_donors
        slope = shrunk_slope(product, square, variance, sd=slope_sd)
        logs = log_evidence(product, square, total, variance, n_donors, sd=slope_sd)
    else:
        slope = np.ones(shape)
        logs = -0.5 * n_donors * np.log(np.maximum(total - 2 * product + square, 1e-9))
    weight = np.exp(logs - logs.max(axis=0))
    weight /= weight.sum(axis=0)
    share = weight * slope

    error = np.square(left_out[reference] - ages)
    average = np.zeros(ages.shape)
    for i, own in enumerate(left_out):
        average += share[i] * (own - inner_means)
    trust = trust_in(error - np.square(average - truth))
    keep = np.zeros((len(left_out), 1))
    keep[reference] = 1
    return PenaltyBlend(
        trust * share + (1 - trust) * keep, trust * weight + (1 - trust) * keep, trust, ages.mean(axis=0)
    )


def blended(left_out: np.ndarray, inner_means: np.ndarray, ages: np.ndarray, *, model: str) -> PenaltyBlend:
    """`blend_penalties` with the penalties of a model (`NESTED_ALPHAS`) and its prior of slopes."""
    reference = NESTED_ALPHAS[model].index(REFERENCE_ALPHA)
    return blend_penalties(left_out, inner_means, ages, reference=reference, slope_sd=SLOPE_SD[model])


def inner_means_of(ages: np.ndarray, folds: np.ndarray, *, model: str) -> np.ndarray:
    """Mean age of the donors that predicted each training donor when it was left out, donors x columns.

    Parameters
    ----------
    folds
        Inner fold of each training donor. Ridge does without: it leaves out one at a time.
    """
    return leave_one_out_means(ages) if model == "ridge" else left_out_means(ages, folds)


def calibrated_best(left_out: np.ndarray, predicted: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Predictions by the one penalty of least inner error, rescaled by a free slope that is not negative.

    For few features (composition and sex), where no fixed penalty is known to be good, and for one column of ages.

    Parameters
    ----------
    left_out
        Penalties x donors: predictions of each training donor by a fit without it.
    predicted
        Penalties x samples: predictions to rescale.
    ages
        One per training donor.
    """
    centred, target = left_out - left_out.mean(axis=1, keepdims=True), ages - ages.mean()
    variance = np.square(centred).sum(axis=1)
    slope = np.where(variance > 1e-9, centred @ target / np.maximum(variance, 1e-9), 0.0).clip(min=0)
    best = np.square(slope[:, None] * centred - target).sum(axis=1).argmin()
    return ages.mean() + slope[best] * (predicted[best] - left_out[best].mean())
