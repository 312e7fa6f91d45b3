"""Sums of counts by sample and cell type; a sample is a donor, or one of several of a donor.

Without anndata, whose import costs each shard's task .3 CPU s.
"""

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.donors import sample_key
from immune_aging.cohort.shard_file import Shard, donor_counts
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR


def sum_by_sample(
    counts: sparse.csr_matrix, donors: np.ndarray, cell_types: np.ndarray, samples: np.ndarray | None = None
) -> tuple[pd.DataFrame, sparse.csr_matrix]:
    """Sum counts over the cells of each donor (of each of its samples) and cell type.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    donors, cell_types, samples
        Labels of the cells; no samples where each donor is one.

    Returns
    -------
    donor_id, sample_of_donor where there are samples, cell_type, n_cells, sorted by cell type, donor and sample; and
    the sums, samples x genes, 64-bit integers.
    """
    labels = {"cell_type": cell_types, "donor_id": donors} | ({} if samples is None else {SAMPLE_OF_DONOR: samples})
    groups = pd.DataFrame(labels).astype(str).groupby(list(labels), sort=True)
    code = groups.ngroup().to_numpy()
    sizes = groups.size()
    # Products of integer matrices are exact; the indicator has one 1 a cell.
    indicator = sparse.csr_matrix(
        (np.ones(len(code), dtype=np.int64), (code, np.arange(len(code)))), shape=(len(sizes), len(code))
    )
    sums = sparse.csr_matrix(indicator @ counts.astype(np.int64))
    sums.sort_indices()
    table = sizes.rename("n_cells").reset_index()
    return table[[*sample_key(table), "cell_type", "n_cells"]], sums


def sum_shard(shard: Shard, kept: np.ndarray) -> tuple[pd.DataFrame, sparse.csr_matrix]:
    """Sum the counts of a shard's kept cells; one donor's counts are in memory at a time.

    Parameters
    ----------
    kept
        Whether quality control kept the cell, one value per cell of the shard.

    Returns
    -------
    sample (a number) and the columns of `sum_by_sample`, sorted as there; and the sums, samples x genes.
    """
    samples, sums = [], [sparse.csr_matrix((0, len(shard.gene_ids)), dtype=np.int64)]
    for _, rows, counts in donor_counts(shard):
        here = kept[rows]
        of_sample = None if shard.samples is None else shard.samples[rows][here]
        of_donor, summed = sum_by_sample(
            counts[here], shard.donors[rows][here], shard.cell_types[rows][here], of_sample
        )
        samples.append(of_donor)
        sums.append(summed)
    table = pd.concat(samples, ignore_index=True)
    table = table.sort_values(["cell_type", *sample_key(table)], kind="stable")
    stacked = sparse.vstack(sums, format="csr")[table.index.to_numpy()]
    table.insert(0, "sample", np.arange(len(table)).astype(str))
    return table, stacked
