"""Whatever is asked of a donor's samples is asked of independent rows: against fits with each donor a term, and sums."""

from functools import partial

import numpy as np
import pandas as pd
import pylimma
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from patsy import dmatrix

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.differential_expression import (
    Question,
    analyse_cell_type,
    full_design,
    further_questions,
    random_blocks,
    rows_to_test,
)
from immune_aging.statistics.independent_rows import independent_rows
from immune_aging.statistics.linear_models import weighted_expression
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING
from immune_aging.task.skipped import CannotFit

GENES = 60


def people(n: int, visits: list[dict], **own: list) -> pd.DataFrame:
    """Samples of `n` persons, one for each of `visits`, with what that says; `own` is of the persons, in turn."""
    donor, visit = np.repeat(np.arange(n), len(visits)), np.tile(np.arange(len(visits)), n)
    facts = {name: np.resize(values, n)[donor] for name, values in own.items()}
    table = pd.DataFrame(
        {
            "donor_id": [f"P{i:02d}" for i in donor],
            SAMPLE_OF_DONOR: [f"v{i}" for i in visit],
            "cell_type": "T",
            "age_years": np.random.default_rng(1).uniform(25, 85, n).round()[donor],
            "sex": np.array(["female", "male"])[donor % 2],
            "n_cells": 50,
            **facts,
            VARYING: "[]",
        },
        index=[f"s{i:03d}" for i in range(len(donor))],
    )
    return table.assign(**{name: [visits[i][name] for i in visit] for name in visits[0]})


def counts_of(samples: pd.DataFrame, effect: np.ndarray | float = 0.0, *, seed: int = 0) -> CellTypeSamples:
    """Counts of persons that differ by .6 (SD of logs); the first 10 genes move by log2 `effect` of each sample."""
    rng = np.random.default_rng(seed)
    donor = pd.factorize(samples["donor_id"])[0]
    logs = rng.normal(0, 0.6, (donor.max() + 1, GENES))[donor] + rng.normal(0, 0.1, (len(samples), GENES))
    moved = np.outer(np.broadcast_to(effect, len(samples)), np.arange(GENES) < 10)
    mean = 200 * rng.lognormal(0, 0.7, GENES) * np.exp(logs) * 2**moved
    symbols = pd.Series("", index=pd.Index([f"g{i:02d}" for i in range(GENES)], name="gene_id"))
    return CellTypeSamples(rng.poisson(mean), samples, symbols)


def asked(formula: str, term: str, **changed) -> Question:
    usual = {"contrast": "", "pool_column": "none", "pool_effect": "none", "min_samples": 6, "keep_outliers": True}
    return Question(formula, term, **{**usual, "method": "pydeseq2", "options": DeseqOptions(), **changed})


def further(table: CellTypeSamples, question: Question):
    """The tables and facts of the further questions of all genes, and the leading design, without the leading fits."""
    rows = rows_to_test(table, question)
    design, batches = full_design(rows.table.samples, question, rows)
    block, batches = random_blocks(rows.table.samples.loc[design.matrix.index], design, batches, rows.repeats)
    genes = pd.DataFrame({"gene_id": table.gene_ids})
    tables, facts = further_questions(rows, design, genes, question, block=block)
    reasons = [one["reason"] for one in facts.values()]
    assert not any(reasons), reasons
    return tables, facts, design


def by_gene(rows: pd.DataFrame, level: str) -> pd.DataFrame:
    return rows[rows["level"] == level].set_index("gene_id").sort_index()


PAIRS = [{"condition": "ctrl"}, {"condition": "stim"}]
TISSUES = [{"condition": one, "tissue": other} for one in ("ctrl", "stim") for other in ("blood", "gut")]
RUNS = [{"condition": "ctrl", "run": 1}, {"condition": "stim", "run": 3}]
THREE = [{"condition": "ctrl", "dose": 0.0}, {"condition": "stim", "dose": 1.0}, {"condition": "stim", "dose": 4.0}]


@pytest.mark.parametrize(
    ("samples", "formula", "term", "by", "value"),
    [
        (people(12, PAIRS), "~ condition", "condition", "sex", "stim"),
        (people(12, PAIRS), "~ sex + condition", "condition", "sex", "stim"),
        (people(12, PAIRS), "~ sex + age + condition", "condition", "sex", "stim"),
        (people(12, PAIRS), "~ donor + condition", "condition", "sex", "stim"),
        (people(15, PAIRS, site=["a", "b", "c"]), "~ condition", "condition", "site", "stim"),
        (people(15, PAIRS, site=["a", "b", "c"]), "~ donor + condition", "condition", "site", "stim"),
        (people(8, TISSUES), "~ condition", "condition", "tissue", "stim"),
        (people(8, TISSUES), "~ donor + tissue + condition", "condition", "tissue", "stim"),
        (people(12, THREE), "~ dose", "dose", "sex", ""),
        (people(12, PAIRS).drop(index=["s003", "s010"]), "~ condition", "condition", "sex", "stim"),
    ],
)  # fmt: skip
def test_effects_within_levels_beside_donors_are_voom_with_each_donor_a_term(samples, formula, term, by, value):
    """By limma's own functions, on a matrix of the donors and the term's columns within each level, nothing else."""
    changed = (samples[term] == value).astype(float) if value else samples[term] / samples[term].std()
    levels = sorted(samples[by].unique())
    table = counts_of(samples, changed * np.where(samples[by] == levels[0], 1.0, 0.5))
    tables, _, _ = further(table, asked(formula, term, by_column=by))
    inside = np.column_stack([changed * (samples[by] == level) for level in levels])
    shared = "C(donor_id) + tissue" if by == "tissue" else "C(donor_id)"
    matrix = np.column_stack([np.asarray(dmatrix(shared, samples)), inside])
    weighted = weighted_expression(table.counts, matrix)
    n_levels = len(levels)
    turn = np.eye(matrix.shape[1])
    turn[-1, -n_levels] = 1  # the last coefficient is then the difference of the last level and the first
    for own, design in ((False, matrix), (True, matrix @ turn)):
        theirs = pylimma.e_bayes(pylimma.lm_fit(weighted.expression, design, weights=weighted.weights), robust=True)
        errors = theirs["stdev_unscaled"] * np.sqrt(np.asarray(theirs["s2_post"]))[:, None]
        for place, level in enumerate(levels):
            found = by_gene(tables["by_level"], level)
            column = matrix.shape[1] - n_levels + place
            if not own:
                np.testing.assert_allclose(found["log2_fold_change"], theirs["coefficients"][:, column], atol=1e-6)
                np.testing.assert_allclose(found["lfc_se"], errors[:, column], rtol=1e-5)
                np.testing.assert_allclose(found["p_value"], theirs["p_value"][:, column], rtol=1e-3, atol=1e-12)
            elif n_levels == 2:
                np.testing.assert_allclose(found["difference"], theirs["coefficients"][:, -1], atol=1e-6)
                np.testing.assert_allclose(found["difference_se"], errors[:, -1], rtol=1e-5)
    gene = sm.WLS(weighted.expression[0], matrix, weights=weighted.weights[0]).fit()
    np.testing.assert_allclose(
        [by_gene(tables["by_level"], level)["log2_fold_change"].iloc[0] for level in levels],
        gene.params[-n_levels:],
        atol=1e-6,
    )


def test_effects_within_levels_of_pairs_are_those_of_limma_in_r():
    """Voom and eBayes of R's limma with a donor term on these counts, TMM of edgeR: gene 0, to its four digits."""
    rng = np.random.default_rng(0)
    samples = people(12, PAIRS)
    donor = pd.factorize(samples["donor_id"])[0]
    moved = np.outer(samples["condition"] == "stim", np.arange(GENES) < 10) * 0.5
    level = 200 * rng.lognormal(0, 0.7, GENES) * 2**moved
    noise = rng.normal(0, 0.1, (24, GENES)) + rng.normal(0, 0.6, (12, GENES))[donor]
    symbols = pd.Series("", index=pd.Index([f"g{i:02d}" for i in range(GENES)], name="gene_id"))
    table = CellTypeSamples(rng.poisson(level * np.exp(noise)), samples, symbols)
    rows = further(table, asked("~ condition", "condition", by_column="sex"))[0]["by_level"]
    first = rows[rows["gene_id"] == "g00"].set_index("level")
    np.testing.assert_allclose(first.loc[["female", "male"], "lfc_se"], [0.0948, 0.1024], atol=6e-5)
    np.testing.assert_allclose(first["difference_se"], 0.1396, atol=6e-5)


def test_a_curve_of_ages_beside_donors_is_that_of_a_spline_with_each_donor_a_term():
    ages = [31.0, 40, 52, 60, 75]
    samples = people(8, [{"age_years": age, "visit": f"v{place}"} for place, age in enumerate(ages)])
    table = counts_of(samples, 0.001 * (samples["age_years"] - 50) ** 2)
    tables, _, design = further(table, asked("~ age", "age", age_spline=3))
    assert "donor P00" in design.matrix
    rows = tables["curve"].set_index("gene_id").sort_index()
    points = np.linspace(*np.percentile(samples["age_years"], [5, 95]), 31)
    spline = dmatrix("0 + cr(age_years, df=3, constraints='center')", samples)
    along = np.asarray(dmatrix(spline.design_info, {"age_years": points}))
    matrix = np.column_stack([np.asarray(dmatrix("C(donor_id)", samples)), np.asarray(spline)])
    weighted = weighted_expression(table.counts, matrix)
    for gene in (0, 5, 30):
        fit = sm.WLS(weighted.expression[gene], matrix, weights=weighted.weights[gene]).fit()
        curve = along @ fit.params[-3:]
        assert rows["difference"].iloc[gene] == pytest.approx(np.ptp(curve), rel=1e-5)
        assert rows["low"].iloc[gene] == pytest.approx(points[curve.argmin()])


def visits(n: int = 16, **changed) -> pd.DataFrame:
    """Two visits of each person: mass differs between them, smoking does not; one person has a third visit."""
    samples = people(n, [{"visit": "v0"}, {"visit": "v1"}], smoker=["no", "yes", "no"])
    more = samples.loc[["s001"]].assign(visit="v2", **{SAMPLE_OF_DONOR: "v2"}).set_axis(["s001b"])
    samples = pd.concat([samples, more]).sort_index()
    rng = np.random.default_rng(3)
    samples["bmi"] = 24 + pd.factorize(samples["donor_id"])[0] % 5 + rng.normal(0, 0.5, len(samples))
    samples["run"] = rng.integers(1, 4, len(samples))
    for name, (places, value) in changed.items():
        samples[name] = samples[name].astype(object if value is None else float)
        samples.loc[samples.index[places], name] = value
    return samples


def summed(table: CellTypeSamples, left_out: list[int]) -> tuple[pd.DataFrame, np.ndarray]:
    """The persons' own columns with the mean of each other one by their counts; and the sums; by hand."""
    kept = table.of(~np.isin(np.arange(len(table.samples)), left_out))
    samples, library = kept.samples, kept.counts.sum(axis=1)
    dummies = pd.get_dummies(samples[["visit", "run"]].astype(str), dtype=float)
    numbers = dummies.assign(bmi=samples["bmi"].astype(float))
    donors = samples["donor_id"].to_numpy()
    means = numbers.mul(library, axis=0).groupby(donors).sum().div(pd.Series(library).groupby(donors).sum(), axis=0)
    own = samples.drop_duplicates("donor_id").set_index("donor_id")[["age_years", "sex"]]
    told = samples.dropna(subset="smoker").drop_duplicates("donor_id").set_index("donor_id")["smoker"]
    sums = pd.DataFrame(kept.counts).groupby(donors).sum()
    return own.join(means).assign(smoker=told).loc[sums.index], sums.to_numpy()


LATER = "visit_v1 + visit_v2"
VARIANTS = [
    (visits(), "~ bmi + age", "bmi", [], ["'bmi': differs"]),
    (visits(), "~ visit + sex + age", f"{LATER} + sex", [], ["'visit': differs"]),
    (visits(), "~ visit + bmi + age", f"{LATER} + bmi", [], ["'bmi', 'visit': differs"]),
    (visits(), "~ C(run) + age", "run_2 + run_3", [], ["'run': differs"]),
    (visits(), "~ smoker + age", "smoker", [], []),
    (visits(smoker=([3, 6], None)), "~ smoker + age", "smoker", [3, 6], ["2 samples of 2 donors have no value"]),
    (visits(smoker=([3, 4], None)), "~ smoker + age", "smoker", [], []),  # neither sample of this donor tells it
    (visits(bmi=([3, 6], np.nan)), "~ bmi + age", "bmi", [3, 6], ["2 samples of 2", "'bmi': differs"]),
    (visits(visit=([3], None)), "~ visit + age", LATER, [3], ["1 samples of 1 donors", "'visit': differs"]),
]


@pytest.mark.parametrize(("samples", "formula", "others", "left_out", "notes"), VARIANTS)
def test_what_differs_within_summed_donors_is_its_mean_by_counts(samples, formula, others, left_out, notes):
    table = counts_of(samples)
    question = asked(formula, "age")
    rows = rows_to_test(table, question)
    design, _ = full_design(rows.table.samples, question, rows)
    assert rows.repeats.use == "sum"
    donors, sums = summed(table, left_out)
    np.testing.assert_array_equal(rows.table.counts, sums)
    used = donors.index.isin(design.matrix.index)
    assert used.all() == (len(donors) == len(donors.dropna(subset="smoker"))) or "smoker" not in formula
    y = np.log2(sums[:, 0])
    theirs = smf.ols(f"y ~ age_years + {others}", donors.assign(y=y)[used]).fit()
    ours = sm.OLS(y[used], design.matrix.loc[donors.index[used]]).fit().t_test(design.contrasts[0].weights)
    assert float(ours.effect.item()) / design.sd == pytest.approx(theirs.params["age_years"], rel=1e-6)
    assert float(ours.pvalue.item()) == pytest.approx(theirs.pvalues["age_years"], rel=1e-6)
    assert len(rows.repeats.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, rows.repeats.notes, strict=True)), rows.repeats.notes


def test_the_notes_on_sums_are_among_the_warnings():
    answer = analyse_cell_type(counts_of(visits(10, smoker=([3], None))), asked("~ smoker + bmi + age", "age"))
    assert answer.reason == "" and answer.facts["n_samples"] == 10
    said = " | ".join(answer.facts["warnings"])
    assert "1 samples of 1 donors have no value for a design column and are not in their donors' sums" in said
    assert "'bmi': differs between the samples of a donor; the donor's is their mean, by their counts" in said


@pytest.mark.parametrize(
    ("samples", "formula", "others", "by", "left_out"),
    [
        (visits(), "~ visit + sex + age", f"{LATER} + sex", "sex", []),
        (visits(), "~ bmi + age", "bmi + sex", "sex", []),
        (visits(), "~ sex + age", "sex", "sex", []),
        (visits(24), "~ sex + age", "sex + smoker", "smoker", []),
        (visits(24, smoker=([3, 6], None)), "~ sex + age", "sex + smoker", "smoker", [3, 6]),
        (visits(24, smoker=([3, 6], None)), "~ visit + age", f"{LATER} + smoker", "smoker", [3, 6]),
    ],
)  # fmt: skip
def test_effects_within_levels_of_summed_donors_are_voom_of_their_sums(samples, formula, others, by, left_out):
    table = counts_of(samples)
    tables, facts, _ = further(table, asked(formula, "age", by_column=by))
    donors, sums = summed(table, left_out)
    levels = sorted(donors[by].unique())
    inside = np.column_stack([donors["age_years"] * (donors[by] == level) for level in levels])
    matrix = np.column_stack([np.asarray(dmatrix(others, donors)), inside])
    weighted = weighted_expression(sums, matrix)
    theirs = pylimma.e_bayes(pylimma.lm_fit(weighted.expression, matrix, weights=weighted.weights), robust=True)
    assert facts["by_column"]["n_samples"] == len(donors)
    for place, level in enumerate(levels):
        found = by_gene(tables["by_level"], level)
        column = matrix.shape[1] - 2 + place
        scale = found["log2_fold_change"] / theirs["coefficients"][:, column]
        np.testing.assert_allclose(scale, scale.iloc[0], rtol=1e-3)  # ours are per SD of age
        np.testing.assert_allclose(scale.iloc[0], samples["age_years"].std(), rtol=0.1)
        np.testing.assert_allclose(found["p_value"], theirs["p_value"][:, column], rtol=1e-4)


def test_levels_that_differ_between_summed_samples_are_refused_with_the_remedy_which_works():
    table = counts_of(visits(12))
    rows = rows_to_test(table, asked("~ sex + age", "age", by_column="visit"))
    with pytest.raises(
        CannotFit, match=r"'visit' differs between the samples of donor 'P00', which are summed .*\| donor"
    ):
        rows.with_levels("visit")
    answer = analyse_cell_type(table, asked("~ sex + age", "age", by_column="visit"))
    assert answer.leading is not None and answer.facts["by_column"]["status"] == "skipped"
    pairs = counts_of(people(16, [{"visit": "v0"}, {"visit": "v1"}]))
    tables, facts, _ = further(pairs, asked("~ sex + age + (1 | donor)", "age", by_column="visit"))
    assert facts["by_column"]["levels"] == ["v0", "v1"] and len(tables["by_level"]) == 2 * GENES


def test_donors_of_one_sample_are_rows_as_they_are():
    table = counts_of(people(12, [{}]))
    rows = independent_rows(table, partial(build_design, formula="~ sex + age"))
    design = build_design(table.samples, formula="~ sex + age")
    assert rows.table is table and rows.design(design) is design and rows.described(table.samples) is table.samples


@pytest.mark.parametrize("kind", [int, float, "p{}".format])
def test_pools_that_differ_between_summed_samples_are_never_averaged(kind):
    samples = visits(24)
    samples["pool_number"] = [kind(run) for run in samples["run"]]
    table = counts_of(samples)
    auto = asked("~ sex + age", "age", pool_column="auto", pool_effect="auto")
    rows = rows_to_test(table, auto)
    design, batches = full_design(rows.table.samples, auto, rows)
    assert batches.use == "none" and design.matrix.shape == (24, 3) and "pool_number" not in rows.table.samples
    fixed = asked("~ sex + age", "age", pool_column="pool_number", pool_effect="fixed")
    named = asked("~ sex + age + C(pool_number)", "age")
    found = []
    for question in (fixed, named):
        rows = rows_to_test(table, question)
        design, _ = full_design(rows.table.samples, question, rows)
        fit = sm.OLS(np.log2(rows.table.counts[:, 0]), design.matrix).fit().t_test(design.contrasts[0].weights)
        found.append((float(fit.effect.item()), float(fit.pvalue.item())))
        assert design.matrix.shape == (24, 5)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    for question in (
        asked("~ sex + age", "age", pool_column="pool_number", pool_effect="random"),
        asked("~ sex + age + (1 | pool_number)", "age"),
    ):
        answer = analyse_cell_type(table, question)
        assert "'pool_number' differs between" in answer.reason and "cannot be a random effect" in answer.reason


def test_ages_under_the_cohorts_own_name_that_differ_between_visits_are_averaged():
    samples = visits(20)
    samples["age_years"] += (samples["visit"] == "v1").astype(float)
    samples = samples.assign(Alter=samples["age_years"], age_text=samples["age_years"].astype(str))
    table = counts_of(samples)
    tables, _, design = further(table, asked("~ sex + Alter", "Alter", by_column="sex", age_spline=3))
    assert design.of_age and len(design.matrix) == 20 and len(tables["curve"]) == GENES
    plain = further(table, asked("~ sex + age", "age", by_column="sex"))[0]["by_level"]
    for level in ("female", "male"):  # by the mean of the two ages, by counts there and by visits here
        own, other = by_gene(tables["by_level"], level), by_gene(plain, level)
        np.testing.assert_allclose(own["p_value"], other["p_value"], atol=0.01)
