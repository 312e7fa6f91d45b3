#!/usr/bin/env python3
"""DESeq2's compiled fits against PyDESeq2's own: how much CPU they take, and whether they give the same answers.

Each engine fits the same simulated table in a process of its own (`deseq2_fits.py`), one after another in one session:
a time is told as a ratio, for processors differ.

In large tables PyDESeq2 does not agree with itself when the samples come in another order: one gene whose dispersion
runs towards 0 moves the prior of dispersions, and with it every gene by a little (decision 0021). So the share of equal
genes is asked for where both engines have one prior. From counts on it is printed beside the yardstick, PyDESeq2 with
itself, and differences must be too small to matter. Run alone, it prints one table.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from deseq2_fits import (
    LARGEST_RATIO,
    LIKELIHOOD_TOLERANCE,
    SHARE,
    agreement,
    compare,
    cpu_seconds,
    dispersion_gains,
    simulated_table,
)
from verdict import Verdict, print_table

SEED = 1
# Samples, genes drawn (some five in six have enough counts to test), pools in the design or not.
TABLES = ((60, 4_000, True), (100, 4_000, True), (1000, 2_700, False))
QUICK = ((60, 2_800, True),)
# What differs less than this changes no conclusion: a thousandth of a log2 fold change, a p by a fortieth of itself.
LARGEST_LFC, LARGEST_P = 1e-3, 1e-2


def fit_of(table: Path, engine: str, *, prior_of: str = "") -> tuple[float, dict[str, np.ndarray]]:
    """CPU seconds of one engine's process, its start included, and its answers.

    Parameters
    ----------
    prior_of
        An engine that fitted this table before: its trend and prior of dispersions are taken.
    """
    output = table.with_name(f"{engine}{'_given_prior' if prior_of else ''}.npz")
    given = ["--prior", str(table.with_name(f"{prior_of}.npz"))] if prior_of else []
    seconds = cpu_seconds("--fit", str(table), engine, str(output), *given)
    return seconds, dict(np.load(output))


def shares(found: dict) -> str:
    """Shares of genes with the same log2 fold change and the same p, for a person."""
    return f"{found['lfc_share']:.2%}, {found['p_share']:.2%}"


def verdicts_of(table: Path, where: str) -> Iterator[Verdict]:
    """Speed, equality and likelihood of one table."""
    seconds, ours = fit_of(table, "compiled")
    their_seconds, theirs = fit_of(table, "pydeseq2")
    where = f"compiled DESeq2 fits, {where} x {len(ours['lfc']):,} genes"
    ratio = seconds / their_seconds
    yield Verdict(
        f"{where}: CPU of the process at most a third of PyDESeq2's",
        f"{seconds:.1f} / {their_seconds:.1f} s = {ratio:.2f}",
        ratio <= LARGEST_RATIO,
    )
    given = agreement(fit_of(table, "compiled", prior_of="pydeseq2")[1], theirs)
    yield Verdict(
        f"{where}: with PyDESeq2's prior of dispersions, log2FC within 1e-6 and log10 p within 1e-4 of its own in "
        ">= 99.9 % of genes",
        f"{shares(given)}; largest {given['lfc_largest']:.1e}, {given['p_largest']:.1e}",
        min(given["lfc_share"], given["p_share"]) >= SHARE,
    )
    found = compare(table, ours, theirs)
    again = fit_of(table, "reversed")[1]
    itself = agreement(again, theirs)
    yield Verdict(
        f"{where}: from counts on, log2FC within {LARGEST_LFC:g} and log10 p within {LARGEST_P:g} in all genes, and "
        "the same calls",
        f"largest {found['lfc_largest']:.1e}, {found['p_largest']:.1e}; {found['calls_differ']} calls differ; within "
        f"1e-6 and 1e-4 {shares(found)}, PyDESeq2 with itself, samples reversed, {shares(itself)}",
        found["lfc_largest"] <= LARGEST_LFC and found["p_largest"] <= LARGEST_P and found["calls_differ"] == 0,
    )
    # A gene can lie on two sides of a barrier: PyDESeq2 crosses it or not with the order of the samples.
    coefficients, once = found["least_gain_coefficients"], found["least_gain_dispersions"]
    either = float(min(dispersion_gains(np.load(table), ours, theirs, again), default=0.0))
    yield Verdict(
        f"{where}: in genes that differ a log likelihood no lower (by {LIKELIHOOD_TOLERANCE:g}) than PyDESeq2's, "
        "with the samples as they are or reversed",
        f"least gain {coefficients:.1e} (coefficients), {either:.1e} (dispersions; over the samples as they are alone "
        f"{once:.1e})",
        min(coefficients, either) >= -LIKELIHOOD_TOLERANCE,
    )


def verdicts(quick: bool = False) -> Iterator[Verdict]:
    """Every target; `quick` for one small table."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.npz"
        for number, (n_samples, n_genes, pools) in enumerate(QUICK if quick else TABLES):
            counts, design = simulated_table(n_samples, n_genes, pools=pools, seed=SEED)
            if number == 0:  # compiling is paid once per machine, not per table
                np.savez(table, counts=counts[:, :50], design=design.to_numpy(), method="poscounts")
                fit_of(table, "compiled")
            np.savez(table, counts=counts, design=design.to_numpy(), method="ratio")
            yield from verdicts_of(table, f"{n_samples:,} samples x {design.shape[1]} coefficients")


if __name__ == "__main__":
    sys.exit(print_table(verdicts(quick="--quick" in sys.argv[1:])))
