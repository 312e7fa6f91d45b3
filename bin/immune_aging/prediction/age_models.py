"""Linear models that predict age from log-CPM: fits, out-of-fold predictions and the choice of a penalty.

Everything that is learned (which genes, their means and SDs, the penalty, the fit) is learned from the training
donors of a fold only. What a sample's log-CPM needs, its own library size, is known without the others.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from immune_aging.task.skipped import CannotFit

MODELS = ("ridge", "elastic_net", "linear_svr")
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
MIN_COUNT = 5  # a gene is a feature where at least MIN_SHARE of the training samples have this many counts
MIN_SHARE = 0.5
CALIBRATED = ("ridge", "linear_svr")  # models whose nested fit is followed by a line (see choose_penalty)
EPSILON_SD = 0.1  # width of the tube of support vector regression, in SDs of age: scikit-learn's default
L1_RATIO = 0.5
PRIOR_COUNT = 0.5  # as in voom, so that a zero has a logarithm


@dataclass(frozen=True)
class AgeModel:
    """A linear model of age, complete: `intercept + ((log_cpm - mean) / sd) @ coefficients`.

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


@dataclass(frozen=True)
class HeldOut:
    """What was predicted of donors without their own fold; arrays are repeats x donors unless said otherwise.

    Attributes
    ----------
    model, median, sex, composition
        By the model; the median of the training ages; their mean by sex; composition and sex (NaN without it).
    alpha
        Penalty of the fit that predicted the donor.
    inner
        With the nested choice, repeats x folds x donors: within the training donors of each fold, predictions by
        fits that saw neither the donor nor the fold; NaN for the donors held out. None otherwise.
    permuted
        Permutations: R2 of the same procedure on permuted ages. Empty where there are none.
    r2
        R2 of the repeats that the permutations used, to compare with.
    """

    model: np.ndarray
    median: np.ndarray
    sex: np.ndarray
    composition: np.ndarray
    alpha: np.ndarray
    inner: np.ndarray | None
    permuted: np.ndarray
    r2: float

    def by_name(self) -> dict[str, np.ndarray]:
        """The predictions that metrics are about."""
        return {"model": self.model, "median": self.median, "sex": self.sex, "composition": self.composition}

    def p_value(self) -> float:
        """Share of permutations that predict as well or better, the observed one among them (Phipson & Smyth 2010)."""
        if not len(self.permuted):
            return np.nan
        return float((1 + (self.permuted >= self.r2 - 1e-12).sum()) / (1 + len(self.permuted)))


def log_cpm(counts: np.ndarray) -> np.ndarray:
    """log2 counts per million of each sample (row), with voom's offsets: finite for zeros, rows apart.

    References
    ----------
    Law, Chen, Shi, Smyth (2014), Genome Biology 15:R29.
    """
    library = counts.sum(axis=1, keepdims=True)
    return np.log2((counts + PRIOR_COUNT) / (library + 1) * 1e6)


def sex_indicators(sex: pd.Series) -> np.ndarray:
    """One 0/1 column for each sex but the first in the alphabet (a missing one is a level of its own)."""
    return pd.get_dummies(sex_labels(sex), drop_first=True).to_numpy(dtype=float)


def sex_labels(sex: pd.Series) -> pd.Series:
    """Sex as text, 'unknown' where it is missing."""
    return sex.astype(object).where(sex.notna(), "unknown").astype(str)


def log_ratios(cells: np.ndarray) -> np.ndarray:
    """Centred log ratios of a donor's numbers of cells (donors x cell types), half a cell added to each.

    References
    ----------
    Aitchison (1982), J. R. Stat. Soc. B 44:139-177.
    """
    logs = np.log2(cells + 0.5)
    return logs - logs.mean(axis=1, keepdims=True)


def fold_of(donor_id: str, *, repeat: int, n_folds: int, seed: int, level: str = "") -> int:
    """The fold that holds a donor out, from the donor's name alone.

    So a donor is in the same fold in every cell type, model and penalty, and predictions of several cell
    types can be combined without a leak. The price: folds differ a little in size.

    Parameters
    ----------
    level
        'inner' for the folds within the training donors of a fold.
    """
    digest = hashlib.sha256(f"{seed}/{repeat}/{level}{'/' if level else ''}{donor_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % n_folds


def fold_table(donor_ids: Sequence[str], *, n_repeats: int, n_folds: int, seed: int, level: str = "") -> np.ndarray:
    """Fold of each donor in each repeat, repeats x donors."""
    return np.array(
        [[fold_of(d, repeat=r, n_folds=n_folds, seed=seed, level=level) for d in donor_ids] for r in range(n_repeats)],
        dtype=int,
    )


def expressed_features(counts: np.ndarray, values: np.ndarray, *, n_covariates: int) -> np.ndarray:
    """Columns of the feature matrix to use: genes with enough counts, then covariates; none that is constant.

    Parameters
    ----------
    counts, values
        Of the training samples: raw counts (samples x genes); features (samples x (genes + covariates)).
    """
    enough = (counts >= MIN_COUNT).mean(axis=0) >= MIN_SHARE
    enough = np.flatnonzero(np.concatenate([enough, np.ones(n_covariates, dtype=bool)]))
    return enough[values[:, enough].std(axis=0) > 1e-8]


def usable_features(counts: np.ndarray, features: np.ndarray) -> np.ndarray:
    """`expressed_features`, or `CannotFit` where no gene is among them."""
    used = expressed_features(counts, features, n_covariates=features.shape[1] - counts.shape[1])
    if not (used < counts.shape[1]).any():
        raise CannotFit(f"no gene has {MIN_COUNT} counts in {MIN_SHARE:.0%} of the samples")
    return used


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


# --- predictions of held-out samples for several penalties and several vectors of ages at once ------------------------


@dataclass(frozen=True)
class Scaled:
    """Training and held-out samples with features scaled by the training samples, and their kernels `Z Z' / p`.

    `kernel` (training x training) and `cross` (held out x training) are None for the elastic net, which needs none.
    """

    train: np.ndarray
    held: np.ndarray
    kernel: np.ndarray | None
    cross: np.ndarray | None


def scale(train: np.ndarray, held: np.ndarray, *, model: str) -> Scaled:
    """Features (samples x p) to mean 0 and SD 1 in the training samples; kernels where the model works on them."""
    mean, sd = train.mean(axis=0), train.std(axis=0)
    train, held = (train - mean) / sd, (held - mean) / sd
    if model == "elastic_net":
        return Scaled(train, held, None, None)
    return Scaled(train, held, train @ train.T / train.shape[1], held @ train.T / train.shape[1])


def within(samples: Scaled, held: np.ndarray) -> Scaled:
    """A split of the training samples of `samples`, features centred anew (their scale stays that of all of them).

    No age and no sample of the outer fold plays a part in it; so one kernel serves all inner folds.

    Parameters
    ----------
    held
        Mask over the training samples.
    """
    if samples.kernel is None:
        mean = samples.train[~held].mean(axis=0)
        return Scaled(samples.train[~held] - mean, samples.train[held] - mean, None, None)
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
        Samples x (genes + covariates): log2 CPM, then covariates.
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
    """Fit one model, its penalty chosen and its predictions calibrated by training donors left out.

    Parameters
    ----------
    folds
        Repeats x donors, for models that cannot leave out one at a time as cheaply as ridge.
    """
    used = usable_features(counts, features)
    samples = scale(features[:, used], features[:0, used], model=model)
    alphas, column = NESTED_ALPHAS[model], ages[:, None]
    repeats = folds[:1] if model == "ridge" else folds
    left_out = [predict_inner(samples, column, one, model=model, alphas=alphas) for one in repeats]
    choice = choose_penalty(np.concatenate(left_out, axis=1), np.tile(column, (len(repeats), 1)), model=model)
    fitted = fit_age_model(counts, features, ages, model=model, alpha=alphas[choice.position[0]])
    slope = float(choice.slope[0])
    intercept = float(choice.age_mean[0] + slope * (fitted.intercept - choice.predicted_mean[0]))
    return replace(fitted, coefficients=slope * fitted.coefficients, intercept=intercept)


def predict_composition(composition: np.ndarray, ages: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Age of the donors outside `train` by ridge on composition and sex, the penalty chosen within `train`.

    Parameters
    ----------
    composition
        Donors x (log ratios of cell types, covariates).
    """
    varies = composition[train].std(axis=0) > 1e-8
    if not varies.any():
        return np.full((~train).sum(), ages[train].mean())
    samples = scale(composition[train][:, varies], composition[~train][:, varies], model="ridge")
    alphas, column = NESTED_ALPHAS["ridge"], ages[train][:, None]
    choice = choose_penalty(ridge_left_out(samples.kernel, column, alphas), column, model="ridge")
    return choice.of(predict_path(samples, column, model="ridge", alphas=alphas))[:, 0]


def predict_held_out(
    counts: np.ndarray,
    covariates: np.ndarray,
    ages: np.ndarray,
    folds: np.ndarray,
    *,
    model: str,
    alpha: float | None,
    inner_folds: np.ndarray | None = None,
    composition: np.ndarray | None = None,
    n_permutations: int = 0,
    seed: int = 0,
) -> HeldOut:
    """Predict every donor, in every repeat, from a fit without the donor's fold.

    Parameters
    ----------
    counts, covariates
        Donors x genes, raw; donors x covariates.
    ages
        Years.
    folds
        Repeats x donors.
    alpha
        Penalty; None chooses it for each fold by cross-validation within its training donors.
    inner_folds
        Repeats x donors: folds within the training donors. Needed for the choice and for `composition`.
    composition
        Numbers of cells, donors x cell types: a baseline is added.
    n_permutations
        How often the ages are permuted over the donors, everything else the same. For ridge all repeats are done
        again, which costs little since predictions are linear in the ages; for other models the first repeat.
    """
    n_repeats, n_donors = folds.shape
    # Most genes have too few counts in every fold; left out here, they need not be looked at in each.
    n_train = min(int((one != fold).sum()) for one in folds for fold in np.unique(one))
    possible = (counts >= MIN_COUNT).sum(axis=0) >= MIN_SHARE * n_train
    features = np.hstack([log_cpm(counts)[:, possible], covariates])
    counts = counts[:, possible]
    parts = None if composition is None else np.hstack([log_ratios(composition), covariates])
    groups = np.column_stack([np.ones(n_donors), covariates])
    alphas = NESTED_ALPHAS[model] if alpha is None else (alpha,)
    rng = np.random.default_rng(seed)
    columns = np.column_stack([ages, *(rng.permutation(ages) for _ in range(n_permutations))])
    names = ("model", "median", "sex", "composition", "alpha")
    found = {name: np.full(folds.shape, np.nan) for name in names}
    inner = np.full((n_repeats, int(folds.max()) + 1, n_donors), np.nan) if alpha is None else None
    squared_error, n_squared = np.zeros(columns.shape[1]), 0
    for repeat, fold_of_donor in enumerate(folds):
        targets = columns if model == "ridge" or repeat == 0 else columns[:, :1]
        for fold in np.unique(fold_of_donor):
            held = fold_of_donor == fold
            train = ~held
            if not train.any():
                raise CannotFit(f"{n_donors} donors all fall into one fold")
            own = features[train]
            used = usable_features(counts[train], own)
            samples = scale(own.take(used, axis=1), features[held].take(used, axis=1), model=model)
            predicted = predict_path(samples, targets[train], model=model, alphas=alphas)
            if alpha is None:
                left_out = predict_inner(
                    samples, targets[train], inner_folds[repeat, train], model=model, alphas=alphas
                )
                choice = choose_penalty(left_out, targets[train], model=model)
                chosen = choice.of(predicted)
                inner[repeat, fold, train] = choice.of(left_out)[:, 0]
                found["alpha"][repeat, held] = alphas[choice.position[0]]
            else:
                chosen, found["alpha"][repeat, held] = predicted[0], alpha
            found["model"][repeat, held] = chosen[:, 0]
            if targets.shape[1] == columns.shape[1]:
                squared_error = squared_error + np.square(chosen - targets[held]).sum(axis=0)
                n_squared += int(held.sum())
            found["median"][repeat, held] = np.median(ages[train])
            by_sex = np.linalg.lstsq(groups[train], ages[train], rcond=None)[0]
            found["sex"][repeat, held] = groups[held] @ by_sex
            if parts is not None:
                found["composition"][repeat, held] = predict_composition(parts, ages, train)
    r2 = 1 - squared_error / n_squared / ages.var()
    return HeldOut(**found, inner=inner, permuted=r2[1:], r2=float(r2[0]))
