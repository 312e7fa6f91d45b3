"""The blend of penalties: what it does with planted signal, without any, and exactly."""

import numpy as np
import pytest

from immune_aging.prediction import age_models
from immune_aging.prediction.age_models import combined_model, fit_age_model
from immune_aging.prediction.penalty_choice import (
    NESTED_ALPHAS,
    REFERENCE_ALPHA,
    SLOPE_SD,
    blend_penalties,
    blended,
    calibrated_best,
    leave_one_out_means,
    left_out_means,
    log_evidence,
    shrunk_slope,
    trust_in,
)
from immune_aging.prediction.penalty_paths import predict_path, ridge_left_out, ridge_path, scale

ALPHAS = NESTED_ALPHAS["ridge"]
REFERENCE = ALPHAS.index(REFERENCE_ALPHA)


def cohort(n_donors: int, signal: float, seed: int, n_new: int = 0, n_genes: int = 120):
    """Features of donors and new donors, and ages of which expression explains the share `signal`."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_donors + n_new, n_genes))
    pattern = features @ rng.normal(size=n_genes) / np.sqrt(n_genes)
    ages = 60 + 14 * (np.sqrt(signal) * pattern + np.sqrt(1 - signal) * rng.normal(size=len(features)))
    return features, ages


def kernel_of(features: np.ndarray) -> np.ndarray:
    """Kernel of scaled features; leaving one out is exact only for centred ones."""
    return scale(features, features[:0], model="ridge").kernel


def blend_of(features: np.ndarray, ages: np.ndarray):
    """Blend from these donors alone."""
    column = ages[:, None]
    left_out = ridge_left_out(kernel_of(features), column, ALPHAS)
    return blended(left_out, leave_one_out_means(column), column, model="ridge")


def errors(signal: float, *, seeds: range, n_donors: int = 40) -> dict[str, np.ndarray]:
    """Squared error of 40 new donors under each rule, one value per cohort."""
    rows = {"blend": [], "fixed": [], "before": []}
    for seed in seeds:
        features, ages = cohort(n_donors, signal, seed, n_new=40)
        train, new = slice(n_donors), slice(n_donors, None)
        samples, column = scale(features[train], features[new], model="ridge"), ages[train][:, None]
        predicted = predict_path(samples, column, model="ridge", alphas=ALPHAS)
        left_out = ridge_left_out(samples.kernel, column, ALPHAS)
        made = {
            "blend": blended(left_out, leave_one_out_means(column), column, model="ridge").of(predicted)[:, 0],
            "fixed": predicted[REFERENCE][:, 0],
            "before": calibrated_best(left_out[:, :, 0], predicted[:, :, 0], ages[train]),
        }
        for name, values in made.items():
            rows[name].append(np.square(values - ages[new]).mean())
    return {name: np.array(values) for name, values in rows.items()}


@pytest.mark.parametrize("signal", [0.0, 0.2])
def test_with_little_signal_it_is_no_worse_than_the_fixed_penalty_and_better_than_the_choice_of_before(signal):
    found = errors(signal, seeds=range(60))
    difference = found["blend"] - found["fixed"]
    assert difference.mean() <= 2 * difference.std(ddof=1) / np.sqrt(60) + 1e-9
    assert found["blend"].mean() < found["before"].mean()


def test_with_strong_signal_it_leaves_the_fixed_penalty_far_behind():
    found = errors(0.95, seeds=range(20), n_donors=150)
    assert found["blend"].mean() < 0.8 * found["fixed"].mean()
    assert found["blend"].mean() < 1.05 * found["before"].mean()


def test_trust_is_none_in_noise_and_full_in_a_clear_pattern():
    noise = [float(blend_of(*cohort(40, 0.0, seed)).trust[0]) for seed in range(40)]
    assert np.mean(noise) < 0.05
    assert blend_of(*cohort(150, 0.95, 0)).trust[0] > 0.9


def test_without_trust_it_is_the_reference_to_the_last_digit():
    features, ages = next(c for c in (cohort(30, 0.0, s) for s in range(9)) if blend_of(*c).trust[0] == 0)
    kernel = kernel_of(features)
    predicted = ridge_path(kernel, kernel, ages[:, None], ALPHAS)
    assert np.allclose(blend_of(features, ages).of(predicted), predicted[REFERENCE], rtol=0, atol=1e-9)


def test_every_column_is_blended_as_if_it_were_alone():
    features, ages = cohort(40, 0.8, 1)
    rng = np.random.default_rng(0)
    columns = np.column_stack([ages, rng.permutation(ages), rng.permutation(ages)])
    left_out = ridge_left_out(kernel_of(features), columns, ALPHAS)
    together = blend_penalties(
        left_out, leave_one_out_means(columns), columns, reference=REFERENCE, slope_sd=SLOPE_SD["ridge"]
    )
    for i in range(3):
        one = columns[:, [i]]
        alone = blend_penalties(
            left_out[:, :, [i]], leave_one_out_means(one), one, reference=REFERENCE, slope_sd=SLOPE_SD["ridge"]
        )
        assert np.allclose(together.share[:, i], alone.share[:, 0])
        assert together.trust[i] == pytest.approx(alone.trust[0])


def test_ages_moved_and_stretched_move_and_stretch_the_predictions():
    features, ages = cohort(60, 0.9, 2)
    left = ridge_left_out(kernel_of(features), ages[:, None], ALPHAS)
    blend = blend_of(features, ages)
    other = blend_of(features, 3 * ages + 500)
    assert np.allclose(other.share, blend.share)
    assert np.allclose(other.of(3 * left + 500), 3 * blend.of(left) + 500)


def test_it_changes_none_of_its_arguments():
    features, ages = cohort(30, 0.5, 3)
    column = ages[:, None]
    left = ridge_left_out(kernel_of(features), column, ALPHAS)
    before = left.copy(), column.copy()
    blend = blend_penalties(left, leave_one_out_means(column), column, reference=REFERENCE, slope_sd=SLOPE_SD["ridge"])
    blend.of(left)
    blend.of_left_out(left, leave_one_out_means(column))
    assert np.array_equal(left, before[0]) and np.array_equal(column, before[1])


def test_means_left_out_are_those_of_the_other_donors():
    ages = np.array([[20.0], [30], [70]])
    assert leave_one_out_means(ages)[:, 0].tolist() == [50, 45, 25]
    assert left_out_means(ages, np.array([0, 0, 1]))[:, 0].tolist() == [70, 70, 25]


def test_the_slope_lies_between_one_and_least_squares_and_is_not_negative():
    square, variance = np.array([50.0]), np.array([10.0])
    assert 1 < shrunk_slope(np.array([150.0]), square, variance, sd=0.5)[0] < 3
    assert shrunk_slope(np.array([150.0]), square * 1, variance * 1e-6, sd=0.5)[0] == pytest.approx(3)
    assert shrunk_slope(np.array([-900.0]), square, variance, sd=0.5)[0] == 0


def test_the_evidence_is_that_of_the_normal_distribution():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    truth, values = rng.normal(size=8), []
    for predicted in rng.normal(size=(2, 8)):
        sums = [np.array([x]) for x in (predicted @ truth, predicted @ predicted, truth @ truth)]
        covariance = 1.7 * np.eye(8) + 0.25 * np.outer(predicted, predicted)
        exact = multivariate_normal(predicted, covariance).logpdf(truth)
        values.append(log_evidence(*sums, np.array([1.7]), 8, sd=0.5)[0] - exact)
    assert values[0] == pytest.approx(values[1])


def test_trust_needs_a_gain_of_many_standard_errors_and_none_where_nothing_differs():
    one = np.tile([[1.0], [-1.0]], (50, 1))  # standard error .1005
    found = [trust_in(one + gain)[0] for gain in (0.2, 0.35, 0.6)]
    assert found[0] == 0 and 0 < found[1] < 1 and found[2] == 1
    assert trust_in(np.zeros((10, 1)))[0] == 0


def test_a_penalty_without_a_share_is_not_fitted_and_changes_nothing(monkeypatch):
    """Ages that expression says nothing of: the nested fit is that of the fixed penalty, and costs one fit."""
    features, ages = cohort(40, 0.0, 1)
    counts, fitted = np.full(features.shape, 50), []

    def recorded(*data, alpha, **options):
        fitted.append(alpha)
        return fit_age_model(*data, alpha=alpha, **options)

    monkeypatch.setattr(age_models, "fit_age_model", recorded)
    model = age_models.fit_nested(counts, features, ages, np.arange(40) % 5, model="ridge")
    assert fitted == [REFERENCE_ALPHA] and model.alpha == pytest.approx(REFERENCE_ALPHA)
    fixed = fit_age_model(counts, features, ages, model="ridge", alpha=REFERENCE_ALPHA)
    assert np.allclose(model.predict(features), fixed.predict(features), rtol=0, atol=1e-12)


def test_one_model_predicts_what_the_blend_does():
    rng = np.random.default_rng(4)
    features, ages = cohort(100, 0.9, 4)
    counts = np.full(features.shape, 50)
    fits = [fit_age_model(counts, features, ages, model="ridge", alpha=alpha) for alpha in ALPHAS]
    blend = blend_of((features - features.mean(0)) / features.std(0), ages)
    assert blend.trust[0] > 0
    model = combined_model(dict(enumerate(fits)), blend, ALPHAS)
    new = rng.normal(size=(7, features.shape[1]))
    separate = np.array([fit.predict(new) for fit in fits])[:, :, None]
    assert np.allclose(model.predict(new), blend.of(separate)[:, 0])
    assert min(ALPHAS) <= model.alpha <= max(ALPHAS)
