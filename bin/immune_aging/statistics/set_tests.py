"""Does a gene set move with age more than the other genes do, given that its genes are co-expressed?

Preranked GSEA and Fisher's test take the genes for independent. They are not: what a donor's blood was like that day
moves a whole programme of genes at once, so with permuted ages on real data preranked GSEA calls a set in a quarter to
a half of all tries. The test here is camera: it measures, in the residuals of the very fit that gives the statistics,
how much more the mean of a set varies between samples than that of independent genes would, and widens the standard
error by it. pylimma's own camera is not called, because with weights it decomposes a samples x samples matrix for
every gene (half a second per gene with 982 samples), and it does not know the correlation within batches.

References
----------
Wu, Smyth (2012), Nucleic Acids Research 40:e133.
"""

# Own code: pylimma's camera takes .5 s per gene with weights and 982 samples, this 2 s for 12,000 genes.

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from immune_aging.statistics.gene_fits import GeneFits
from immune_aging.task.skipped import CannotFit

# The test is referred to a t distribution with as many degrees of freedom as the residuals have: with 3 of them a
# single set among 50 would need |t| > 12.9.
MIN_RESIDUAL_DF = 4
# Where the genes of a set rise together the others fall, because log counts per million are relative; camera takes the
# two for independent. Sets of 100, 300 and 800 of 2,000 genes that nothing changes had p < .05 in .02, .08 and .23 of
# 400 cohorts with one strong factor, so that sets of more than a tenth of the genes are not tested.
LARGEST_SHARE = 0.1
TEST_COLUMNS = ("gene_set", "direction", "correlation", "p_value", "q_value")
# A p value that underflows is printed as this, the smallest normal double: a p of 0 would claim certainty.
SMALLEST_P = float(np.finfo(float).tiny)


def refuse_few_samples(fits: GeneFits) -> None:
    """Raise `CannotFit` where the residuals have fewer than `MIN_RESIDUAL_DF` degrees of freedom."""
    if fits.df_residual < MIN_RESIDUAL_DF:
        n_samples = fits.residuals.shape[1]
        raise CannotFit(
            f"{n_samples} samples and {n_samples - fits.df_residual} coefficients leave {fits.df_residual} residual "
            f"degrees of freedom; the correlation of a set's genes needs {MIN_RESIDUAL_DF}"
        )


def variance_inflation(residuals: np.ndarray, df_residual: int) -> float:
    """How much more the mean of some genes varies between samples than that of as many independent genes.

    For m genes of mean correlation r it is 1 + (m - 1) r.

    Parameters
    ----------
    residuals
        Genes of the set x samples, of `GeneFits`.
    """
    mean = residuals.mean(axis=0, dtype=float)
    return len(residuals) * float(mean @ mean) / df_residual


def camera_test(fits: GeneFits, members: np.ndarray) -> dict:
    """Wu and Smyth's test of one set against all other genes.

    The variance inflation is never taken to be below 1: an estimate on few residuals falls below it by chance, and
    would make certainty out of it.

    Parameters
    ----------
    fits
        Of at least three genes.
    members
        Rows of the set's genes; at least one, not all.

    Returns
    -------
    direction (of the set against the other genes), correlation (the estimate, which may be below 0; NaN for a set of
    one gene), p_value (two-sided, t distribution).
    """
    from scipy.stats import t

    z, n_genes, size = fits.z, len(fits.z), len(members)
    others = n_genes - size
    inflation = variance_inflation(fits.residuals[members], fits.df_residual)
    shift = n_genes / others * (z[members].mean() - z.mean())  # mean inside minus mean outside
    pooled = ((n_genes - 1) * z.var(ddof=1) - shift**2 * size * others / n_genes) / (n_genes - 2)
    statistic = shift / np.sqrt(pooled * (max(1.0, inflation) / size + 1 / others))
    return {
        "direction": "up" if statistic > 0 else "down",
        "correlation": (inflation - 1) / (size - 1) if size > 1 else np.nan,
        "p_value": max(2 * float(t.sf(abs(statistic), min(fits.df_residual, n_genes - 2))), SMALLEST_P),
    }


def not_too_large(sets: Mapping[str, tuple[str, ...]], n_genes: int) -> dict[str, tuple[str, ...]]:
    """The sets that hold at most `LARGEST_SHARE` of the genes."""
    return {name: genes for name, genes in sets.items() if len(genes) <= LARGEST_SHARE * n_genes}


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg over the sets of one cell type; above 0 because every p is.

    Overlapping sets are positively dependent, under which the procedure still controls the false discovery rate
    (Benjamini, Yekutieli 2001, Annals of Statistics 29:1165).
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(np.minimum(p_values, 1.0), method="bh") if len(p_values) else np.empty(0)


def competitive_tests(fits: GeneFits, symbols: Sequence[str], sets: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Test of every set whether its genes move with the contrast more than the other genes, given co-expression.

    Parameters
    ----------
    fits
        Of the tested genes.
    symbols
        One per gene of `fits`, each once.
    sets
        Symbols of each set, all of them measured, not all that there are (`gene_sets.measured_sets`).

    Returns
    -------
    `TEST_COLUMNS`, sorted by p and name. `correlation` is the mean residual correlation between the set's genes (below
    0 by chance where it is near 0; the test then takes 0). No p or q is 0.

    Raises
    ------
    CannotFit
        Too few residual degrees of freedom, or fewer than three genes.
    ValueError
        A symbol stands there twice.
    """
    refuse_few_samples(fits)
    place = pd.Index(symbols)
    if not place.is_unique:
        twice = place[place.duplicated()][0]
        raise ValueError(f"symbol '{twice}' stands there twice; keep one gene per symbol (gene_sets.by_symbol)")
    if len(place) < 3:
        raise CannotFit(f"{len(place)} genes; a test of gene sets needs at least 3")
    found = [
        {"gene_set": name, **camera_test(fits, np.sort(place.get_indexer(pd.unique(pd.Series(genes)))))}
        for name, genes in sets.items()
    ]
    table = pd.DataFrame(found, columns=list(TEST_COLUMNS))
    table["q_value"] = adjusted(table["p_value"].to_numpy(float))
    return table.sort_values(["p_value", "gene_set"], kind="stable", ignore_index=True)
