"""Composition: agrees with plain regressions, is not taken in by shares that give way, and is calibrated."""

import json

import numpy as np
import pandas as pd
import pytest

from composition import main
from immune_aging.statistics.composition import (
    COLUMNS,
    PROPORTIONS,
    compare_types,
    count_table,
    donor_columns,
    log_abundances,
    plausible_references,
    read_cells,
)
from immune_aging.statistics.designs import build_design
from immune_aging.task.checkpoints import VARYING, read_json, read_tsv, write_h5ad, write_tsv
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit
from inputs.step_options import default_options

TYPES = ["B", "DC", "Mono", "NK", "T/x"]
SHARES = np.array([0.15, 0.05, 0.2, 0.2, 0.4])


def donors_of(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Donors with ages and sexes, as `donor_columns` gives them."""
    return pd.DataFrame(
        {"age_years": rng.integers(20, 95, n).astype(float), "sex": rng.choice(["female", "male"], n)},
        index=pd.Index([f"D{i:03d}" for i in range(n)], name="donor_id"),
    )


def simulate(
    seed: int, *, n: int = 60, effect: tuple[float, ...] = (0, 0, 0, 0, 0), cells: int = 300, concentration: float = 100
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Dirichlet-multinomial cell counts of donors; `effect` is the change of the log abundance per SD of age."""
    rng = np.random.default_rng(seed)
    donors = donors_of(n, rng)
    age = donors["age_years"].to_numpy()
    mean = SHARES * np.exp(np.outer((age - age.mean()) / age.std(ddof=1), effect))
    mean /= mean.sum(axis=1, keepdims=True)
    share = np.array([rng.dirichlet(concentration * row) for row in mean])
    total = np.maximum(rng.poisson(cells * rng.lognormal(0, 0.4, n)), 20)
    counts = np.array([rng.multinomial(size, row) for size, row in zip(total, share, strict=True)])
    return pd.DataFrame(counts, index=donors.index, columns=pd.Index(TYPES, name="cell_type")), donors


def fit(seed: int, **options) -> pd.DataFrame:
    counts, donors = simulate(seed, **options)
    return compare_types(counts, build_design(donors))


def run_step(folder, counts: pd.DataFrame, donors: pd.DataFrame, *options: str, unknown_sizes: bool = False):
    """Run the script on a pseudobulk table of these counts; its tables and summary."""
    import anndata

    samples = counts.stack().rename("n_cells").reset_index().query("n_cells > 0").join(donors, on="donor_id")
    samples = samples.sample(frac=1, random_state=0)  # the order in the file must not matter
    samples.index = [f"s{i}" for i in range(len(samples))]
    if unknown_sizes:
        samples["n_cells"] = np.nan
    table = anndata.AnnData(X=np.zeros((len(samples), 1)), obs=samples, var=pd.DataFrame(index=["g"]))
    write_h5ad(table, folder / "pseudobulk.h5ad", portable=True)
    types = pd.DataFrame({"id": [f"id_{i}" for i in range(len(counts.columns))], "cell_type": counts.columns})
    write_tsv(types, folder / "cell_types.tsv")
    files = ["--pseudobulk", str(folder / "pseudobulk.h5ad"), "--cell-types", str(folder / "cell_types.tsv")]
    outputs = ["--output", str(folder / "out"), "--versions", str(folder / "v.json")]
    main([*files, *outputs, *default_options("composition"), *options])
    out = folder / "out"
    tables = (read_tsv(out / "composition.tsv", dtype={"id": str}), read_tsv(out / "proportions.tsv"))
    return *tables, read_json(out / "composition_summary.json")


def test_plain_shares_are_least_squares_on_log_odds():
    import statsmodels.api as sm

    counts, donors = simulate(1)
    design = build_design(donors)
    result = compare_types(counts, design)
    for name in TYPES:
        own = counts[name] + 0.5
        odds = np.log2(own / (counts.sum(axis=1) + 0.5 * len(TYPES) - own))
        reference = sm.OLS(odds, design.matrix).fit()
        assert result.loc[name, "share_log2_odds"] == pytest.approx(reference.params["age"], abs=1e-9)
        # The variance is moderated by the other cell types: near the plain test, not equal to it.
        assert np.log10(result.loc[name, "share_p_value"]) == pytest.approx(np.log10(reference.pvalues["age"]), abs=0.5)


def test_two_cell_types_are_the_logistic_regression_of_one_against_the_other():
    import statsmodels.api as sm

    counts, donors = simulate(2, effect=(0.4, 0, 0, 0, 0), cells=20_000, concentration=4000)
    pair = counts[["B", "T/x"]]
    design = build_design(donors)
    result = compare_types(pair, design)
    total = pair.sum(axis=1)
    share = pair["B"] / total
    binomial = sm.GLM(share, design.matrix, family=sm.families.Binomial(), var_weights=total).fit(scale="X2")
    assert result.loc["B", "log2_fold_change"] == pytest.approx(binomial.params["age"] / np.log(2), abs=0.02)
    assert result.loc["B", "lfc_se"] == pytest.approx(binomial.bse["age"] / np.log(2), rel=0.15)
    assert result.loc["T/x", "log2_fold_change"] == pytest.approx(-result.loc["B", "log2_fold_change"])


def test_log_abundances_are_those_of_a_gamma_regression_of_the_roots_of_shares():
    """Solved here by a general root finder, of the roots of shares instead of counts with an offset."""
    from scipy.optimize import root

    counts, donors = simulate(3, effect=(0, 0, 0, 0, 0.8), cells=40)
    design = build_design(donors)
    matrix = design.matrix.to_numpy()
    logs = log_abundances(counts.to_numpy(), matrix)
    found = np.linalg.lstsq(matrix, logs, rcond=None)[0]
    for place, name in enumerate(TYPES):
        share = np.sqrt((counts[name] + 0.25) / counts.sum(axis=1)).to_numpy()
        start = np.linalg.lstsq(matrix, np.log(share), rcond=None)[0]
        solution = root(lambda b, y=share: matrix.T @ (y * np.exp(-matrix @ b) - 1), start, tol=1e-12)
        assert solution.success
        np.testing.assert_allclose(found[:, place], 2 * solution.x / np.log(2), atol=1e-7)


@pytest.mark.parametrize("logistic", [False, True])
def test_effects_on_the_mean_are_found_where_the_mean_of_logarithms_has_others(logistic):
    """Dirichlet shares: the mean log of a rare type falls faster than its share. Logistic normal ones: it does not."""
    rng = np.random.default_rng(0)
    n, effect = 4000, np.array([0.25, 0, 0, 0])
    donors = donors_of(n, rng)
    design = build_design(donors)
    logs = np.log([0.4, 0.3, 0.2, 0.1]) + np.outer(design.matrix["age"], effect)
    if logistic:
        logs = logs + rng.normal(0, 0.3, logs.shape)
    share = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    if not logistic:
        share = np.array([rng.dirichlet(20 * row) for row in share])
    cells = np.array([rng.multinomial(2000, row) for row in share])
    column = list(design.matrix.columns).index("age")

    def slopes(values: np.ndarray) -> np.ndarray:
        fitted = np.linalg.lstsq(design.matrix.to_numpy(), values, rcond=None)[0][column] * np.log(2)
        return fitted[0] - fitted[1:]  # of the one that grows against each that keeps still

    ours = slopes(log_abundances(cells, design.matrix.to_numpy()))
    assert np.abs(ours / 0.25 - 1).max() < 0.12
    if not logistic:
        assert slopes(np.log2(cells + 0.5))[-1] / 0.25 - 1 > 1.5 * abs(ours[-1] / 0.25 - 1), "the trap is there"


def test_against_a_known_reference_it_is_least_squares_on_the_log_ratio():
    """A cell type that moves far has no weight in the reference: its effect is that of its log-ratio to the others."""
    import statsmodels.api as sm

    counts, donors = simulate(3, n=300, effect=(0, 0, 0, 0, 0.8))
    design = build_design(donors)
    result = compare_types(counts, design)
    weight = result["reference_weight"]
    assert weight["T/x"] < 1e-12 and weight.sum() == pytest.approx(1)
    logs = log_abundances(counts.to_numpy(), design.matrix.to_numpy())
    reference = sm.OLS(logs[:, 4] - logs[:, :4] @ weight.drop("T/x"), design.matrix).fit()
    assert result.loc["T/x", "log2_fold_change"] == pytest.approx(reference.params["age"], abs=1e-3)
    assert result.loc["T/x", "lfc_se"] == pytest.approx(reference.bse["age"], rel=0.1)
    assert (result["ci_low"] < result["log2_fold_change"]).all() and (result["stat"] == result["stat"]).all()
    assert result["log2_fold_change"]["T/x"] == pytest.approx(0.8 / np.log(2), abs=0.1)
    decade = result["log2_fold_change"] / donors["age_years"].std() * 10
    pd.testing.assert_series_equal(result["lfc_per_decade"], decade, check_names=False)


def test_when_one_cell_type_grows_those_that_give_way_are_not_called():
    """The trap of compositions, pooled over 40 cohorts of 60 donors."""
    called, shares, grown = [], [], []
    for seed in range(40):
        result = fit(seed, effect=(0, 0, 0, 0, 0.5))
        grown.append(result["padj"]["T/x"] < 0.05)
        called.append((result["padj"].drop("T/x") < 0.05).mean())
        shares.append((result["share_padj"].drop("T/x") < 0.05).mean())
    assert np.mean(grown) > 0.95
    assert np.mean(called) < 0.08
    assert np.mean(shares) > 0.5, "the plain shares do fall: the trap is there"


@pytest.mark.long
def test_null_cohorts_give_p_values_as_they_should_be_and_intervals_that_hold():
    results = [fit(seed, n=n) for n in (25, 60) for seed in range(100, 160)]
    p_value = np.concatenate([result["p_value"] for result in results])
    assert 0.03 < (p_value < 0.05).mean() < 0.075
    assert 0.4 < np.median(p_value) < 0.6
    covered = np.concatenate([(result["ci_low"] < 0) & (result["ci_high"] > 0) for result in results])
    assert covered.mean() == pytest.approx(1 - (p_value < 0.05).mean(), abs=1e-12)


def test_effects_in_several_cell_types_are_recovered_without_bias():
    truth = np.array([0.3, 0, 0, 0, -0.4]) / np.log(2)
    mean = np.mean([fit(seed, n=80, effect=(0.3, 0, 0, 0, -0.4))["log2_fold_change"] for seed in range(25)], axis=0)
    np.testing.assert_allclose(mean, truth, atol=0.06)


@pytest.mark.long
def test_where_two_of_five_grow_intervals_and_false_discoveries_hold_what_is_uncertain_of_the_reference():
    """The trap of majorities, pooled over 100 cohorts of 25 donors: two that grow look like three that shrink."""
    truth = np.array([0, 0, 0.3, 0.3, 0]) / np.log(2)
    covered, false = [], []
    for seed in range(200, 300):
        result = fit(seed, n=25, effect=(0, 0, 0.3, 0.3, 0))
        covered.append(((result["ci_low"] < truth) & (result["ci_high"] > truth)).to_numpy())
        called = (result["padj"] < 0.05).to_numpy()
        false.append((called & (truth == 0)).sum() / max(called.sum(), 1))
    # With one reference, the likeliest, they are .85 and .17 of these cohorts.
    assert abs(np.mean(covered) - 0.95) <= 0.03
    assert np.mean(false) <= 0.05 + 2 * np.std(false, ddof=1) / 10


def test_plausible_references_are_majorities_weighed_by_their_spread_and_by_how_many_move():
    from itertools import combinations

    effect, se, n = np.array([0.3, 0.0, 0.35, 0.1, -0.1]), np.array([0.1, 0.12, 0.09, 0.1, 0.15]), 25
    probability, weights = plausible_references(effect, se, n)
    assert probability.sum() == pytest.approx(1) and len(probability) == 6
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    plain = {}
    for size in (3, 4, 5):
        for members in map(list, combinations(range(5), size)):
            precision = se[members] ** -2.0
            centre = (precision * effect[members]).sum() / precision.sum()
            chi2 = (precision * (effect[members] - centre) ** 2).sum()
            plain[tuple(members)] = np.exp(-chi2 / 2) / (n * 25) ** ((5 - size) / 2)
    sets = [tuple(np.flatnonzero(weight)) for weight in weights]
    expected = np.array([plain[members] for members in sets])
    np.testing.assert_allclose(probability, expected / expected.sum())
    own = weights[sets.index((1, 3, 4))]
    np.testing.assert_allclose(own[[1, 3, 4]], se[[1, 3, 4]] ** -2.0 / (se[[1, 3, 4]] ** -2.0).sum())


def test_one_that_moves_far_is_no_reference_and_one_alone_never_is():
    probability, weights = plausible_references(np.array([0.0, 0.01, -0.01, 0.02, 2.0]), np.full(5, 0.1), 60)
    average = probability @ weights
    assert average[4] < 1e-12 and (average[:4] > 0.2).all()
    probability, weights = plausible_references(np.array([0.0, 0.1, 5.0]), np.array([0.01, 0.5, 0.5]), 60)
    np.testing.assert_allclose(probability @ weights, [0.5, 0.5, 0], atol=1e-6)


def test_order_of_donors_and_types_changes_nothing():
    counts, donors = simulate(5)
    one = compare_types(counts, build_design(donors))
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(counts.index), rng.permutation(counts.columns)
    other = compare_types(counts.loc[rows, columns], build_design(donors.loc[rows]))
    pd.testing.assert_frame_equal(other.loc[one.index], one, check_names=False, rtol=1e-9)


def test_a_donor_without_a_cell_type_has_none_of_it_and_shares_add_up(tmp_path):
    counts, donors = simulate(6, cells=60)
    counts.loc["D000", "DC"] = 0
    table, shares, summary = run_step(tmp_path, counts, donors)
    assert list(table.columns) == list(COLUMNS) and list(shares.columns) == list(PROPORTIONS)
    own = shares[(shares["donor_id"] == "D000") & (shares["cell_type"] == "DC")]
    assert own["n_cells"].tolist() == [0] and own["proportion"].tolist() == [0]
    np.testing.assert_allclose(shares.groupby("donor_id")["proportion"].sum(), 1, atol=1e-5)
    assert len(shares) == counts.size and shares["n_cells"].sum() == counts.to_numpy().sum() == summary["n_cells"]
    means = table.set_index("cell_type")["mean_proportion"]
    np.testing.assert_allclose(means[TYPES], counts.div(counts.sum(axis=1), axis=0).mean(), rtol=1e-5)
    assert dict(zip(table["cell_type"], table["id"], strict=True)) == {t: f"id_{i}" for i, t in enumerate(TYPES)}


def test_a_column_that_varies_within_a_donor_is_named_with_the_donor_and_others_do_no_harm(tmp_path):
    counts, donors = simulate(7)
    donors = donors.assign(pool="A", **{VARYING: '["pool"]'})
    table, _, summary = run_step(tmp_path, counts, donors)
    assert len(table) == len(TYPES) and not summary.get("skipped")
    table, _, summary = run_step(tmp_path, counts, donors, "--design", "~ age + pool")
    assert table.empty and "'pool' of the design varies within donor 'D0" in json.dumps(summary)


def test_the_size_and_depth_of_a_sample_are_no_columns_of_its_donor():
    samples = pd.DataFrame({"donor_id": ["b", "a", "a"], "cell_type": ["T", "T", "B"], "age_years": [60.0, 50.0, 50.0]})
    for own in ({"n_cells": [3, 4, 5]}, {"n_cells": [3, 4, 5], "n_counts": [30, 40, 50]}):
        found = donor_columns(samples.assign(**own))
        assert found.index.tolist() == ["a", "b"] and found.columns.tolist() == ["age_years"]


def test_a_cell_type_that_few_donors_have_is_listed_and_not_tested(tmp_path):
    counts, donors = simulate(7)
    counts["DC"] = 0
    counts.loc[counts.index[:20], "DC"] = 3
    table, shares, summary = run_step(tmp_path, counts, donors)
    assert "DC" not in set(table["cell_type"]) and "DC" in set(shares["cell_type"])
    assert summary["not_tested"] == {"DC": "in fewer than half of the donors"}
    assert (summary["n_cell_types_in"], summary["n_cell_types_tested"]) == (5, 4)


def test_what_cannot_be_tested_has_headers_and_the_reason_or_is_an_error_under_strict(tmp_path):
    counts, donors = simulate(8, n=12)
    for change, reason in (
        ({"counts": counts[["B"]]}, "1 of 1 cell types are in half of the donors; two are needed"),
        ({"donors": donors.assign(age_years=50.0)}, "'age' has one value in all 12 samples"),
        ({"counts": counts * 0 + 20}, "most cell types have the same share in every donor of an age"),
        ({"unknown_sizes": True}, "does not say how many cells each was summed from"),
    ):
        options = {"counts": counts, "donors": donors} | change
        table, shares, summary = run_step(tmp_path, **options)
        assert table.empty and shares.empty and list(table.columns) == list(COLUMNS)
        assert summary["status"] == "skipped" and reason in summary["reason"]
        values = [options.pop("counts"), options.pop("donors")]
        with pytest.raises(BadInput, match="--strict"):
            run_step(tmp_path, *values, "--strict", **options)


def test_tables_of_different_runs_are_refused(tmp_path):
    counts, donors = simulate(9)
    run_step(tmp_path, counts, donors)
    write_tsv(pd.DataFrame({"id": ["b"], "cell_type": ["B"]}), tmp_path / "cell_types.tsv")
    files = ["--pseudobulk", str(tmp_path / "pseudobulk.h5ad"), "--cell-types", str(tmp_path / "cell_types.tsv")]
    with pytest.raises(BadInput, match="has no cell type 'DC'"):
        main([*files, *default_options("composition"), "--output", str(tmp_path / "out")])
    (tmp_path / "text.h5ad").write_text("no table")
    with pytest.raises(BadInput, match="cannot be read as a pseudobulk table"):
        read_cells(tmp_path / "text.h5ad")


def test_unknown_numbers_of_cells_are_not_taken_for_none():
    samples = pd.DataFrame({"donor_id": ["a", "b"], "cell_type": ["B", "B"], "n_cells": [3.0, np.nan]})
    with pytest.raises(CannotFit, match="does not say how many cells"):
        count_table(samples)


def test_another_donor_column_can_be_tested(tmp_path):
    counts, donors = simulate(10)
    table, _, summary = run_step(tmp_path, counts, donors, "--test-term", "sex")
    assert summary["contrast"] == "male against female" and table["lfc_per_decade"].isna().all()
