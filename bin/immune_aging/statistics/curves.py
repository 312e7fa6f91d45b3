"""When in life genes change: natural splines of age, tested as a whole and against a line.

The spline's columns are split into the line that the design has already and what bends it. A line is a curve, too, so
that the joint test asks whether expression changes with age in any way, and the test of what bends it whether a line is
enough.

References
----------
Hastie, Tibshirani, Friedman (2009), The Elements of Statistical Learning, 2nd ed., 5.2.1 (natural cubic splines).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import not_told
from immune_aging.statistics.contrasts import Contrast
from immune_aging.statistics.count_tests import fit_voom
from immune_aging.statistics.designs import MIN_RESIDUAL_DF, Design
from immune_aging.statistics.formulas import columns_of_term, function_of_age
from immune_aging.statistics.linear_models import WeightedExpression, weighted_expression, weighted_fits
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

COLUMNS = (
    "gene_id", "symbol", "p_value", "padj", "p_nonlinear", "padj_nonlinear", "low", "high", "difference", "shape",
)  # fmt: skip
POINT_COLUMNS = ("gene_id", "symbol", "shape", "age_years", "log2_expression")
# Curves are read between these percentiles of age: beyond them few donors hold them.
PERCENTILES = (5, 95)
N_POINTS = 31
# A curve turns where it comes back by at least this share of its range on both sides of an inner extreme.
TURN = 0.2
# A curve without a turn is early or late where this share of its change lies in one half of the ages.
HALF = 0.75


@dataclass(frozen=True)
class Curve:
    """A design with a spline of its tested numeric column.

    Attributes
    ----------
    design
        Its contrasts: the joint test of the whole curve, and that of what bends it.
    ages
        Points in the column's own unit, in ascending order.
    rows
        Points x coefficients: a gene's log2 expression along the curve, of mean 0 over the points.
    """

    design: Design
    ages: np.ndarray
    rows: np.ndarray


def spline_basis(values: np.ndarray, points: np.ndarray, df: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns of a natural cubic spline that are orthogonal to its line, at the samples and at other points.

    Parameters
    ----------
    values, points
        Of the numeric column.
    df
        Functions in the spline, the line among them.

    Returns
    -------
    Samples x (df - 1) with mean 0 and SD 1, and points x (df - 1).

    Raises
    ------
    CannotFit
        The column has too few different values.
    """
    from formulaic import model_matrix

    if len(np.unique(values)) < df + 2:
        raise CannotFit(f"{len(np.unique(values))} different values; a curve of {df} needs {df + 2}")
    spline = model_matrix(f"~ 0 + cr(x, df={df}, constraints='center')", pd.DataFrame({"x": values}))
    at_points = spline.model_spec.get_model_matrix(pd.DataFrame({"x": points})).to_numpy(dtype=float)
    columns = spline.to_numpy(dtype=float)
    line, line_at_points = (np.column_stack([np.ones_like(x), x]) for x in (values, points))
    scale = np.abs(line).max(axis=0)
    share = np.linalg.lstsq(line / scale, columns, rcond=None)[0]
    bent, bent_at_points = columns - line / scale @ share, at_points - line_at_points / scale @ share
    _, size, turn = np.linalg.svd(bent, full_matrices=False)
    turn = turn[: df - 1].T / size[: df - 1] * np.sqrt(len(values) - 1)
    # The sign of a singular vector is arbitrary.
    turn = turn * np.where((bent @ turn)[np.argmax(values)] < 0, -1, 1)
    return bent @ turn, bent_at_points @ turn


def with_curve(design: Design, samples: pd.DataFrame, *, df: int) -> Curve:
    """Add a spline of age to a design that has its line.

    Parameters
    ----------
    design
        Whose tested term is age.
    samples
        With age_years; those of the design among them.
    df
        At least 2.

    Raises
    ------
    BadInput
        The tested term is not age, or the curve would be a line.
    CannotFit
        The samples are too few, or of too few ages.
    """
    if df < 2:
        raise BadInput(f"--age_spline {df}: is a line, which is tested anyway; give 2 to 6, or 0 for no curves")
    if not_told(samples, "age_years"):
        raise BadInput(f"--age_spline {df}: needs ages, which --age_column none leaves out; leave one of them out")
    if not design.of_age or len(columns_of_term(design.test_term)) > 1:  # not the interaction of age with a factor
        raise BadInput(f"--age_spline {df}: needs --test_term age, not '{design.test_term}'")
    if beside := function_of_age(design.formula, samples):
        raise BadInput(f"--age_spline {df}: the design has '{beside}', another curve of age; leave one of them out")
    ages = samples.loc[design.matrix.index, "age_years"].to_numpy(dtype=float)
    first, last = np.percentile(ages, PERCENTILES)
    points = np.linspace(first, last, N_POINTS)
    bent, bent_at_points = spline_basis(ages, points, df)
    names = [f"curve of age {number + 1}" for number in range(df - 1)]
    matrix = design.matrix.assign(**dict(zip(names, bent.T, strict=True)))
    if len(matrix) - matrix.shape[1] < MIN_RESIDUAL_DF:
        raise CannotFit(f"{len(matrix)} samples for {matrix.shape[1]} coefficients: too few for a curve of {df}")
    if np.linalg.matrix_rank(matrix.to_numpy()) < matrix.shape[1]:
        raise CannotFit("the curve of age follows from the other terms of the design")
    slope = np.concatenate([design.contrasts[0].weights, np.zeros(df - 1)])
    bends = np.eye(matrix.shape[1])[-(df - 1) :]
    rows = np.outer((points - design.mean) / design.sd, slope) + bent_at_points @ bends
    rows = rows - rows.mean(axis=0)
    whole = Contrast("any change with age", "", "", rows[-1] - rows[0], np.vstack([slope, bends]))
    nonlinear = Contrast("a curve against a line", "", "", bends[0], bends)
    return Curve(replace(design, matrix=matrix, contrasts=(whole, nonlinear)), points, rows)


def shape_of(curve: np.ndarray) -> str:
    """What a curve does, in a word: rises, falls (early or late), peaks, dips.

    Parameters
    ----------
    curve
        Expression at equally spaced ages.
    """
    span = curve.max() - curve.min()
    top, bottom = int(curve.argmax()), int(curve.argmin())
    if min(curve[top] - curve[0], curve[top] - curve[-1]) >= TURN * span:
        if min(curve[0] - curve[bottom], curve[-1] - curve[bottom]) >= TURN * span:
            return "wave"
        return "peaks"
    if min(curve[0] - curve[bottom], curve[-1] - curve[bottom]) >= TURN * span:
        return "dips"
    change = curve[-1] - curve[0]
    way = "rises" if change > 0 else "falls"
    early = (curve[len(curve) // 2] - curve[0]) / change if change else 0.5
    return f"{way} early" if early >= HALF else f"{way} late" if early <= 1 - HALF else way


def curve_tables(
    whole: pd.DataFrame, nonlinear: pd.DataFrame, expression: np.ndarray, genes: pd.DataFrame, curve: Curve
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """de_curve.tsv, and the points of the curves of the genes that are called.

    Parameters
    ----------
    whole, nonlinear
        `RESULT_COLUMNS` of the two tests, the same genes.
    expression
        Genes x points, log2, of mean 0.
    genes
        gene_id and symbol.

    Returns
    -------
    `COLUMNS`, by p; `low` and `high` are the ages of lowest and highest expression, `difference` the log2 difference
    between them, `shape` '' of genes that are not called, 'rises' or 'falls' where a line is enough. `POINT_COLUMNS`.
    """
    low, high = expression.argmin(axis=1), expression.argmax(axis=1)
    called = (whole["padj"] < ALPHA).to_numpy()
    bent = (nonlinear["padj"] < ALPHA).to_numpy()
    lines = np.where(expression[:, -1] > expression[:, 0], "rises", "falls")
    shapes = [
        "" if not call else shape_of(own) if bend else str(line)
        for call, bend, own, line in zip(called, bent, expression, lines, strict=True)
    ]
    table = genes.reset_index(drop=True).assign(
        p_value=whole["p_value"].to_numpy(),
        padj=whole["padj"].to_numpy(),
        p_nonlinear=nonlinear["p_value"].to_numpy(),
        padj_nonlinear=nonlinear["padj"].to_numpy(),
        low=curve.ages[low],
        high=curve.ages[high],
        difference=expression.max(axis=1) - expression.min(axis=1),
        shape=shapes,
    )
    order = table.sort_values(["p_value", "gene_id"], kind="stable").index
    points = [
        pd.DataFrame(
            {
                "gene_id": table.loc[gene, "gene_id"],
                "symbol": table.loc[gene, "symbol"],
                "shape": table.loc[gene, "shape"],
                "age_years": curve.ages,
                "log2_expression": expression[gene],
            }
        )
        for gene in order
        if called[gene]
    ]
    columns = list(POINT_COLUMNS)
    return (
        table.loc[order, list(COLUMNS)].reset_index(drop=True),
        pd.concat(points, ignore_index=True)[columns] if points else pd.DataFrame(columns=columns),
    )


def expression_along(curve: Curve, weighted: WeightedExpression) -> np.ndarray:
    """Genes x points: each gene's curve by voom's weighted fit."""
    matrix = curve.design.matrix.to_numpy(dtype=float)
    fit = weighted_fits(weighted.expression, weighted.weights, matrix, whiten=weighted.whitener)
    return fit["coefficients"] @ curve.rows.T


def age_curves(
    counts: np.ndarray, genes: pd.DataFrame, curve: Curve, *, block: np.ndarray | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of `curve_tables`, tested by voom, whose joint tests hold their rate.

    Parameters
    ----------
    counts
        Samples x genes, raw; the samples of the curve's design, the tested genes.
    block
        Group of each sample whose samples are correlated; None for none.
    """
    matrix = curve.design.matrix
    weights = [one.weights for one in curve.design.contrasts]
    hypotheses = [one.hypothesis for one in curve.design.contrasts]
    weighted = weighted_expression(counts, matrix.to_numpy(dtype=float), block=block)
    tests = fit_voom(counts, matrix, weights, hypotheses=hypotheses, weighted=weighted)
    return curve_tables(tests[0], tests[1], expression_along(curve, weighted), genes, curve)


def facts(table: pd.DataFrame, *, df: int) -> dict:
    """What the summary says of the curves."""
    called = table["padj"] < ALPHA
    return {
        "df": df,
        "status": "done",
        "reason": "",
        "n_called": int(called.sum()),
        "n_nonlinear": int((called & (table["padj_nonlinear"] < ALPHA)).sum()),
        "shapes": {str(name): int(n) for name, n in table.loc[called, "shape"].value_counts().sort_index().items()},
    }
