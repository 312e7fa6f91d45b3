"""Immune age: cell types together beat each alone, nothing leaks, acceleration is unrelated to age and tested fairly."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from immune_age import main
from immune_aging.prediction.immune_age import (
    COLUMNS,
    TESTS,
    WEIGHTS,
    acceleration_of,
    acceleration_tests,
    cross_stack,
    feature_table,
    stack,
    standardise,
)
from immune_aging.task.checkpoints import read_json, read_tsv, write_h5ad, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import nested_fit, simulate_samples
from inputs.step_options import default_options


@pytest.fixture(scope="module")
def samples():
    return simulate_samples(n_genes=60, n_donors=60)[0]


def run_step(folder, fits, tables, *options, name="out"):
    """Run the script; its folder of results."""
    for number, fit in enumerate(fits):
        write_parquet(fit, folder / f"fit{number}.parquet")
    for number, table in enumerate(tables):
        write_h5ad(table, folder / f"table{number}.h5ad")
    files = ["--fits", *(str(folder / f"fit{i}.parquet") for i in range(len(fits)))]
    files += ["--tables", *(str(folder / f"table{i}.h5ad") for i in range(len(tables)))]
    files += ["--output", str(folder / name), "--versions", str(folder / "v.json")]
    main([*files, *default_options("immune_age"), *options])
    return folder / name


def metrics_of(folder):
    return read_tsv(folder / "immune_age_metrics.tsv").set_index("metric")["value"]


def donors_of(samples):
    return samples.obs.set_index("donor_id")[["age_years", "sex", "pool"]].sort_index()


def stacked(fits, samples):
    """Out-of-fold immune ages (repeats x donors) and the donors."""
    donors = donors_of(samples)
    predicted, weights, _ = cross_stack(feature_table(pd.concat(fits)), donors)
    return predicted["model"], weights, donors


def test_cell_types_with_errors_of_their_own_are_better_together_than_each(tmp_path, samples):
    fits = [nested_fit(samples, name, error=8, seed=seed) for name, seed in (("b", 1), ("cd4", 2), ("nk", 3))]
    out = run_step(tmp_path, fits, [samples], "--columns", "sex,pool")
    table, weights = read_tsv(out / "immune_age.tsv"), read_tsv(out / "immune_age_weights.tsv")
    assert list(table.columns) == list(COLUMNS) and list(weights.columns) == list(WEIGHTS)
    assert len(table) == 60 and (table["n_cell_types"] == 3).all()
    assert metrics_of(out)["mae"] < 0.9 * weights["mae"].min()
    assert metrics_of(out)["mae"] == pytest.approx(np.abs(table["predicted"] - table["age_years"]).mean(), abs=0.3)
    assert weights["weight"].between(0.15, 0.6).all()
    np.testing.assert_allclose(table["corrected"], table["age_years"] + table["acceleration"], atol=1e-3)
    assert abs(np.corrcoef(table["acceleration"], table["age_years"])[0, 1]) < 1e-4
    assert list(read_tsv(out / "age_acceleration_tests.tsv").columns) == list(TESTS)
    summary = read_json(out / "immune_age_summary.json")
    assert (summary["status"], summary["n_donors"], summary["n_cell_types"]) == ("done", 60, 3)
    assert (out / "figures/immune_age.png").stat().st_size > 5000


def test_a_cell_type_that_knows_nothing_gets_hardly_any_weight(samples):
    good, noise = nested_fit(samples, "good", error=5), nested_fit(samples, "noise", seed=9)
    noise["predicted"] = np.random.default_rng(0).normal(55, 8, len(noise))
    _, weights, _ = stacked([good, noise], samples)
    assert weights["noise"].to_numpy().mean() < 0.1 < 0.8 < weights["good"].to_numpy().mean()


def test_shuffled_ages_cannot_be_predicted_from_all_cell_types_together(samples):
    """Predictions that know nothing of the ages they are scored by, as PREDICT_AGE's would be."""
    values = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        fits = [nested_fit(samples, name) for name in "abcd"]
        fits = [fit.assign(predicted=rng.normal(55, 10, len(fit))) for fit in fits]
        predicted, _, donors = stacked(fits, samples)
        ages = donors["age_years"].to_numpy()
        values.append(1 - np.square(predicted - ages).mean() / ages.var())
    assert np.mean(values) <= 2 * np.std(values) / np.sqrt(len(values))


def test_the_ages_of_held_out_donors_change_nothing(samples):
    """Weights of a fold come from its training donors: an age of the fold itself plays no part."""
    fits = [nested_fit(samples, name, error=8, seed=seed) for name, seed in (("b", 1), ("cd4", 2))]
    tables, donors = feature_table(pd.concat(fits)), donors_of(samples)
    before, weights, folds = cross_stack(tables, donors)
    spoiled = donors.copy()
    spoiled.iloc[5, 0] = 300.0
    after, changed, _ = cross_stack(tables, spoiled)
    mates = folds == folds[:, [5]]
    np.testing.assert_array_equal(after["model"][mates], before["model"][mates])
    assert (after["model"][~mates] != before["model"][~mates]).all()
    for repeat in (1, 2):
        own = folds[repeat - 1, 5]
        np.testing.assert_array_equal(weights.loc[(repeat, own)], changed.loc[(repeat, own)])


def test_a_donor_without_a_cell_type_is_predicted_from_the_others(samples):
    fits = [nested_fit(samples, name, error=4, seed=seed) for name, seed in (("b", 1), ("cd4", 2))]
    lacking = samples.obs["donor_id"].iloc[:6]
    partial = [fits[0], fits[1][~fits[1]["donor_id"].isin(lacking)]]
    predicted, _, donors = stacked(partial, samples)
    rows = donors.index.isin(lacking)
    assert np.abs(predicted[:, rows] - donors["age_years"].to_numpy()[rows]).mean() < 8
    whole, _, _ = stacked(fits, samples)
    assert np.abs(predicted[:, ~rows] - whole[:, ~rows]).mean() < 2


def test_a_missing_prediction_is_as_far_off_as_the_donors_others():
    values = np.array([[60.0, np.nan], [40.0, 30.0], [np.nan, np.nan]])
    filled = standardise(values, np.array([50.0, 50.0]), np.array([5.0, 10.0]))
    np.testing.assert_allclose(filled, [[10, 20], [-10, -20], [0, 0]])


def test_weights_are_those_of_least_squares_where_these_are_positive():
    rng = np.random.default_rng(0)
    ages = rng.uniform(20, 90, 200)
    train = np.column_stack([ages + rng.normal(0, 5, 200), ages + rng.normal(0, 10, 200)])
    predicted, weights = stack(train, ages, train[:5])
    design = np.column_stack([np.ones(200), train])
    expected = np.linalg.lstsq(design, ages, rcond=None)[0]
    np.testing.assert_allclose(weights, expected[1:], rtol=1e-8)
    np.testing.assert_allclose(predicted, design[:5] @ expected, rtol=1e-8)


# --- tests of acceleration -------------------------------------------------------------------------------------------


def ahead(rng, n=200, *, shift=0.0, slope=0.5):
    """Donors of whom half are `shift` years ahead; predictions regress to the mean by `slope`."""
    ages = rng.uniform(20, 90, n)
    smoker = rng.random(n) < 0.5
    donors = pd.DataFrame({"age_years": ages, "smoker": np.where(smoker, "yes", "no"), "bmi": rng.normal(25, 4, n)})
    predicted = 55 + slope * (ages - 55) + shift * smoker + rng.normal(0, 4, n)
    return predicted, donors


def test_f_test_and_interval_equal_those_of_statsmodels():
    import statsmodels.formula.api as smf

    predicted, donors = ahead(np.random.default_rng(0), shift=2.0)
    donors["place"] = np.random.default_rng(1).choice(["x", "y", "z"], 200)
    table = acceleration_tests(predicted, donors, ["smoker", "bmi", "place"]).set_index("column")
    data = donors.assign(predicted=predicted, bmi=(donors["bmi"] - donors["bmi"].mean()) / donors["bmi"].std())
    for column, name in (("smoker", "smoker[T.yes]"), ("bmi", "bmi")):
        fitted = smf.ols(f"predicted ~ age_years + {column}", data).fit()
        assert table.loc[column, "p_value"] == pytest.approx(fitted.pvalues[name])
        assert table.loc[column, "effect_years"] == pytest.approx(fitted.params[name])
        assert table.loc[column, ["low", "high"]].tolist() == pytest.approx(fitted.conf_int().loc[name].tolist())
    fitted = smf.ols("predicted ~ age_years + place", data).fit()
    against = fitted.compare_f_test(smf.ols("predicted ~ age_years", data).fit())
    assert table.loc["place", ["f", "p_value", "df1"]].tolist() == pytest.approx(list(against))
    assert np.isnan(table.loc["place", "effect_years"]) and table.loc["place", "levels"] == "x;y;z"


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_number_is_a_reason_and_no_traceback(value):
    predicted, donors = ahead(np.random.default_rng(0))
    donors.loc[:2, "bmi"] = value
    table = acceleration_tests(predicted, donors, ["bmi", "smoker"]).set_index("column")
    assert table.loc["bmi", "reason"].startswith("infinite in 3 donors") and np.isnan(table.loc["bmi", "p_value"])
    assert table.loc["smoker", "p_value"] == table.loc["smoker", "padj"]


def test_a_column_that_differs_with_age_is_not_taken_for_acceleration():
    """Old donors are predicted too young; a column that only marks the old must not be found by that."""
    p_values = []
    for seed in range(60):
        predicted, donors = ahead(np.random.default_rng(seed))
        rng = np.random.default_rng(1000 + seed)
        donors["old"] = np.where(donors["age_years"] + rng.normal(0, 10, 200) > 55, "old", "young")
        p_values.append(acceleration_tests(predicted, donors, ["old"])["p_value"].iloc[0])
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_a_real_shift_is_found_with_its_size():
    predicted, donors = ahead(np.random.default_rng(3), shift=3.0)
    table = acceleration_tests(predicted, donors, ["smoker", "bmi"]).set_index("column")
    assert table.loc["smoker", "padj"] < 0.001
    assert table.loc["smoker", "low"] < 3 < table.loc["smoker", "high"]
    assert table.loc["bmi", "p_value"] > 0.01
    assert table.loc["smoker", "padj"] == pytest.approx(2 * table.loc["smoker", "p_value"])


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (None, "no such column"),
        (["one"] * 60, "fewer than two levels"),
        ([f"d{i // 3}" for i in range(60)], "20 levels among 60 donors"),
        ([f"d{i}" for i in range(60)], "fewer than two levels"),
    ],
)
def test_what_cannot_be_tested_is_listed_with_its_reason(samples, column, reason):
    donors = donors_of(samples)
    if column is not None:
        donors["extra"] = column
    row = acceleration_tests(donors["age_years"].to_numpy(), donors, ["extra"]).iloc[0]
    assert pd.Series([row["reason"]]).str.contains(reason).all()


def test_a_column_that_is_age_itself_cannot_be_told_apart(samples):
    donors = donors_of(samples)
    donors["months"] = donors["age_years"] * 12
    row = acceleration_tests(donors["age_years"].to_numpy(), donors, ["months"]).iloc[0]
    assert "cannot be told apart from age" in row["reason"]


def test_acceleration_has_no_trend():
    predicted, donors = ahead(np.random.default_rng(0))
    ages = donors["age_years"].to_numpy()
    assert abs(np.polyfit(ages, acceleration_of(predicted, ages), 1)[0]) < 1e-12


# --- files -----------------------------------------------------------------------------------------------------------


def test_order_of_files_and_rows_changes_no_byte(tmp_path, samples):
    fits = [nested_fit(samples, name, seed=seed) for name, seed in (("b", 1), ("cd4", 2))]
    one = run_step(tmp_path, fits, [samples], name="one")
    shuffled = [fit.sample(frac=1, random_state=0) for fit in fits[::-1]]
    two = run_step(tmp_path, shuffled, [samples[::-1].copy()], name="two")
    names = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    assert len(names) == 7
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_no_fit_and_few_donors_leave_headers_and_the_reason(tmp_path, samples):
    out = run_step(tmp_path, [], [samples], name="none")
    assert read_tsv(out / "immune_age.tsv").empty
    assert "no cell type has" in read_json(out / "immune_age_summary.json")["reason"]
    few = nested_fit(samples[:8], "b")
    out = run_step(tmp_path, [few], [samples], name="few")
    assert read_json(out / "immune_age_summary.json")["reason"] == "8 donors; at least 10 are needed"
    with pytest.raises(BadInput, match="8 donors"):
        run_step(tmp_path, [few], [samples], "--strict", name="strict")


def test_fits_of_other_folds_or_twice_are_refused(tmp_path, samples):
    fit = nested_fit(samples, "b")
    with pytest.raises(BadInput, match="there twice"):
        run_step(tmp_path, [fit, fit], [samples])
    other = nested_fit(samples, "cd4")
    other["held"] = ~other["held"]
    with pytest.raises(BadInput, match="one seed for all fits"):
        run_step(tmp_path, [fit, other], [samples])


def test_a_column_that_differs_within_a_donor_is_not_a_donor_column(tmp_path, samples):
    other = samples.copy()
    other.obs["pool"] = np.roll(samples.obs["pool"].to_numpy(), 1)
    out = run_step(tmp_path, [nested_fit(samples, "b")], [samples, other], "--columns", "pool,sex")
    tests = read_tsv(out / "age_acceleration_tests.tsv").set_index("column")
    assert "differs within a donor" in tests.loc["pool", "reason"] and tests.loc["sex", "p_value"] > 0


def test_gaps_leave_out_cell_types_of_few_donors_and_donors_of_few_cell_types(tmp_path, samples):
    """Where each cell type has donors of its own: a rare one weighs nothing, a donor of one cell type has no age."""
    few = samples.obs["donor_id"].isin(sorted(samples.obs["donor_id"])[:5]).to_numpy()
    fits = [
        nested_fit(samples[~few].copy(), "b", seed=1),
        nested_fit(samples, "cd4", seed=2),
        nested_fit(samples[~few].copy(), "nk", seed=3),
        nested_fit(samples[:14].copy(), "rare", seed=4),
    ]
    out = run_step(tmp_path, fits, [samples])
    summary = read_json(out / "immune_age_summary.json")
    assert (summary["n_donors"], summary["n_donors_left_out"]) == (55, 5)
    assert summary["cell_types_of_few_donors"] == ["rare"] and summary["n_cell_types"] == 3
    assert set(read_tsv(out / "immune_age_weights.tsv")["id"]) == {"b", "cd4", "nk"}
    assert (read_tsv(out / "immune_age.tsv")["n_cell_types"] == 3).all()
    common = run_step(tmp_path, fits, [samples], "--analysed-donors", "common", name="common")
    assert len(read_tsv(common / "immune_age.tsv")) == 60
    assert "n_donors_left_out" not in read_json(common / "immune_age_summary.json")


def test_without_gaps_both_rules_about_donors_give_the_same_bytes(tmp_path, samples):
    fits = [nested_fit(samples, name, seed=seed) for name, seed in (("b", 1), ("cd4", 2))]
    each = run_step(tmp_path, fits, [samples], name="each")
    common = run_step(tmp_path, fits, [samples], "--analysed-donors", "common", name="common")
    for path in sorted(common.rglob("*.tsv")):
        assert path.read_bytes() == (each / path.relative_to(common)).read_bytes(), path


def test_cell_types_whose_donors_do_not_overlap_give_no_immune_age(tmp_path, samples):
    fits = [nested_fit(samples[i * 15 : (i + 1) * 15].copy(), f"t{i}", seed=i) for i in range(4)]
    out = run_step(tmp_path, fits, [samples])
    reason = read_json(out / "immune_age_summary.json")["reason"]
    assert reason == "0 of 60 donors have half of the cell types that half of the donors have; at least 10 are needed"
