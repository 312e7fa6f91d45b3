"""Whether a batch such as a multiplexing pool enters the default design, and why.

A pool that is left out adds its variance to the noise and, with few pools, moves the p values of a whole cell type up
or down together; a pool that enters costs a degree of freedom. So it enters where samples are enough, in pools of
enough samples, and where the tested term varies within pools; elsewhere voom alone takes it as a random effect
(docs/methods.md has the measurements).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.statistics.designs import Design, as_labels, build_design, refuse_varying_columns, varies_somewhere
from immune_aging.statistics.formulas import formula_columns, is_default
from immune_aging.task.checkpoints import VARYING
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

AUTO, NONE = "auto", "none"
# What cohorts call their pools, of which the first that is there counts.
POOL_NAMES = ("pool", "pool_number", "pool_id", "batch", "batch_id", "library", "library_id", "experiment")
EFFECTS = ("auto", "fixed", "random", "none")
MIN_SAMPLES = 45  # at 25 donors a fixed pool costs up to a quarter of the power, at 50 about 3 %
MIN_SAMPLES_PER_POOL = 5
MIN_SAMPLES_PER_BLOCK = 1.5  # pools of one donor tell nothing of a correlation
MAX_RANDOM_SAMPLES = 100  # the correlation costs samples cubed for each gene
MAX_POOLS = 100  # with 75 pools of 982 donors both fits cost .015 s per gene, with 150 of 1,964 .25 s
# Share of the tested term's information that must be left within pools: where a random effect can take them else, and
# where nothing else can. Left out, 75 pools that hold half of age's variance gave p < .05 in .09 of null genes.
MIN_KEPT, MIN_KEPT_AT_ALL = 0.5, 0.1


@dataclass(frozen=True)
class Batches:
    """What was decided of the batch.

    Attributes
    ----------
    column
        Donor column; '' where there is none.
    use
        'fixed' (a term of the design), 'random' (a correlation within pools, in voom) or 'none'.
    reason
        Why, for a person.
    """

    column: str
    use: str
    reason: str


def find_column(samples: pd.DataFrame, wanted: str) -> str:
    """The donor column of batches: the named one, or the first known name; '' for none.

    Raises
    ------
    BadInput
        The named column is not there.
    """
    if wanted == NONE:
        return ""
    if wanted == AUTO:
        return next((name for name in POOL_NAMES if name in samples), "")
    if wanted not in samples and not varies_somewhere(samples, wanted):
        there = ", ".join(sorted(str(one) for one in samples.columns if one != VARYING))
        raise BadInput(f"--pool_column '{wanted}': is no donor column; there are: {there}")
    return wanted


def information_kept(plain: Design, pooled: Design) -> float:
    """Share of the information on the tested term, after the other terms, that adding the pool leaves.

    The least over the contrasts; degrees of freedom are allowed for, so a term that has nothing to do with the pool
    keeps about 1.
    """

    def information(design: Design, weights: np.ndarray) -> float:
        matrix = design.matrix.to_numpy()
        variance = weights @ np.linalg.solve(matrix.T @ matrix, weights)
        return 1 / (float(variance) * (len(matrix) - matrix.shape[1] + 1))

    def asked(design: Design) -> list[np.ndarray]:
        return [row for one in design.contrasts for row in (one.weights, *one.hypotheses)]

    return min(
        information(pooled, with_pool) / information(plain, without)
        for without, with_pool in zip(asked(plain), asked(pooled), strict=True)
    )


def choose_batches(
    samples: pd.DataFrame,
    *,
    formula: str,
    test_term: str,
    contrast: str = "",
    column: str = AUTO,
    effect: str = AUTO,
) -> Batches:
    """Decide how the batch enters.

    Parameters
    ----------
    samples
        One row per sample of one cell type, donor columns.
    formula
        The design that was asked for; only the default one is added to under `effect` 'auto'.
    column
        Donor column, 'auto' (the first of `POOL_NAMES` that is there) or 'none'.
    effect
        'fixed', 'random' and 'none' are obeyed; 'auto' decides between them.

    Raises
    ------
    BadInput
        The named column is not there.
    CannotFit
        It varies within a donor, and `effect` asks for it.
    """
    found = find_column(samples, column)
    if not found:
        known = "" if column == NONE else f" ({', '.join(POOL_NAMES)})"
        return Batches("", "none", f"no column of batches{' is wanted' if column == NONE else ''}{known}")
    if found in formula_columns(formula):
        return Batches(found, "none", f"'{found}' is in the design already")
    if effect == "none":
        return Batches(found, "none", "pool_effect is none")
    if effect in ("fixed", "random"):
        refuse_varying_columns(samples, [found])
        return Batches(found, effect, f"pool_effect is {effect}")
    if not is_default(formula, samples):
        return Batches(found, "none", "the design is not the default one, and is taken as it is")
    return weigh_batches(samples, found, formula=formula, test_term=test_term, contrast=contrast)


def weigh_batches(samples: pd.DataFrame, column: str, *, formula: str, test_term: str, contrast: str) -> Batches:
    """Decide by these samples alone whether a column of batches is a fixed term, a random effect or neither."""
    if column not in samples:
        return Batches(column, "none", f"'{column}' varies within donors")
    labels = as_labels(samples[column])
    n_samples, n_pools = len(labels), labels.nunique()
    if labels.isna().any():
        return Batches(column, "none", f"'{column}' is unknown for {int(labels.isna().sum())} of {n_samples} samples")
    if n_pools < 2:
        return Batches(column, "none", f"all samples are of one '{column}'")
    size = f"{n_samples} samples in {n_pools} levels"
    if obstacle := obstacle_of_size(n_samples, n_pools):
        return Batches(column, use_without_fixed_term(n_samples, n_pools), f"{size}: {obstacle}")
    try:
        plain = build_design(samples, formula=formula, test_term=test_term, contrast=contrast)
        pooled = build_design(samples, formula=formula, test_term=test_term, contrast=contrast, batch=column)
        kept = information_kept(plain, pooled)
    except CannotFit as reason:
        return Batches(column, use_without_fixed_term(n_samples, n_pools), f"confounded: {reason}")
    size += f", {100 * kept:.0f} % of the variance of '{test_term}' within them"
    if kept >= MIN_KEPT:
        return Batches(column, "fixed", size)
    use = use_without_fixed_term(n_samples, n_pools)
    if use == "none" and kept >= MIN_KEPT_AT_ALL:
        use = "fixed"
    return Batches(column, use, f"confounded: {size}")


def obstacle_of_size(n_samples: int, n_pools: int) -> str:
    """Why so many samples in so many pools rule out a fixed term; '' where they do not."""
    if n_samples < MIN_SAMPLES:
        return f"with fewer than {MIN_SAMPLES} samples a fixed term costs power"
    if n_samples < MIN_SAMPLES_PER_POOL * n_pools:
        return f"with fewer than {MIN_SAMPLES_PER_POOL} samples a level a fixed term costs power"
    if n_pools > MAX_POOLS:
        return f"with more than {MAX_POOLS} levels each fit would cost too much"
    return ""


def use_without_fixed_term(n_samples: int, n_pools: int) -> str:
    """'random' where a correlation within pools can be estimated at a bearable cost, else 'none'."""
    correlated = n_samples <= MAX_RANDOM_SAMPLES and n_samples >= MIN_SAMPLES_PER_BLOCK * n_pools
    return "random" if correlated else "none"
