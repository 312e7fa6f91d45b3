#!/usr/bin/env python3
"""Gene sets and genes across cell types against simulated cohorts whose truth is known.

`verdicts` yields the targets with what was measured; alone, `benchmarks/truth_enrichment.py` prints their table.
The steps' own scripts run on files with their defaults: differential expression, enrichment, over-representation and
the comparison of cell types. Every cohort has three cell types of the same donors, in each of which two Hallmark sets
age; a part of the other genes ages in one cell type or in all.
"""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Fits are many small problems; threads that fight over cores would cost more than they bring.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "benchmarks")]
sys.path.append(str(ROOT / "tests"))

import compare_cell_types  # noqa: E402
import differential_expression  # noqa: E402
import gsea  # noqa: E402
import overrepresentation  # noqa: E402
from coexpression import design_matrix, draw_counts, draw_donors, draw_programme  # noqa: E402
from immune_aging.statistics import power as statistics_power  # noqa: E402
from immune_aging.statistics import preranked  # noqa: E402
from immune_aging.statistics.gene_fits import GeneFits, fit_genes  # noqa: E402
from immune_aging.statistics.gene_sets import GeneSets, measured_sets, read_gmt, write_gmt  # noqa: E402
from immune_aging.statistics.linear_models import weighted_expression  # noqa: E402
from immune_aging.statistics.multiple_testing import ALPHA  # noqa: E402
from immune_aging.statistics.set_tests import competitive_tests  # noqa: E402
from immune_aging.task.checkpoints import read_tsv, write_h5ad  # noqa: E402
from inputs.step_options import default_options  # noqa: E402
from verdict import Verdict, print_table  # noqa: E402

SEED = 20261125
GMT = ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt"
DONORS = 45
N_SETS = 16  # of the 50 Hallmark sets: their genes are the cohort's
N_OTHERS = 400  # genes in no set
TYPES = ("a", "b", "c")


@dataclass(frozen=True)
class Truth:
    """What ages in a cohort.

    Attributes
    ----------
    effect
        log2 fold change per SD of age, genes x cell types (ids).
    planted
        Direction by (cell type, gene set).
    """

    effect: pd.DataFrame
    planted: dict[tuple[str, str], str]


def plant(sets: GeneSets, genes: list[str], rng: np.random.Generator) -> Truth:
    """Two sets of every cell type, one up and one down, by half of their genes; 2 % of the rest shared or specific.

    A gene of several planted sets ages by the first, and sets that would hold many genes of a planted one get few: a
    gene ages only if it is in no other set, or the room of 6 % of each of its other sets is not used up.
    """
    place = {gene: row for row, gene in enumerate(genes)}
    homes = {gene: [name for name, members in sets.items() if gene in members] for gene in genes}
    effect, planted = np.zeros((len(genes), len(TYPES))), {}
    large = [name for name, members in sets.items() if len(members) >= 60]
    chosen = rng.choice(large, 2 * len(TYPES), replace=False)
    for column, name in enumerate(TYPES):
        room = {other: 0.06 * len(members) for other, members in sets.items()}
        for direction, own in zip(("up", "down"), chosen[2 * column : 2 * column + 2], strict=True):
            planted[name, str(own)] = direction
            room |= {other: 0.0 for cell_type, other in planted if cell_type == name}
            quota = len(sets[own]) // 2
            for gene in sorted(rng.permutation(sets[own]), key=lambda one: len(homes[one])):
                others = [other for other in homes[gene] if other != own]
                if quota and not effect[place[gene], column] and all(room[other] >= 1 for other in others):
                    for other in others:
                        room[other] -= 1
                    effect[place[gene], column] = rng.uniform(0.2, 0.6) * (1 if direction == "up" else -1)
                    quota -= 1
    free = np.array([place[gene] for gene in genes if not homes[gene]])
    rng.shuffle(free)
    for row in free[:20]:
        effect[row] = rng.uniform(0.2, 0.6) * rng.choice([-1, 1])
    for row in free[20:40]:
        effect[row, rng.integers(len(TYPES))] = rng.uniform(0.2, 0.6) * rng.choice([-1, 1])
    return Truth(pd.DataFrame(effect, genes, list(TYPES)), planted)


def counts_of(truth: Truth, rng: np.random.Generator) -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """For each cell type its id, its samples' donors and its counts: half of a donor's variance is the same in all."""
    n_genes = len(truth.effect)
    age = rng.uniform(20, 95, DONORS)
    z = (age - age.mean()) / age.std(ddof=1)
    donors = pd.DataFrame({"donor_id": [f"D{i:02d}" for i in range(DONORS)], "age_years": age})
    donors["sex"] = rng.choice(["female", "male"], DONORS)
    spread, common = 0.25 * rng.lognormal(0, 0.35, n_genes), rng.normal(size=(DONORS, n_genes))
    level = rng.normal(4.5, 1.7, n_genes)
    for column, name in enumerate(TYPES):
        own = rng.normal(size=(DONORS, n_genes))
        noise = np.sqrt(0.5) * (common + own) * spread
        mean = np.exp2(level + rng.normal(0, 0.5, n_genes) + np.outer(z, truth.effect.to_numpy()[:, column]))
        depth = rng.lognormal(0, 0.35, DONORS)[:, None]
        yield name, donors.assign(cell_type=f"cell type {name}"), rng.poisson(mean * np.exp(noise) * depth)


def run_steps(folder: Path, truth: Truth, sets: GeneSets, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Every table of a cohort by its path in the results folder."""
    import anndata

    gmt = folder / "sets.gmt"
    write_gmt(sets, gmt)
    results = folder / "results"
    versions = ["--versions", str(folder / "v.json")]
    symbols = pd.DataFrame({"symbol": truth.effect.index}, index=pd.Index(truth.effect.index, name="gene_id"))
    for name, donors, counts in counts_of(truth, rng):
        place = results / "cell_types" / name
        samples = donors.set_index("donor_id", drop=False).rename_axis("sample_id")
        write_h5ad(anndata.AnnData(X=counts, obs=samples, var=symbols), folder / f"{name}.h5ad")
        with contextlib.redirect_stdout(io.StringIO()):
            differential_expression.main(
                ["--pseudobulk", str(folder / f"{name}.h5ad"), "--output", str(place / "de.tsv"),
                 "--summary", str(place / "de_summary.json"), "--fits", str(folder / f"{name}.h5"),
                 *default_options("differential_expression"), *versions]
            )  # fmt: skip
        shared = ["--de", str(place / "de.tsv"), "--gene-sets", str(gmt), *versions]
        outputs = ["--output", str(place / "gsea.tsv"), "--summary", str(place / "gsea_summary.json")]
        gsea.main([*shared, "--fits", str(folder / f"{name}.h5"), *default_options("gsea"), *outputs])
        overrepresentation.main(
            [*shared, "--output-up", str(place / "ora_up.tsv"), "--output-down", str(place / "ora_down.tsv"),
             "--summary", str(place / "ora_summary.json"), *default_options("overrepresentation")]
        )  # fmt: skip
    compare_cell_types.main(["--published", str(results), "--output", str(results / "comparison"), *versions])
    return {str(path.relative_to(results)): read_tsv(path) for path in sorted(results.rglob("*.tsv"))}


def rate_limit(n: int) -> float:
    """The largest rate of `n` chances that agrees with `ALPHA`: two binomial standard errors above it."""
    return ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / max(n, 1))


def share(target: str, hits: int, n: int, *, least: float | None = None) -> Verdict:
    """`hits` of `n`, at least `least`, or else at most the nominal rate."""
    rate = hits / max(n, 1)
    return Verdict(target, f"{hits} of {n} ({rate:.3f})", rate >= least if least is not None else rate <= rate_limit(n))


def null_enrichment(n_seeds: int) -> tuple[int, int, int]:
    """Calls at q < .05, p values below .05 and sets tested, where the statistics are noise and sets are Hallmark's."""
    sets = read_gmt(GMT)
    genes = sorted({gene for members in sets.values() for gene in members})
    called = low = tested = 0
    for seed in range(n_seeds):
        ranking = preranked.rank_symbols(pd.Series(np.random.default_rng([SEED, seed]).normal(size=len(genes)), genes))
        table = preranked.prerank(ranking, measured_sets(sets, genes), permutations=1000, seed=seed)
        called += int((table["q_value_preranked"] < ALPHA).any())
        low += int((table["p_value_preranked"] < ALPHA).sum())
        tested += len(table)
    return called, low, tested


def coexpressed(correlation: float, n_seeds: int = 20) -> float:
    """Share of unchanged sets with p < .05 where the genes of a set rise and fall together from donor to donor.

    Permuting genes takes them for independent (Wu & Smyth 2012, Nucleic Acids Research 40:e133).
    """
    low = []
    for seed in range(n_seeds):
        rng = np.random.default_rng([SEED, 2, seed])
        genes = [f"G{i}" for i in range(3000)]
        sets = {f"SET{i}": tuple(genes[50 * i : 50 * i + 50]) for i in range(40)}
        common = np.repeat(rng.normal(size=60), 50)
        z = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=3000)
        table = preranked.prerank(preranked.rank_symbols(pd.Series(z, genes)), sets, permutations=1000, seed=seed)
        low.append(float((table["p_value_preranked"] < ALPHA).mean()))
    return float(np.mean(low))


@dataclass(frozen=True)
class Coexpressed:
    """A cohort of one cell type whose genes move together between donors as in blood (`coexpression`).

    Attributes
    ----------
    counts
        Donors x genes.
    matrix
        Donors x coefficients: intercept, sex, age.
    symbols
        Of the genes.
    sets
        Hallmark sets of measured genes.
    """

    counts: np.ndarray
    matrix: np.ndarray
    symbols: list[str]
    sets: GeneSets


AGE = np.array([0.0, 0.0, 1.0])  # the tested coefficient of `Coexpressed.matrix`


def coexpressed_cohort(n_donors: int, *, seed: int, planted: dict[str, str] | None = None) -> Coexpressed:
    """Draw one; half of the genes of each planted set age in its direction by log2 fold changes of .1 to .3."""
    hallmarks = read_gmt(GMT)
    programme = draw_programme(hallmarks, seed=seed)
    rng = np.random.default_rng([SEED, 3, seed])
    effect = np.zeros(len(programme.genes))
    for name, way in (planted or {}).items():
        own = np.flatnonzero(np.isin(programme.genes, hallmarks[name]))
        moving = rng.choice(own, len(own) // 2, replace=False)
        effect[moving] = rng.uniform(0.1, 0.3, len(moving)) * (1 if way == "up" else -1)
    donors = draw_donors(n_donors, seed=seed)
    counts = draw_counts(programme, donors, lfc_per_sd=effect, seed=seed).T
    expressed = counts.sum(axis=0) >= 10
    symbols = np.array(programme.genes)[expressed].tolist()
    sets = measured_sets(hallmarks, symbols, min_size=10, max_size=len(symbols) // 10)
    return Coexpressed(counts[:, expressed], design_matrix(donors), symbols, sets)


def voom_fits(cohort: Coexpressed, matrix: np.ndarray) -> GeneFits:
    """Voom's fit of a cohort, as differential_expression.py hands it on."""
    return fit_genes(cohort.symbols, weighted_expression(cohort.counts, matrix), matrix, AGE)


def preranked_of(cohort: Coexpressed, fits: GeneFits, *, seed: int) -> pd.DataFrame:
    """The preranked test on voom's statistic; 200 permutations are enough for its q at .05."""
    ranking = preranked.rank_symbols(pd.Series(fits.z, cohort.symbols))
    return preranked.prerank(ranking, cohort.sets, permutations=200, seed=seed)


def permuted_ages(n_donors: int, n_permutations: int, n_preranked: int) -> Iterator[Verdict]:
    """How often ages that mean nothing call a set, by the set test, and by the preranked test in the first of them.

    Every permutation is fitted anew. That the preranked test calls too much is a target too: a cohort in which it
    does not is not like blood, and tells nothing.
    """
    cohort = coexpressed_cohort(n_donors, seed=1)
    rng = np.random.default_rng([SEED, 4, n_donors])
    any_call, low, naive = 0, [], 0
    for number in range(n_permutations):
        matrix = cohort.matrix.copy()
        matrix[:, 2] = rng.permutation(matrix[:, 2])
        fits = voom_fits(cohort, matrix)
        table = competitive_tests(fits, cohort.symbols, cohort.sets)
        any_call += int((table["q_value"] < ALPHA).any())
        low.append(float((table["p_value"] < ALPHA).mean()))
        if number < n_preranked:
            naive += int((preranked_of(cohort, fits, seed=number)["q_value_preranked"] < ALPHA).any())
    where = f"co-expressed cohort of {n_donors} donors, {n_permutations} permutations of age"
    called = share(f"set test, {where}: any set with q < .05 in <= .05", any_call, n_permutations)
    told = f"{called.figure}; p < .05 in {np.mean(low):.3f} of {len(cohort.sets)} sets"
    yield Verdict(called.target, told, called.met)
    yield share(
        f"preranked test, the first {n_preranked} of them: any set with q < .05 in >= .2, as in blood",
        naive, n_preranked, least=0.2,
    )  # fmt: skip


def repeated_samples(n_cohorts: int, n_persons: int = 30, visits: int = 3) -> Iterator[Verdict]:
    """How often a set is called where nothing changes and persons have several samples, by voom with a random donor.

    Each cohort's programmes and genes stay with a person to different degrees, while one correlation between a person's
    samples is estimated for all genes. Two questions: a condition that half of the samples have, and age where a visit
    comes every 15 years.
    """
    person, visit = np.repeat(np.arange(n_persons), visits), np.tile(np.arange(visits), n_persons)
    hallmarks = read_gmt(GMT)
    any_call, low = {"condition": 0, "age": 0}, {"condition": [], "age": []}
    for seed in range(n_cohorts):
        donors = draw_donors(n_persons, seed=seed).loc[person].reset_index(drop=True)
        programme = draw_programme(hallmarks, n_genes=1000, seed=seed)
        counts = draw_counts(programme, donors, person=person, seed=seed).T
        expressed = counts.sum(axis=0) >= 10
        symbols = np.array(programme.genes)[expressed].tolist()
        sets = measured_sets(hallmarks, symbols, min_size=10, max_size=len(symbols) // 10)
        condition = np.random.default_rng([SEED, 6, seed]).random(len(person)) < 0.5
        for term, tested in (("condition", condition), ("age", donors["age"] + 15 / 17 * visit)):
            matrix = np.column_stack([np.ones(len(person)), donors["sex"], tested]).astype(float)
            fits = fit_genes(symbols, weighted_expression(counts[:, expressed], matrix, block=person), matrix, AGE)
            tests = competitive_tests(fits, symbols, sets)
            any_call[term] += int((tests["q_value"] < ALPHA).any())
            low[term].append(float((tests["p_value"] < ALPHA).mean()))
    for term, calls in any_call.items():
        target = f"set test, {n_cohorts} co-expressed cohorts of {n_persons} persons at {visits} visits, {term}"
        called = share(f"{target}: any set with q < .05 in <= .05", calls, n_cohorts)
        yield Verdict(called.target, f"{called.figure}; p < .05 in {np.mean(low[term]):.3f} of the sets", called.met)


def kept_sets(n_cohorts: int, n_donors: int = 40) -> Iterator[Verdict]:
    """Of the planted sets that the preranked test finds, how many the set test finds too."""
    by_preranked = both = 0
    for seed in range(n_cohorts):
        rng = np.random.default_rng([SEED, 5, seed])
        large = sorted(name for name, genes in read_gmt(GMT).items() if len(genes) >= 100)
        planted = dict(zip(rng.choice(large, 3, replace=False).tolist(), ("up", "down", "up"), strict=True))
        cohort = coexpressed_cohort(n_donors, seed=100 + seed, planted=planted)
        fits = voom_fits(cohort, cohort.matrix)
        ranked = preranked_of(cohort, fits, seed=seed).set_index("gene_set")
        tests = competitive_tests(fits, cohort.symbols, cohort.sets).set_index("gene_set")
        for name, way in planted.items():
            found = ranked.loc[name, "q_value_preranked"] < ALPHA and (ranked.loc[name, "nes"] > 0) == (way == "up")
            by_preranked += int(found)
            both += int(found and tests.loc[name, "q_value"] < ALPHA and tests.loc[name, "direction"] == way)
    yield share(
        f"set test, {n_cohorts} co-expressed cohorts of {n_donors} donors: of the planted sets that the preranked test "
        "finds, found in their direction >= .8",
        both, by_preranked, least=0.8,
    )  # fmt: skip


def score_sets(tables: dict[str, pd.DataFrame], truth: Truth) -> dict[str, int]:
    """Counts of planted sets found and lost, and of others called, by enrichment and by over-representation."""
    score = dict.fromkeys(
        ("planted", "gsea_found", "gsea_called", "gsea_false", "ora_found", "ora_called", "ora_false"), 0
    )
    for name in TYPES:
        table = tables[f"cell_types/{name}/gsea.tsv"]
        called = table[table["q_value"] < ALPHA]
        found = set(zip(called["gene_set"], called["direction"], strict=True))
        both = set()
        for way in ("up", "down"):
            ora = tables[f"cell_types/{name}/ora_{way}.tsv"]
            both |= {(gene_set, way) for gene_set in ora.loc[ora["padj"] <= ALPHA, "gene_set"]}
        right = {(gene_set, way) for (own, gene_set), way in truth.planted.items() if own == name}
        score["planted"] += len(right)
        for kind, calls in (("gsea", found), ("ora", both)):
            score[f"{kind}_found"] += len(right & calls)
            score[f"{kind}_called"] += len(calls)
            score[f"{kind}_false"] += len(calls - right)
    return score


def score_genes(tables: dict[str, pd.DataFrame], truth: Truth) -> dict[str, float]:
    """Counts of genes that age alike, of those called so, and of p values of genes that at most one type changes."""
    table = tables["comparison/shared_ageing.tsv"].set_index("gene_id")
    n_changing = (truth.effect != 0).sum(axis=1).reindex(table.index)
    shared = table["pattern"] == "shared"
    within = {name: tables[f"cell_types/{name}/de.tsv"].set_index("gene_id")["p_value"].dropna() for name in TYPES}
    alone = [p_values[truth.effect[name].reindex(p_values.index) == 0] for name, p_values in within.items()]
    alike = (truth.effect.nunique(axis=1).reindex(table.index) == 1) & (n_changing == len(TYPES))
    return {
        "alike": int(alike.sum()),
        "alike_found": int((alike & shared).sum()),
        "shared": int(shared.sum()),
        "shared_false": int((shared & (n_changing < 2)).sum()),
        "null": int((n_changing == 0).sum()),
        "null_low": int((table["p_value"][n_changing == 0] < ALPHA).sum()),
        "type_null": sum(len(p_values) for p_values in alone),
        "type_low": int(sum((p_values < ALPHA).sum() for p_values in alone)),
        "one": int((n_changing == 1).sum()),
        "one_low": int((table["p_value_shared"][n_changing == 1] < ALPHA).sum()),
    }


def score_power(tables: dict[str, pd.DataFrame], truth: Truth) -> list[tuple[float, bool]]:
    """For every gene that ages: its true effect over the smallest that its standard error shows, and whether called."""
    threshold = statistics_power.p_threshold()
    rows = []
    for name in TYPES:
        table = tables[f"cell_types/{name}/de.tsv"].set_index("gene_id")
        effect = truth.effect[name].reindex(table.index).abs()
        ageing = table.index[effect > 0]
        smallest = statistics_power.detectable(table.loc[ageing, "lfc_se"].to_numpy(), threshold=threshold)
        ratio = effect[ageing].to_numpy() / smallest
        rows += list(zip(ratio, (table.loc[ageing, "padj"] < ALPHA).tolist(), strict=True))
    return rows


def verdicts(quick: bool = False) -> Iterator[Verdict]:
    """Every target; `quick` for a look at two cohorts."""
    n_seeds = 2 if quick else 6
    called, low, tested = null_enrichment(10 if quick else 40)
    n_null = 10 if quick else 40
    yield share(f"preranked enrichment of noise, {n_null} rankings: p < .05 in <= .05 of sets", low, tested)
    yield share(f"preranked enrichment of noise, {n_null} rankings: any set with q < .05 in <= .05", called, n_null)

    for n_donors in (40,) if quick else (40, 94):
        yield from permuted_ages(n_donors, 40 if quick else 200, 10 if quick else 40)
    yield from kept_sets(2 if quick else 8)
    yield from repeated_samples(10 if quick else 60)

    every = read_gmt(GMT)
    sums: dict[str, float] = {}
    power: list[tuple[float, bool]] = []
    for seed in range(n_seeds):
        rng = np.random.default_rng([SEED, 1, seed])
        names = rng.choice(sorted(every), N_SETS, replace=False)
        genes = sorted({gene for name in names for gene in every[name]}) + [f"OTHER{i}" for i in range(N_OTHERS)]
        sets = {str(name): every[name] for name in names}
        truth = plant(sets, genes, rng)
        with tempfile.TemporaryDirectory() as folder:
            tables = run_steps(Path(folder), truth, sets, rng)
        for name, value in {**score_sets(tables, truth), **score_genes(tables, truth)}.items():
            sums[name] = sums.get(name, 0) + value
        power += score_power(tables, truth)
    where = f"{n_seeds} cohorts x {len(TYPES)} cell types, {DONORS} donors"
    n = {name: int(value) for name, value in sums.items()}
    yield share(
        f"enrichment, {where}: every planted set found in its direction", n["gsea_found"], n["planted"], least=1.0
    )
    yield share("enrichment: false among the sets called (q < .05) <= .05", n["gsea_false"], n["gsea_called"])
    yield share("over-representation: planted sets found >= .95", n["ora_found"], n["planted"], least=0.95)
    yield share("over-representation: false among the sets called <= .05", n["ora_false"], n["ora_called"])
    mean = share(
        "across cell types: p < .05 of the mean in <= .05 of genes that no cell type changes", n["null_low"], n["null"]
    )
    told = f"{mean.figure}; within a cell type {n['type_low'] / n['type_null']:.3f}"
    yield Verdict(mean.target, told, mean.met)
    yield share(
        "across cell types: p < .05 (shared) in <= .05 of genes that one cell type changes", n["one_low"], n["one"]
    )
    yield share("across cell types: false among the genes named shared <= .05", n["shared_false"], n["shared"])
    yield share(
        "across cell types: genes that all change alike named shared >= .8", n["alike_found"], n["alike"], least=0.8
    )
    near = [found for ratio, found in power if 0.9 <= ratio <= 1.1]
    rate, error = float(np.mean(near)), float(np.std(near) / np.sqrt(len(near)))
    yield Verdict(
        "power table: genes within 10 % of the smallest effect are found in .80 ± .07",
        f"{rate:.2f} ± {error:.2f} of {len(near)}",
        abs(rate - statistics_power.POWER_AIM) <= 0.07,
    )


if __name__ == "__main__":
    if "--coexpressed" in sys.argv:
        for correlation in (0.0, 0.01, 0.05, 0.1):
            print(
                f"genes of a set correlated by {correlation:g}: p < .05 in {coexpressed(correlation):.3f}", flush=True
            )
        sys.exit()
    print_table(verdicts("--quick" in sys.argv))
