"""Sums of counts by sample: a donor and a cell type."""

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.samples.pseudobulk_table import sample_table


def merge(parts: list[anndata.AnnData], donors: pd.DataFrame, types: pd.DataFrame) -> anndata.AnnData:
    """One table of samples from those of the shards, sorted by cell type and donor, with the donors' columns.

    Parameters
    ----------
    parts
        Samples x genes of each shard, the same genes in each; obs donor_id, cell_type, n_cells.
    donors
        One row a donor: donor_id, age_years, sex and more.
    types
        id, cell_type.
    """
    samples = pd.concat([part.obs for part in parts], ignore_index=True)
    samples = samples.astype({"donor_id": str, "cell_type": str})
    counts = sparse.vstack([part.X for part in parts], format="csr")
    return sample_table(counts, samples, donors, types, parts[0].var)


def sum_by_sample(
    counts: sparse.csr_matrix, donors: np.ndarray, cell_types: np.ndarray
) -> tuple[pd.DataFrame, sparse.csr_matrix]:
    """Sum counts over the cells of each donor and cell type.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    donors, cell_types
        Labels of the cells.

    Returns
    -------
    donor_id, cell_type, n_cells, sorted by cell type and donor; and the sums, samples x genes, 64-bit integers.
    """
    groups = (
        pd.DataFrame({"cell_type": cell_types, "donor_id": donors})
        .astype(str)
        .groupby(["cell_type", "donor_id"], sort=True)
    )
    code = groups.ngroup().to_numpy()
    sizes = groups.size()
    # Products of integer matrices are exact; the indicator has one 1 a cell.
    indicator = sparse.csr_matrix(
        (np.ones(len(code), dtype=np.int64), (code, np.arange(len(code)))), shape=(len(sizes), len(code))
    )
    sums = sparse.csr_matrix(indicator @ counts.astype(np.int64))
    sums.sort_indices()
    samples = sizes.rename("n_cells").reset_index()[["donor_id", "cell_type", "n_cells"]]
    return samples, sums
