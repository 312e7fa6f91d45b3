"""The random term `(1 | COLUMN)` of a design: which samples share an effect, and whether it can be told apart."""

import numpy as np
import pandas as pd

from immune_aging.statistics.designs import Design, as_labels
from immune_aging.statistics.formulas import is_donor, quoted, source_column
from immune_aging.statistics.mixed_models import groups_of
from immune_aging.task.skipped import CannotFit

ROUNDING = 1e-8


def asked_besides_donors(design: Design, samples: pd.DataFrame) -> str:
    """The column of a design's random term; '' where there is none, and where it is the donor."""
    return "" if not design.random or is_donor(design.random, samples) else design.random


def refuse_varying_groups(design: Design, samples: pd.DataFrame) -> None:
    """Raise `CannotFit` where samples of a donor, which are to be added up, are of several levels of the random term.

    Parameters
    ----------
    samples
        Those of the design among them, before they are added up.
    """
    if not design.random:
        return
    own = samples.loc[design.matrix.index]
    levels = as_labels(own[source_column(design.random, own)]).groupby(own["donor_id"].astype(str)).nunique()
    if (levels > 1).any():
        raise CannotFit(
            f"'{design.test_term}' is tested on donors, whose samples are added up, and '{design.random}' differs "
            f"between samples of {int((levels > 1).sum())} of them (donor '{levels.index[levels > 1][0]}'), so that it "
            f"cannot be a random effect of the sums; leave (1 | {quoted(design.random)}) out"
        )


def group_labels(samples: pd.DataFrame, column: str) -> pd.Series:
    """The level of a random term of each sample.

    Raises
    ------
    CannotFit
        A sample has none, there is nothing to estimate a correlation from, or sums of samples have no such column.
    """
    source = source_column(column, samples)
    if source not in samples:
        raise CannotFit(
            f"'{column}' differs between the samples of a donor, which are summed, so that it cannot be a random "
            "effect; make it a term of --design"
        )
    labels = as_labels(samples[source])
    if labels.isna().any():
        raise CannotFit(f"'{column}' is unknown for {int(labels.isna().sum())} of {len(labels)} samples")
    if not 2 <= labels.nunique() < len(labels):
        raise CannotFit(f"'{column}' has {labels.nunique()} levels in {len(labels)} samples: no random effect")
    return labels


def are_in_the_design(design: Design, labels: pd.Series) -> bool:
    """Whether the effects of groups follow from the fixed terms of a design, so that none is left to be random.

    Parameters
    ----------
    labels
        Group of each sample of the design.
    """
    groups = groups_of(design.matrix.to_numpy(dtype=float), labels.loc[design.matrix.index].to_numpy(dtype=str))
    return not len(groups.sizes)


def compares_groups(design: Design, labels: pd.Series) -> bool:
    """Whether any contrast of a design compares groups: whether the samples' weights do not add up to 0 in some."""
    matrix = design.matrix.to_numpy(dtype=float)
    hypotheses = np.vstack([one.hypotheses for one in design.contrasts])
    weights = matrix @ np.linalg.solve(matrix.T @ matrix, hypotheses.T)
    sums = pd.DataFrame(weights).groupby(labels.loc[design.matrix.index].to_numpy(dtype=str)).sum().to_numpy()
    return bool((np.abs(sums) > ROUNDING * np.abs(weights).max(axis=0)).any())


def told_apart(design: Design, labels: pd.Series, column: str) -> pd.Series | None:
    """The groups of a random term; None where the fixed terms hold their effects and nothing is compared between them.

    Raises
    ------
    CannotFit
        The fixed terms hold their effects, and the tested term is one of them.
    """
    if not are_in_the_design(design, labels):
        return labels
    if not compares_groups(design, labels):
        return None
    raise CannotFit(
        f"what differs between the {labels.nunique()} levels of '{column}' follows from the terms of the design: no "
        f"level is to spare to see how much they differ by themselves, so that '{design.test_term}' cannot be told "
        "from it"
    )
