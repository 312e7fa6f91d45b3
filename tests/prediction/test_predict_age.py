"""Age prediction: donors held out, nothing leaks, planted signal beats the baselines, no signal does not."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from immune_aging.prediction.age_features import features_of, log_cpm, log_rates, mean_rates, sex_indicators
from immune_aging.prediction.age_metrics import METRICS, corrected_for_age, metric_table, metric_values
from immune_aging.prediction.age_model_file import PortableModel, apply_model, read_model
from immune_aging.prediction.age_models import fit_age_model, fit_nested
from immune_aging.prediction.folds import fold_of, fold_table
from immune_aging.prediction.held_out import predict_held_out
from immune_aging.prediction.penalty_choice import NESTED_ALPHAS, REFERENCE_ALPHA
from immune_aging.prediction.penalty_paths import MODELS, ridge_left_out
from immune_aging.prediction.summary import COLUMNS, summarize
from immune_aging.prediction.training import APPLIED, COEFFICIENTS, PREDICTIONS, cells_by_donor, usable_donors
from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.task.checkpoints import read_json, read_parquet, read_tsv, write_h5ad, write_tsv
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit
from inputs.statistics_inputs import CELL_TYPE, prediction_summary, sample_list, simulate_samples
from inputs.step_options import default_options
from predict_age import main
from summarize_predictions import main as summarize_main

PREDICTED = ("model", "training_mean", "median", "sex")


def run_step(folder, adata, *options, model="ridge", alpha="0.1", name="out"):
    """Run the script on a table; its predictions, metrics by name, coefficients and summary."""
    write_h5ad(adata, folder / "counts.h5ad")
    out = folder / name
    files = [
        "--pseudobulk",
        str(folder / "counts.h5ad"),
        "--output",
        str(out),
        "--versions",
        str(folder / "v.json"),
    ]
    files += default_options("predict_age")
    main(["train", *files, "--id", "cd4", "--model", model, "--alpha", alpha, *options])
    tables = [read_tsv(out / f"{table}.tsv") for table in ("predictions", "metrics", "coefficients")]
    return tables[0], tables[1].set_index("metric"), tables[2], read_json(out / "predict_age_summary.json")


def parts(adata):
    """Counts, covariates, ages and folds of a simulated table."""
    counts = adata.X.toarray()
    ages = adata.obs["age_years"].to_numpy()
    folds = fold_table(adata.obs["donor_id"], n_repeats=2, n_folds=5, seed=0)
    return counts, sex_indicators(adata.obs["sex"]), ages, folds


@pytest.mark.parametrize("model", MODELS)
def test_planted_signal_beats_the_median_and_sex(tmp_path, model):
    predictions, metrics, coefficients, summary = run_step(tmp_path, simulate_samples()[0], model=model)
    assert metrics.loc["mae", "value"] < metrics.loc["baseline_mae", "value"] / 2
    assert metrics.loc["mae", "high"] < metrics.loc["sex_mae", "low"]
    assert metrics.loc["r2", "value"] > 0.7
    assert metrics.loc["r", "value"] > 0.9
    strongest = coefficients.head(20)
    planted = strongest["symbol"].str.removeprefix("SYM").astype(int)
    assert (planted < 50).mean() > 0.9
    assert (strongest.loc[planted < 25, "coefficient"] > 0).all()
    assert (strongest.loc[(planted >= 25) & (planted < 50), "coefficient"] < 0).all()
    assert summary["cell_type"] == CELL_TYPE
    assert np.ptp(predictions["predicted"]) > 20  # not one age for everyone


@pytest.mark.parametrize("share", [0.1, 0.03])
def test_a_sample_of_few_counts_is_not_moved_in_one_direction(share):
    """Held-out donors thinned: their ages move by less than with voom's log CPM, and little on the whole."""
    adata, _ = simulate_samples(n_genes=400, n_donors=80, lfc_per_sd=0.1, depth=20)
    counts, covariates, ages, _ = parts(adata)
    thin = np.random.default_rng(0).binomial(counts.astype(int), share)
    rates = mean_rates(counts[:40], counts[:40].sum(axis=1))
    features = np.hstack([log_rates(counts, counts.sum(axis=1), rates), covariates])
    thinned = np.hstack([log_rates(thin, thin.sum(axis=1), rates), covariates])
    fitted = fit_age_model(counts[:40], features[:40], ages[:40], model="ridge", alpha=3)
    shift = (fitted.predict(thinned[40:]) - fitted.predict(features[40:])).mean()
    other = fit_age_model(counts[:40], log_cpm(counts[:40]), ages[:40], model="ridge", alpha=3)
    by_voom = (other.predict(log_cpm(thin[40:])) - other.predict(log_cpm(counts[40:]))).mean()
    assert abs(shift) < 0.5 * max(abs(by_voom), 1.0)


@pytest.mark.parametrize("model", MODELS)
def test_shuffled_ages_cannot_be_predicted(model):
    adata, _ = simulate_samples(n_genes=150)
    values = []
    for seed in range(8):
        counts, covariates, ages, folds = parts(adata)
        shuffled = np.random.default_rng(seed).permutation(ages)
        predicted = predict_held_out(counts, covariates, shuffled, folds, model=model, alpha=1).by_name()
        values.append(metric_values(predicted, shuffled, np.ones(len(ages)))["r2"])
    assert np.mean(values) <= 2 * np.std(values) / np.sqrt(len(values))


def test_without_age_genes_there_is_no_skill():
    adata, _ = simulate_samples(lfc_per_sd=0.0, n_genes=150)
    counts, covariates, ages, folds = parts(adata)
    predicted = predict_held_out(counts, covariates, ages, folds, model="ridge", alpha=1).by_name()
    assert metric_values(predicted, ages, np.ones(len(ages)))["r2"] < 0.1


def test_a_donor_is_never_on_both_sides():
    """What a held-out donor's counts and age are changes no prediction of its fold's other donors."""
    adata, _ = simulate_samples(n_genes=100)
    counts, covariates, ages, folds = parts(adata)
    before = predict_held_out(counts, covariates, ages, folds[:1], model="ridge", alpha=1).model[0]
    spoiled, aged = counts.copy(), ages.copy()
    spoiled[7], aged[7] = spoiled[7][::-1] * 3, 5.0
    after = predict_held_out(spoiled, covariates, aged, folds[:1], model="ridge", alpha=1).model[0]
    mates = (folds[0] == folds[0][7]) & (np.arange(len(ages)) != 7)
    others = folds[0] != folds[0][7]
    np.testing.assert_array_equal(after[mates], before[mates])
    assert (after[others] != before[others]).all()


def test_predictions_hold_every_donor_once_a_repeat_in_the_fold_of_its_name(tmp_path):
    predictions, _, _, _ = run_step(tmp_path, simulate_samples(n_genes=100)[0])
    assert list(predictions.columns) == list(PREDICTIONS)
    assert len(predictions) == 40 * 5
    assert not predictions.duplicated(["donor_id", "repeat"]).any()
    for row in predictions.itertuples():
        assert row.fold == fold_of(row.donor_id, repeat=row.repeat - 1, n_folds=5, seed=0) + 1


def test_folds_are_the_same_for_a_donor_whatever_other_donors_there_are():
    donors = [f"d{i}" for i in range(1000)]
    whole = fold_table(donors, n_repeats=5, n_folds=5, seed=1)
    np.testing.assert_array_equal(fold_table(donors[::-3], n_repeats=5, n_folds=5, seed=1), whole[:, ::-3])
    assert all(np.abs(np.bincount(row, minlength=5) - 200).max() < 50 for row in whole)
    assert (whole[0] != whole[1]).mean() > 0.7
    assert (fold_table(donors, n_repeats=1, n_folds=5, seed=2) != whole[:1]).mean() > 0.7


def test_ridge_agrees_with_scikit_learn():
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    counts, covariates, ages, _ = parts(simulate_samples(n_genes=120)[0])
    features = features_of(counts, covariates)
    fitted = fit_age_model(counts, features, ages, model="ridge", alpha=0.5)
    scaled = StandardScaler().fit_transform(features[:, fitted.features])
    other = Ridge(alpha=0.5 * len(fitted.features)).fit(scaled, ages)
    np.testing.assert_allclose(fitted.coefficients, other.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fitted.predict(features), other.predict(scaled), rtol=1e-9)


def test_support_vectors_agree_with_scikit_learns_linear_kernel():
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    counts, covariates, ages, _ = parts(simulate_samples(n_genes=120)[0])
    features = features_of(counts, covariates)
    fitted = fit_age_model(counts, features, ages, model="linear_svr", alpha=0.5)
    scaled = StandardScaler().fit_transform(features[:, fitted.features]) / np.sqrt(len(fitted.features))
    target = (ages - ages.mean()) / ages.std()
    other = SVR(kernel="linear", C=2, epsilon=0.1, tol=1e-6).fit(scaled, target).predict(scaled)
    np.testing.assert_allclose(fitted.predict(features), other * ages.std() + ages.mean(), atol=0.2)


def test_predictions_centre_on_the_ages_however_far_these_are_from_zero():
    """A penalised intercept would pull every prediction towards 0 years."""
    counts, covariates, ages, folds = parts(simulate_samples(n_genes=120)[0])
    for model in MODELS:
        near = predict_held_out(counts, covariates, ages, folds, model=model, alpha=1).model
        far = predict_held_out(counts, covariates, ages + 1000, folds, model=model, alpha=1).model
        np.testing.assert_allclose(far - 1000, near, atol=0.05)
        assert abs(near.mean() - ages.mean()) < 5


@pytest.mark.parametrize("model", MODELS)
def test_more_penalty_shrinks_more(model):
    counts, covariates, ages, _ = parts(simulate_samples(n_genes=120)[0])
    features = features_of(counts, covariates)
    size = [
        np.square(fit_age_model(counts, features, ages, model=model, alpha=alpha).coefficients).sum()
        for alpha in (0.1, 1, 10, 1000)
    ]
    assert size == sorted(size, reverse=True)
    assert size[0] > 5 * size[-1]


def test_the_baselines_are_the_median_and_the_mean_by_sex_of_the_training_donors():
    counts, covariates, ages, folds = parts(simulate_samples(n_genes=100)[0])
    predicted = predict_held_out(counts, covariates, ages, folds, model="ridge", alpha=1)
    male = covariates[:, 0] == 1
    for repeat, donor in ((0, 0), (1, 3)):
        train = folds[repeat] != folds[repeat][donor]
        assert predicted.median[repeat, donor] == np.median(ages[train])
        assert predicted.sex[repeat, donor] == pytest.approx(ages[train & (male == male[donor])].mean())


def test_metrics_agree_with_scikit_learn_and_weights_with_repetition():
    from sklearn.metrics import mean_absolute_error, r2_score

    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 90, 30)
    predicted = {name: ages + rng.normal(0, 8, (3, 30)) for name in ("model", "median", "sex")}
    predicted["training_mean"] = np.full((3, 30), ages.mean())  # as if no donor had been left out
    values = metric_values(predicted, ages, np.ones(30))
    tiled = np.tile(ages, 3)
    assert values["mae"] == pytest.approx(mean_absolute_error(tiled, predicted["model"].ravel()))
    assert values["r2"] == pytest.approx(r2_score(tiled, predicted["model"].ravel()))
    assert values["r"] == pytest.approx(np.corrcoef(tiled, predicted["model"].ravel())[0, 1])
    weights = rng.multinomial(30, np.full(30, 1 / 30))
    drawn = np.repeat(np.arange(30), weights)
    again = metric_values({n: p[:, drawn] for n, p in predicted.items()}, ages[drawn], np.ones(30))
    assert metric_values(predicted, ages, weights) == pytest.approx(again)


def test_intervals_hold_the_estimate_and_narrow_with_donors():
    widths = []
    for n_donors in (30, 300):
        rng = np.random.default_rng(1)
        ages = rng.uniform(20, 90, n_donors)
        predicted = {name: ages + rng.normal(0, 8, (1, n_donors)) for name in PREDICTED}
        row = metric_table(predicted, ages).set_index("metric").loc["mae"]
        assert row["low"] < row["value"] < row["high"]
        widths.append(row["high"] - row["low"])
    assert widths[1] < widths[0] / 2


def test_a_constant_prediction_has_no_correlation(tmp_path):
    ages = np.array([20.0, 40, 60])
    constant = {name: np.full((2, 3), 40.0) for name in PREDICTED}
    assert np.isnan(metric_values(constant, ages, np.ones(3))["r"])
    _, metrics, coefficients, _ = run_step(tmp_path, simulate_samples(n_genes=100)[0], model="elastic_net", alpha="1e9")
    assert metrics.loc["r2", "value"] < 0.1
    assert coefficients["coefficient"].abs().max() < 0.01


def test_the_coefficients_and_the_summary_are_the_whole_model(tmp_path):
    adata, _ = simulate_samples(n_genes=100)
    adata.obs["sex"] = "female"
    _, _, coefficients, summary = run_step(tmp_path, adata, model="linear_svr", alpha="1")
    assert list(coefficients.columns) == list(COEFFICIENTS)
    assert summary["n_genes"] == len(coefficients) < 100
    assert summary["sex_coefficients"] == []
    columns = [adata.var_names.get_loc(gene) for gene in coefficients["gene_id"]]
    counts = adata.X.toarray()
    rate = coefficients["rate"].to_numpy()
    logs = np.log2((counts[:, columns] + 2) / (counts.sum(axis=1, keepdims=True) + 2 / rate) * 1e6)
    scaled = (logs - coefficients["mean"].to_numpy()) / coefficients["sd"].to_numpy()
    by_hand = summary["intercept"] + scaled @ coefficients["coefficient"].to_numpy()
    features = features_of(counts, np.empty((len(counts), 0)))
    fitted = fit_age_model(counts, features, adata.obs["age_years"].to_numpy(), model="linear_svr", alpha=1)
    np.testing.assert_allclose(by_hand, fitted.predict(features), atol=0.01)
    size = coefficients["coefficient"].abs()
    assert size.is_monotonic_decreasing


@pytest.mark.parametrize("model", MODELS)
def test_order_of_rows_changes_no_byte(tmp_path, model):
    adata, _ = simulate_samples(n_genes=100)
    rng = np.random.default_rng(2)
    run_step(tmp_path, adata, model=model, name="one")
    run_step(tmp_path, adata[rng.permutation(40), rng.permutation(100)].copy(), model=model, name="two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["coefficients.tsv", "metrics.tsv", "model.json", "predict_age_summary.json", "predictions.tsv"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda a: a[:9], "9 donors; at least 10 are needed"),
        (lambda a: a[:, -40:], "no gene has 5 counts"),
        (lambda a: _aged(a, 50.0), "all donors are of one age"),
    ],
)
def test_what_cannot_be_fitted_leaves_headers_and_the_reason_or_an_error_under_strict(tmp_path, spoil, reason):
    adata = spoil(simulate_samples(depth=5)[0]).copy()
    predictions, metrics, coefficients, summary = run_step(tmp_path, adata)
    assert predictions.empty and metrics.empty and coefficients.empty
    assert [*metrics.reset_index().columns] == list(METRICS)
    assert (summary["status"], summary["id"], summary["alpha"]) == ("skipped", "cd4", 0.1)
    assert reason in summary["reason"]
    with pytest.raises(BadInput, match=reason):
        run_step(tmp_path, adata, "--strict", name="strict")
    assert not (tmp_path / "strict").exists()


def _aged(adata, years):
    adata.obs["age_years"] = years
    return adata


def test_no_expressed_gene_is_said():
    counts = np.ones((12, 5), dtype=int)
    with pytest.raises(CannotFit, match="no gene has 5 counts in 50% of the samples"):
        fit_age_model(counts, np.random.default_rng(0).normal(size=(12, 5)), np.arange(12.0), model="ridge", alpha=1)


def test_donors_of_unknown_age_are_left_out():
    samples = pd.DataFrame(
        {"donor_id": list("abc"), "age_years": [30.0, np.nan, 50.0], "sex": "male", "cell_type": "T"}
    )
    table = CellTypeSamples(np.array([[5], [5], [5]]), samples, pd.Series(["A"], index=["g"]))
    assert list(usable_donors(table, min_donors=2).samples["donor_id"]) == ["a", "c"]
    assert list(table.samples["donor_id"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "options", [["--alpha", "0"], ["--alpha", "-1"], ["--alpha", "nan"], ["--folds", "1"], ["--repeats", "0"]]
)
def test_impossible_settings_are_bad_input(tmp_path, options):
    with pytest.raises(BadInput, match=options[0]):
        run_step(tmp_path, simulate_samples(n_genes=60)[0], *options)


def test_prediction_changes_none_of_its_arguments():
    arguments = parts(simulate_samples(n_genes=100)[0])
    before = [argument.copy() for argument in arguments]
    for model in MODELS:
        predict_held_out(*arguments, model=model, alpha=1)
    for one, other in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_summary_has_one_sorted_row_a_fit_with_reasons(tmp_path):
    fits = [
        ("b", "ridge", 1.0, 8.0),
        ("a", "ridge", 10.0, 9.0),
        ("a", "ridge", 0.1, 7.0),
        ("c", "ridge", 1.0, None),
    ]
    for number, (identifier, model, alpha, mae) in enumerate(fits):
        path = tmp_path / str(number) / "predict_age_summary.json"
        path.parent.mkdir()
        path.write_text(json.dumps(prediction_summary(identifier, model, alpha, mae=mae)))
    files = ["--output", str(tmp_path / "out.tsv"), "--versions", str(tmp_path / "v.json")]
    summarize_main(["--summaries", str(tmp_path), *files])
    table = read_tsv(tmp_path / "out.tsv")
    assert list(table.columns) == list(COLUMNS)
    assert table[["id", "alpha"]].to_numpy().tolist() == [["a", 0.1], ["a", 10.0], ["b", 1.0], ["c", 1.0]]
    assert table["mae"].tolist()[:3] == [7.0, 9.0, 8.0]
    assert np.isnan(table.loc[3, "mae"])
    assert (table.loc[3, "status"], table.loc[3, "reason"]) == ("skipped", "8 donors; at least 10 are needed")
    assert table.loc[0, "mae_low"] == 6.0


def test_the_same_fit_twice_is_refused():
    one = prediction_summary("a", "ridge", 1.0, mae=8.0)
    with pytest.raises(BadInput, match="a has model ridge with alpha 1 twice"):
        summarize([one, one])


def test_only_skipped_fits_make_a_table_too():
    table = summarize([prediction_summary("a", "ridge", 1.0)])
    assert table.loc[0, "status"] == "skipped"
    assert table["mae"].isna().all()


# --- the nested choice ---------------------------------------------------------------------------------------------


def nested(adata, *, model="ridge", n_repeats=1, **options):
    """Out-of-fold predictions with the nested choice, and the parts they were made from."""
    counts, covariates, ages, _ = parts(adata)
    donors = adata.obs["donor_id"]
    folds = fold_table(donors, n_repeats=n_repeats, n_folds=5, seed=0)
    inner = fold_table(donors, n_repeats=n_repeats, n_folds=5, seed=0, level="inner")
    made = predict_held_out(counts, covariates, ages, folds, model=model, alpha=None, inner_folds=inner, **options)
    return made, counts, covariates, ages, folds, inner


def r2_of(predicted, ages):
    """Against the mean of all donors."""
    return 1 - np.square(predicted - ages).mean() / ages.var()


def test_leaving_one_out_of_ridge_equals_fitting_without_it():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 60))
    features -= features.mean(axis=0)
    ages = rng.uniform(20, 90, (20, 2))
    closed = ridge_left_out(features @ features.T / 60, ages, (0.5, 0.01))
    for row, alpha in enumerate((0.5, 0.01)):
        for i in range(20):
            rest = np.arange(20) != i
            fitted = Ridge(alpha=alpha * 60).fit(features[rest], ages[rest])
            np.testing.assert_allclose(closed[row, i], fitted.predict(features[i : i + 1])[0], rtol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_the_nested_choice_is_about_as_good_as_the_best_penalty_and_calibrated(model):
    adata, _ = simulate_samples(n_genes=400, lfc_per_sd=0.4)
    made, counts, covariates, ages, folds, _ = nested(adata, model=model, n_repeats=2)
    swept = [
        np.abs(predict_held_out(counts, covariates, ages, folds, model=model, alpha=alpha).model - ages).mean()
        for alpha in NESTED_ALPHAS[model]
    ]
    assert np.abs(made.model - ages).mean() < 1.1 * min(swept)
    assert set(made.weights) == set(NESTED_ALPHAS[model]) and sum(made.weights.values()) == pytest.approx(1)
    assert made.trust > 0.5
    slope = metric_values(made.by_name(), ages, np.ones(len(ages)))["calibration_slope"]
    assert 0.75 < slope < 1.3


def test_what_is_held_out_changes_neither_the_choice_nor_the_other_predictions_of_its_fold():
    adata, _ = simulate_samples(n_genes=100)
    made, counts, covariates, ages, folds, inner = nested(adata)
    fold = folds[0] == folds[0][7]
    spoiled, aged = counts.copy(), ages.copy()
    spoiled[7], aged[7] = spoiled[7][::-1] * 3, 5.0
    after = predict_held_out(spoiled, covariates, aged, folds, model="ridge", alpha=None, inner_folds=inner)
    mates = fold & (np.arange(len(ages)) != 7)
    np.testing.assert_array_equal(after.model[0, mates], made.model[0, mates])
    own = folds[0][7]
    np.testing.assert_array_equal(after.inner[0, own][~fold], made.inner[0, own][~fold])
    assert np.isnan(made.inner[0, own][fold]).all()
    assert (after.model[0, ~fold] != made.model[0, ~fold]).all()


def test_inner_predictions_of_a_training_donor_do_not_know_its_age():
    """An age far off is followed by a fit that saw it; one that did not stays where it was, or moves away."""
    adata, _ = simulate_samples(n_genes=100, lfc_per_sd=0.0)
    made, counts, covariates, ages, folds, inner = nested(adata, model="elastic_net")
    for donor in (0, 11):
        fold = (folds[0][donor] + 1) % 5
        aged = ages.copy()
        aged[donor] = ages[donor] + 500
        after = predict_held_out(counts, covariates, aged, folds, model="elastic_net", alpha=None, inner_folds=inner)
        assert after.inner[0, fold, donor] - made.inner[0, fold, donor] < 100


@pytest.mark.parametrize("model", MODELS)
def test_without_signal_the_nested_choice_stays_with_the_fixed_penalty(model):
    worse = []
    for seed in range(6):
        made, counts, covariates, ages, folds, _ = nested(
            simulate_samples(seed=seed, lfc_per_sd=0.0, n_genes=150)[0], model=model
        )
        fixed = predict_held_out(counts, covariates, ages, folds, model=model, alpha=REFERENCE_ALPHA)
        worse.append(r2_of(fixed.model, ages) - r2_of(made.model, ages))
    assert np.mean(worse) < 0.02 and np.median(worse) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_the_nested_fit_on_all_donors_predicts_new_donors_of_the_same_cohort(model):
    adata, _ = simulate_samples(n_genes=300, n_donors=80)
    counts, covariates, ages, _ = parts(adata)
    features = features_of(counts, covariates)
    inner = fold_table(adata.obs["donor_id"], n_repeats=2, n_folds=5, seed=0, level="inner")
    fitted = fit_nested(counts[:60], features[:60], ages[:60], inner[0, :60], model=model)
    predicted = fitted.predict(features[60:])
    assert np.abs(predicted - ages[60:]).mean() < 7
    assert min(NESTED_ALPHAS[model]) <= fitted.alpha <= max(NESTED_ALPHAS[model])
    fixed = fit_age_model(counts[:60], features[:60], ages[:60], model=model, alpha=REFERENCE_ALPHA)
    assert np.abs(predicted - ages[60:]).mean() < np.abs(fixed.predict(features[60:]) - ages[60:]).mean()


# --- baselines, permutations, calibration ----------------------------------------------------------------------------


def test_composition_is_a_baseline_of_its_own(tmp_path):
    adata, _ = simulate_samples(n_genes=100)
    write_tsv(sample_list(adata), tmp_path / "samples.tsv")
    _, metrics, _, _ = run_step(tmp_path, adata, "--samples", str(tmp_path / "samples.tsv"))
    assert metrics.loc["composition_mae", "value"] < 0.7 * metrics.loc["baseline_mae", "value"]
    _, without, _, _ = run_step(tmp_path, adata, name="without")
    assert np.isnan(without.loc["composition_mae", "value"])


def test_cells_are_counted_over_all_samples_and_donors_without_any_have_none():
    samples = pd.DataFrame(
        {"donor_id": ["a", "a", "b"], "cell_type": ["T", "B", "T"], "n_cells": [5, 3, 7], "kept": [True, False, True]}
    )
    assert cells_by_donor(samples, ["b", "a"]).tolist() == [[0.0, 7.0], [3.0, 5.0]]
    assert cells_by_donor(samples.assign(n_cells=[5, np.nan, 7]), ["a"]) is None
    assert cells_by_donor(samples[samples["cell_type"] == "T"], ["a"]) is None


def test_permutation_p_is_small_with_signal_and_uniform_without():
    counts, covariates, ages, folds = parts(simulate_samples(n_genes=100)[0])
    assert predict_held_out(
        counts, covariates, ages, folds, model="ridge", alpha=0.1, n_permutations=99
    ).r2.p_value == pytest.approx(0.01)
    p_values = []
    for seed in range(120):
        adata = simulate_samples(seed=seed, n_donors=20, n_genes=90, lfc_per_sd=0.0)[0]
        rng = np.random.default_rng(seed)
        adata.obs["age_years"] = rng.permutation(adata.obs["age_years"])
        made, *_ = nested(adata, n_permutations=39, seed=seed)
        for null in (made.r2, made.r):
            p_values.append(null.p_value - rng.uniform(0, 1 / 40))  # spread over the steps of 1/40
            assert null.p_value >= 1 / 40
    assert kstest(p_values[::2], "uniform").pvalue > 0.01
    assert kstest(p_values[1::2], "uniform").pvalue > 0.01


def test_a_permutation_is_the_whole_procedure_again():
    """The closed form for many ages at once gives what one call for each vector of ages gives."""
    adata, _ = simulate_samples(n_genes=80, n_donors=20)
    made, counts, covariates, ages, folds, inner = nested(adata, n_permutations=3, seed=5)
    rng = np.random.default_rng(5)
    alone = [
        predict_held_out(counts, covariates, rng.permutation(ages), folds, model="ridge", alpha=None, inner_folds=inner)
        for _ in range(3)
    ]
    for name in ("r2", "r"):
        values = [getattr(one, name).observed for one in alone]
        assert getattr(made, name).mean == pytest.approx(np.mean(values), rel=1e-6)
        assert getattr(made, name).sd == pytest.approx(np.std(values, ddof=1), rel=1e-6)
        assert np.isnan(getattr(alone[0], name).p_value)


def test_other_models_are_fitted_again_for_each_permutation_only_if_asked(tmp_path):
    adata, _ = simulate_samples(n_genes=120, n_donors=20)
    _, metrics, _, summary = run_step(tmp_path, adata, model="linear_svr", alpha="1")
    assert np.isnan(metrics.loc["p_value", "value"]) and summary["n_permutations"] == 0
    _, metrics, _, summary = run_step(
        tmp_path, adata, "--refit-permutations", "19", model="linear_svr", alpha="1", name="again"
    )
    assert metrics.loc["p_value", "value"] == pytest.approx(0.05) and summary["n_permutations"] == 19


def test_slopes_say_how_far_predictions_regress_to_the_mean():
    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 90, 4000)
    half = {
        "model": (55 + 0.5 * (ages - 55))[None],
        "training_mean": np.full((1, 4000), 55.0),
        "median": np.full((1, 4000), 55.0),
        "sex": np.full((1, 4000), 55.0),
    }
    values = metric_values(half, ages, np.ones(4000))
    assert values["calibration_slope"] == pytest.approx(2)
    assert values["error_slope"] == pytest.approx(-0.5)
    none = metric_values(half | {"model": half["median"]}, ages, np.ones(4000))
    assert none["error_slope"] == pytest.approx(-1) and np.isnan(none["calibration_slope"])


def test_corrected_predictions_have_no_trend_with_age_and_keep_the_donors_differences():
    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 90, 400)
    ahead = rng.normal(0, 5, 400)
    predicted = (55 + 0.4 * (ages - 55) + ahead)[None]
    folds = rng.integers(0, 5, (1, 400))
    corrected = corrected_for_age(predicted, ages, folds)[0] - ages
    assert abs(np.polyfit(ages, corrected, 1)[0]) < 0.05
    assert np.corrcoef(corrected, ahead)[0, 1] > 0.98


# --- the model file ---------------------------------------------------------------------------------------------------


def apply_step(folder, adata, *options, model="out/model.json", name="applied.tsv"):
    """Apply a model file to a table; predictions by donor and the summary."""
    write_h5ad(adata, folder / "new.h5ad")
    files = ["--model", str(folder / model), "--pseudobulk", str(folder / "new.h5ad"), "--output", str(folder / name)]
    main(["apply", *files, *options])
    return read_tsv(folder / name), read_json((folder / name).with_suffix(".json"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("alpha", ["0.1", "nested"])
def test_the_model_file_applied_to_its_own_cohort_is_the_full_fit(tmp_path, model, alpha):
    adata, _ = simulate_samples(n_genes=200)
    run_step(tmp_path, adata, model=model, alpha=alpha)
    applied, summary = apply_step(tmp_path, adata)
    assert list(applied.columns) == list(APPLIED)
    counts, covariates, ages, _ = parts(adata)
    features = features_of(counts, covariates)
    if alpha == "nested":
        n_folds = 10 if model == "linear_svr" else 5
        inner = fold_table(adata.obs["donor_id"], n_repeats=5, n_folds=n_folds, seed=0, level="inner")
        fitted = fit_nested(counts, features, ages, inner[0], model=model)
    else:
        fitted = fit_age_model(counts, features, ages, model=model, alpha=0.1)
    ours = dict(zip(adata.obs["donor_id"], fitted.predict(features)))
    np.testing.assert_allclose(applied["predicted"], [ours[donor] for donor in applied["donor_id"]], atol=1e-3)
    assert (summary["n_genes_missing"], summary["warnings"]) == (0, [])
    assert read_json(tmp_path / "out/model.json")["format"] == "immune-aging age model"


def test_a_new_cohort_of_other_depth_genes_and_order_is_predicted(tmp_path):
    """Donors of the same population, sequenced ten times deeper, genes in another order, some missing."""
    adata, _ = simulate_samples(n_genes=300, n_donors=80)
    run_step(tmp_path, adata[:50].copy(), alpha="nested")
    new = adata[50:].copy()
    new.X = new.X * 10
    new = new[:, np.random.default_rng(0).permutation(300)[:280]].copy()
    new.var_names = [f"{name}.7" for name in new.var_names]
    applied, summary = apply_step(tmp_path, new)
    ages = new.obs.set_index("donor_id")["age_years"].reindex(applied["donor_id"])
    assert summary["matched_by"] == "gene_id"
    assert 0 < summary["n_genes_missing"] <= 20 and summary["n_genes_model"] == 260
    assert summary["mae"] == pytest.approx(np.abs(applied["predicted"] - ages.to_numpy()).mean(), rel=1e-3)
    assert summary["mae"] < 8
    del new.obs["sex"], new.obs["age_years"], new.obs["cell_type"]
    unknown, summary = apply_step(tmp_path, new, name="unknown.tsv")
    assert unknown["age_years"].isna().all() and unknown["corrected"].isna().all() and "mae" not in summary
    assert np.abs(unknown["predicted"] - applied["predicted"]).max() < 5
    assert summary["n_sex_unknown"] == 30


def test_genes_are_matched_by_symbol_where_the_ids_are_others(tmp_path):
    adata, _ = simulate_samples(n_genes=200)
    run_step(tmp_path, adata)
    by_id, _ = apply_step(tmp_path, adata)
    adata.var_names = adata.var["symbol"].to_numpy() + "_x"
    by_symbol, summary = apply_step(tmp_path, adata, name="symbol.tsv")
    assert summary["matched_by"] == "symbol"
    pd.testing.assert_frame_equal(by_id, by_symbol)


def made_model(adata, genes, weights):
    """A model of some genes of a table with weights of its own."""
    counts = adata.X.toarray()
    rates = mean_rates(counts, counts.sum(axis=1))[genes]
    logs = log_rates(counts[:, genes], counts.sum(axis=1), rates)
    table = pd.DataFrame({"gene_id": adata.var_names[genes], "symbol": adata.var["symbol"].iloc[genes].to_numpy()})
    table = table.assign(mean=logs.mean(axis=0), sd=logs.std(axis=0), weight=weights, rate=rates)
    return PortableModel({"sex_levels": []}, table, pd.DataFrame(columns=["level", "mean", "sd", "weight"]), 50.0)


def test_a_panel_of_few_genes_is_noticed_and_scaled_on_request():
    """A table of half the genes has half the library, so that every gene looks twice as high."""
    adata, _ = simulate_samples(n_genes=400, lfc_per_sd=0.1)
    model, panel = made_model(adata, np.arange(100, 200), 0.5), adata[:, 80:260]
    sex = pd.Series([None] * 40, dtype=object)

    def applied(table, library):
        return apply_model(model, table.X.toarray(), table.var_names, table.var["symbol"], sex, library=library)

    whole, facts = applied(adata, "all")
    assert facts["warnings"] == []
    plain, facts = applied(panel, "all")
    assert any("--library shared" in line for line in facts["warnings"])
    shared, facts = applied(panel, "shared")
    assert facts["warnings"] == []
    assert np.abs(plain - whole).mean() > 50
    assert np.abs(shared - whole).mean() < 10


def test_a_cell_type_is_chosen_from_a_table_of_several(tmp_path):
    adata, _ = simulate_samples(n_genes=100)
    run_step(tmp_path, adata)
    other = adata[:5].copy()
    other.obs["cell_type"], other.obs_names = "other", [f"o{i}" for i in range(5)]
    both = anndata.concat([adata, other])
    both.var = adata.var
    assert len(apply_step(tmp_path, both)[0]) == 40
    assert len(apply_step(tmp_path, both, "--cell-type", "other")[0]) == 5
    with pytest.raises(BadInput, match="no sample of cell type 'none'"):
        apply_step(tmp_path, both, "--cell-type", "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.update(format="something"), "is no age model"),
        (lambda model: model.update(format_version=3), "format_version 3"),
        (lambda model: model["genes"].pop("weight"), "incomplete"),
        (lambda model: model["genes"]["sd"].__setitem__(0, 0.0), "not over 0"),
        (lambda model: model["genes"]["rate"].__setitem__(0, 0.0), "not over 0"),
        (lambda model: model["genes"].pop("rate"), "incomplete"),
    ],
)
def test_a_spoilt_model_file_is_refused(tmp_path, change, message):
    adata, _ = simulate_samples(n_genes=80)
    run_step(tmp_path, adata)
    model = read_json(tmp_path / "out/model.json")
    change(model)
    (tmp_path / "spoilt.json").write_text(json.dumps(model))
    with pytest.raises(BadInput, match=message):
        read_model(tmp_path / "spoilt.json")


def test_tables_that_a_model_cannot_be_applied_to_are_refused(tmp_path):
    adata, _ = simulate_samples(n_genes=80)
    run_step(tmp_path, adata)
    logs, empty, foreign = adata.copy(), adata.copy(), adata.copy()
    logs.X = logs.X.astype(float) * 0.5
    empty.X = empty.X * 0
    foreign.var_names = [f"ENSMUSG{i:011d}" for i in range(80)]
    foreign.var["symbol"] = ""
    for table, message in (
        (logs, "no counts"),
        (empty, "none of the 40 samples has any counts"),
        (foreign, "none of the model's genes"),
    ):
        with pytest.raises(BadInput, match=message):
            apply_step(tmp_path, table)


def test_samples_without_counts_are_left_out_and_shallow_ones_counted(tmp_path):
    adata, _ = simulate_samples(n_genes=80)
    run_step(tmp_path, adata)
    whole, _ = apply_step(tmp_path, adata)
    thin = np.r_[0.0, 0.05, np.ones(38)]
    adata.X = adata.X.multiply(thin[:, None]).tocsr().floor()
    applied, summary = apply_step(tmp_path, adata, name="thin.tsv")
    assert (summary["n_without_counts"], summary["n_shallow"], summary["n_samples"]) == (1, 1, 39)
    assert any("fewer than 0.1 times" in line for line in summary["warnings"])
    assert set(whole["sample_id"]) - set(applied["sample_id"]) == {adata.obs_names[0]}


def test_a_model_file_of_format_1_is_read_with_its_own_formula(tmp_path):
    adata, _ = simulate_samples(n_genes=80)
    run_step(tmp_path, adata)
    content = read_json(tmp_path / "out/model.json")
    content["format_version"] = 1
    del content["genes"]["rate"]
    (tmp_path / "old.json").write_text(json.dumps(content))
    applied, _ = apply_step(tmp_path, adata, model="old.json")
    genes, counts = content["genes"], adata.X.toarray()
    columns = [adata.var_names.get_loc(gene) for gene in genes["gene_id"]]
    logs = np.log2((counts[:, columns] + 0.5) / (counts.sum(axis=1, keepdims=True) + 1) * 1e6)
    expected = content["intercept"] + (logs - genes["mean"]) / genes["sd"] @ np.array(genes["weight"])
    (sex,) = (dict(zip(content["sexes"], row)) for row in zip(*content["sexes"].values()))
    male = (adata.obs["sex"] == sex["level"]).to_numpy()
    expected = expected + sex["weight"] * (male - sex["mean"]) / sex["sd"]
    ours = dict(zip(adata.obs_names, expected))
    np.testing.assert_allclose(applied["predicted"], [ours[name] for name in applied["sample_id"]], atol=1e-3)


def test_a_symbol_that_stands_for_two_genes_is_no_match():
    adata, _ = simulate_samples(n_genes=80)
    model = made_model(adata, [1, 2], [1.0, 2.0])
    model.genes["gene_id"] = ["x", "y"]
    symbols = adata.var["symbol"].where(adata.var["symbol"] != "SYM3", "SYM1")
    sex = pd.Series([None] * 40, dtype=object)
    _, facts = apply_model(model, adata.X.toarray(), adata.var_names, symbols, sex, library="all")
    assert (facts["matched_by"], facts["n_genes_missing"]) == ("symbol", 1)
    assert facts["weight_missing"] == pytest.approx(1 / 3)


def test_the_nested_fit_hands_on_what_a_model_of_models_needs(tmp_path):
    adata, _ = simulate_samples(n_genes=80, n_donors=20)
    predictions, _, _, summary = run_step(tmp_path, adata, "--inner", str(tmp_path / "inner.parquet"), alpha="nested")
    inner = read_parquet(tmp_path / "inner.parquet")
    assert list(inner.columns) == ["id", "model", "repeat", "fold", "donor_id", "held", "predicted"]
    n_folds = len(predictions[["repeat", "fold"]].drop_duplicates())
    assert len(inner) == 20 * n_folds and inner["predicted"].notna().all()
    held = inner[inner["held"]].merge(predictions, on=["repeat", "fold", "donor_id"])
    assert len(held) == 100
    np.testing.assert_allclose(held["predicted_x"], held["predicted_y"], rtol=1e-5)
    assert sum(summary["alpha_weights"].values()) == pytest.approx(1) and summary["alpha"] == "nested"
    assert 0 <= summary["trust_in_blend"] <= 1
    run_step(tmp_path, adata, "--inner", str(tmp_path / "none.parquet"), alpha="1")
    assert not (tmp_path / "none.parquet").exists()


def test_nested_rows_of_the_summary_follow_the_penalties():
    rows = [prediction_summary("a", "ridge", alpha, mae=8.0) for alpha in ("nested", 10.0, 2.0)]
    assert summarize(rows)["alpha"].tolist() == ["2", "10", "nested"]
