#!/usr/bin/env python3
"""Differential expression against R's packages and against simulated cohorts whose truth is known.

`verdicts` yields the targets with what was measured; `benchmarks/truth_de.py` alone prints their table and, before it,
one row a kind of cohort. The step's own script runs on files, with its defaults. R (`Rscript` with DESeq2, limma,
edgeR and statmod; Debian: r-bioc-deseq2, r-bioc-limma, r-bioc-edger, r-cran-statmod) is the reference, and used
nowhere else.
`--floor` measures instead what the least number of cells per sample does.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

# Fits are many small problems; threads that fight over cores would also falsify what this costs.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import binom, chi2, kstest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "benchmarks")]
sys.path.append(str(ROOT / "tests"))

import differential_expression  # noqa: E402
from de_cohorts import Cohort, Samples, draw_cohort  # noqa: E402
from immune_aging.statistics.count_tests import (  # noqa: E402
    DeseqOptions,
    fit_pydeseq2,
    fit_voom,
    size_factor_method,
)
from immune_aging.statistics.designs import Design, build_design  # noqa: E402
from immune_aging.statistics.expressed_genes import expressed_genes  # noqa: E402
from immune_aging.statistics.multiple_testing import ALPHA  # noqa: E402
from immune_aging.task.checkpoints import read_json, read_tsv, write_h5ad  # noqa: E402
from inputs.step_options import default_options  # noqa: E402
from verdict import Verdict  # noqa: E402

FOLDER = ROOT / "build/bench/truth_de"
SEED = 20261125
# Cohorts of each kind, with seeds of their own: with one, a rate of .05 had a standard error of up to .016.
REPLICATES = 3
CALIBRATED_FROM = 50  # samples from which the primary engine must hold its rate
MEDIAN_CHI2 = float(chi2.ppf(0.5, 1))

COHORTS = (
    Cohort(20, donors_per_pool=5),
    Cohort(25),
    Cohort(35, women=0.3),
    Cohort(50),
    Cohort(50, women=0.3, donors_per_pool=10),
    Cohort(60, outliers=0.06),
    Cohort(70, age_by_pool=0.15),
    Cohort(80, doublets=0.05),
    Cohort(100),
    Cohort(100, women=0.25, outliers=0.05),
    Cohort(120, donors_per_pool=12, gene_spread=0.5),
    Cohort(150, donors_per_pool=10),
    Cohort(200, donors_per_pool=13),
    Cohort(200, donors_per_pool=20, age_by_pool=0.1),
)
NULL_COHORTS = tuple(
    Cohort(donors, donors_per_pool=10, true_share=0.0, genes=600, women=women)
    for donors in (20, 50, 60, 100, 200)
    for women in (0.57, 0.3)
)


def replicated(kinds: Sequence[Cohort], times: int, *, seed: int) -> list[tuple[Cohort, int]]:
    """Every kind of cohort so many times, each with its own seed; the first of each do not depend on `times`."""
    return [(kind, seed + 1000 * again + number) for again in range(times) for number, kind in enumerate(kinds)]


@dataclass(frozen=True)
class Result:
    """What the step said of one cell type of one cohort, beside the truth.

    Attributes
    ----------
    cohort
        Number of the cohort in the study.
    table
        de.tsv by gene (index: the gene's column in the simulated counts).
    true
        Which of these genes change with age.
    summary
        de_summary.json.
    reference
        How many true genes R DESeq2 calls by `~ sex + age` on all samples; None where R was not run.
    """

    cohort: int
    cell_type: str
    table: pd.DataFrame
    true: np.ndarray
    summary: dict
    reference: int | None = None

    def rate(self, called: np.ndarray) -> float:
        """False discovery proportion."""
        return float((called & ~self.true).sum() / max(called.sum(), 1))

    @property
    def primary(self) -> np.ndarray:
        """Calls of the primary engine."""
        return (self.table["padj"] < ALPHA).to_numpy()

    @property
    def robust(self) -> np.ndarray:
        """Calls of both."""
        return self.table["robust"].to_numpy(dtype=bool)


def run_step(drawn: Samples, folder: Path, *options: str) -> tuple[pd.DataFrame, dict]:
    """Run the pipeline's script on one cell type; its table (index: gene number) and summary."""
    genes = [f"g{i:05d}" for i in range(drawn.counts.shape[1])]
    var = pd.DataFrame({"symbol": genes}, index=pd.Index(genes, name="gene_id"))
    write_h5ad(anndata.AnnData(sparse.csr_matrix(drawn.counts), obs=drawn.samples, var=var), folder / "counts.h5ad")
    outputs = ["--output", folder / "de.tsv", "--summary", folder / "s.json", "--versions", folder / "v.json"]
    outputs += default_options("differential_expression")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        differential_expression.main([*map(str, ["--pseudobulk", folder / "counts.h5ad", *outputs]), *options])
    table = read_tsv(folder / "de.tsv")
    return table.set_index(table["gene_id"].str[1:].astype(int)), read_json(folder / "s.json")


def write_for_r(folder: Path, counts: np.ndarray, design: Design, *, block: Sequence[str] | None = None) -> None:
    """One table as de_reference.R reads it."""
    folder.mkdir(parents=True)
    np.savetxt(folder / "counts.tsv", counts.T, fmt="%d", delimiter="\t")
    design.matrix.to_csv(folder / "design.tsv", sep="\t", index=False)
    (folder / "coefficient.txt").write_text(f"{int(np.flatnonzero(design.contrasts[0].weights)[0]) + 1}\n")
    (folder / "size_factors.txt").write_text(size_factor_method(counts) + "\n")
    if block is not None:
        (folder / "block.txt").write_text("\n".join(block) + "\n")


def run_r(folder: Path, engines: str) -> str:
    """Run the reference on every table of a folder; versions of R and its packages, '' where they are not there."""
    command = ["Rscript", str(ROOT / "benchmarks/de_reference.R"), str(folder), engines]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return ""
    return done.stdout.strip()


def agreement(folder: Path, *, quick: bool) -> Iterator[Verdict]:
    """Our engines and R's on the same tables and designs."""
    shutil.rmtree(folder, ignore_errors=True)
    ours = {}
    cohorts = replicated([Cohort(donors) for donors in (25, 60, 100)], REPLICATES, seed=SEED + 900)
    for number, (cohort, seed) in enumerate(cohorts[:1] if quick else cohorts):
        for drawn in draw_cohort(cohort, seed=seed):
            batch = "pool" if cohort.donors >= CALIBRATED_FROM else ""
            design = build_design(drawn.samples, batch=batch)
            counts = drawn.counts[:, expressed_genes(drawn.counts, design.matrix)]
            block = None if batch else drawn.samples["pool"].to_numpy(dtype=str)
            name = f"{number}_{drawn.samples['cell_type'].iloc[0].replace(' ', '')}"
            write_for_r(folder / name, counts, design, block=block)
            weights = [design.contrasts[0].weights]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                normal = DeseqOptions(reference="normal")
                fits = {"deseq2": fit_pydeseq2(counts, design.matrix, weights, options=normal)[0]}
                fits["limma_voom"] = fit_voom(counts, design.matrix, weights)[0]
                if block is not None:
                    fits["limma_random"] = fit_voom(counts, design.matrix, weights, block=block)[0]
            ours |= {(name, engine): fit for engine, fit in fits.items()}
    versions = run_r(folder, "deseq2,limma_voom,limma_random")
    names = {"deseq2": "PyDESeq2 and R DESeq2", "limma_voom": "voom and R limma"}
    names["limma_random"] = "voom with random pools and R limma"
    if versions:
        print(f"R {versions}", flush=True)
    for engine, pair in names.items():
        correlations, same = [], []
        for (name, one), fit in ours.items():
            if one == engine and versions:
                theirs = pd.read_csv(folder / name / f"{engine}.tsv", sep="\t")
                correlations.append(np.corrcoef(fit["log2_fold_change"], theirs["log2_fold_change"])[0, 1])
                same.append(((fit["padj"] < ALPHA) == (theirs["padj"] < ALPHA)).to_numpy())
        missing = "not measured: no Rscript with DESeq2, limma, edgeR and statmod"
        least = min(correlations, default=0.0)
        figure = f"{least:.6f} in the worst of {len(correlations)} tables" if correlations else missing
        yield Verdict(f"{pair}: log2 fold changes r >= .9999", figure, bool(least >= 0.9999))
        share = float(np.concatenate(same).mean()) if same else 0.0
        figure = f"{100 * share:.2f} % of {sum(map(len, same)):,} genes" if same else missing
        yield Verdict(f"{pair}: same calls >= 99.5 %", figure, share >= 0.995)


def analyse(cohorts: Sequence[tuple[Cohort, int]], folder: Path, *, with_r: bool = False) -> tuple[list[Result], str]:
    """Run the step on every cell type of every cohort (with its seed) and, if asked, R DESeq2 as its manual has it.

    Returns
    -------
    A result for each cell type of each cohort; versions of R and its packages, '' where it was not run.
    """
    shutil.rmtree(folder, ignore_errors=True)
    results, true_in_r = [], {}
    for number, (cohort, seed) in enumerate(cohorts):
        begin = time.process_time()
        for one, drawn in enumerate(draw_cohort(cohort, seed=seed)):
            name = f"{number:03d}_{one}"
            (folder / name).mkdir(parents=True)
            table, summary = run_step(drawn, folder / name)
            results.append(Result(number, f"type {one}", table, drawn.truth[table.index] != 0, summary))
            if with_r:
                plain = build_design(drawn.samples)
                tested = expressed_genes(drawn.counts, plain.matrix)
                true_in_r[name] = drawn.truth[tested] != 0
                write_for_r(folder / "r" / name, drawn.counts[:, tested], plain)
        print(f"cohort {number}: {time.process_time() - begin:.0f} CPU s", file=sys.stderr, flush=True)
    versions = run_r(folder / "r", "deseq2") if with_r else ""
    if versions:
        padj = [pd.read_csv(folder / "r" / name / "deseq2.tsv", sep="\t")["padj"].to_numpy() for name in true_in_r]
        hits = [int(((p < ALPHA) & true).sum()) for p, true in zip(padj, true_in_r.values(), strict=True)]
        results = [replace(result, reference=n) for result, n in zip(results, hits, strict=True)]
    return results, versions


def mean_and_error(results: Sequence[Result], kind: str) -> tuple[float, float]:
    """Mean false discovery proportion over cohorts and its standard error; a cohort is the mean of its cell types."""
    rates = pd.Series([one.rate(getattr(one, kind)) for one in results]).groupby([one.cohort for one in results]).mean()
    return float(rates.mean()), float(rates.std() / np.sqrt(len(rates)))


def with_truth(kinds: Sequence[Cohort], folder: Path, *, times: int) -> Iterator[Verdict]:
    """False discovery rates and power where genes age."""
    cohorts = replicated(kinds, times, seed=SEED)
    results, versions = analyse(cohorts, folder, with_r=True)
    print(f"\nSums and means over {times} cohorts of each kind, 3 cell types each.\n")
    print("| donors | design, pool | left out | FDP primary | FDP robust | hits primary | robust | R DESeq2 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for number, kind in enumerate(kinds):
        own = [one for one in results if one.cohort % len(kinds) == number]
        hits = [sum(int((getattr(o, name) & o.true).sum()) for o in own) for name in ("primary", "robust")]
        theirs = sum(o.reference for o in own) if versions else "-"
        rates = [f"{np.mean([o.rate(getattr(o, name)) for o in own]):.3f}" for name in ("primary", "robust")]
        used = ", ".join(dict.fromkeys(o.summary["batches"]["use"] for o in own))
        left_out = sum(len(o.summary["outlier_samples"]) for o in own)
        print("| " + " | ".join(map(str, [kind.donors, used, left_out, *rates, *hits, theirs])) + " |", flush=True)
    large = [one for one in results if cohorts[one.cohort][0].donors >= CALIBRATED_FROM]
    for kind, judged, where in (
        ("primary", large, f"primary, from {CALIBRATED_FROM} donors on"),
        ("robust", results, "robust calls, any size"),
    ):
        parts = {"all cell types": judged}
        parts |= {f"type {t}": [one for one in judged if one.cell_type == f"type {t}"] for t in range(3)}
        for part, chosen in parts.items():
            mean, error = mean_and_error(chosen, kind)
            bound = ALPHA + 2 * error
            n = len({one.cohort for one in chosen})
            figure = f"{mean:.3f} (SE {error:.3f}, {n} cohorts)"
            yield Verdict(f"FDR of the {where}, {part}: <= .05 + 2 SE", figure, mean <= bound)
    for what, chosen in (("all cohorts", results), (f"cohorts from {CALIBRATED_FROM} donors on", large)):
        ours = sum(int((one.primary & one.true).sum()) for one in chosen)
        theirs = sum(one.reference for one in chosen) if versions else 0
        figure = "not measured: no Rscript with DESeq2"
        if theirs:
            figure = f"{ours:,} / {theirs:,} true genes = {100 * ours / theirs:.1f} %"
        yield Verdict(f"power, {what}: >= 95 % of R DESeq2's", figure, bool(theirs) and ours >= 0.95 * theirs)


def without_truth(kinds: Sequence[Cohort], folder: Path, *, times: int) -> Iterator[Verdict]:
    """Null cohorts: uniform p values, no inflation, no more calls than chance."""
    cohorts = replicated(kinds, times, seed=SEED + 100)
    results, _ = analyse(cohorts, folder)
    n = len(results)
    for column, name in (("p_value", "primary"), ("p_value_companion", "companion")):
        columns = [one.table[column].dropna().to_numpy() for one in results]
        smallest = min(kstest(p, "uniform").pvalue for p in columns)
        figure = f"smallest of {n} Kolmogorov-Smirnov p {smallest:.2g} (bound {ALPHA / n:.2g})"
        yield Verdict(f"null p values of the {name} uniform", figure, bool(smallest > ALPHA / n))
        inflation = np.array([chi2.isf(np.median(p), 1) / MEDIAN_CHI2 for p in columns])
        calibrated = np.array([cohorts[one.cohort][0].donors >= CALIBRATED_FROM for one in results])
        for size, of in (("any size", inflation), (f"from {CALIBRATED_FROM} donors on", inflation[calibrated])):
            figure = f"{of.mean():.3f} (SE {of.std(ddof=1) / np.sqrt(len(of)):.3f}, {len(of)} tables)"
            met = bool(0.95 <= of.mean() <= 1.05)
            yield Verdict(f"genomic inflation of the {name}, {size}: .95 to 1.05", figure, met)
    for kind, chosen in (
        ("primary", [one for one in results if cohorts[one.cohort][0].donors >= CALIBRATED_FROM]),
        ("robust", results),
    ):
        # Benjamini-Hochberg under the global null: any call at all with probability .05 in each table.
        tables = sum(bool(getattr(one, kind).any()) for one in chosen)
        most = int(binom.ppf(0.975, len(chosen), ALPHA))
        figure = f"{tables} of {len(chosen)} tables have a call (chance: up to {most})"
        yield Verdict(f"null cohorts, {kind}: no more calls than chance", figure, tables <= most)


def floor_study() -> None:
    """Print what the least number of cells per sample does to the smallest cell type of six cohorts of 60 donors."""
    print("| least cells | samples | FDR primary | FDR robust | true genes primary | robust |")
    print("| --- | --- | --- | --- | --- | --- |")
    for floor in (1, 5, 10, 20, 40):
        rates, hits, samples = [], [], []
        for seed in range(6):
            drawn = draw_cohort(Cohort(60, genes=800, min_cells=floor), seed=SEED + 500 + seed)[2]
            table, summary = run_step(drawn, FOLDER / "floor")
            one = Result(seed, "type 2", table, drawn.truth[table.index] != 0, summary)
            rates.append([one.rate(one.primary), one.rate(one.robust)])
            hits.append([(one.primary & one.true).sum(), (one.robust & one.true).sum()])
            samples.append(summary["n_samples"])
        shown = [*(f"{rate:.3f}" for rate in np.mean(rates, axis=0)), *np.sum(hits, axis=0)]
        print("| " + " | ".join(map(str, [floor, round(np.mean(samples)), *shown])) + " |", flush=True)


def verdicts(quick: bool = False) -> Iterator[Verdict]:
    """Measure everything; `quick` takes two cohorts of each kind, enough to see that it runs."""
    yield from agreement(FOLDER / "agreement", quick=quick)
    few, times = (slice(2, 4), 1) if quick else (slice(None), REPLICATES)
    yield from with_truth(COHORTS[few], FOLDER / "cohorts", times=times)
    yield from without_truth(NULL_COHORTS[few], FOLDER / "null", times=times)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cohorts of each kind")
    parser.add_argument("--floor", action="store_true", help="study the least number of cells per sample instead")
    args = parser.parse_args(argv)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if args.floor:
        floor_study()
        return 0
    found = []
    for verdict in verdicts(quick=args.quick):
        print(f"-> {verdict}", file=sys.stderr, flush=True)
        found.append(verdict)
    print(f"\nSeed {SEED}.\n\n| target | measured | |\n| --- | --- | --- |")
    for verdict in found:
        print(f"| {verdict.target} | {verdict.figure} | {'pass' if verdict.met else 'MISSED'} |")
    return 0 if all(verdict.met for verdict in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
