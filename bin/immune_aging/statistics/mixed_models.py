"""Linear mixed models with one random effect: samples in groups, as of a pool, a person or a run.

Fitted by REML, and tested as Kenward and Roger have it, because groups may be few: what differs between groups alone
is tested with about as many degrees of freedom as there are groups to spare, what differs within them with those of the
samples. In balanced designs whose groups differ that is the exact F test of the groups' means.

References
----------
Patterson & Thompson (1971), Biometrika 58:545 (REML); Kenward & Roger (1997), Biometrics 53:983.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.task.skipped import CannotFit

# Shares of the variance that lies between groups, of which the likeliest is refined.
SHARES = np.append(np.linspace(0, 0.99, 100), 1 - 1e-6)
ROUNDING = 1e-9  # of a singular value, of a variance


@dataclass(frozen=True)
class Groups:
    """A design whose samples come in groups, with what its fixed terms leave of the groups.

    Attributes
    ----------
    matrix
        Samples x coefficients, of full rank.
    indicator
        Samples x groups, 0 and 1.
    basis
        Samples x groups to spare, orthonormal: what differs between groups and is none of the fixed terms.
    sizes
        By how much the effects of groups count in each of these; their number is that of the groups to spare.
    """

    matrix: np.ndarray
    indicator: np.ndarray
    basis: np.ndarray
    sizes: np.ndarray

    @property
    def residual_df(self) -> int:
        """Samples minus coefficients."""
        return len(self.matrix) - self.matrix.shape[1]


def groups_of(matrix: np.ndarray, labels: np.ndarray) -> Groups:
    """The groups of a design's samples.

    Parameters
    ----------
    matrix
        Samples x coefficients, of full rank.
    labels
        Group of each sample.
    """
    codes, names = pd.factorize(labels)
    indicator = np.eye(len(names))[codes]
    left = indicator - matrix @ np.linalg.lstsq(matrix, indicator, rcond=None)[0]
    basis, root, _ = np.linalg.svd(left, full_matrices=False)
    spare = root**2 > ROUNDING * np.bincount(codes).max()
    return Groups(matrix, indicator, basis[:, spare], root[spare] ** 2)


def variances(values: np.ndarray, groups: Groups) -> tuple[float, float]:
    """REML estimates of the variance within and between groups, the second at least 0.

    In the coordinates of the residuals the values are independent, with variance `within + between * sizes` in those
    of `basis` and `within` in the others, so that the likelihood is a function of one ratio.
    """
    from scipy.optimize import brentq

    left = values - groups.matrix @ np.linalg.lstsq(groups.matrix, values, rcond=None)[0]
    squares = (groups.basis.T @ left) ** 2
    rest = float(((left - groups.basis @ (groups.basis.T @ left)) ** 2).sum())
    n, sizes = groups.residual_df, groups.sizes

    def variance_within(ratio: float) -> float:
        return (rest + float((squares / (1 + ratio * sizes)).sum())) / n

    def deviance(share: float) -> float:
        ratio = share / (1 - share)
        return n * np.log(variance_within(ratio)) + float(np.log1p(ratio * sizes).sum())

    def slope(share: float) -> float:
        scale = 1 + share / (1 - share) * sizes
        return float((sizes / scale).sum() - (squares * sizes / scale**2).sum() / variance_within(share / (1 - share)))

    best = int(np.argmin([deviance(share) for share in SHARES]))
    low, high = SHARES[max(best - 1, 0)], SHARES[min(best + 1, len(SHARES) - 1)]
    share = float(SHARES[best])
    if slope(low) < 0 < slope(high):
        share = float(brentq(slope, low, high, xtol=1e-14, rtol=1e-14))
    ratio = share / (1 - share)
    within = variance_within(ratio)
    return within, ratio * within


def contrast_test(values: np.ndarray, groups: Groups, contrast: np.ndarray) -> tuple[float, float, float]:
    """Estimate, standard error and degrees of freedom of one contrast of the fixed coefficients.

    The error is Kenward and Roger's, which allows for the variances being estimates. For one contrast their degrees of
    freedom are Satterthwaite's by the expected information.

    Parameters
    ----------
    contrast
        Weights of the coefficients.
    """
    within, between = variances(values, groups)
    matrix, indicator = groups.matrix, groups.indicator
    shrink = between / (within + between * indicator.sum(axis=0))

    def solved(columns: np.ndarray) -> np.ndarray:  # by the inverse of the samples' covariance
        return (columns - indicator @ (shrink[:, None] * (indicator.T @ columns))) / within

    weighted = solved(matrix)
    covariance = np.linalg.inv(matrix.T @ weighted)
    estimate = float(contrast @ covariance @ (weighted.T @ values))
    # The derivatives of the samples' covariance by its two variances are the unit matrix and that of one group.
    changes = (weighted, indicator @ (indicator.T @ weighted))
    each = within + between * groups.sizes
    others = (groups.residual_df - len(each)) / within**2
    crossed = (groups.sizes / each**2).sum()
    information = np.array([[(each**-2.0).sum() + others, crossed], [crossed, (groups.sizes**2 / each**2).sum()]]) / 2
    of_variances = np.linalg.inv(information)
    slopes = [weighted.T @ change for change in changes]
    more = np.zeros_like(covariance)
    for i, one in enumerate(changes):
        for j, other in enumerate(changes):
            bend = one.T @ solved(other) - slopes[i] @ covariance @ slopes[j]
            more += of_variances[i, j] * bend
    along = covariance @ contrast
    variance = float(contrast @ along)
    gradient = np.array([along @ slope @ along for slope in slopes])
    df = 2 * variance**2 / float(gradient @ of_variances @ gradient)
    return estimate, float(np.sqrt(variance + 2 * along @ more @ along)), min(df, float(groups.residual_df))


def mixed_fits(values: np.ndarray, groups: Groups, column: int) -> dict[str, np.ndarray]:
    """One coefficient of a mixed model for each column of values.

    Parameters
    ----------
    values
        Samples x responses.
    column
        The coefficient.

    Returns
    -------
    effect, se, p_value and df (degrees of freedom) of each response.

    Raises
    ------
    CannotFit
        The variance between groups cannot be told from that within them, or a response does not vary.
    """
    from scipy.stats import t

    n_sizes = len(groups.sizes)
    if not n_sizes or (n_sizes == groups.residual_df and np.ptp(groups.sizes) <= ROUNDING * groups.sizes.max()):
        raise CannotFit("the variance between groups cannot be told from that of the samples within them")
    left = values - groups.matrix @ np.linalg.lstsq(groups.matrix, values, rcond=None)[0]
    if (np.abs(left).max(axis=0) < ROUNDING).any():
        raise CannotFit("a response has no variance that the terms of the design leave")
    unit = np.eye(groups.matrix.shape[1])[column]
    found = np.array([contrast_test(own, groups, unit) for own in values.T])
    effect, se, df = found.T
    return {"effect": effect, "se": se, "p_value": 2 * t.sf(np.abs(effect / se), df), "df": df}
