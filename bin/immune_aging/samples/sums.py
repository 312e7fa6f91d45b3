"""Sums of counts by sample and cell type; a sample is a donor, or one of several of a donor.

Without anndata, whose import costs each shard's task .3 CPU s.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.donors import sample_key
from immune_aging.cohort.shard_file import Shard, SomeFiles, donor_counts, donor_counts_of_some_files
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
    blocks = ((rows, counts) for _, rows, counts in donor_counts(shard))
    return _summed(blocks, shard, kept, len(shard.gene_ids))


def sum_some_files(shard: Shard, kept: np.ndarray) -> tuple[sparse.csr_matrix, SomeFiles]:
    """The same of the genes that not all files measure, and which sample measures which.

    A sample measures what all of its kept cells are measured for; its sum of any other gene is of some cells only.

    Returns
    -------
    Samples x genes, in the order of `sum_shard`; the genes, where a group is one of samples.
    """
    some = shard.some_files
    assert some is not None, "the shard has such genes"
    n_genes, n_groups = len(some.genes), len(some.measured)

    def with_groups(rows: slice, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        group = some.group[rows]
        ones = (np.ones(len(group), dtype=np.int64), (np.arange(len(group)), group))
        return sparse.hstack([counts.astype(np.int64), sparse.csr_matrix(ones, (len(group), n_groups))], format="csr")

    blocks = ((rows, with_groups(rows, counts)) for rows, counts in donor_counts_of_some_files(shard))
    _, sums = _summed(blocks, shard, kept, n_genes + n_groups)
    has_cells = sums[:, n_genes:].toarray() > 0
    measured = ~(has_cells.astype(int) @ ~some.measured).astype(bool)
    distinct, group = np.unique(measured, axis=0, return_inverse=True)
    return sums[:, :n_genes], replace(some, group=group.ravel(), measured=distinct)


def _summed(
    blocks: Iterable[tuple[slice, sparse.csr_matrix]], shard: Shard, kept: np.ndarray, n_columns: int
) -> tuple[pd.DataFrame, sparse.csr_matrix]:
    """The sums of blocks of whole donors: rows in the shard, cells x columns."""
    samples, sums = [], [sparse.csr_matrix((0, n_columns), dtype=np.int64)]
    for rows, counts in blocks:
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
