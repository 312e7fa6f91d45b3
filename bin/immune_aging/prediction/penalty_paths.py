"""Fits of the models of age, and their predictions for several penalties and several vectors of ages at once."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from immune_aging.task.skipped import CannotFit

MODELS = ("ridge", "elastic_net", "linear_svr")
EPSILON_SD = 0.1  # width of the tube of support vector regression, in SDs of age: scikit-learn's default
L1_RATIO = 0.5

# --- fits: each gives weights of the training samples (dual) or of the features, for ages in SDs ----------------------


def fit_ridge(kernel: np.ndarray, target: np.ndarray, *, alpha: float) -> tuple[np.ndarray, float]:
    """Dual weights of ridge regression: (K + alpha I) w = y, y centred. Returns the weights and 0."""
    return np.linalg.solve(kernel + alpha * np.eye(len(kernel)), target), 0.0


def fit_linear_svr(kernel: np.ndarray, target: np.ndarray, *, alpha: float) -> tuple[np.ndarray, float]:
    """Dual weights and intercept of support vector regression with C = 1 / alpha.

    libsvm, whose intercept is free; liblinear's LinearSVR penalises it and shrinks every prediction towards 0
    years.
    """
    from sklearn.svm import SVR

    machine = SVR(kernel="precomputed", C=1 / alpha, epsilon=EPSILON_SD).fit(kernel, target)
    weights = np.zeros(len(target))
    weights[machine.support_] = machine.dual_coef_[0]
    return weights, float(machine.intercept_[0])


def elastic_net_path(features: np.ndarray, target: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Coefficients of the elastic net, half L1, features x penalties, from the strongest penalty on.

    A penalty is a share alpha / (1 + alpha) of the largest useful one, at which no feature is left. A share keeps the
    same meaning in every cell type, where a fixed number would leave all genes in one model and none in the next.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import enet_path

    largest = max(np.abs(features.T @ target).max() / (len(target) * L1_RATIO), 1e-12)
    penalties = [largest * alpha / (1 + alpha) for alpha in alphas]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a small duality gap left changes no metric
        order = np.argsort(penalties)[::-1]  # each starts from the one before
        _, found, _ = enet_path(
            np.asfortranarray(features), target, l1_ratio=L1_RATIO, alphas=np.array(penalties)[order], max_iter=5000
        )
    return found[:, np.argsort(order)]


# --- predictions of held-out samples ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scaled:
    """Training and held-out samples with features scaled by the training samples, and their kernels `Z Z' / p`.

    `kernel` (training x training) and `cross` (held out x training) are empty for the elastic net, which needs none.
    """

    train: np.ndarray
    held: np.ndarray
    kernel: np.ndarray
    cross: np.ndarray


NO_KERNEL = np.empty((0, 0))


def scale(train: np.ndarray, held: np.ndarray, *, model: str) -> Scaled:
    """Features (samples x p) to mean 0 and SD 1 in the training samples; kernels where the model works on them."""
    mean, sd = train.mean(axis=0), train.std(axis=0)
    train, held = (train - mean) / sd, (held - mean) / sd
    if model == "elastic_net":
        return Scaled(train, held, NO_KERNEL, NO_KERNEL)
    return Scaled(train, held, train @ train.T / train.shape[1], held @ train.T / train.shape[1])


def within(samples: Scaled, held: np.ndarray) -> Scaled:
    """A split of the training samples of `samples`, features centred anew (their scale stays that of all of them).

    No age and no sample of the outer fold plays a part in it; so one kernel serves all inner folds.

    Parameters
    ----------
    held
        Mask over the training samples.
    """
    if not samples.kernel.size:
        mean = samples.train[~held].mean(axis=0)
        return Scaled(samples.train[~held] - mean, samples.train[held] - mean, NO_KERNEL, NO_KERNEL)
    own, cross = samples.kernel[np.ix_(~held, ~held)], samples.kernel[np.ix_(held, ~held)]
    column = own.mean(axis=0)
    grand = column.mean()
    cross = cross - column - cross.mean(axis=1, keepdims=True) + grand
    nothing = np.empty((0, 0))
    return Scaled(nothing, nothing, own - column - column[:, None] + grand, cross)


def ridge_path(kernel: np.ndarray, cross: np.ndarray, targets: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Ridge predictions of the held-out samples, penalties x samples x targets, from one eigendecomposition."""
    values, vectors = np.linalg.eigh(kernel)
    values, rotated, projected = values.clip(min=0), vectors.T @ targets, cross @ vectors
    return np.array([projected @ (rotated / (values + alpha)[:, None]) for alpha in alphas])


def ridge_left_out(kernel: np.ndarray, targets: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Ridge predictions of each training sample by the fit without it, penalties x samples x targets.

    Exact for features as they are scaled, intercept included: a residual divided by one minus its leverage.

    References
    ----------
    Golub, Heath, Wahba (1979), Technometrics 21:215-223.
    """
    values, vectors = np.linalg.eigh(kernel)
    values, rotated, mean = values.clip(min=0), vectors.T @ (targets - targets.mean(axis=0)), targets.mean(axis=0)
    predicted = []
    for alpha in alphas:
        shrunk = values / (values + alpha)
        leverage = 1 / len(kernel) + np.square(vectors) @ shrunk
        fitted = vectors @ (shrunk[:, None] * rotated) + mean
        predicted.append(targets - (targets - fitted) / (1 - leverage)[:, None])
    return np.array(predicted)


def predict_path(samples: Scaled, ages: np.ndarray, *, model: str, alphas: Sequence[float]) -> np.ndarray:
    """Predicted age of the held-out samples, penalties x samples x columns of ages.

    Parameters
    ----------
    ages
        Training samples x columns: true ages, and permuted ones where wanted.
    """
    mean, sd = ages.mean(axis=0), ages.std(axis=0)
    if (sd < 1e-8).any():
        raise CannotFit("all donors are of one age")
    targets = (ages - mean) / sd
    if model == "ridge":
        return ridge_path(samples.kernel, samples.cross, targets, alphas) * sd + mean
    predicted = np.empty((len(alphas), len(samples.held if model == "elastic_net" else samples.cross), ages.shape[1]))
    for column, target in enumerate(targets.T):
        if model == "elastic_net":
            predicted[:, :, column] = (samples.held @ elastic_net_path(samples.train, target, alphas)).T
            continue
        for row, alpha in enumerate(alphas):
            weights, offset = fit_linear_svr(samples.kernel, target, alpha=alpha)
            predicted[row, :, column] = samples.cross @ weights + offset
    return predicted * sd + mean


def predict_inner(
    samples: Scaled, ages: np.ndarray, folds: np.ndarray, *, model: str, alphas: Sequence[float]
) -> np.ndarray:
    """Predictions of the training samples by fits without them, penalties x samples x columns of ages.

    Parameters
    ----------
    folds
        Inner fold of each training sample. Ridge does without: it leaves out one at a time.
    """
    if model == "ridge":
        return ridge_left_out(samples.kernel, ages, alphas)
    if len(np.unique(folds)) < 2:
        raise CannotFit(f"{len(folds)} training donors all fall into one inner fold; the penalty cannot be chosen")
    predicted = np.empty((len(alphas), *ages.shape))
    for fold in np.unique(folds):
        held = folds == fold
        split = within(samples, held)
        predicted[:, held] = predict_path(split, ages[~held], model=model, alphas=alphas)
    return predicted
