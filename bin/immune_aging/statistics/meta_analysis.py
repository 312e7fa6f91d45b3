"""One gene's age effects in several cell types put together, though the cell types come from the same donors.

What a donor's blood was like that day moves a gene in all cell types at once, so the errors of the effects are
correlated between cell types. The correlation is estimated from the genes that hardly change and enters every
variance here. The mean is that of these cell types, not of a population of cell types they were drawn from
(fixed-effects model in the plural: Rice, Higgins, Lumley 2018, J. R. Stat. Soc. A 181:205), so that differences
between cell types do not widen it; they have a test of their own.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from immune_aging.statistics.multiple_testing import adjusted_p_values

# Genes whose |z| is above this in one of two cell types may change with age and say nothing of the errors.
NULL_Z = 1.5
LARGEST_CORRELATION = 0.99
# The more counts a gene has the more of its error is the donor's, which cell types share: genes of low, middle and
# high expression have a correlation each, if there are enough to estimate it from.
STRATA = 3
MIN_STRATUM = 200
SMALLEST_P = 1e-300  # a p value of 0 has no normal score
MODERATE_P = (0.02, 0.1)  # around the bounds of 95 % intervals


def truncated_correlation(one: np.ndarray, other: np.ndarray, *, limit: float = NULL_Z) -> tuple[float, float]:
    """Correlation of two standard normal scores from those pairs that both lie within `limit`, and its variance.

    Maximum likelihood of the truncated bivariate normal, on a grid of .01: the plain correlation of such pairs
    would be too small.

    References
    ----------
    Lin, Sullivan (2009), Am. J. Hum. Genet. 85:862 (correlated scores of overlapping samples).
    """
    from scipy.stats import norm

    inside = (np.abs(one) < limit) & (np.abs(other) < limit)
    n = int(inside.sum())
    if n < 2:
        return 0.0, np.inf
    a, b = one[inside], other[inside]
    grid = np.round(np.arange(-LARGEST_CORRELATION, LARGEST_CORRELATION + 0.005, 0.01), 2)
    # The chance that both lie within the limit, by integrating over the first of them.
    x = np.linspace(-limit, limit, 401)
    spread = np.sqrt(1 - grid**2)[:, None]
    slice_chance = norm.cdf((limit - grid[:, None] * x) / spread) - norm.cdf((-limit - grid[:, None] * x) / spread)
    chance = np.trapezoid(norm.pdf(x) * slice_chance, x, axis=1)
    squares, product = (a @ a + b @ b) / n, a @ b / n
    log_likelihood = -0.5 * np.log(1 - grid**2) - (squares - 2 * grid * product) / (2 * (1 - grid**2)) - np.log(chance)
    best = int(np.clip(np.argmax(log_likelihood), 1, len(grid) - 2))
    curvature = -np.diff(log_likelihood[best - 1 : best + 2], 2)[0] / 0.01**2 * n
    return float(grid[np.argmax(log_likelihood)]), float(1 / curvature) if curvature > 0 else np.inf


def error_correlation(z: np.ndarray) -> np.ndarray:
    """Correlation of the errors between cell types, a valid correlation matrix.

    The pairs are drawn towards their mean by as much of their spread as is their own uncertainty (James-Stein): its
    inverse, which heterogeneity needs, would take chance for structure.

    Parameters
    ----------
    z
        Genes x cell types, effect over standard error; NaN where a gene was not tested.
    """
    n_types = z.shape[1]
    pairs = [(i, j) for i in range(n_types) for j in range(i)]
    found = np.zeros((len(pairs), 2))
    for number, (i, j) in enumerate(pairs):
        both = np.isfinite(z[:, i]) & np.isfinite(z[:, j])
        found[number] = truncated_correlation(z[both, i], z[both, j])
    value, variance = found.T
    weight = 1 / np.maximum(variance, 1e-12)
    mean = (weight * value).sum() / weight.sum() if weight.sum() > 0 else 0.0
    spread = max(float(np.var(value)), 1e-12)
    own = np.clip(1 - np.where(np.isfinite(variance), variance, np.inf) / spread, 0, 1)
    matrix = np.eye(n_types)
    for (i, j), r in zip(pairs, mean + own * (value - mean), strict=True):
        matrix[i, j] = matrix[j, i] = r
    values, vectors = np.linalg.eigh(matrix)
    if values.min() < 1 - LARGEST_CORRELATION:
        matrix = vectors @ np.diag(np.maximum(values, 1 - LARGEST_CORRELATION)) @ vectors.T
        scale = np.sqrt(np.diag(matrix))
        matrix = matrix / np.outer(scale, scale)
    return (matrix + matrix.T) / 2


def mean_effect(effect: np.ndarray, se: np.ndarray, correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean effect of each gene over its cell types, weighted by precision, and its standard error.

    Parameters
    ----------
    effect, se
        Genes x cell types; NaN where a gene was not tested. A gene without any is NaN.
    correlation
        Of the errors, cell types x cell types.
    """
    known = np.isfinite(effect) & np.isfinite(se) & (se > 0)
    precision = np.where(known, 1 / np.where(known, se, 1.0), 0.0)
    total = (precision**2).sum(axis=1)
    total = np.where(total > 0, total, np.nan)
    mean = (precision**2 * np.where(known, effect, 0.0)).sum(axis=1) / total
    variance = np.einsum("gi,ij,gj->g", precision, correlation, precision) / total**2
    return mean, np.sqrt(variance)


def _patterns(known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that have the same cell types, and these cell types."""
    patterns, member = np.unique(known, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        yield np.flatnonzero(member.ravel() == number), np.flatnonzero(pattern)


def heterogeneity(effect: np.ndarray, se: np.ndarray, correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cochran's Q of each gene with correlated errors, and its p value; NaN with fewer than two cell types."""
    from scipy.stats import chi2

    known = np.isfinite(effect) & np.isfinite(se) & (se > 0)
    statistic, p_value = np.full(len(effect), np.nan), np.full(len(effect), np.nan)
    for rows, types in _patterns(known):
        if len(types) < 2:
            continue
        inverse = np.linalg.inv(correlation[np.ix_(types, types)])
        precision = 1 / se[np.ix_(rows, types)]
        z = effect[np.ix_(rows, types)] * precision
        weighted = precision @ inverse
        whole = np.einsum("gi,ij,gj->g", z, inverse, z)
        common = (weighted * z).sum(axis=1) ** 2 / (weighted * precision).sum(axis=1)
        statistic[rows] = np.maximum(whole - common, 0)
        p_value[rows] = chi2.sf(statistic[rows], len(types) - 1)
    return statistic, p_value


def two_sided(z: np.ndarray) -> np.ndarray:
    """P value of standard normal scores."""
    from scipy.stats import norm

    return 2 * norm.sf(np.abs(z))


def normal_score(p_value: np.ndarray) -> np.ndarray:
    """The positive normal score of which a p value is that of `two_sided`."""
    from scipy.stats import norm

    return norm.isf(np.clip(p_value, SMALLEST_P, 1) / 2)


def without_any_one(effect: np.ndarray, se: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """P value of the hypothesis that at most one cell type changes: the largest with any one cell type left out.

    1 where the mean changes its sign on the way, NaN with fewer than two cell types. Whichever cell type it is that
    changes, one of these means is without it, so the largest p value is a valid one.

    References
    ----------
    Benjamini, Heller (2008), Biometrics 64:1215 (partial conjunction); Wang, Owen (2019), JASA 114:158.
    """
    known = np.isfinite(effect) & np.isfinite(se) & (se > 0)
    mean, _ = mean_effect(effect, se, correlation)
    largest = np.zeros(len(effect))
    for left_out in range(effect.shape[1]):
        rest = effect.copy()
        rest[:, left_out] = np.nan
        part, part_se = mean_effect(rest, se, correlation)
        p_value = np.where(np.sign(part) == np.sign(mean), two_sided(part / part_se), 1.0)
        largest = np.where(known[:, left_out], np.fmax(largest, p_value), largest)
    return np.where(known.sum(axis=1) >= 2, largest, np.nan)


def combine_cell_types(effect: pd.DataFrame, se: pd.DataFrame, correlation: np.ndarray) -> pd.DataFrame:
    """All of the above for each gene (index) that at least two cell types have.

    Parameters
    ----------
    effect, se
        Genes x cell types in one unit; NaN where not tested.

    Returns
    -------
    n_cell_types, log2_fold_change, lfc_se, stat, p_value, sign_concordance (share of the cell types whose effect
    has the sign of the mean), i_squared (share of the variation between cell types that their errors do not
    explain), heterogeneity_p_value, p_value_shared.
    """
    rows = (effect.notna() & se.notna()).sum(axis=1) >= 2
    b, s = effect[rows].to_numpy(), se[rows].to_numpy()
    mean, mean_se = mean_effect(b, s, correlation)
    q, q_p = heterogeneity(b, s, correlation)
    n_types = np.isfinite(b).sum(axis=1)
    return pd.DataFrame(
        {
            "n_cell_types": n_types,
            "log2_fold_change": mean,
            "lfc_se": mean_se,
            "stat": mean / mean_se,
            "p_value": two_sided(mean / mean_se),
            "sign_concordance": (np.sign(b) == np.sign(mean)[:, None]).sum(axis=1) / n_types,
            "i_squared": np.maximum(1 - (n_types - 1) / np.where(q > 0, q, np.nan), 0),
            "heterogeneity_p_value": q_p,
            "p_value_shared": without_any_one(b, s, correlation),
        },
        index=effect.index[rows],
    ).fillna({"i_squared": 0.0})


def by_expression(
    effect: pd.DataFrame, se: pd.DataFrame, mean_count: pd.DataFrame
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """`combine_cell_types` within strata of expression, each with its own correlation of errors.

    Parameters
    ----------
    effect, se, mean_count
        Genes x cell types; NaN where not tested.

    Returns
    -------
    The columns of `combine_cell_types` with padj, heterogeneity_padj and padj_shared (Benjamini-Hochberg over all
    genes), sorted by gene; the correlation of each stratum, from low to high expression.
    """
    rows = (effect.notna() & se.notna()).sum(axis=1) >= 2
    level = np.log2(mean_count[rows] + 1).mean(axis=1)
    order = level.index[np.lexsort((level.index.astype(str), level.to_numpy()))]
    parts, correlations = [], []
    for genes in np.array_split(order, STRATA if len(order) >= STRATA * MIN_STRATUM else 1):
        correlations.append(error_correlation((effect.loc[genes] / se.loc[genes]).to_numpy()))
        parts.append(combine_cell_types(effect.loc[genes], se.loc[genes], correlations[-1]))
    table = pd.concat(parts).sort_index()
    for name, chance in (("padj", "p_value"), ("heterogeneity_padj", "heterogeneity_p_value"),
                         ("padj_shared", "p_value_shared")):  # fmt: skip
        table[name] = adjusted_p_values(table[chance].to_numpy())
    return table, correlations


def normal_errors(effect: pd.DataFrame, p_value: pd.DataFrame, se: pd.DataFrame) -> pd.DataFrame:
    """Standard errors that give a normal test the p value which the t test of few samples gave.

    With 25 donors the mean over cell types would else be called too often (false discovery rate .12 for .05).

    Parameters
    ----------
    effect, p_value, se
        The same shape. Where p is 1 or the effect 0, `se` stays.
    """
    z = normal_score(p_value.to_numpy())
    usable = (z > 1e-3) & (effect.to_numpy() != 0)
    return se.where(~usable, effect.abs() / np.where(usable, z, 1.0))


def errors_of_normal_test(effect: np.ndarray, p_value: np.ndarray, se: np.ndarray) -> np.ndarray:
    """Standard errors times one factor, by which a normal test is the table's t test at moderate p values.

    Unlike those of `normal_errors` they do not grow with a gene's own effect: intervals of strong effects are as wide
    as they should be, and a study's power can be reckoned from them. A normal test of them is too liberal at small p
    (with 20 degrees of freedom .0024 of null genes are at p < .001), for which the p values are to be taken.

    Parameters
    ----------
    effect, p_value, se
        Of the genes of one table, all known, se above 0.
    """
    low, high = MODERATE_P
    moderate = (p_value >= low) & (p_value <= high) & (effect != 0)
    if not moderate.any():
        return np.array(se, dtype=float)
    ratio = np.abs(effect[moderate]) / normal_score(p_value[moderate]) / se[moderate]
    return se * float(np.median(ratio))
