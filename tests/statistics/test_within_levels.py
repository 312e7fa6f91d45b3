"""The effect within each level and the difference of levels: against another library's fits, and known truth."""

import anndata
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

from de_step import run_step
from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.differential_expression import Question, analyse_cell_type
from immune_aging.statistics.within_levels import COLUMNS, design_by_level
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, read_tsv
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit


def donors(n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "donor_id": [f"d{i}" for i in range(n)],
            "age_years": rng.uniform(20, 90, n),
            "sex": rng.choice(["female", "male"], n, p=[0.6, 0.4]),
            "site": rng.choice(["a", "b", "c"], n),
            "smoker": rng.choice([True, False], n),
            "bmi": rng.normal(25, 3, n),
        },
        index=[f"s{i:02d}" for i in range(n)],
    )


def effects(table: pd.DataFrame, y: np.ndarray, formula: str, by: str, **options: str) -> tuple[np.ndarray, list[str]]:
    own, levels = design_by_level(table, build_design(table, formula=formula, **options), by=by)
    beta = np.linalg.lstsq(own.matrix.to_numpy(), y, rcond=None)[0]
    return np.array([one.weights @ beta for one in own.contrasts]), levels


@pytest.mark.parametrize(
    ("formula", "by", "whole"),
    [
        ("~ sex + age", "sex", "y ~ sex * age"),
        ("~ age", "sex", "y ~ sex * age"),
        ("~ sex * age + bmi", "sex", "y ~ sex * age + bmi"),
        ("~ sex + age + site", "site", "y ~ sex + site * age"),
    ],
)
def test_slopes_within_levels_are_those_of_another_librarys_fit(formula, by, whole):
    table = donors()
    y = np.random.default_rng(0).normal(size=len(table)) + table["age_years"] / 30 * (table[by] == "male")
    fit = smf.ols(whole, table.assign(age=table["age_years"], y=y)).fit()
    at = {"sex": "female", "site": "a", "bmi": 25.0}
    found, levels = effects(table, y, formula, by)
    slopes = []
    for level in levels:
        ends = fit.predict(pd.DataFrame([{**at, by: level, "age": age} for age in (51.0, 50.0)]))
        slopes.append((ends[0] - ends[1]) * table["age_years"].std())
    np.testing.assert_allclose(found, [*slopes, slopes[-1] - slopes[0]], rtol=1e-6)


@pytest.mark.parametrize("kind", [int, float, "p{}".format, "{:02d}".format])
@pytest.mark.parametrize(("by", "whole"), [("sex", "y ~ sex * age + C(run)"), ("run", "y ~ sex + C(run) * age")])
def test_a_batch_is_a_factor_within_levels_whatever_names_it(kind, by, whole):
    """Whole numbers would be a slope, beside which half of what batches do stays in the noise."""
    numbers = np.resize([1, 2, 3, 7], 80)
    table = donors().assign(run=[kind(int(number)) for number in numbers])
    y = np.random.default_rng(0).normal(size=80) + np.array([0, 4.0, -4, 1])[np.resize(range(4), 80)]
    own, _ = design_by_level(table, build_design(table, batch="run"), by=by)
    ours = sm.OLS(y, own.matrix.to_numpy()).fit()
    named = table.assign(age=table["age_years"] / table["age_years"].std(), y=y)
    fit = smf.ols(whole, named).fit()
    term = "C(run)" if by == "run" else by
    slopes = ["age", *(f"age + {term}[T.{one}]:age" for one in sorted(set(table[by]))[1:])]
    for contrast, slope in zip(own.contrasts, slopes, strict=False):
        found, expected = ours.t_test(contrast.weights), fit.t_test(slope)
        assert float(found.effect.item()) == pytest.approx(float(expected.effect.item()), rel=1e-6)
        assert float(found.sd.item()) == pytest.approx(float(expected.sd.item()), rel=1e-6)


def test_columns_that_follow_from_others_are_left_out_where_every_effect_can_be_told():
    table = donors().assign(gender=lambda own: own["sex"].map({"female": "F", "male": "M"}))
    y = np.random.default_rng(0).normal(size=len(table))
    (same, _), (plain, _) = (effects(table, y, "~ sex + age", by) for by in ("gender", "sex"))
    np.testing.assert_allclose(same, plain, rtol=1e-6)
    smokers = table.assign(smoker=np.where(table["sex"] == "male", "no", np.resize(["no", "yes"], 80)))
    design = build_design(smokers, formula="~ smoker + age", test_term="smoker")
    with pytest.raises(CannotFit, match="not of full rank: in these samples 'smoker:sex' follows"):
        design_by_level(smokers, design, by="sex")


def test_a_factors_effect_within_levels_is_its_difference_there():
    table = donors()
    y = np.random.default_rng(0).normal(size=len(table))
    fit = smf.ols("y ~ sex * smoker + age", table.assign(age=table["age_years"], y=y)).fit()

    def mean(sex: str, smoker: bool) -> float:
        return float(fit.predict(pd.DataFrame({"sex": [sex], "smoker": [smoker], "age": [50.0]}))[0])

    found, levels = effects(table, y, "~ smoker + age", "sex", test_term="smoker")
    expected = [mean(sex, True) - mean(sex, False) for sex in levels]
    np.testing.assert_allclose(found, [*expected, expected[1] - expected[0]], rtol=1e-6)


def test_more_than_two_levels_have_a_joint_test_of_equality():
    table = donors()
    own, levels = design_by_level(table, build_design(table), by="site")
    assert levels == ["a", "b", "c"] and own.contrasts[-1].hypothesis.shape[0] == 2
    beta = np.linalg.lstsq(own.matrix.to_numpy(), table["age_years"] * 0.1, rcond=None)[0]
    np.testing.assert_allclose(own.contrasts[-1].hypothesis @ beta, 0, atol=1e-8)


@pytest.mark.parametrize(
    ("by", "error", "message"),
    [
        ("bmi", BadInput, "--by_column 'bmi': holds numbers"),
        ("age", BadInput, "is the tested term itself"),
        ("nosuch", BadInput, "--by_column 'nosuch': is no donor column; there are: .*bmi"),
        ("one", CannotFit, "all samples have the 'one' 'x'"),
        ("rare", CannotFit, "'rare' has 3 samples of 'r'; at least 4"),
    ],
)
def test_what_cannot_be_asked_is_refused(by, error, message):
    table = donors().assign(one="x", rare=["r"] * 3 + ["q"] * 77)
    with pytest.raises(error, match=message):
        design_by_level(table, build_design(table), by=by)


def test_a_column_that_was_lost_with_the_samples_that_were_added_up_is_named():
    table = donors()
    with pytest.raises(CannotFit, match="'bmi' of the design differs between the samples of a donor"):
        design_by_level(table.drop(columns="bmi"), build_design(table, formula="~ age + bmi"), by="sex")


def test_samples_of_a_donor_are_compared_with_each_other_within_the_levels_too():
    """Donors differ fourfold, which hides a change of a quarter from whoever takes their samples for independent."""
    rng = np.random.default_rng(3)
    pairs = donors(24).loc[lambda own: np.repeat(own.index, 2)].assign(condition=np.tile(["ctrl", "stim"], 24))
    pairs = pairs.assign(cell_type="T", n_cells=50, **{SAMPLE_OF_DONOR: pairs["condition"]})
    pairs = pairs.set_axis([f"s{i:02d}" for i in range(48)])
    change = np.zeros((48, 40))
    change[1::2, :8] = np.resize([0.3, -0.3], 8)
    counts = rng.poisson(2000 * 2 ** (change + np.repeat(rng.normal(0, 1, (24, 40)), 2, axis=0)))
    table = CellTypeSamples(counts, pairs, pd.Series("", index=[f"g{i:02d}" for i in range(40)]))
    asked = Question("~ condition", "condition", "", "none", "none", 6, True, "voom", DeseqOptions(), by_column="sex")
    answer = analyse_cell_type(table, asked)
    by_sex = answer.further["by_level"].set_index("gene_id")
    ratios = pd.DataFrame(np.log2(counts[1::2] / counts[::2]))
    for sex, own in by_sex.groupby("level"):
        changed = own.loc[[f"g{i:02d}" for i in range(8)]]
        assert (changed["padj"] < 0.01).all() and (own.drop(changed.index)["padj"] < 0.05).mean() < 0.1
        expected = ratios[(pairs["sex"].iloc[::2] == sex).to_numpy()].mean().to_numpy()
        found = own.sort_index()["log2_fold_change"].to_numpy()
        np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=0.03)


@pytest.fixture(scope="module")
def opposed(tmp_path_factory):
    """100 genes: 0-9 rise in men and fall in women, 10-19 rise in both; de.tsv, the table by level, the summary."""
    rng, table = np.random.default_rng(2), donors()
    scaled = ((table["age_years"] - table["age_years"].mean()) / table["age_years"].std()).to_numpy()
    log2 = np.zeros((len(table), 100))
    log2[:, :10] = (np.where(table["sex"] == "male", 0.7, -0.7) * scaled)[:, None]
    log2[:, 10:20] = 0.7 * scaled[:, None] * np.where(np.arange(10) % 2, 1, -1)
    counts = rng.poisson(150 * 2**log2 * rng.gamma(25, 1 / 25, log2.shape))
    var = pd.DataFrame({"symbol": [f"SYM{i}" for i in range(100)]}, index=[f"ENSG{i:011d}" for i in range(100)])
    adata = anndata.AnnData(counts.astype(np.float32), table.assign(cell_type="T", n_cells=50), var)
    folder = tmp_path_factory.mktemp("by")
    de, summary = run_step(folder, adata, "--by-column", "sex", "--pool-column", "none")
    plain, _ = run_step(folder / "plain", adata, "--pool-column", "none")
    return de, plain, read_tsv(folder / "de_by_sex.tsv", dtype={"level": str}), summary


def test_opposite_slopes_are_found_within_the_sexes_and_not_on_average(opposed):
    de, plain, by_sex, summary = opposed
    pd.testing.assert_frame_equal(de, plain)
    assert list(by_sex.columns) == list(COLUMNS) and len(by_sex) == 2 * len(de)
    rows = by_sex.set_index(["symbol", "level"])
    both = [f"SYM{i}" for i in range(10)]
    np.testing.assert_allclose(rows.loc[(both, "male"), "log2_fold_change"].mean(), 0.7, atol=0.12)
    np.testing.assert_allclose(rows.loc[(both, "female"), "log2_fold_change"].mean(), -0.7, atol=0.12)
    genes = by_sex.drop_duplicates("gene_id").set_index("symbol")
    called = genes.index[genes["difference_padj"] < 0.05]
    assert set(both) <= set(called) and len(called) <= 14
    np.testing.assert_allclose(genes.loc[both, "difference"].mean(), 1.4, atol=0.15)
    assert summary["by_column"]["n_different"] == len(called)
    assert summary["by_column"]["levels"] == ["female", "male"]
    assert summary["by_column"]["design"] == "~ sex + age + age:sex"


def test_difference_is_the_last_level_minus_the_first(opposed):
    rows = opposed[2].pivot(index="gene_id", columns="level", values="log2_fold_change")
    difference = opposed[2].drop_duplicates("gene_id").set_index("gene_id")["difference"]
    np.testing.assert_allclose((rows["male"] - rows["female"]).reindex(difference.index), difference, atol=1e-4)
