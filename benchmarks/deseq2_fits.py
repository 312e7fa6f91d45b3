#!/usr/bin/env python3
"""CPU seconds and answers of the compiled fits beside PyDESeq2's own, each in a process of its own.

In: nothing (simulated cohorts, `benchmarks/de_cohorts.py`), or tables made before (`--table`, npz with counts and
design). Out: one line per table, pass or fail. CPU seconds are user and system of the whole process, its start
included; both engines run one after another in one session, for processors differ. The kernels' compilation is paid
once per machine and printed apart.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bin"))

# Samples, genes drawn (about three in four have enough counts to test), pools in the design or not.
COHORTS = ((60, 16_500, True), (100, 14_600, True), (1000, 4_300, False), (1000, 4_300, True))
LARGEST_RATIO = 1 / 3
LFC_TOLERANCE, P_TOLERANCE, SHARE = 1e-6, 1e-4, 0.999
# Of log likelihoods. L-BFGS-B stops at a relative decrease of 2e-9, the log fold changes at one of 1e-8.
LIKELIHOOD_TOLERANCE = 1e-6


def simulated_table(n_samples: int, n_genes: int, *, pools: bool, seed: int = 1) -> tuple[np.ndarray, pd.DataFrame]:
    """Counts (samples x genes) of genes with enough to test, and a design of sex, standardised age and pools."""
    from de_cohorts import Cohort, draw_cohort
    from immune_aging.statistics.expressed_genes import expressed_genes

    cohort = Cohort(donors=n_samples, genes=n_genes, donors_per_pool=max(5, n_samples // 30))
    drawn = draw_cohort(cohort, seed=seed)[0]
    age = drawn.samples["age_years"].to_numpy(dtype=float)
    male = (drawn.samples["sex"] == "male").to_numpy(dtype=float)
    columns = {"Intercept": np.ones(len(age)), "male": male, "age": (age - age.mean()) / age.std(ddof=1)}
    if pools:
        dummies = pd.get_dummies(drawn.samples["pool"], drop_first=True, dtype=float)
        columns |= {name: dummies[name].to_numpy() for name in dummies}
    design = pd.DataFrame(columns, index=drawn.samples.index)
    return drawn.counts[:, expressed_genes(drawn.counts, design)], design


def take_prior(dataset, answer: Path) -> None:
    """Let a data set take the trend and the prior of dispersions of another fit, in place of its own."""
    known = np.load(answer)

    def fit_dispersion_prior() -> None:
        dataset.var["fitted_dispersions"] = known["trend"]
        dataset.uns["prior_disp_var"] = known["prior"][()]
        dataset.uns["_squared_logres"] = known["squared_logres"][()]

    dataset.fit_dispersion_prior = fit_dispersion_prior


def fit(table: Path, engine: str, output: Path, *, prior: Path | None = None) -> None:
    """Fit one table as `count_tests.fit_pydeseq2` does, and save the result.

    Parameters
    ----------
    engine
        'compiled', 'pydeseq2', or an order of samples in which PyDESeq2 fits them ('reversed', 'shuffled').
    prior
        Output of a fit whose trend and prior of dispersions this one takes.
    """
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    if engine == "compiled":
        from immune_aging.statistics.deseq_fits import CompiledInference

        inference = CompiledInference()
    else:
        from pydeseq2.default_inference import DefaultInference

        inference = DefaultInference(n_cpus=1)
    loaded = np.load(table)
    order = np.arange(len(loaded["counts"]))
    if engine == "reversed":
        order = order[::-1]
    elif engine == "shuffled":
        order = np.random.default_rng(1).permutation(order)
    counts, matrix = loaded["counts"][order], loaded["design"][order]
    index = [f"s{i}" for i in range(len(counts))]
    design = pd.DataFrame(matrix, index=index, columns=[f"c{i}" for i in range(matrix.shape[1])])
    dataset = DeseqDataSet(
        counts=pd.DataFrame(counts, index=index, columns=[f"g{i}" for i in range(counts.shape[1])]),
        metadata=design[[]].copy(),
        design=design,
        size_factors_fit_type=str(loaded["method"]),
        inference=inference,
        quiet=True,
    )
    if prior:
        take_prior(dataset, prior)
    dataset.deseq2()
    contrast = np.eye(matrix.shape[1])[2]
    test = DeseqStats(dataset, contrast=contrast, inference=inference, quiet=True)
    test.summary()
    np.savez(
        output,
        lfc=test.results_df["log2FoldChange"],
        p=test.results_df["pvalue"],
        padj=test.results_df["padj"],
        genewise=dataset.var["genewise_dispersions"],
        dispersion=dataset.var["dispersions"],
        beta=dataset.varm["LFC"].to_numpy(),
        size_factors=dataset.obs["size_factors"],
        prior=float(dataset.uns["prior_disp_var"]),
        squared_logres=float(dataset.uns["_squared_logres"]),
        trend=dataset.var["fitted_dispersions"],
        mu_hat=dataset.layers["_mu_hat"] if engine == "compiled" else 0,
    )


def cpu_seconds(*arguments: str) -> float:
    """User and system time of this script run with the arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-W", "ignore", __file__, *arguments], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def negative_binomial(counts: np.ndarray, mu: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Log likelihood by gene (samples x genes), up to log(y!), without large terms that cancel at small dispersions."""
    total = counts * np.log(mu) - (counts + 1 / alpha) * np.log1p(alpha * mu)
    for gene, column in enumerate(counts.T):
        rising = np.concatenate([[0.0], np.cumsum(np.log1p(np.arange(column.max()) * alpha[gene]))])
        total[:, gene] += rising[column]
    return total.sum(axis=0)


def coefficient_likelihood(counts, design, size_factors, beta, alpha) -> np.ndarray:
    """What `irls` maximises, by gene: means held above .5, a ridge of 1e-6."""
    mu = np.maximum(size_factors[:, None] * np.exp(design @ beta.T), 0.5)
    return negative_binomial(counts, mu, alpha) - 0.5e-6 * (beta**2).sum(axis=1)


def profile_likelihood(counts, design, mu, alpha) -> np.ndarray:
    """Cox-Reid adjusted profile log likelihood of dispersions, by gene."""
    weights = mu / (1 + mu * alpha)
    information = np.einsum("sg,sa,sb->gab", weights, design, design)
    return negative_binomial(counts, mu, alpha) - 0.5 * np.linalg.slogdet(information)[1]


def dispersion_gains(table, ours: dict, *others: dict) -> np.ndarray:
    """Gain in log likelihood of the gene-wise dispersions that differ from PyDESeq2's, a value per gene.

    Parameters
    ----------
    others
        Answers of PyDESeq2; differing are genes that differ from the first. Where there are several, of the samples in
        several orders, the gain is that over the lowest.
    """
    differ = np.abs(np.log(ours["genewise"] / others[0]["genewise"])) > 1e-4
    fixed = table["counts"][:, differ], table["design"], ours["mu_hat"][:, differ]
    theirs = [profile_likelihood(*fixed, other["genewise"][differ]) for other in others]
    return profile_likelihood(*fixed, ours["genewise"][differ]) - np.min(theirs, axis=0)


def gains(table, ours: dict, theirs: dict, off: np.ndarray) -> tuple[float, float]:
    """Smallest gain in log likelihood over PyDESeq2 in genes whose answers differ: coefficients, gene-wise dispersions.

    PyDESeq2's coefficients are fitted again at our dispersion, for likelihoods at two dispersions say nothing.
    """
    from pydeseq2.default_inference import DefaultInference

    counts, design = table["counts"], table["design"]
    lowest = [0.0, 0.0]
    if off.any():
        fixed = counts[:, off], design, ours["size_factors"]
        alpha = ours["dispersion"][off]
        again = DefaultInference(n_cpus=1).irls(fixed[0], fixed[2], design, alpha, 0.5, 1e-8)[0]
        gain = coefficient_likelihood(*fixed, ours["beta"][off], alpha) - coefficient_likelihood(*fixed, again, alpha)
        lowest[0] = float(gain.min())
    lowest[1] = float(min(dispersion_gains(table, ours, theirs), default=0.0))
    return lowest[0], lowest[1]


def distances(ours: dict, theirs: dict) -> tuple[np.ndarray, np.ndarray]:
    """Absolute differences of log2 fold changes and of log10 p values, by gene."""
    lfc = np.abs(ours["lfc"] - theirs["lfc"])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.abs(np.log10(ours["p"]) - np.log10(theirs["p"]))
    p[np.isnan(ours["p"]) & np.isnan(theirs["p"])] = 0
    p[(ours["p"] == 0) & (theirs["p"] == 0)] = 0
    return lfc, p


def agreement(ours: dict, theirs: dict) -> dict:
    """How far two fits are apart."""
    lfc, p = distances(ours, theirs)
    return {
        "lfc_largest": float(np.nanmax(lfc)),
        "lfc_share": float((lfc <= LFC_TOLERANCE).mean()),
        "p_largest": float(np.nanmax(p)),
        "p_share": float((p <= P_TOLERANCE).mean()),
        "calls_differ": int(((ours["padj"] < 0.05) != (theirs["padj"] < 0.05)).sum()),
        "genewise_differ": int((np.abs(np.log(ours["genewise"] / theirs["genewise"])) > 1e-4).sum()),
        "prior_difference": float(abs(ours["prior"] - theirs["prior"])),
    }


def compare(table: Path, ours: dict, theirs: dict) -> dict:
    """Agreement, and the least gain in likelihood in genes that differ."""
    lfc, p = distances(ours, theirs)
    off = ~((lfc <= LFC_TOLERANCE) & (p <= P_TOLERANCE))
    coefficients, dispersions = gains(np.load(table), ours, theirs, off)
    least = {"least_gain_coefficients": coefficients, "least_gain_dispersions": dispersions}
    return agreement(ours, theirs) | least


def failures(found: dict, itself: dict | None) -> list[str]:
    """What is not good enough. With `itself`, no more agreement is asked for than PyDESeq2 has with itself."""
    wrong = []
    for name in ("lfc_share", "p_share"):
        asked = SHARE if itself is None else min(SHARE, itself[name])
        if found[name] < asked:
            wrong.append(f"{name} {found[name]:.4f} is under {asked:.4f}")
    if min(found["least_gain_coefficients"], found["least_gain_dispersions"]) < -LIKELIHOOD_TOLERANCE:
        wrong.append("a lower likelihood")
    if found["ratio"] > LARGEST_RATIO:
        wrong.append(f"ratio over {LARGEST_RATIO:.2f}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", nargs=3, metavar=("TABLE", "ENGINE", "OUTPUT"), help="one engine, in this process")
    parser.add_argument("--prior", type=Path, help="with --fit: take the dispersions' trend and prior of this output")
    parser.add_argument("--table", nargs="*", type=Path, default=[], help="npz with counts, design and method")
    parser.add_argument("--cohorts", default=",".join(map(str, range(len(COHORTS)))), help="which of the simulated")
    parser.add_argument("--itself", action="store_true", help="also PyDESeq2 against itself, samples in reverse order")
    args = parser.parse_args()
    if args.fit:
        fit(Path(args.fit[0]), args.fit[1], Path(args.fit[2]), prior=args.prior)
        return
    with tempfile.TemporaryDirectory() as folder:
        tables = list(args.table)
        for number in [int(one) for one in args.cohorts.split(",") if one] if not args.table else []:
            n_samples, n_genes, pools = COHORTS[number]
            counts, design = simulated_table(n_samples, n_genes, pools=pools)
            tables.append(Path(folder) / f"{n_samples}_{design.shape[1]}.npz")
            np.savez(tables[-1], counts=counts, design=design.to_numpy(), method="ratio")
        output = Path(folder) / "out.npz"
        small = Path(folder) / "small.npz"
        loaded = np.load(tables[0])
        np.savez(small, counts=loaded["counts"][:, :50], design=loaded["design"], method="poscounts")
        first, second = (cpu_seconds("--fit", str(small), "compiled", str(output)) for _ in range(2))
        print(f"50 genes: {first:.1f} CPU s in the first process, {second:.1f} with the kernels compiled", flush=True)
        verdicts = []
        for table in tables:
            seconds, results = {}, {}
            for engine in ("compiled", "pydeseq2", *(["reversed"] if args.itself else [])):
                seconds[engine] = cpu_seconds("--fit", str(table), engine, str(output))
                results[engine] = dict(np.load(output))
            found = compare(table, results["compiled"], results["pydeseq2"])
            found["ratio"] = seconds["compiled"] / seconds["pydeseq2"]
            itself = agreement(results["reversed"], results["pydeseq2"]) if args.itself else None
            verdicts.append(failures(found, itself))
            shape = np.load(table)["design"].shape
            print(
                f"{table.stem}: {shape[0]} samples, {shape[1]} coefficients, {len(results['compiled']['lfc'])} genes: "
                f"{seconds['compiled']:.1f} of {seconds['pydeseq2']:.1f} CPU s, ratio {found['ratio']:.3f}: "
                f"{'FAIL: ' + ', '.join(verdicts[-1]) if verdicts[-1] else 'pass'}\n  {json.dumps(found)}",
                flush=True,
            )
            if itself:
                print(f"  PyDESeq2 with the samples in reverse order: {json.dumps(itself)}", flush=True)
    sys.exit(1 if any(verdicts) else 0)


if __name__ == "__main__":
    main()
