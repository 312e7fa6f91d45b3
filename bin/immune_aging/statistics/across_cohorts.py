"""One gene's effects in several cohorts put together: a common effect, cohorts that differ, and how much they do.

The cohorts are taken for independent samples of different donors, unlike the cell types of one cohort
(`meta_analysis`), whose errors are correlated.
"""

import numpy as np
import pandas as pd

from immune_aging.statistics.meta_analysis import two_sided
from immune_aging.statistics.multiple_testing import adjusted_p_values

PM_STEPS, PM_PRECISION = 200, 1e-10
COVERAGE = 0.95
COLUMNS = (
    "n_cohorts", "n_same_sign", "effect", "se", "ci_low", "ci_high", "p_value", "padj", "random_effect", "random_se",
    "random_ci_low", "random_ci_high", "random_p_value", "random_padj", "tau_squared", "q", "i_squared",
    "heterogeneity_p_value", "heterogeneity_padj",
)  # fmt: skip


def weighted_mean(effect: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each row by weight, and the sum of squares of what is left, by weight.

    Parameters
    ----------
    effect, weight
        Genes x cohorts; weight 0 where a cohort has no effect.
    """
    total = weight.sum(axis=1)
    total = np.where(total > 0, total, np.nan)
    mean = (weight * effect).sum(axis=1) / total
    return mean, (weight * (effect - mean[:, None]) ** 2).sum(axis=1)


def paule_mandel(effect: np.ndarray, se: np.ndarray) -> np.ndarray:
    """Variance of the true effects between cohorts, for which the weighted sum of squares is what chance expects.

    Newton's method from 0: the sum of squares falls with the variance and is convex in it, so that no step passes the
    solution.

    Parameters
    ----------
    effect, se
        Genes x cohorts; NaN where a cohort has no effect.

    References
    ----------
    Paule, Mandel (1982), J. Res. Natl. Bur. Stand. 87:377; DerSimonian, Kacker (2007), Contemp. Clin. Trials 28:105.
    """
    known = np.isfinite(effect) & np.isfinite(se)
    b, variance = np.where(known, effect, 0.0), np.where(known, se, 1.0) ** 2
    expected = known.sum(axis=1) - 1
    tau_squared = np.zeros(len(b))
    for _ in range(PM_STEPS):
        weight = np.where(known, 1 / (variance + tau_squared[:, None]), 0.0)
        mean, squares = weighted_mean(b, weight)
        slope = (weight**2 * (b - mean[:, None]) ** 2).sum(axis=1)
        excess = np.where(expected > 0, squares - expected, 0.0)
        step = np.where((excess > 0) & (slope > 0), excess / np.where(slope > 0, slope, 1.0), 0.0)
        tau_squared = tau_squared + step
        if (step <= PM_PRECISION * tau_squared).all():
            break
    return tau_squared


def combine_cohorts(effect: pd.DataFrame, se: pd.DataFrame, z: pd.DataFrame | None = None) -> pd.DataFrame:
    """The effects of each gene (index) that at least two cohorts have, put together.

    `effect` is the common effect of these cohorts, weighted by precision. `random_effect` allows for true effects that
    differ between cohorts (variance by Paule and Mandel); its interval and p are of Hartung and Knapp's t with as many
    degrees of freedom as there are cohorts, less one, and never narrower than without their factor (max(1, q)). With
    two cohorts that t has one degree of freedom: the interval is honest and says next to nothing.

    Parameters
    ----------
    effect, se
        Genes x cohorts, in one unit; NaN where a cohort did not test the gene.
    z
        The normal scores of the cohorts' own p values, by which `p_value` is that of tests with heavier tails (weighted
        as the effects are; Stouffer's method); effect over standard error where it is not given.

    References
    ----------
    Hartung, Knapp (2001), Stat. Med. 20:3875; Jackson, Law, Ruecker, Schwarzer (2017), Stat. Med. 36:3923 (the
    factor); Higgins, Thompson (2002), Stat. Med. 21:1539 (I squared).
    """
    from scipy.stats import chi2, norm, t

    usable = effect.notna() & se.notna() & (se > 0)
    rows = usable.sum(axis=1) >= 2
    b = effect[rows].where(usable[rows]).to_numpy(dtype=float)
    s = se[rows].where(usable[rows]).to_numpy(dtype=float)
    known = np.isfinite(b)
    filled, variance = np.where(known, b, 0.0), np.where(known, s, 1.0) ** 2
    n_cohorts = known.sum(axis=1)
    weight = np.where(known, 1 / variance, 0.0)
    mean, squares = weighted_mean(filled, weight)
    mean_se = 1 / np.sqrt(weight.sum(axis=1))
    half = norm.isf((1 - COVERAGE) / 2) * mean_se

    excess = squares > n_cohorts - 1

    scores = filled * np.sqrt(weight) if z is None else np.where(known, z[rows].to_numpy(dtype=float), 0.0)
    score = (np.sqrt(weight) * scores).sum(axis=1) / np.sqrt(weight.sum(axis=1))

    tau_squared = paule_mandel(b, s)
    random_weight = np.where(known, 1 / (variance + tau_squared[:, None]), 0.0)
    random_mean, random_squares = weighted_mean(filled, random_weight)
    factor = np.maximum(1, random_squares / (n_cohorts - 1))
    random_se = np.sqrt(factor / random_weight.sum(axis=1))
    random_half = t.isf((1 - COVERAGE) / 2, n_cohorts - 1) * random_se

    table = pd.DataFrame(
        {
            "n_cohorts": n_cohorts,
            "n_same_sign": (known & (np.sign(filled) == np.sign(mean)[:, None])).sum(axis=1),
            "effect": mean,
            "se": mean_se,
            "ci_low": mean - half,
            "ci_high": mean + half,
            "p_value": two_sided(score),
            "random_effect": random_mean,
            "random_se": random_se,
            "random_ci_low": random_mean - random_half,
            "random_ci_high": random_mean + random_half,
            "random_p_value": 2 * t.sf(np.abs(random_mean / random_se), n_cohorts - 1),
            "tau_squared": tau_squared,
            "q": squares,
            "i_squared": np.where(excess, 1 - (n_cohorts - 1) / np.where(excess, squares, 1.0), 0.0),
            "heterogeneity_p_value": chi2.sf(squares, n_cohorts - 1),
        },
        index=effect.index[rows],
    )
    for name in ("", "random_", "heterogeneity_"):
        table[f"{name}padj"] = adjusted_p_values(table[f"{name}p_value"].to_numpy())
    return table[list(COLUMNS)]
