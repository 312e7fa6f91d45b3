"""Age prediction: donors held out, nothing leaks, planted signal beats the baselines, no signal does not."""

import json

import numpy as np
import pandas as pd
import pytest

from age_metrics import METRICS, corrected_for_age, metric_table, metric_values
from age_model_file import apply_model, read_model
from age_models import (
    CALIBRATED,
    MODELS,
    NESTED_ALPHAS,
    fit_age_model,
    fit_nested,
    fold_of,
    fold_table,
    log_cpm,
    predict_held_out,
    ridge_left_out,
    sex_indicators,
)
from cell_type_samples import CellTypeSamples
from checkpoints import read_h5ad, read_json, read_parquet, read_tsv, write_h5ad, write_tsv
from command_line import BadInput
from inputs.statistics_inputs import CELL_TYPE, prediction_summary, simulate_samples
from predict_age import APPLIED, COEFFICIENTS, PREDICTIONS, cells_by_donor, main, usable_donors
from skipped import CannotFit
from summarize_predictions import COLUMNS, summarize
from summarize_predictions import main as summarize_main


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
    features = np.hstack([log_cpm(counts), covariates])
    fitted = fit_age_model(counts, features, ages, model="ridge", alpha=0.5)
    scaled = StandardScaler().fit_transform(features[:, fitted.features])
    other = Ridge(alpha=0.5 * len(fitted.features)).fit(scaled, ages)
    np.testing.assert_allclose(fitted.coefficients, other.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fitted.predict(features), other.predict(scaled), rtol=1e-9)


def test_support_vectors_agree_with_scikit_learns_linear_kernel():
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    counts, covariates, ages, _ = parts(simulate_samples(n_genes=120)[0])
    features = np.hstack([log_cpm(counts), covariates])
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
    features = np.hstack([log_cpm(counts), covariates])
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
        predicted = {name: ages + rng.normal(0, 8, (1, n_donors)) for name in ("model", "median", "sex")}
        row = metric_table(predicted, ages).set_index("metric").loc["mae"]
        assert row["low"] < row["value"] < row["high"]
        widths.append(row["high"] - row["low"])
    assert widths[1] < widths[0] / 2


def test_a_constant_prediction_has_no_correlation(tmp_path):
    ages = np.array([20.0, 40, 60])
    constant = {name: np.full((2, 3), 40.0) for name in ("model", "median", "sex")}
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
    scaled = (log_cpm(adata.X.toarray())[:, columns] - coefficients["mean"].to_numpy()) / coefficients["sd"].to_numpy()
    by_hand = summary["intercept"] + scaled @ coefficients["coefficient"].to_numpy()
    counts = adata.X.toarray()
    fitted = fit_age_model(counts, log_cpm(counts), adata.obs["age_years"].to_numpy(), model="linear_svr", alpha=1)
    np.testing.assert_allclose(by_hand, fitted.predict(log_cpm(counts)), atol=0.01)
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
