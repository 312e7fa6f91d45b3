"""Samples without a count in the genes that are tested: they have no size factor, and are left out."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.designs import Design
from immune_aging.statistics.expressed_genes import expressed_genes
from immune_aging.task.skipped import CannotFit


def without_samples(table: CellTypeSamples, names: pd.Index) -> CellTypeSamples:
    """The table without the samples of these names."""
    return table.of(~table.samples.index.isin(names))


def empty_samples(counts: np.ndarray, design: pd.DataFrame) -> np.ndarray:
    """Which samples have no counts at all; where each has some, which have none in the genes that are tested.

    Which genes those are depends on every sample, so that the second can be asked only once the first are gone. Where
    fewer than two genes would be tested nothing is, and no sample is called empty for it.

    Parameters
    ----------
    counts
        Samples x genes, raw.
    design
        Samples x coefficients.
    """
    without_any = counts.sum(axis=1) == 0
    if without_any.any():
        return without_any
    tested = expressed_genes(counts, design)
    return (counts[:, tested].sum(axis=1) == 0) & (tested.sum() >= 2)


def without_empty_samples(
    table: CellTypeSamples, design_of: Callable[[pd.DataFrame], Design]
) -> tuple[CellTypeSamples, list[dict]]:
    """The samples without those that have no counts in the genes that are tested.

    Without them other genes may be tested, so it is asked anew until each sample has counts.

    Parameters
    ----------
    design_of
        Makes the design of (some of) these samples, from what is known of them.

    Returns
    -------
    The table, and what was left out: sample_id and donor_id.

    Raises
    ------
    CannotFit
        The samples that are left cannot carry the design.
    """
    left_out: list[dict] = []
    while True:
        try:
            design = design_of(table.samples)
        except CannotFit as reason:
            if not left_out:
                raise
            n = len(left_out)
            raise CannotFit(
                f"{reason}; {n} samples without counts in the tested genes were left out before"
            ) from reason
        used = design.matrix.index
        names = used[empty_samples(table.counts[table.samples.index.get_indexer(used)], design.matrix)]
        if not len(names):
            return table, left_out
        donors = table.samples.loc[names, "donor_id"]
        left_out += [{"sample_id": str(name), "donor_id": str(donor)} for name, donor in donors.items()]
        table = without_samples(table, names)
