"""Donors predicted without their own fold: by the model, and by the baselines that it is judged against.

Everything that is learned (which genes, their means and SDs, the penalty, the fit) is learned from the training
donors of a fold only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from immune_aging.prediction.age_features import (
    log_rates,
    log_ratios,
    mean_rates,
    possible_genes,
    usable_features,
)
from immune_aging.prediction.age_metrics import PermutationNull, PooledSums, permutation_null
from immune_aging.prediction.penalty_choice import NESTED_ALPHAS, PenaltyBlend, blended, calibrated_best, inner_means_of
from immune_aging.prediction.penalty_paths import predict_inner, predict_path, ridge_left_out, scale
from immune_aging.task.skipped import CannotFit

BASELINES = ("training_mean", "median", "sex", "composition")


@dataclass(frozen=True)
class HeldOut:
    """What was predicted of donors without their own fold; arrays are repeats x donors unless said otherwise.

    Attributes
    ----------
    model, training_mean, median, sex, composition
        By the model; the mean of the training ages; their median; their mean by sex; composition and sex (NaN without
        it).
    weights
        Mean weight of each penalty over repeats and folds; sums to 1.
    trust
        With the nested choice, how far it went from the fixed penalty towards the average of penalties, 0 to 1, mean
        over repeats and folds. NaN otherwise.
    inner
        With the nested choice, repeats x folds x donors: within the training donors of each fold, predictions by
        fits that saw neither the donor nor the fold; NaN for the donors held out. None otherwise.
    r2, r
        R2 and pooled correlation beside those of the same procedure on permuted ages.
    """

    model: np.ndarray
    training_mean: np.ndarray
    median: np.ndarray
    sex: np.ndarray
    composition: np.ndarray
    weights: Mapping[float, float]
    trust: float
    inner: np.ndarray | None
    r2: PermutationNull
    r: PermutationNull

    def by_name(self) -> dict[str, np.ndarray]:
        """The predictions that metrics are about."""
        return {name: getattr(self, name) for name in ("model", "training_mean", "median", "sex", "composition")}


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
    left_out = ridge_left_out(samples.kernel, column, alphas)
    predicted = predict_path(samples, column, model="ridge", alphas=alphas)
    return calibrated_best(left_out[:, :, 0], predicted[:, :, 0], ages[train])


@dataclass(frozen=True)
class FoldPrediction:
    """What one fold says of its held-out donors.

    Attributes
    ----------
    held
        Predicted age, held-out donors x columns of ages.
    inner
        With the nested choice, predictions of the training donors by fits that saw neither them nor the fold. None
        otherwise.
    blend
        With the nested choice, how the penalties were blended. None otherwise.
    """

    held: np.ndarray
    inner: np.ndarray | None
    blend: PenaltyBlend | None


def predict_fold(
    counts: np.ndarray,
    library: np.ndarray,
    covariates: np.ndarray,
    targets: np.ndarray,
    held: np.ndarray,
    *,
    model: str,
    alphas: Sequence[float],
    inner_folds: np.ndarray | None,
) -> FoldPrediction:
    """Predict the donors of one fold by a fit on the others.

    Parameters
    ----------
    counts, library, covariates
        Donors x genes, raw; counts of each donor over all genes; donors x covariates.
    targets
        Donors x columns of ages: true ones first, permuted ones where wanted.
    held
        Mask of the donors that are held out.
    alphas
        Penalties to blend (`NESTED_ALPHAS`), or the only one.
    inner_folds
        Donors: folds within the training donors, by which penalties are blended. None for no choice.
    """
    train = ~held
    rates = mean_rates(counts[train], library[train])
    features = np.hstack([log_rates(counts, library, rates), covariates])
    own = features[train]
    used = usable_features(counts[train], own)
    samples = scale(own.take(used, axis=1), features[held].take(used, axis=1), model=model)
    predicted = predict_path(samples, targets[train], model=model, alphas=alphas)
    if inner_folds is None:
        return FoldPrediction(predicted[0], None, None)
    left_out = predict_inner(samples, targets[train], inner_folds[train], model=model, alphas=alphas)
    means = inner_means_of(targets[train], inner_folds[train], model=model)
    blend = blended(left_out, means, targets[train], model=model)
    return FoldPrediction(blend.of(predicted), blend.of_left_out(left_out, means)[:, 0], blend)


def predict_baselines(
    ages: np.ndarray, covariates: np.ndarray, composition: np.ndarray | None, held: np.ndarray
) -> dict[str, np.ndarray | float]:
    """`BASELINES` of the held-out donors: what is predicted without any gene. No composition where it is None.

    Parameters
    ----------
    covariates
        Donors x covariates.
    composition
        Numbers of cells, donors x cell types.
    held
        Mask of the donors that are held out.
    """
    train = ~held
    groups = np.column_stack([np.ones(len(ages)), covariates])
    by_sex = np.linalg.lstsq(groups[train], ages[train], rcond=None)[0]
    predicted = {
        "training_mean": ages[train].mean(),
        "median": np.median(ages[train]),
        "sex": groups[held] @ by_sex,
    }
    if composition is not None:
        parts = np.hstack([log_ratios(composition), covariates])
        predicted["composition"] = predict_composition(parts, ages, train)
    return predicted


def each_fold(folds: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Repeat, fold and mask of the donors held out in it, of every fold of every repeat.

    Parameters
    ----------
    folds
        Repeats x donors.

    Raises
    ------
    CannotFit
        A repeat has one fold, so that nobody is left to learn from.
    """
    for repeat, fold_of_donor in enumerate(folds):
        for fold in np.unique(fold_of_donor):
            held = fold_of_donor == fold
            if held.all():
                raise CannotFit(f"{len(held)} donors all fall into one fold")
            yield repeat, int(fold), held


def mean_choice(blends: Sequence[PenaltyBlend], alphas: Sequence[float]) -> tuple[dict[float, float], float]:
    """Mean weight of each penalty, and mean trust, over the folds' choices; 1 and NaN where none was made."""
    if not blends:
        return {alphas[0]: 1.0}, np.nan
    weights = np.mean([blend.weight[:, 0] for blend in blends], axis=0)
    return dict(zip(alphas, map(float, weights), strict=True)), float(np.mean([blend.trust[0] for blend in blends]))


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
        Repeats x donors: folds within the training donors. Needed for the choice.
    composition
        Numbers of cells, donors x cell types: a baseline is added.
    n_permutations
        How often the ages are permuted over the donors, everything else the same. For ridge all repeats are done
        again, which costs little since predictions are linear in the ages; for other models the first repeat.
    """
    possible = possible_genes(counts, folds)  # the others need not be looked at in each fold
    library, counts = counts.sum(axis=1), counts[:, possible]
    alphas = NESTED_ALPHAS[model] if alpha is None else (alpha,)
    rng = np.random.default_rng(seed)
    columns = np.column_stack([ages, *(rng.permutation(ages) for _ in range(n_permutations))])
    found = {name: np.full(folds.shape, np.nan) for name in ("model", *BASELINES)}
    inner = np.full((len(folds), int(folds.max()) + 1, len(ages)), np.nan) if alpha is None else None
    sums, blends = PooledSums(centre=float(ages.mean())), []
    for repeat, fold, held in each_fold(folds):
        targets = columns if model == "ridge" or repeat == 0 else columns[:, :1]
        own_folds = inner_folds[repeat] if alpha is None and inner_folds is not None else None
        made = predict_fold(
            counts, library, covariates, targets, held, model=model, alphas=alphas, inner_folds=own_folds
        )
        found["model"][repeat, held] = made.held[:, 0]
        for name, values in predict_baselines(ages, covariates, composition, held).items():
            found[name][repeat, held] = values
        if inner is not None:
            inner[repeat, fold, ~held] = made.inner
        if made.blend is not None:
            blends.append(made.blend)
        if targets.shape[1] == columns.shape[1]:
            sums.add_inplace(made.held, targets[held], targets[~held].mean(axis=0))
    weights, trust = mean_choice(blends, alphas)
    r2, r = permutation_null(sums.r2()), permutation_null(sums.r())
    return HeldOut(**found, weights=weights, trust=trust, inner=inner, r2=r2, r=r)
