"""Do the genes that one cohort calls change in another, too: as often as the other cohort could show it?

Discovery and replication are kept apart: genes are called by the first cohort alone and tested in the second alone,
so that being chosen for a large estimate does not help a gene. How often they should replicate follows from what their
true effects probably are (`effect_shrinkage`) and from the second cohort's standard errors.
"""

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from immune_aging.statistics.effect_shrinkage import Posterior, shrink
from immune_aging.statistics.multiple_testing import ALPHA, adjusted_p_values

EFFECTS = ("effect", "se", "p_value", "padj")  # of each cohort's genes, what the functions below take
DISCOVERIES = (
    "effect", "padj", "effect_shrunken", "effect_replication", "se_replication", "p_value_replication",
    "padj_replication", "replicated", "chance_nominal",
)  # fmt: skip
RATES = (
    "n_tested_in_both", "n_discovered", "n_not_tested", "n_tested", "n_same_sign", "n_nominal", "rate_nominal",
    "rate_nominal_expected", "n_replicated", "rate", "rate_expected", "effect_ratio", "pi1",
)  # fmt: skip
CONCORDANCE = (
    "quantile_low", "quantile_high", "size_low", "size_high", "n_genes", "n_same_sign", "same_sign",
    "same_sign_expected",
)  # fmt: skip
BINS = (0.0, 0.5, 0.8, 0.95, 0.99, 1.0)  # of the genes by the size of their effect in the first cohort
LAMBDA = 0.5  # Storey's: p values above it are of genes that do not change
MIN_PI1 = 20  # with fewer genes the estimate is a guess


def one_sided(p_value: np.ndarray, effect: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """P values of tests in the direction of `sign`, from two-sided ones."""
    half = np.asarray(p_value) / 2
    return np.where(np.sign(effect) == sign, half, 1 - half)


def pi1(p_value: np.ndarray) -> float:
    """Share of these genes that change, by their two-sided p values; NaN for fewer than `MIN_PI1`.

    References
    ----------
    Storey (2002), J. R. Stat. Soc. B 64:479, with lambda 0.5.
    """
    if len(p_value) < MIN_PI1:
        return np.nan
    return float(max(0.0, 1 - (np.asarray(p_value) >= LAMBDA).mean() / (1 - LAMBDA)))


def signed_chance(posterior: Posterior, sign: np.ndarray, se: np.ndarray, p_value: float) -> np.ndarray:
    """How probable a one-sided p below `p_value` in the direction of `sign` is, given each gene's standard error."""
    from scipy.stats import norm

    bound = norm.isf(p_value) * se
    above, below = posterior.chance_above(bound, se), 1 - posterior.chance_above(-bound, se)
    return np.where(sign > 0, above, below)


def slope(expected: np.ndarray, found: np.ndarray, se: np.ndarray) -> float:
    """By how much the effects found are larger than those expected, by precision: 1 where they are the same."""
    total = (expected**2 / se**2).sum()
    return float((expected * found / se**2).sum() / total) if total > 0 else np.nan


def rate_to_expect(posterior: Posterior, sign: np.ndarray, se: np.ndarray, *, alpha: float = ALPHA) -> float:
    """The share of these genes that Benjamini-Hochberg among them is to call in the direction of `sign`.

    The p value up to which it calls solves t = alpha x (expected share called at t): the largest t of a grid at which
    the right side is not the smaller one.
    """
    if not len(sign):
        return np.nan
    for threshold in alpha * 2.0 ** -np.arange(0, 40, 0.25):
        share = float(signed_chance(posterior, sign, se, threshold).mean())
        if threshold <= alpha * share:
            return share
    return 0.0


def discoveries(first: pd.DataFrame, second: pd.DataFrame, posterior: Posterior) -> pd.DataFrame:
    """The genes that `first` calls, and what `second` says of each; missing where it did not test the gene.

    Parameters
    ----------
    first, second
        `EFFECTS` by gene (index), in one unit.
    posterior
        Of the genes of `first`.
    """
    called = (first["padj"] < ALPHA).to_numpy()
    own = first[called]
    other = second.reindex(own.index)
    sign = np.sign(own["effect"].to_numpy())
    tested = other["p_value"].notna().to_numpy()
    se = other["se"].to_numpy(dtype=float)
    chance = np.full(len(own), np.nan)
    chance[tested] = signed_chance(posterior.of(called).of(tested), sign[tested], se[tested], ALPHA)
    p_value = np.where(tested, one_sided(other["p_value"], other["effect"], sign), np.nan)
    padj = adjusted_p_values(p_value)
    return pd.DataFrame(
        {
            "effect": own["effect"],
            "padj": own["padj"],
            "effect_shrunken": posterior.of(called).expected,
            "effect_replication": other["effect"],
            "se_replication": other["se"],
            "p_value_replication": p_value,
            "padj_replication": padj,
            "replicated": pd.arrays.BooleanArray(padj < ALPHA, ~tested),
            "chance_nominal": chance,
        },
        index=own.index,
    )[list(DISCOVERIES)]


def replication_rates(
    first: pd.DataFrame, second: pd.DataFrame, found: pd.DataFrame, posterior: Posterior
) -> dict[str, float]:
    """How often the discoveries replicate, and how often they were to: `RATES`.

    Parameters
    ----------
    first, second, posterior
        As of `discoveries`.
    found
        Its table.
    """
    tested = found[found["p_value_replication"].notna()]
    rows = first.index.get_indexer(tested.index)
    sign = np.sign(tested["effect"].to_numpy())
    se = tested["se_replication"].to_numpy(dtype=float)
    same = np.sign(tested["effect_replication"].to_numpy()) == sign
    nominal = tested["p_value_replication"] < ALPHA
    n = len(tested)
    return {
        "n_tested_in_both": len(first.index.intersection(second.index)),
        "n_discovered": len(found),
        "n_not_tested": len(found) - n,
        "n_tested": n,
        "n_same_sign": int(same.sum()),
        "n_nominal": int(nominal.sum()),
        "rate_nominal": float(nominal.mean()) if n else np.nan,
        "rate_nominal_expected": float(tested["chance_nominal"].mean()) if n else np.nan,
        "n_replicated": int(tested["replicated"].sum()),
        "rate": float(tested["replicated"].mean()) if n else np.nan,
        "rate_expected": rate_to_expect(posterior.of(rows), sign, se),
        "effect_ratio": slope(tested["effect_shrunken"].to_numpy(), tested["effect_replication"].to_numpy(), se),
        "pi1": pi1(second["p_value"].reindex(tested.index).to_numpy()),
    }


def concordance(first: pd.DataFrame, second: pd.DataFrame, posterior: Posterior) -> pd.DataFrame:
    """How often the cohorts agree on the direction, by the size of the effect in the first: `CONCORDANCE`.

    Parameters
    ----------
    first, second, posterior
        As of `discoveries`.
    """
    both = np.flatnonzero(first.index.isin(second.index))
    own = first.iloc[both]
    other = second.loc[own.index]
    size, sign = own["effect"].abs().to_numpy(), np.sign(own["effect"].to_numpy())
    same = np.sign(other["effect"].to_numpy()) == sign
    chance = signed_chance(posterior.of(both), sign, other["se"].to_numpy(dtype=float), 0.5)
    place = pd.Series(size).rank(method="first").to_numpy() / max(len(own), 1)
    rows = []
    for low, high in itertools.pairwise(BINS):
        inside = (place > low) & (place <= high)
        if inside.any():
            rows.append(
                {
                    "quantile_low": low,
                    "quantile_high": high,
                    "size_low": size[inside].min(),
                    "size_high": size[inside].max(),
                    "n_genes": int(inside.sum()),
                    "n_same_sign": int(same[inside].sum()),
                    "same_sign": float(same[inside].mean()),
                    "same_sign_expected": float(chance[inside].mean()),
                }
            )
    return pd.DataFrame(rows, columns=list(CONCORDANCE))


def replicate(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, Mapping[str, float], pd.DataFrame]:
    """What `first` discovered and `second` says of it: the discoveries, the rates, the concordance of signs."""
    posterior = shrink(first["effect"].to_numpy(dtype=float), first["se"].to_numpy(dtype=float))
    found = discoveries(first, second, posterior)
    return found, replication_rates(first, second, found, posterior), concordance(first, second, posterior)
