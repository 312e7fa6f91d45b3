"""Several samples of a person are one person to an age model: nobody is on both sides, and invented ages stay unknown."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import kstest

import predict_age
from immune_aging.prediction.immune_age import donor_table
from immune_aging.prediction.penalty_paths import MODELS
from immune_aging.prediction.training import Plan, train
from immune_aging.samples.cell_type_samples import CellTypeSamples, read_samples, summed_by_donor
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, read_json, read_tsv, write_h5ad
from immune_aging.task.skipped import CannotFit
from inputs.step_options import default_options
from sampled_persons import each_its_own_donor, samples_of_persons

FACTS = {"id": "t", "cell_type": "T", "model": "ridge", "alpha": "nested"}


def fit(
    table: CellTypeSamples, *, model: str = "ridge", alpha: float | None = None, permutations: int = 0, seed: int = 0
):
    plan = Plan(
        model=model, alpha=alpha, folds=5, repeats=1, min_donors=10, bootstrap=20, permutations=permutations, seed=seed
    )
    return train(table, None, plan, facts=FACTS)


def test_invented_ages_of_persons_sampled_twice_are_not_predicted():
    fits = [fit(samples_of_persons(seed), permutations=99, seed=seed).tables["metrics"] for seed in range(24)]
    metrics = pd.DataFrame([table.set_index("metric")["value"] for table in fits])
    over_guessing = metrics["r"] - metrics["r_null_mean"]
    assert abs(over_guessing.mean()) < 2 * over_guessing.std(ddof=1) / np.sqrt(len(fits))
    for name in ("p_value", "r_p_value"):
        assert kstest(metrics[name], "uniform").pvalue > 0.01 and (metrics[name] <= 0.05).sum() <= 4
    # The same samples, each its own donor: the model recognises persons, which is what this is about.
    leaked = [fit(each_its_own_donor(samples_of_persons(seed)), permutations=99, seed=seed) for seed in range(4)]
    rows = pd.DataFrame([one.tables["metrics"].set_index("metric")["value"] for one in leaked])
    assert rows["r"].mean() > 0.5 and (rows["r_p_value"] <= 0.05).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("alpha", [None, 1.0])
def test_a_persons_samples_are_never_on_both_sides(model, alpha):
    """What one sample of a person is changes no prediction of those who are held out with it, inner folds included."""
    table = samples_of_persons(1, n_donors=20)
    spoiled = table.counts.copy()
    spoiled[7] = spoiled[7][::-1] * 3  # one of the samples of P03
    before = fit(table, model=model, alpha=alpha)
    after = fit(CellTypeSamples(spoiled, table.samples, table.symbols), model=model, alpha=alpha)
    one, two = (made.tables["predictions"].set_index("donor_id") for made in (before, after))
    assert one.index.is_unique and len(one) == 20
    mates = (one["fold"] == one.loc["P03", "fold"]) & (one.index != "P03")
    np.testing.assert_array_equal(one.loc[mates, "predicted"], two.loc[mates, "predicted"])
    assert (
        one.loc[one["fold"] != one.loc["P03", "fold"], "predicted"]
        != two.loc[one["fold"] != one.loc["P03", "fold"], "predicted"]
    ).any()
    if alpha is None:  # as the immune age takes them: a person is held out of a fold, or trains, once
        assert not before.inner.duplicated(["repeat", "fold", "donor_id"]).any()
        assert (before.inner.groupby(["repeat", "donor_id"])["held"].sum() == 1).all()


def test_names_and_order_of_samples_change_nothing():
    table = samples_of_persons(2, years=2.0)
    order = np.random.default_rng(0).permutation(len(table.samples))
    renamed = table.samples.iloc[order].assign(
        **{SAMPLE_OF_DONOR: lambda rows: rows[SAMPLE_OF_DONOR].map({"T0": "b", "T1": "a"})}
    )
    renamed.index = pd.Index(
        [f"t|{donor}|{name}" for donor, name in zip(renamed["donor_id"], renamed[SAMPLE_OF_DONOR], strict=True)],
        name="sample_id",
    )
    other = fit(CellTypeSamples(table.counts[order], renamed, table.symbols))
    one = fit(table)
    for name, rows in one.tables.items():
        pd.testing.assert_frame_equal(rows, other.tables[name])


def test_one_sample_per_person_is_as_without_samples():
    table = samples_of_persons(3, visits=1)
    plain = CellTypeSamples(table.counts, table.samples.drop(columns=SAMPLE_OF_DONOR), table.symbols)
    one, other = fit(table), fit(plain)
    for name, rows in one.tables.items():
        pd.testing.assert_frame_equal(rows, other.tables[name])
    assert summed_by_donor(plain) is plain


def test_a_donor_is_the_sum_of_its_samples_at_their_mean_age():
    table = samples_of_persons(4, visits=3, years=4.0)
    donors = summed_by_donor(table)
    assert donors.samples["donor_id"].tolist() == [f"P{d:02d}" for d in range(30)]
    np.testing.assert_array_equal(donors.counts, table.counts.reshape(30, 3, -1).sum(axis=1))
    np.testing.assert_allclose(
        donors.samples["age_years"], table.samples["age_years"].to_numpy().reshape(30, 3).mean(axis=1)
    )
    assert donors.samples["n_counts"].sum() == table.samples["n_counts"].sum()
    assert "visit" not in donors.samples and SAMPLE_OF_DONOR not in donors.samples


def test_persons_are_counted_not_samples():
    with pytest.raises(CannotFit, match="9 donors; at least 10 are needed"):
        fit(samples_of_persons(5, n_donors=9, visits=3))


def test_persons_who_miss_a_visit_are_predicted_like_the_others(tmp_path):
    """Three visits, some of them missed, as in trials; the step says how many samples its donors are."""
    table = samples_of_persons(6, visits=3, years=1.0)
    there = np.random.default_rng(1).random(len(table.samples)) < 0.7
    there[::3] = True
    adata = anndata.AnnData(
        sparse.csr_matrix(table.counts[there]),
        obs=table.samples[there],
        var=pd.DataFrame({"symbol": ""}, index=table.gene_ids),
    )
    write_h5ad(adata, tmp_path / "counts.h5ad")
    assert len(read_samples(tmp_path / "counts.h5ad").samples) == there.sum()
    predict_age.main(
        ["train", *default_options("predict_age"), "--pseudobulk", str(tmp_path / "counts.h5ad"), "--id", "t", "--model",
         "ridge", "--alpha", "nested", "--repeats", "2", "--bootstrap", "20", "--permutations", "20", "--output",
         str(tmp_path), "--versions", str(tmp_path / "v.json")]
    )  # fmt: skip
    summary = read_json(tmp_path / "predict_age_summary.json")
    assert (summary["n_donors"], summary["n_samples"], summary["n_donors_left_out"]) == (30, there.sum(), 0)
    assert read_tsv(tmp_path / "predictions.tsv").groupby("repeat")["donor_id"].nunique().tolist() == [30, 30]


def test_the_immune_age_takes_the_mean_age_over_all_cell_types():
    table = samples_of_persons(7, n_donors=4, years=6.0).samples
    fewer = table[~((table["donor_id"] == "P01") & (table[SAMPLE_OF_DONOR] == "T1"))]
    donors = donor_table([fewer, table.assign(cell_type="B")], ["P00", "P01", "P02"])
    first = table.loc[["t|P00|T0", "t|P01|T0", "t|P02|T0"], "age_years"].to_numpy()
    assert donors["age_years"].tolist() == (first + 3).tolist()
    assert "sex" in donors and "visit" not in donors and SAMPLE_OF_DONOR not in donors
