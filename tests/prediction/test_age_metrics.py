"""R2 and r of predictions made out of fold: what guessing scores, and what permuted ages score."""

import numpy as np
import pytest

from immune_aging.prediction.age_metrics import PooledSums, metric_values, permutation_null

RNG = np.random.default_rng(0)


def five_folds(n_donors: int, n_repeats: int, seed: int = 0) -> np.ndarray:
    """Folds of nearly equal size, repeats x donors."""
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(np.arange(n_donors) % 5) for _ in range(n_repeats)])


def training_means(ages: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Mean age of the donors outside each donor's fold, repeats x donors."""
    return np.array([[ages[row != own].mean() for own in row] for row in folds])


def values_of(predicted: np.ndarray, guess: np.ndarray, ages: np.ndarray, weights: np.ndarray) -> dict:
    """Metrics of predictions whose training means are `guess`."""
    named = {"model": predicted, "training_mean": guess, "median": guess, "sex": guess}
    return metric_values(named, ages, weights)


def r2_against_training_mean(predicted, guess, ages, weights):
    return values_of(predicted, guess, ages, weights)["r2"]


def pooled_r(predicted: np.ndarray, ages: np.ndarray) -> float:
    return float(values_of(predicted, predicted, ages, np.ones(len(ages)))["r"])


@pytest.mark.parametrize("n_donors", [27, 94])
def test_the_training_mean_scores_zero_and_the_usual_r2_calls_it_worse_than_nothing(n_donors):
    ages, folds = RNG.normal(60, 14, n_donors), five_folds(n_donors, 5)
    guess = training_means(ages, folds)
    assert r2_against_training_mean(guess, guess, ages, np.ones(n_donors)) == pytest.approx(0)
    assert 1 - np.square(guess - ages).mean() / ages.var() < 0


def test_perfect_predictions_score_one_and_an_error_as_large_as_the_means_scores_zero():
    ages, folds = RNG.normal(60, 14, 30), five_folds(30, 2)
    guess, ones = training_means(ages, folds), np.ones(30)
    assert r2_against_training_mean(np.tile(ages, (2, 1)), guess, ages, ones) == 1
    assert r2_against_training_mean(2 * ages - guess, guess, ages, ones) == pytest.approx(0)


def test_a_donor_of_weight_two_counts_as_two_donors_and_each_draw_has_its_own_r2():
    ages, folds = RNG.normal(60, 14, 20), five_folds(20, 3)
    guess = training_means(ages, folds)
    predicted = guess + 0.5 * (ages - guess) + RNG.normal(0, 3, guess.shape)
    twice = np.append(np.arange(20), 4)
    weights = np.ones((2, 20))
    weights[1, 4] = 2
    found = r2_against_training_mean(predicted, guess, ages, weights)
    repeated = r2_against_training_mean(predicted[:, twice], guess[:, twice], ages[twice], np.ones(21))
    assert found.shape == (2,) and found[1] == pytest.approx(float(repeated))


def test_donors_of_one_age_have_no_r2_and_constant_predictions_no_r():
    same = np.full(10, 50.0)
    assert np.isnan(r2_against_training_mean(np.full((1, 10), 51.0), np.full((1, 10), 50.0), same, np.ones(10)))
    assert np.isnan(pooled_r(np.full((2, 10), 51.0), np.arange(10.0)))


def test_guessing_the_training_mean_has_a_negative_r_that_grows_as_donors_get_few():
    found = {}
    for n_donors in (27, 94):
        one = [
            pooled_r(training_means(ages, folds), ages)
            for seed in range(200)
            for ages, folds in [(np.random.default_rng(seed).normal(60, 14, n_donors), five_folds(n_donors, 1, seed))]
        ]
        found[n_donors] = np.mean(one)
    assert found[27] < found[94] < -0.1


def test_sums_fold_by_fold_equal_r_and_r2_of_the_whole_predictions():
    ages, folds = RNG.normal(60, 14, 24), five_folds(24, 3)
    columns = np.column_stack([ages, RNG.permutation(ages)])
    predicted, guess = np.empty((2, 3, 24)), np.empty((2, 3, 24))
    sums = PooledSums(centre=60.0)
    for row, one in enumerate(folds):
        for fold in range(5):
            held = one == fold
            mean = columns[~held].mean(axis=0)
            own = mean + 0.3 * (columns[held] - mean) + RNG.normal(0, 4, (held.sum(), 2))
            sums.add_inplace(own, columns[held], mean)
            predicted[:, row, held], guess[:, row, held] = own.T, mean[:, None]
    for column in range(2):
        truth = columns[:, column]
        assert sums.r()[column] == pytest.approx(pooled_r(predicted[column], truth))
        whole = r2_against_training_mean(predicted[column], guess[column], truth, np.ones(24))
        assert sums.r2()[column] == pytest.approx(float(whole))


def test_p_is_one_sided_never_zero_and_a_permutation_without_r_is_no_hit():
    null = permutation_null(np.array([0.5, -0.2, 0.0, np.nan, 0.5]))
    assert null.p_value == 2 / 5
    assert null.mean == pytest.approx(0.1)
    assert permutation_null(np.array([9.0, *np.zeros(99)])).p_value == 0.01


def test_p_of_r_is_uniform_when_ages_have_nothing_to_do_with_expression():
    """Ridge of fixed penalty on noise: permuted columns go through the same products of matrices."""
    p_values = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        features, ages = rng.normal(size=(30, 60)), rng.normal(60, 14, 30)
        columns = np.column_stack([ages, *(rng.permutation(ages) for _ in range(99))])
        sums = PooledSums(centre=60.0)
        for fold in range(5):
            held = five_folds(30, 1, seed)[0] == fold
            mean = columns[~held].mean(axis=0)
            own = features[~held]
            weights = np.linalg.solve(own @ own.T + 60 * np.eye(len(own)), columns[~held] - mean)
            sums.add_inplace(mean + features[held] @ own.T @ weights, columns[held], mean)
        null = permutation_null(sums.r())
        assert null.mean < 0
        p_values.append(null.p_value)
    assert 0.4 < np.mean(p_values) < 0.6 and np.mean(np.array(p_values) <= 0.1) < 0.17
