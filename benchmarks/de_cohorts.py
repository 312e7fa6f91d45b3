"""Pseudobulk cohorts with known truth, for judging differential expression.

Counts of a sample are Poisson with mean

    cells x counts per cell x [(1 - d) x share[t, g] x exp(noise) + d x share[other, g] x exp(noise)]

where d is the sample's share of residual doublets. The noise, on the natural log scale, is that of the donor (half of
its variance in common to all cell types), of the pool and of the sample, each normal with an SD of its own for every
gene; an outlier sample has much more of the last. No engine assumes this model: DESeq2 and edgeR fit gamma noise,
voom a normal one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

COUNTS_PER_CELL = 300.0  # of these genes: a tenth of what a lymphocyte shows
MEAN_CELLS = (200.0, 80.0, 30.0)  # a sample, by cell type
DONOR_SD, POOL_SD, GENE_SPREAD = 0.25, 0.12, 0.35  # median over genes; SD of the log between genes
OUTLIER_SD = 0.8


@dataclass(frozen=True)
class Cohort:
    """What is drawn; shares are of samples, genes or counts."""

    donors: int
    donors_per_pool: int = 8
    genes: int = 800
    women: float = 0.57
    outliers: float = 0.03
    doublets: float = 0.02
    age_by_pool: float = 0.0  # share of the variance of age between pools
    true_share: float = 0.08
    lfc: tuple[float, float] = (0.1, 0.6)  # smallest and largest |log2 fold change| per SD of age
    gene_spread: float = GENE_SPREAD
    min_cells: int = 10


@dataclass(frozen=True)
class Samples:
    """One cell type of a cohort: counts (samples x genes), donor columns, true log2 fold change per SD of age."""

    counts: np.ndarray
    samples: pd.DataFrame
    truth: np.ndarray


def draw_donors(cohort: Cohort, rng: np.random.Generator) -> pd.DataFrame:
    """Age, sex and pool of each donor."""
    n = cohort.donors
    n_pools = max(2, round(n / cohort.donors_per_pool))
    pool = rng.permutation(np.arange(n) % n_pools)
    shared = np.sqrt(cohort.age_by_pool) * rng.normal(size=n_pools)[pool]
    age = 62 + 17 * (shared + np.sqrt(1 - cohort.age_by_pool) * rng.normal(size=n))
    women = rng.permutation(n) < round(cohort.women * n)
    names = [f"d{i:03d}" for i in range(n)]
    columns = {
        "donor_id": names,
        "age_years": np.rint(age.clip(19, 97)),
        "sex": np.where(women, "female", "male"),
        "pool": [f"p{k:02d}" for k in pool],
    }
    return pd.DataFrame(columns, index=pd.Index(names, name="sample_id"))


def draw_cohort(cohort: Cohort, *, seed: int) -> list[Samples]:
    """Draw every cell type of a cohort; samples of fewer than `min_cells` cells are left out."""
    rng = np.random.default_rng(seed)
    donors = draw_donors(cohort, rng)
    n, genes, types = cohort.donors, cohort.genes, len(MEAN_CELLS)
    base = rng.normal(0, 1.6, genes)
    level = base + rng.normal(0, 1.2, (types, genes)) * (rng.random((types, genes)) < 0.3)
    share = 2**level / (2**level).sum(axis=1, keepdims=True)
    donor_sd, pool_sd = (sd * rng.lognormal(0, cohort.gene_spread, genes) for sd in (DONOR_SD, POOL_SD))
    code = pd.factorize(donors["pool"], sort=True)[0]
    age_z = ((donors["age_years"] - donors["age_years"].mean()) / donors["age_years"].std()).to_numpy()
    sex_lfc = np.where(rng.random(genes) < 0.02, rng.normal(0, 1, genes), 0)
    lfc = np.where(
        rng.random((types, genes)) < cohort.true_share,
        rng.choice([-1, 1], (types, genes)) * rng.uniform(*cohort.lfc, (types, genes)),
        0.0,
    )
    common = (
        rng.normal(0, np.sqrt(0.5), (n, genes)) * donor_sd + rng.normal(0, 1, (code.max() + 1, genes))[code] * pool_sd
    )
    male = (donors["sex"] == "male").to_numpy()
    rates = []
    for one in range(types):
        log_rate = common + rng.normal(0, np.sqrt(0.5), (n, genes)) * donor_sd
        outlier = rng.random(n) < cohort.outliers
        log_rate = log_rate + outlier[:, None] * rng.normal(0, OUTLIER_SD, (n, genes))
        log_rate = log_rate + np.log(2) * (np.outer(age_z, lfc[one]) + np.outer(male, sex_lfc))
        rates.append(share[one] * np.exp(log_rate))
    drawn = []
    for one, mean_cells in enumerate(MEAN_CELLS):
        cells = np.rint(mean_cells * rng.lognormal(0, 0.6, n)).astype(int)
        other = (one + 1) % types
        doublets = rng.beta(1.0, 1 / cohort.doublets - 1, n)[:, None] if cohort.doublets else 0.0
        mixed = (1 - doublets) * rates[one] + doublets * rates[other]
        counts = rng.poisson(cells[:, None] * COUNTS_PER_CELL * rng.lognormal(0, 0.2, (n, 1)) * mixed)
        kept = cells >= cohort.min_cells
        table = donors.assign(cell_type=f"type {one}", n_cells=cells)
        drawn.append(Samples(counts[kept].astype(np.int64), table[kept], lfc[one]))
    return drawn
