"""Several samples of a donor: which analysis a term gets, and that its numbers are those of independent references."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.differential_expression import Question, analyse_cell_type
from immune_aging.statistics.repeated_samples import (
    choose_repeats,
    over_donors,
    rows_of_donors,
    share_between,
    with_donors,
)
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.skipped import CannotFit


def people(n: int = 20, visits: int = 2, *, years: float = 0.0, ragged: bool = False, seed: int = 1) -> pd.DataFrame:
    """Samples of persons: age and sex of the person (age `years` older at each further visit), visit of the sample."""
    rng = np.random.default_rng(seed)
    donor, visit = np.repeat(np.arange(n), visits), np.tile(np.arange(visits), n)
    table = pd.DataFrame(
        {
            "donor_id": [f"d{i:02d}" for i in donor],
            SAMPLE_OF_DONOR: [f"v{i}" for i in visit],
            "cell_type": "T",
            "age_years": rng.uniform(25, 85, n)[donor] + years * visit,
            "sex": rng.choice(["female", "male"], n)[donor],
            "visit": [f"v{i}" for i in visit],
            "n_cells": 50,
        },
        index=[f"s{i:03d}" for i in range(len(donor))],
    )
    return table[rng.random(len(table)) > 0.3] if ragged else table


def counts_of(samples: pd.DataFrame, *, icc: float = 0.5, genes: int = 60, visit: float = 0.0, seed: int = 0):
    """Counts in which persons differ (`icc` of a variance of .15); 10 genes move by `visit` (log2), up or down in turn."""
    rng = np.random.default_rng(seed)
    codes = pd.factorize(samples["donor_id"])[0]
    of_person = rng.normal(0, np.sqrt(0.15 * icc), (codes.max() + 1, genes))[codes]
    own = rng.normal(0, np.sqrt(0.15 * (1 - icc)), (len(samples), genes))
    effect = (
        np.where(np.arange(genes) < 10, visit * np.log(2) * (-1) ** np.arange(genes), 0)
        * (samples["visit"] == "v1").to_numpy()[:, None]
    )
    mean = 200 * rng.lognormal(0, 0.7, genes) * np.exp(of_person + own + effect)
    symbols = pd.Series("", index=pd.Index([f"g{i:02d}" for i in range(genes)], name="gene_id"))
    return CellTypeSamples(rng.poisson(mean * rng.lognormal(0, 0.2, (len(samples), 1))), samples, symbols)


def question(formula: str, term: str, **changed) -> Question:
    asked = {"contrast": "", "pool_column": "none", "pool_effect": "none", "min_samples": 6, "keep_outliers": True}
    return Question(formula, term, **{**asked, "method": "pydeseq2", "options": DeseqOptions(), **changed})


@pytest.mark.parametrize(
    ("samples", "formula", "term", "use"),
    [
        (people(), "~ sex + age", "age", "sum"),
        (people(), "~ sex + age", "sex", "sum"),
        (people(), "~ visit + age", "age", "sum"),
        (people(ragged=True), "~ visit + sex + age", "age", "sum"),
        (people(years=1.0), "~ sex + age", "age", "sum"),
        (people(), "~ visit", "visit", "fixed"),
        (people(), "~ visit + sex + age", "visit", "fixed"),
        (people(), "~ visit * age", "visit:age", "fixed"),
        (people(visits=3, years=15), "~ sex + age", "age", "random"),
        (people(60), "~ visit", "visit", "fixed"),
        (people(151), "~ visit", "visit", "random"),
        (people(), "~ visit + (1 | donor)", "visit", "random"),
        (people(), "~ visit + donor", "visit", "none"),
        (people(visits=1), "~ sex + age", "age", "none"),
    ],
)
def test_a_term_gets_the_analysis_that_fits_how_it_varies(samples, formula, term, use):
    chosen = choose_repeats(samples, build_design(samples, formula=formula, test_term=term))
    assert chosen.use == use, chosen
    if use != "none":
        assert f"{len(samples)} samples of {samples['donor_id'].nunique()} donors" in chosen.reason


def test_a_column_of_the_cohort_that_is_called_donor_is_not_the_donor():
    samples = people().assign(donor=[f"clinic {i % 3}" for i in range(40)])
    design = build_design(samples, formula="~ donor + visit", test_term="visit")
    assert choose_repeats(samples, design).use == "fixed"
    design = build_design(samples, formula="~ donor_id + visit", test_term="visit")
    assert choose_repeats(samples, design).use == "none"


def test_the_share_between_donors_is_1_for_what_is_constant_in_them_and_0_for_what_adds_up_to_nothing():
    samples = people()
    donors = samples["donor_id"].to_numpy(dtype=str)
    assert share_between(build_design(samples, formula="~ visit + age"), donors) == pytest.approx(1)
    visit = build_design(samples, formula="~ visit + age", test_term="visit")
    assert share_between(visit, donors) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("formula", ["~ visit", "~ visit + sex + age", "~ visit * sex"])
def test_comparing_donors_with_themselves_is_a_fit_with_a_coefficient_for_each(formula):
    samples = people(ragged=True)
    y = np.random.default_rng(3).normal(size=len(samples))
    design = with_donors(
        build_design(samples, formula=formula, test_term="visit"), samples["donor_id"].to_numpy(dtype=str)
    )
    ours = sm.OLS(y, design.matrix.to_numpy()).fit().t_test(design.contrasts[0].weights)
    later = (samples["visit"] == "v1").astype(float)
    own = samples.assign(y=y, women=later * (samples["sex"] == "female"), men=later * (samples["sex"] == "male"))
    if "*" in formula:  # the mean of the sexes' own differences
        fit = smf.ols("y ~ C(donor_id) + women + men", own).fit().t_test("women / 2 + men / 2 = 0")
    else:
        fit = smf.ols("y ~ C(donor_id) + visit", own).fit().t_test("visit[T.v1] = 0")
    assert float(ours.effect.item()) == pytest.approx(float(fit.effect.item()), rel=1e-6)
    assert float(ours.sd.item()) == pytest.approx(float(fit.sd.item()), rel=1e-6)


def test_what_is_constant_within_donors_cannot_be_told_from_them():
    samples = people()
    with pytest.raises(CannotFit, match="'age' cannot be told apart from the donors"):
        with_donors(build_design(samples), samples["donor_id"].to_numpy(dtype=str))


def test_the_design_of_donors_is_that_of_their_mean_rows_and_drops_what_all_have_alike():
    samples = people()
    even = pd.Series(1.0, index=samples.index)
    y = pd.Series(np.random.default_rng(3).normal(size=len(samples)), index=samples.index)
    design = over_donors(build_design(samples, formula="~ visit * age + sex"), samples["donor_id"], even)
    assert design.matrix.shape == (20, 3)
    means = y.groupby(samples["donor_id"]).mean()
    person = samples.drop_duplicates("donor_id").set_index("donor_id").loc[means.index]
    plain = smf.ols("y ~ age_years + sex", person.assign(y=means)).fit()
    ours = sm.OLS(means.to_numpy(), design.matrix.loc[means.index].to_numpy()).fit().t_test(design.contrasts[0].weights)
    assert float(ours.effect.item()) == pytest.approx(plain.params["age_years"] * samples["age_years"].std(), rel=1e-6)
    assert float(ours.pvalue.item()) == pytest.approx(plain.pvalues["age_years"], rel=1e-6)


def test_summing_keeps_every_count_and_what_the_samples_agree_on():
    table = counts_of(people(ragged=True))
    summed = rows_of_donors(table)
    assert summed.counts.sum() == table.counts.sum()
    assert list(summed.samples.index) == sorted(set(table.samples["donor_id"]))
    first = table.samples["donor_id"] == summed.samples.index[0]
    np.testing.assert_array_equal(summed.counts[0], table.counts[first.to_numpy()].sum(axis=0))
    several = table.samples["donor_id"].value_counts()
    donor = several.index[several > 1][0]
    assert "visit" not in summed.samples and summed.samples.loc[donor, "sex"] in ("female", "male")
    weights = table.samples.assign(weight=np.arange(len(table.samples), dtype=float))
    assert "weight" not in rows_of_donors(CellTypeSamples(table.counts, weights, table.symbols)).samples, "may be codes"
    assert summed.samples.loc[donor, "n_cells"] == 50 * several[donor]


def test_a_donors_term_is_tested_among_donors_as_if_their_sums_had_been_given():
    table = counts_of(people())
    answer = analyse_cell_type(table, question("~ sex + age", "age"))
    plain = analyse_cell_type(rows_of_donors(table), question("~ sex + age", "age"))
    pd.testing.assert_frame_equal(answer.leading, plain.leading)
    assert answer.facts["n_samples"] == 20 and answer.facts["repeated_samples"]["use"] == "sum"
    assert any("a donor's samples were summed" in note for note in answer.facts["warnings"])


def test_a_change_within_donors_is_found_through_what_donors_differ_in():
    table = counts_of(people(12), icc=0.9, visit=0.8)
    answer = analyse_cell_type(table, question("~ visit", "visit"))
    found = answer.leading.set_index("gene_id")
    changed = [f"g{i:02d}" for i in range(10)]
    assert found.loc[changed, "robust"].mean() >= 0.8
    assert found["robust"].drop(changed).mean() <= 0.04
    assert found.loc[changed, "log2_fold_change"].abs().mean() == pytest.approx(0.8, abs=0.15)
    assert answer.facts["repeated_samples"]["use"] == "fixed"


def test_with_the_donor_at_random_voom_speaks_alone_and_no_gene_is_robust():
    table = counts_of(people(visits=3, years=15))
    answer = analyse_cell_type(table, question("~ sex + age", "age"))
    assert answer.facts["method"] == "voom" and answer.facts["companion"] == ""
    assert answer.leading["p_value"].notna().all() and answer.leading["p_value_companion"].isna().all()
    assert not answer.leading["robust"].any()
    assert answer.facts["correlation_within_batches"] > 0.2
    assert any("voom tests alone" in note for note in answer.facts["warnings"])


def test_a_random_pool_stays_a_random_effect_in_voom_beside_pydeseq2():
    samples = people(visits=1).assign(pool=[f"p{i % 5}" for i in range(20)])
    answer = analyse_cell_type(counts_of(samples), question("~ sex + age + (1 | pool)", "age"))
    assert "correlation_within_batches" in answer.facts and answer.leading["p_value_companion"].notna().all()
    both = counts_of(people(visits=3, years=15).assign(pool="p"))
    both.samples.loc[both.samples.index[::2], "pool"] = "q"
    refused = analyse_cell_type(both, question("~ sex + age + (1 | pool)", "age"))
    assert refused.leading is None and "cannot be another" in refused.reason


@pytest.mark.parametrize(("formula", "term"), [("~ sex + age", "age"), ("~ visit", "visit")])
def test_the_order_and_the_names_of_samples_change_nothing(formula, term):
    table = counts_of(people(12))
    shuffled = np.random.default_rng(0).permutation(len(table.samples))
    other = CellTypeSamples(
        table.counts[shuffled],
        table.samples.iloc[shuffled].set_axis([f"x{i}" for i in range(len(shuffled))]),
        table.symbols,
    )
    first, second = (analyse_cell_type(one, question(formula, term, method="voom")).leading for one in (table, other))
    columns = ["gene_id", "log2_fold_change", "p_value"]
    pd.testing.assert_frame_equal(first[columns], second[columns], rtol=1e-6)


def test_a_batch_of_samples_stays_a_term_beside_the_donors():
    """Runs that most samples of one condition are in move half of the genes up and half down; the condition none."""
    rng = np.random.default_rng(0)
    samples = people(14)
    in_second = rng.random(len(samples)) < np.where(samples["visit"] == samples["visit"].unique()[0], 0.3, 0.7)
    samples["run"] = np.where(in_second, "r2", "r1")
    level = np.exp(rng.normal(5, 0.3, (len(samples), 60)))
    counts = rng.poisson(level * np.exp2(np.outer(in_second, np.resize([1.0, -1.0], 60))))
    table = counts_of(samples)
    table = CellTypeSamples(counts, samples, table.symbols)
    asked = question("~ visit", "visit", pool_column="run", pool_effect="fixed")
    answer = analyse_cell_type(table, asked)
    assert answer.facts["n_coefficients"] == 16  # the intercept, 13 donors, visit and run
    assert (answer.leading["p_value"] < 0.05).mean() < 0.2
