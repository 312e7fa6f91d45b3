"""Log rates that a sample of few counts does not shift.

A sample sums the counts of one donor's cells of one type. One of 3,678 counts can stand beside one of 485,846. Two
things go wrong with the small one. log2((count + .5) / (library + 1)) gives every gene without a count the same high
value, so a linear model sees all weakly expressed genes rise together. And below a tenth of the usual depth a sample
adds noise to the tests without adding power: such samples are left out by the pipeline's rule,
bin/immune_aging/samples/sample_rules.py. README.md has the measurements of both.
"""

import numpy as np

PRIOR_COUNT = 2.0  # as edgeR's cpm(log=TRUE) has it, but towards each gene's own mean


def mean_rates(counts: np.ndarray) -> np.ndarray:
    """Share of all counts that each gene has in the training samples, one per gene; to be stored with a model.

    Parameters
    ----------
    counts
        Samples x genes, raw sums.
    """
    return counts.sum(axis=0) / counts.sum()


def log_rates(counts: np.ndarray, rates: np.ndarray, *, prior_count: float = PRIOR_COUNT) -> np.ndarray:
    """log2 counts per million, each gene pulled towards its training mean by as much as `prior_count` counts.

    The fewer counts a sample has, the nearer its genes come to the mean, and its predicted age to the mean age,
    instead of anywhere. It is the posterior mean of a Poisson rate under a gamma prior of this mean and shape.

    Parameters
    ----------
    counts
        Samples x genes, raw sums.
    rates
        As of `mean_rates`, from the training samples; a gene without any is no feature: it gets -inf.
    """
    library = counts.sum(axis=1, keepdims=True, dtype=float)
    with np.errstate(divide="ignore"):
        return np.log2((counts + prior_count) / (library + prior_count / rates) * 1e6)
