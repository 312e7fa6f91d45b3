"""The nested choice: a penalty chosen, and predictions calibrated, by training donors left out."""

from dataclasses import dataclass

import numpy as np

NESTED = "nested"
# What the nested choice tries, the strongest penalty first so that it wins a tie. Wider than any sweep needs to be:
# for ridge a further penalty costs one product of matrices.
NESTED_ALPHAS = {
    "ridge": (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001),
    "elastic_net": (3.0, 1.0, 0.3, 0.1),
    "linear_svr": (30.0, 10.0, 3.0, 1.0, 0.3, 0.1),
}
# Folds within training donors. The line of support vectors is steeper the more donors a fold takes away.
INNER_FOLDS = {"ridge": 5, "elastic_net": 5, "linear_svr": 10}
CALIBRATED = ("ridge", "linear_svr")  # models whose nested fit is followed by a line (see choose_penalty)


@dataclass(frozen=True)
class Choice:
    """For each column of ages: position of the chosen penalty, and the line that calibrates its predictions.

    calibrated = age_mean + slope * (predicted - predicted_mean)
    """

    position: np.ndarray
    slope: np.ndarray
    predicted_mean: np.ndarray
    age_mean: np.ndarray

    def of(self, predicted: np.ndarray) -> np.ndarray:
        """Calibrated predictions with the chosen penalties, samples x columns; from penalties x samples x columns."""
        own = predicted[self.position, :, np.arange(predicted.shape[2])].T
        return self.age_mean + self.slope * (own - self.predicted_mean)


def choose_penalty(predicted: np.ndarray, ages: np.ndarray, *, model: str) -> Choice:
    """The penalty of least squared error and, for ridge and support vectors, the slope of age on predicted age.

    With many more features than donors these predict ages in the right order but far too near to their mean,
    whatever the penalty. A line learned from predictions of training donors left out puts that right; it falls to the
    mean where there is no skill. The elastic net needs none: it is calibrated as it is, and the slope, learned with
    a fifth of the donors less, would overdo it.

    Parameters
    ----------
    predicted
        Penalties x samples x columns of ages: training samples left out.
    ages
        Samples x columns.
    """
    predicted_mean, age_mean = predicted.mean(axis=1), ages.mean(axis=0)
    slope, error = np.ones(predicted_mean.shape), np.empty(predicted_mean.shape)
    for i, own in enumerate(predicted):  # one after the other: all penalties' squares at once do not fit into a cache
        if model in CALIBRATED:
            centred, target = own - predicted_mean[i], ages - age_mean
            variance, covariance = np.square(centred).sum(axis=0), (centred * target).sum(axis=0)
            slope[i] = np.where(variance > 1e-9, covariance / np.maximum(variance, 1e-9), 0.0).clip(min=0)
            error[i] = np.square(slope[i] * centred - target).sum(axis=0)
        else:
            error[i] = np.square(own - ages).sum(axis=0)
    best = error.argmin(axis=0)
    columns = np.arange(ages.shape[1])
    mean = age_mean if model in CALIBRATED else predicted_mean[best, columns]
    return Choice(best, slope[best, columns], predicted_mean[best, columns], mean)
