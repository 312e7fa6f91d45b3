"""Simulated pseudobulk whose genes move together between donors as they do in blood.

A simulation with independent genes cannot show what is wrong with a gene set test that takes genes for independent:
preranked GSEA looks right in it. Here a gene's log expression of a donor is the sum of three parts: programmes (one per
gene set, which its genes follow to a set-specific degree), broad factors that each gene follows with a sign of its own
(cell composition within the type, sample quality) and the gene's own variation. Counts are Poisson of that.

The numbers were measured on OneK1K (40 donors) and Perez (8 samples): the residual
correlation within Hallmark sets has quantiles 10/50/90 of about -.01/.02/.10 in OneK1K's shallow and -.02/.04/.20
in Perez's deep pseudobulk, that of random sets is 0; the leading factors hold .12, .08 and .06 of the residual
variance; the mean squared correlation between two genes is .008 to .014 (OneK1K), .017 and .041 (Perez) beyond chance.
What decides a set test, the variance inflation of a set's mean, has quantiles 10/50/90 of .8-.9/1.1-1.6/2.1-4.3 in
OneK1K and .9/1.2/2.3-2.6 here. With seed 1 and permuted ages preranked GSEA calls a set in .545 (94 donors)
and .605 (40) of 200 permutations; in .55 on a real table of 94 donors, and in .26 to .52 on OneK1K's small one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Share of a gene's biological variance that follows its set's programme: lognormal over sets (median, SD of log).
PROGRAMME_SHARE, PROGRAMME_SPREAD, LARGEST_SHARE = 0.007, 1.8, 0.6
# Programmes come in families (interferon alpha and gamma; TNF, hypoxia, p53 and apoptosis rise together in one donor):
# the number of families, and the share of a programme's variance that is its family's.
FAMILIES, FAMILY_SHARE = 4, 0.9
# Share of the biological variance of all genes that each broad factor holds.
FACTOR_SHARES = (0.11, 0.07, 0.05, 0.03, 0.02)
# How much of a gene's loading on a broad factor it shares with the other genes of its set (SD, of a total of 1).
SET_LOADING = 0.05
DONOR_SD = 0.25  # median over genes of the SD between donors, natural log, as benchmarks/pseudobulk_cohorts.py has it
DONOR_SD_SPREAD = 0.3  # SD of its log
POOL_SD = 0.12
LOG_COUNT_MEAN, LOG_COUNT_SD = 4.5, 1.2  # of a gene's mean count per sample, natural log: OneK1K's 90 cells per donor
LARGEST_ICC = 0.8  # of what moves genes in persons with several samples
DEPTH_SD = 0.35  # SD of log library size between samples


@dataclass(frozen=True)
class Programme:
    """What moves together in one cell type.

    Attributes
    ----------
    genes
        Symbols.
    log_mean
        Log of the mean count of each gene.
    sd
        SD of log expression between donors, one value per gene.
    loadings
        Genes x factors (programmes first, then broad factors); squares of a row sum to at most 1.
    """

    genes: tuple[str, ...]
    log_mean: np.ndarray
    sd: np.ndarray
    loadings: np.ndarray


def draw_programme(
    sets: Mapping[str, Sequence[str]],
    *,
    n_genes: int = 2000,
    expressed: float = 0.35,
    strength: float = 1.0,
    seed: int = 0,
) -> Programme:
    """Draw the genes of a cell type and what each follows.

    Parameters
    ----------
    sets
        Symbols of each gene set; `expressed` of all their genes are in the cell type, other genes fill up.
    strength
        Factor on the shares of variance that programmes and factors hold; 0: independent genes.
    """
    rng = np.random.default_rng(seed)
    known = np.array(sorted({gene for own in sets.values() for gene in own}))
    known = known[rng.random(len(known)) < expressed][:n_genes]
    genes = [*known, *(f"OTHER{i}" for i in range(n_genes - len(known)))]
    place = {gene: row for row, gene in enumerate(genes)}
    share = np.minimum(
        strength * PROGRAMME_SHARE * np.exp(PROGRAMME_SPREAD * rng.standard_normal(len(sets))), LARGEST_SHARE
    )
    programmes = np.zeros((n_genes, len(sets)))
    family = np.eye(FAMILIES)[rng.integers(FAMILIES, size=len(sets))]
    broad = rng.standard_normal((n_genes, len(FACTOR_SHARES)))
    for column, own in enumerate(sets.values()):
        rows = [place[gene] for gene in own if gene in place]
        # Genes follow a programme to different degrees; the mean square of their loadings is the share.
        loading = np.abs(rng.normal(1.0, 0.5, len(rows)))
        programmes[rows, column] = np.sqrt(share[column] / 1.25) * loading
        common = rng.standard_normal(len(FACTOR_SHARES))
        broad[rows] = np.sqrt(1 - SET_LOADING**2) * broad[rows] + SET_LOADING * common
    related = programmes @ family * np.sqrt(FAMILY_SHARE)
    programmes = programmes * np.sqrt(1 - FAMILY_SHARE)
    loadings = np.column_stack([programmes, related, broad * np.sqrt(np.multiply(strength, FACTOR_SHARES))])
    length = (loadings**2).sum(axis=1, keepdims=True)
    loadings = loadings / np.sqrt(np.maximum(length / 0.95, 1))  # at least a twentieth is the gene's own
    log_mean = rng.normal(LOG_COUNT_MEAN, LOG_COUNT_SD, n_genes)
    sd = DONOR_SD * np.exp(DONOR_SD_SPREAD * rng.standard_normal(n_genes))
    return Programme(tuple(genes), log_mean, sd, loadings)


def draw_donors(n_donors: int, *, n_pools: int = 0, seed: int = 0) -> pd.DataFrame:
    """Donors with age (standardised), sex (0, 1) and pool (-1 where `n_pools` is 0)."""
    rng = np.random.default_rng([seed, 1])
    age = rng.beta(1.6, 1.3, n_donors)
    pool = np.arange(n_donors) % n_pools if n_pools else np.full(n_donors, -1)
    return pd.DataFrame(
        {
            "age": (age - age.mean()) / age.std(ddof=1),
            "sex": rng.permutation(np.arange(n_donors) % 2),
            "pool": pool,
        }
    )


def draw_counts(
    programme: Programme,
    donors: pd.DataFrame,
    *,
    lfc_per_sd: np.ndarray | None = None,
    depth: float = 1.0,
    person: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Pseudobulk counts, genes x donors.

    Parameters
    ----------
    lfc_per_sd
        log2 fold change of each gene per SD of age; None for none.
    depth
        Factor on all mean counts: 10 for pseudobulk of a thousand cells.
    person
        Number of the person of each row of `donors`, where a person has several. Each factor, and each gene by itself,
        then has an intraclass correlation of its own, between 0 and `LARGEST_ICC`.
    """
    rng = np.random.default_rng([seed, 2])
    n_genes, n_donors = len(programme.genes), len(donors)
    own = np.sqrt(np.maximum(1 - (programme.loadings**2).sum(axis=1), 0))
    factors = rng.standard_normal((programme.loadings.shape[1], n_donors))
    alone = rng.standard_normal((n_genes, n_donors))
    if person is not None:
        factors, alone = (_with_persons(one, person, rng) for one in (factors, alone))
    moved = programme.loadings @ factors + own[:, None] * alone
    log_rate = programme.log_mean[:, None] + np.log(depth) + programme.sd[:, None] * moved
    for pool in donors["pool"].unique():
        if pool >= 0:
            log_rate[:, donors["pool"] == pool] += POOL_SD * rng.standard_normal((n_genes, 1))
    if lfc_per_sd is not None:
        log_rate += np.log(2) * lfc_per_sd[:, None] * donors["age"].to_numpy()
    log_rate += DEPTH_SD * rng.standard_normal(n_donors)
    return rng.poisson(np.exp(log_rate)).astype(float)


def _with_persons(noise: np.ndarray, person: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance, part of which is the person's, to a different degree in each row."""
    icc = rng.uniform(0, LARGEST_ICC, (len(noise), 1))
    return np.sqrt(icc) * rng.standard_normal((len(noise), person.max() + 1))[:, person] + np.sqrt(1 - icc) * noise


def design_matrix(donors: pd.DataFrame, *, pools: bool = False) -> np.ndarray:
    """Intercept, sex, age; then treatment-coded pools where asked for. Age is column 2."""
    columns = [np.ones(len(donors)), donors["sex"], donors["age"]]
    if pools:
        columns += [(donors["pool"] == pool).astype(float) for pool in sorted(donors["pool"].unique())[1:]]
    return np.column_stack(columns).astype(float)
