"""Discovery and replication: no more false replications than promised, and as many true ones as expected."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, norm, t

from immune_aging.statistics import replication
from immune_aging.statistics.meta_analysis import errors_of_normal_test
from immune_aging.statistics.replication import (
    concordance,
    discoveries,
    one_sided,
    pi1,
    rate_to_expect,
    replicate,
    slope,
)

N = 2000


def truth(rng, *, share: float = 0.1, spread: float = 0.15) -> np.ndarray:
    """True effects per decade: most genes have none."""
    return np.where(rng.random(N) < share, rng.normal(0, spread, N), 0.0)


def cohort(rng, effect: np.ndarray, *, se: float = 0.05, df: float = np.inf) -> pd.DataFrame:
    """A cohort's `EFFECTS` with a t test of `df` degrees of freedom."""
    errors = se * np.exp(rng.normal(0, 0.3, len(effect)))
    if np.isinf(df):
        estimated, chance = errors, norm
    else:
        estimated, chance = errors * np.sqrt(rng.chisquare(df, len(effect)) / df), t(df)
    found = effect + rng.normal(0, errors)
    p_value = 2 * chance.sf(np.abs(found / estimated))
    frame = pd.DataFrame(
        {"effect": found, "p_value": p_value, "padj": false_discovery_control(p_value)},
        index=[f"g{number:05d}" for number in range(len(effect))],
    )
    return frame.assign(se=errors_of_normal_test(found, p_value, estimated))


@pytest.mark.parametrize("df", [np.inf, 20])
def test_false_replications_are_at_most_five_percent_and_true_ones_as_many_as_expected(df):
    """Half of the effects are the first cohort's alone: no gene of them may count as replicated more often than that."""
    false, rates, expected, ratio = [], [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shared, private = truth(rng), truth(rng)
        first, second = cohort(rng, shared + private, df=df), cohort(rng, shared, se=0.07, df=df)
        found, _, _ = replicate(first, second)
        called = found[found["replicated"]]
        null = pd.Series(shared == 0, index=first.index)
        wrong_way = np.sign(pd.Series(shared, index=first.index)) != np.sign(first["effect"])
        false.append((null | wrong_way)[called.index].mean())
        _, same, _ = replicate(cohort(rng, shared, df=df), second)
        rates.append(same["rate"])
        expected.append(same["rate_expected"])
        ratio.append(same["effect_ratio"])
    assert np.mean(false) < 0.05 + 2 * np.std(false) / np.sqrt(len(false))
    assert abs(np.mean(rates) - np.mean(expected)) < 0.04
    assert abs(np.mean(ratio) - 1) < 0.05


def test_where_nothing_is_shared_hardly_anything_replicates():
    counts = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        first = cohort(rng, truth(rng))
        known = replication.Posterior(np.ones((N, 1)), first[["effect"]].to_numpy(), np.zeros((N, 1)))
        found = discoveries(first, cohort(rng, np.zeros(N)), known)
        counts.append(found["replicated"].sum() > 0)
    assert np.mean(counts) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(counts))


def test_the_estimates_of_called_genes_are_too_large_and_the_shrunken_ones_are_not():
    rng = np.random.default_rng(3)
    effect = truth(rng, share=0.4, spread=0.1)
    first, second = cohort(rng, effect), cohort(rng, effect)
    found, _, _ = replicate(first, second)
    sign = np.sign(found["effect"])
    size, shrunken, again = (
        (sign * found[name]).mean() for name in ("effect", "effect_shrunken", "effect_replication")
    )
    assert size > 1.1 * again and abs(shrunken - again) < 0.05 * again


def test_genes_that_the_second_cohort_did_not_test_are_missing_not_refuted():
    rng = np.random.default_rng(4)
    effect = truth(rng)
    first, second = cohort(rng, effect), cohort(rng, effect).iloc[::2]
    found, rates, _ = replicate(first, second)
    gone = ~found.index.isin(second.index)
    assert found.loc[gone, "replicated"].isna().all() and found.loc[gone, "padj_replication"].isna().all()
    assert (rates["n_not_tested"], rates["n_tested"]) == (gone.sum(), (~gone).sum())


def test_concordance_grows_with_the_size_of_the_effect_as_expected():
    rng = np.random.default_rng(5)
    effect = truth(rng, share=0.3)
    _, _, table = replicate(cohort(rng, effect), cohort(rng, effect))
    assert table["n_genes"].sum() == N and table["n_genes"].iloc[-1] == N // 100
    assert table["same_sign"].iloc[-1] > 0.97 and abs(table["same_sign"].iloc[0] - 0.5) < 0.05
    assert (table["same_sign"] - table["same_sign_expected"]).abs().max() < 0.05


def test_no_discovery_is_no_error():
    rng = np.random.default_rng(6)
    first = cohort(rng, np.zeros(N)).assign(padj=1.0)
    found, rates, table = replicate(first, cohort(rng, np.zeros(N)))
    assert len(found) == 0 and rates["n_tested"] == 0 and len(table) == 5
    assert all(np.isnan(rates[name]) for name in ("rate", "rate_expected", "rate_nominal", "effect_ratio", "pi1"))


@pytest.mark.parametrize(("effect", "sign", "wanted"), [(2, 1, 0.01), (2, -1, 0.99), (-2, -1, 0.01), (0.0, 1, 0.99)])
def test_one_sided_p_values(effect, sign, wanted):
    assert one_sided(np.array([0.02]), np.array([effect]), np.array([sign]))[0] == pytest.approx(wanted)


def test_pi1_is_one_less_twice_the_share_of_large_p_values():
    """qvalue::pi0est(p, lambda = 0.5)$pi0 is mean(p >= 0.5) / 0.5, at most 1."""
    p_value = np.concatenate([np.full(70, 0.01), np.linspace(0.005, 0.995, 30)])
    assert pi1(p_value) == pytest.approx(1 - 15 / 100 / 0.5)
    assert pi1(np.linspace(0.5, 1, 40)) == 0 and np.isnan(pi1(np.full(19, 0.01)))


def test_the_expected_rate_is_that_of_benjamini_hochberg():
    """True effects that are known: the posterior is a point, and the rate is what many cohorts give."""
    rng = np.random.default_rng(8)
    effect, se = np.abs(rng.normal(0, 0.1, 500)), np.full(500, 0.05)
    posterior = replication.Posterior(np.ones((500, 1)), effect[:, None], np.zeros((500, 1)))
    wanted = np.mean(
        [(false_discovery_control(norm.sf((effect + rng.normal(0, se)) / se)) < 0.05).mean() for _ in range(40)]
    )
    assert rate_to_expect(posterior, np.ones(500), se) == pytest.approx(wanted, abs=0.02)


def test_the_slope_is_that_of_least_squares_by_precision():
    x, y, se = np.array([1.0, 2, 3]), np.array([0.5, 1.5, 1]), np.array([1, 2, 0.5])
    wanted = np.linalg.lstsq((x / se)[:, None], y / se, rcond=None)[0][0]
    assert slope(x, y, se) == pytest.approx(wanted) and np.isnan(slope(np.zeros(2), y[:2], se[:2]))


def test_every_table_has_its_columns():
    rng = np.random.default_rng(9)
    first, second = cohort(rng, truth(rng)), cohort(rng, truth(rng))
    found, rates, table = replicate(first, second)
    assert tuple(found.columns) == replication.DISCOVERIES and tuple(table.columns) == replication.CONCORDANCE
    assert tuple(rates) == replication.RATES
    posterior = replication.shrink(first["effect"].to_numpy(), first["se"].to_numpy())
    pd.testing.assert_frame_equal(discoveries(first, second, posterior), found)
    pd.testing.assert_frame_equal(concordance(first, second, posterior), table)
