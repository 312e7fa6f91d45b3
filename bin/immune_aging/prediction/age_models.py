"""Linear models that predict age from log expression, fitted on all the donors they are given.

Everything that is learned (which genes, their rates, means and SDs, the penalty, the fit) is learned from these donors
only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from immune_aging.prediction.age_features import usable_features
from immune_aging.prediction.penalty_choice import (
    NESTED_ALPHAS,
    REFERENCE_ALPHA,
    PenaltyBlend,
    blended,
    inner_means_of,
)
from immune_aging.prediction.penalty_paths import elastic_net_path, fit_linear_svr, fit_ridge, predict_inner, scale
from immune_aging.task.skipped import CannotFit


@dataclass(frozen=True)
class AgeModel:
    """A linear model of age, complete: `intercept + ((log rate - mean) / sd) @ coefficients`.

    Attributes
    ----------
    features
        Columns of the feature matrix in use.
    mean, sd
        Of the features in the training samples.
    coefficients
        Years per SD of each feature.
    intercept
        Mean age of the training donors, plus the offset of the support vectors.
    alpha
        Penalty, chosen or given.
    """

    features: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    coefficients: np.ndarray
    intercept: float
    alpha: float = np.nan

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Age in years of each row of a feature matrix (all columns, not only those in use)."""
        return self.intercept + (features[:, self.features] - self.mean) / self.sd @ self.coefficients


def fit_age_model(counts: np.ndarray, features: np.ndarray, ages: np.ndarray, *, model: str, alpha: float) -> AgeModel:
    """Fit one model on training donors.

    Features are scaled to mean 0, SD 1, ages likewise. With p features the kernel is `Z Z' / p`, so that its
    diagonal is about 1 and one `alpha` means the same shrinkage whatever the number of genes or donors' ages:
    `ridge` minimises |y - Zb|^2 + alpha p |b|^2; `linear_svr` has C = 1 / alpha on the same kernel; for
    `elastic_net` see `elastic_net_path`.

    Parameters
    ----------
    counts
        Samples x genes, raw: chooses the genes.
    features
        Samples x (genes + covariates): log rates (`features_of`), then covariates.
    ages
        Years.

    Raises
    ------
    CannotFit
        No gene has enough counts, or all donors are of one age.
    """
    used = usable_features(counts, features)
    age_mean, age_sd = float(ages.mean()), float(ages.std())
    if age_sd < 1e-8:
        raise CannotFit("all donors are of one age")
    mean, sd = features[:, used].mean(axis=0), features[:, used].std(axis=0)
    scaled, target = (features[:, used] - mean) / sd, (ages - age_mean) / age_sd
    offset = 0.0
    if model == "elastic_net":
        coefficients = elastic_net_path(scaled, target, (alpha,))[:, 0]
    else:
        fit = {"ridge": fit_ridge, "linear_svr": fit_linear_svr}[model]
        weights, offset = fit(scaled @ scaled.T / len(used), target, alpha=alpha)
        coefficients = scaled.T @ weights / len(used)
    return AgeModel(used, mean, sd, coefficients * age_sd, age_mean + offset * age_sd, alpha)


def fit_nested(
    counts: np.ndarray, features: np.ndarray, ages: np.ndarray, folds: np.ndarray, *, model: str
) -> AgeModel:
    """Fit one model, its penalties blended by training donors left out.

    Parameters
    ----------
    folds
        Inner fold of each donor, for models that cannot leave out one at a time as cheaply as ridge.
    """
    used = usable_features(counts, features)
    samples = scale(features[:, used], features[:0, used], model=model)
    alphas, column = NESTED_ALPHAS[model], ages[:, None]
    left_out = predict_inner(samples, column, folds, model=model, alphas=alphas)
    blend = blended(left_out, inner_means_of(column, folds, model=model), column, model=model)
    # A penalty without a share changes no prediction, and a fit of the elastic net or of support vectors is dear.
    chosen = np.flatnonzero(blend.share[:, 0])
    chosen = chosen if len(chosen) else np.array([alphas.index(REFERENCE_ALPHA)])
    fits = {int(i): fit_age_model(counts, features, ages, model=model, alpha=alphas[i]) for i in chosen}
    return combined_model(fits, blend, alphas)


def combined_model(fits: Mapping[int, AgeModel], blend: PenaltyBlend, alphas: Sequence[float]) -> AgeModel:
    """One linear model that predicts what the blend of several would: the model file needs no new format.

    Parameters
    ----------
    fits
        Of the same donors and features, by the penalty's position in the blend; at least those that have a share.
    blend
        Of one column of ages.

    Returns
    -------
    The model; its `alpha` is the weighted geometric mean of the penalties.
    """
    share, mean = blend.share[:, 0], float(blend.age_mean[0])
    some = next(iter(fits.values()))
    coefficients, intercepts = np.zeros((len(alphas), len(some.coefficients))), np.full(len(alphas), mean)
    for i, fit in fits.items():
        coefficients[i], intercepts[i] = fit.coefficients, fit.intercept
    return replace(
        some,
        coefficients=np.einsum("a,af->f", share, coefficients),
        intercept=mean + float(share @ (intercepts - mean)),
        alpha=blend.typical_alpha(alphas),
    )
