"""Which penalty, and how far to trust it: a blend of penalties that leaves the reference only for good reason.

The nested choice of before took the penalty of least inner error and rescaled its predictions by a free slope. With
forty donors and little signal both follow noise: on real tables it was up to .5 years worse than a fixed penalty of
3, and with strong signal up to 10 years better. The rule here starts from the fixed penalty and moves away from it
only as far as training donors who were left out show it to be better (README.md has the measurements):

1. Work with deviations from the mean of the ages a fit was trained on. Whoever is left out moves that mean the other
   way, so that predictions near the mean look wrong in sign, and a slope fitted to them is too small.
2. For each penalty, shrink the slope of true on predicted deviations towards 1.
3. Average the penalties, each weighted by how likely it makes the ages of the donors left out.
4. Compare the average with the reference penalty, donor by donor. Nothing changes below `TRUST_FROM` paired standard
   errors of gain, everything from `TRUST_FULL` on, a share of it between.

Ages are in years. A column is one vector of ages: the true ones, or a permutation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from immune_aging.prediction.age_models import AgeModel

REFERENCE_ALPHA = 3.0  # best or within .02 R2 of the best fixed penalty on eight real tables
ALPHAS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # of ridge; weaker ones never had any weight
SLOPE_SD = 2.0  # of the prior of a slope around 1; .5 kept too much shrinkage where signal is strong
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

    def of(self, predicted: np.ndarray) -> np.ndarray:
        """Blended predictions, samples x columns; from penalties x samples x columns."""
        blended = np.zeros(predicted.shape[1:])
        for share, own in zip(self.share, predicted, strict=True):  # one penalty at a time stays within the cache
            blended += share * (own - self.age_mean)
        return self.age_mean + blended

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
    left_out: np.ndarray, inner_means: np.ndarray, ages: np.ndarray, *, reference: int, slope_sd: float = SLOPE_SD
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
    blended = np.zeros(ages.shape)
    for i, own in enumerate(left_out):
        blended += share[i] * (own - inner_means)
    trust = trust_in(error - np.square(blended - truth))
    keep = np.zeros((len(left_out), 1))
    keep[reference] = 1
    return PenaltyBlend(
        trust * share + (1 - trust) * keep, trust * weight + (1 - trust) * keep, trust, ages.mean(axis=0)
    )


def combined_model(fits: Sequence[AgeModel], blend: PenaltyBlend, alphas: Sequence[float]) -> AgeModel:
    """One linear model that predicts what the blend of several would: the model file needs no new format.

    Parameters
    ----------
    fits
        Of the same donors and features, one per penalty in the order of the blend; features scaled by these donors.
    blend
        Of one column of ages.

    Returns
    -------
    The model; its `alpha` is the weighted geometric mean of the penalties.
    """
    share, weight, mean = blend.share[:, 0], blend.weight[:, 0], float(blend.age_mean[0])
    coefficients = np.einsum("a,af->f", share, np.array([fit.coefficients for fit in fits]))
    intercept = mean + float(share @ (np.array([fit.intercept for fit in fits]) - mean))
    alpha = float(np.exp(weight @ np.log(alphas)))
    return replace(fits[0], coefficients=coefficients, intercept=intercept, alpha=alpha)
