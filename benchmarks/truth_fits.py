#!/usr/bin/env python3
"""DESeq2's compiled fits against PyDESeq2's own: how much CPU they take, and whether they give the same answers.

Each engine fits the same simulated table in a process of its own (`deseq2_fits.py`), one after another in one session:
a time is told as a ratio, for processors differ. In large tables PyDESeq2 does not agree with itself when the samples
come in another order (docs/decisions/0021-deseq2-fits-compiled.md), so the share of equal genes stands beside that
yardstick. Run alone, it prints one table.
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
    simulated_table,
)
from verdict import Verdict

SEED = 1
# Samples, genes drawn (some three in five have enough counts to test), pools in the design or not.
TABLES = ((60, 6_500, True), (100, 6_500, True), (1000, 3_200, False))
QUICK = ((60, 3_600, True),)
ORDERS = ("reversed", "shuffled")


def fit_of(table: Path, engine: str) -> tuple[float, dict[str, np.ndarray]]:
    """CPU seconds of one engine's process, its start included, and its answers."""
    output = table.with_name("answer.npz")
    seconds = cpu_seconds("--fit", str(table), engine, str(output))
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
    found = compare(table, ours, theirs)
    itself = {order: agreement(fit_of(table, order)[1], theirs) for order in ORDERS}
    least = {name: min(SHARE, *(one[name] for one in itself.values())) for name in ("lfc_share", "p_share")}
    yardstick = "; ".join(f"{order} {shares(one)}" for order, one in itself.items())
    yield Verdict(
        f"{where}: log2FC within 1e-6, log10 p within 1e-4 of PyDESeq2's in 99.9 % of genes, or in as many as PyDESeq2 "
        "agrees with itself, samples in another order",
        f"{shares(found)}; PyDESeq2 with itself: {yardstick}; calls that differ {found['calls_differ']}",
        all(found[name] >= least[name] for name in least),
    )
    gains = found["least_gain_coefficients"], found["least_gain_dispersions"]
    yield Verdict(
        f"{where}: in the other genes a log likelihood no lower than PyDESeq2's (by {LIKELIHOOD_TOLERANCE:g})",
        f"least gain {gains[0]:.1e} (coefficients), {gains[1]:.1e} (dispersions)",
        min(gains) >= -LIKELIHOOD_TOLERANCE,
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


def main() -> int:
    made = []
    for verdict in verdicts(quick="--quick" in sys.argv[1:]):
        print(f"-> {verdict}", file=sys.stderr, flush=True)
        made.append(verdict)
    print("| target | measured | |\n| --- | --- | --- |")
    for verdict in made:
        print(f"| {verdict.target} | {verdict.figure} | {'pass' if verdict.met else 'FAIL'} |")
    return 0 if all(verdict.met for verdict in made) else 1


if __name__ == "__main__":
    sys.exit(main())
