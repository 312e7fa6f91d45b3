#!/usr/bin/env python3
"""Composition against simulated cohorts whose truth is known: nothing changes, one cell type grows, several change.

`verdicts` yields the targets with what was measured; alone, `benchmarks/truth_composition.py` prints their table.
Cohorts are Dirichlet-multinomial (cell types vary as shares do) or logistic normal (each cell type has a variance of
its own); five cell types as a small cohort keeps them, or twelve from .5 to 30 %.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Fits are tiny: threads that fight over cores would cost more than they bring.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "benchmarks")]

from immune_aging.statistics.composition import compare_types  # noqa: E402
from immune_aging.statistics.designs import build_design  # noqa: E402
from immune_aging.statistics.multiple_testing import ALPHA  # noqa: E402
from verdict import Verdict, print_table  # noqa: E402

SEED = 20261125
FIVE = np.array([0.27, 0.2, 0.19, 0.17, 0.17])
TWELVE = np.array([0.3, 0.2, 0.14, 0.1, 0.08, 0.06, 0.04, 0.03, 0.02, 0.015, 0.01, 0.005])
GROWTH = 0.25  # change of the natural log abundance per SD of age
DONORS = (25, 60, 300)


@dataclass(frozen=True)
class Kind:
    """A kind of cohort: mean shares, cells per donor, and how donors vary."""

    name: str
    shares: np.ndarray
    cells: int
    logistic: bool


KINDS = (
    Kind("5 types, Dirichlet", FIVE, 170, False),
    Kind("5 types, log-normal", FIVE, 170, True),
    Kind("12 types, Dirichlet", TWELVE, 1200, False),
    Kind("12 types, log-normal", TWELVE, 1200, True),
)


def draw(kind: Kind, n_donors: int, effect: np.ndarray, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells of donors x cell types, and the donors.

    Parameters
    ----------
    effect
        Change of the log abundance of each cell type per SD of age.
    """
    index = pd.Index([f"D{i:03d}" for i in range(n_donors)], name="donor_id")
    donors = pd.DataFrame({"age_years": rng.uniform(20, 95, n_donors), "sex": rng.choice(["f", "m"], n_donors)}, index)
    z = ((donors["age_years"] - donors["age_years"].mean()) / donors["age_years"].std()).to_numpy()
    n_types = len(kind.shares)
    logs = np.log(kind.shares) + np.outer(z, effect)
    logs += np.outer((donors["sex"] == "m") - 0.5, rng.normal(0, 0.05, n_types))
    if kind.logistic:
        logs = logs + rng.normal(size=logs.shape) * rng.lognormal(np.log(0.3), 0.4, n_types)
    share = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    if not kind.logistic:
        share = np.array([rng.dirichlet(120 * row) for row in share])
    total = np.maximum(rng.poisson(kind.cells * rng.lognormal(0, 0.3, n_donors)), 20)
    cells = np.array([rng.multinomial(n, row) for n, row in zip(total, share, strict=True)])
    names = [f"type {i:02d}" for i in range(n_types)]
    return pd.DataFrame(cells, index, pd.Index(names, name="cell_type")), donors


def results(kind: Kind, n_donors: int, moving: list[int], repeats: int) -> list[pd.DataFrame]:
    """composition.tsv of so many cohorts in which the cell types at `moving` grow."""
    effect = np.zeros(len(kind.shares))
    effect[moving] = GROWTH
    tables = []
    for repeat in range(repeats):
        rng = np.random.default_rng([SEED, repeat, n_donors, len(kind.shares), kind.logistic, len(moving)])
        counts, donors = draw(kind, n_donors, effect, rng)
        tables.append(compare_types(counts, build_design(donors)))
    return tables


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean over cohorts and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def false_share(called: np.ndarray, moving: list[int]) -> float:
    """Share of the called cell types that do not move by themselves; 0 without calls."""
    still = np.ones(len(called), dtype=bool)
    still[moving] = False
    return float((called & still).sum() / max(called.sum(), 1))


def rate_verdict(target: str, values: list[float]) -> Verdict:
    """Whether a rate is within `ALPHA` and two of its standard errors."""
    mean, error = mean_and_error(values)
    return Verdict(target, f"{mean:.3f} ± {error:.3f}", mean <= ALPHA + 2 * error)


def verdicts(quick: bool = False) -> Iterator[Verdict]:
    """Every target; `quick` for a look at a third of the cohorts."""
    from scipy.stats import kstest

    repeats = 40 if quick else 120
    for n_donors in DONORS:
        null = {kind.name: results(kind, n_donors, [], repeats) for kind in KINDS}
        rates = [float((table["p_value"] < ALPHA).mean()) for tables in null.values() for table in tables]
        mean, error = mean_and_error(rates)
        # One cell type a cohort: the p values of one cohort are not independent.
        single = [tables[i]["p_value"].iloc[i % 5] for tables in null.values() for i in range(repeats)]
        chance = kstest(single, "uniform").pvalue
        yield Verdict(
            f"composition, {n_donors} donors, nothing changes: p < .05 in .05 ± 2 errors, p uniform",
            f"{mean:.3f} ± {error:.3f}; Kolmogorov-Smirnov p {chance:.2f}",
            abs(mean - ALPHA) <= 2 * error and chance > 0.01,
        )
        yield rate_verdict(
            f"composition, {n_donors} donors, nothing changes: any call (adjusted) in <= .05 of cohorts",
            [float((table["padj"] < ALPHA).any()) for tables in null.values() for table in tables],
        )
        for moving in ([0], [0, 3]):
            false, plain, power, bias, covered = [], [], [], [], []
            for kind in KINDS:
                for table in results(kind, n_donors, moving, repeats):
                    false.append(false_share((table["padj"] < ALPHA).to_numpy(), moving))
                    plain.append(false_share((table["share_padj"] < ALPHA).to_numpy(), moving))
                    own = table.iloc[moving]
                    power.append(float((own["padj"] < ALPHA).mean()))
                    bias.append(float(own["log2_fold_change"].mean() - GROWTH / np.log(2)))
                    truth = GROWTH / np.log(2)
                    covered.append(float(((own["ci_low"] < truth) & (own["ci_high"] > truth)).mean()))
            grows = "one type grows" if len(moving) == 1 else "two types grow"
            rate = rate_verdict(f"composition, {n_donors} donors, {grows}: false discoveries <= .05", false)
            told = f"{rate.figure} (plain shares {np.mean(plain):.2f}; power {np.mean(power):.2f})"
            yield Verdict(rate.target, told, rate.met)
            size, error = mean_and_error(bias)
            yield Verdict(
                f"composition, {n_donors} donors, {grows}: bias < 10 % of the effect, intervals hold .95 ± .03",
                f"{100 * size / (GROWTH / np.log(2)):+.1f} %; {np.mean(covered):.3f}",
                abs(size) < 0.1 * GROWTH / np.log(2) and abs(np.mean(covered) - 0.95) <= 0.03,
            )


if __name__ == "__main__":
    print_table(verdicts("--quick" in sys.argv))
