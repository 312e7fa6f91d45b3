"""Curves of age: the basis, both tests and the shapes, against other libraries and known truth."""

import anndata
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from de_step import run_step
from immune_aging.statistics.curves import COLUMNS, POINT_COLUMNS, shape_of, spline_basis, with_curve
from immune_aging.statistics.designs import build_design
from immune_aging.task.checkpoints import read_json, read_tsv
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit


def donors(n: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "donor_id": [f"d{i}" for i in range(n)],
            "age_years": rng.uniform(20, 90, n).round(),
            "sex": rng.choice(["female", "male"], n),
        },
        index=[f"s{i:02d}" for i in range(n)],
    )


@pytest.mark.parametrize("df", [2, 3, 5])
def test_the_curve_spans_the_natural_spline_of_another_library_and_holds_the_line(df):
    from patsy import dmatrix

    ages = donors()["age_years"].to_numpy()
    bent, _ = spline_basis(ages, ages, df)
    assert bent.shape == (90, df - 1)
    np.testing.assert_allclose(bent.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(bent.std(axis=0, ddof=1), 1, rtol=1e-8)
    np.testing.assert_allclose(bent.T @ ages, 0, atol=1e-6)
    ours = np.column_stack([np.ones_like(ages), ages, bent])
    theirs = np.asarray(dmatrix(f"cr(x, df={df}, constraints='center')", {"x": ages}))
    both = np.column_stack([ours, theirs])
    scaled = both / np.linalg.norm(both, axis=0)
    assert np.linalg.matrix_rank(scaled, tol=1e-7) == ours.shape[1] == theirs.shape[1]


def test_both_tests_are_the_f_tests_of_nested_models():
    table = donors()
    rng = np.random.default_rng(1)
    y = rng.normal(size=90) + ((table["age_years"] - 55) / 20) ** 2
    curve = with_curve(build_design(table), table, df=3)
    whole, nonlinear = curve.design.contrasts
    fit = sm.OLS(y.to_numpy(), curve.design.matrix.to_numpy()).fit()
    plain = sm.OLS(y.to_numpy(), build_design(table).matrix.to_numpy()).fit()
    sex = sm.OLS(y.to_numpy(), build_design(table).matrix[["Intercept", "sex[T.male]"]].to_numpy()).fit()
    f = fit.compare_f_test(plain)[0]
    assert float(fit.f_test(nonlinear.hypothesis).fvalue) == pytest.approx(f)
    assert float(fit.f_test(whole.hypothesis).fvalue) == pytest.approx(fit.compare_f_test(sex)[0])
    predicted = curve.rows @ fit.params
    assert shape_of(predicted) == "dips"


def along(curve) -> str:
    return shape_of(curve(np.linspace(0, 1, 31)))


def test_shapes_are_named_as_a_reader_would():
    assert along(lambda x: x) == "rises"
    assert along(lambda x: -x) == "falls"
    assert along(lambda x: -((x - 0.5) ** 2)) == "peaks"
    assert along(lambda x: (x - 0.4) ** 2) == "dips"
    assert along(lambda x: np.minimum(x, 0.3)) == "rises early"
    assert along(lambda x: np.maximum(x, 0.7)) == "rises late"
    assert along(lambda x: -np.minimum(x, 0.3)) == "falls early"
    assert along(lambda x: -np.maximum(x, 0.7)) == "falls late"
    assert along(lambda x: np.sin(2 * np.pi * x)) == "wave"
    assert along(lambda x: x + 0.02 * np.sin(6 * x)) == "rises"


def test_a_curve_of_one_function_is_refused_as_the_line_it_is():
    with pytest.raises(BadInput, match="--age_spline 1: is a line"):
        with_curve(build_design(donors()), donors(), df=1)


@pytest.mark.parametrize(
    ("change", "formula", "term", "error", "message"),
    [
        ({}, "~ sex + age", "sex", BadInput, "--age_spline 3: needs --test_term age, not 'sex'"),
        ({"age_years": [20.0, 40.0, 60.0] * 30}, "~ age", "age", CannotFit, "3 different values; a curve of 3 needs 5"),
        ({}, "~ age + I(age**2) + I(age**3) + bs(age, df=8)", "age", CannotFit, "full rank|follows"),
        ({}, "~ sex + age + I(age**2)", "age", BadInput, r"has 'I\(age \*\* 2\)', another curve of age"),
        ({}, "~ age + np.log(age_years)", "age", BadInput, "another curve of age"),
        ({}, "~ age + sex:np.log(age)", "age", BadInput, "another curve of age"),
        (
            {"bent": spline_basis(donors()["age_years"].to_numpy(), np.array([50.0]), 2)[0][:, 0]},
            "~ age + bent",
            "age",
            CannotFit,
            "the curve of age follows from the other terms",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(change, formula, term, error, message):
    table = donors().assign(**change)
    with pytest.raises(error, match=message):
        with_curve(build_design(table, formula=formula, test_term=term), table, df=2 if "bent" in table else 3)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """100 genes: 0-7 peak, 8-15 rise in a line, the others are still; the tables and the summary."""
    rng, table = np.random.default_rng(3), donors()
    ages = table["age_years"].to_numpy()
    log2 = np.zeros((len(table), 100))
    log2[:, :8] = 1.6 * np.exp(-(((ages - 55) / 14) ** 2))[:, None] * np.where(np.arange(8) % 2, 1, -1)
    log2[:, 8:16] = ((ages - 55) / 25)[:, None] * np.where(np.arange(8) % 2, 1, -1)
    counts = rng.poisson(150 * 2**log2 * rng.gamma(25, 1 / 25, log2.shape))
    var = pd.DataFrame({"symbol": [f"SYM{i}" for i in range(100)]}, index=[f"ENSG{i:011d}" for i in range(100)])
    adata = anndata.AnnData(counts.astype(np.float32), table.assign(cell_type="T", n_cells=50), var)
    folder = tmp_path_factory.mktemp("curve")
    run_step(folder, adata, "--age-spline", "3", "--pool-column", "none")
    tables = [read_tsv(folder / f"{name}.tsv", dtype={"shape": str}) for name in ("de_curve", "de_curve_points")]
    return *tables, read_json(folder / "de_summary.json")


def test_curves_are_found_told_from_lines_and_named(planted):
    table, points, summary = planted
    assert list(table.columns) == list(COLUMNS) and list(points.columns) == list(POINT_COLUMNS)
    rows = table.set_index("symbol")
    up, down = [f"SYM{i}" for i in range(1, 8, 2)], [f"SYM{i}" for i in range(0, 8, 2)]
    assert (rows.loc[up, "shape"] == "peaks").all() and (rows.loc[down, "shape"] == "dips").all()
    assert rows.loc[up, "high"].between(48, 62).all() and rows.loc[down, "low"].between(48, 62).all()
    lines = [f"SYM{i}" for i in range(8, 16)]
    assert rows.loc[lines, "shape"].isin(["rises", "falls"]).mean() >= 0.75
    assert (rows.loc[lines, "padj"] < 0.05).all() and (rows.loc[lines, "padj_nonlinear"] < 0.05).mean() <= 0.25
    still = rows.index.difference([*up, *down, *lines])
    assert (rows.loc[still, "padj"] < 0.05).mean() <= 0.1
    assert rows.loc[still, "p_nonlinear"].lt(0.05).mean() <= 0.15
    assert summary["age_spline"]["n_called"] == len(set(points["gene_id"]))
    assert summary["age_spline"]["shapes"]["peaks"] >= 4
