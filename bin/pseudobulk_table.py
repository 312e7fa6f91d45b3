#!/usr/bin/env python3
"""The table of pseudobulk samples that the statistics start from: its columns, its rules, its files by cell type."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from checkpoints import write_h5ad, write_tsv


def mark_samples(samples: pd.DataFrame, types: pd.DataFrame, *, min_cells: int) -> pd.DataFrame:
    """Which samples the statistics use, with the reason for each that is left out.

    Parameters
    ----------
    samples
        sample_id, donor_id, cell_type, n_cells (NaN where unknown: such a sample is used).
    types
        cell_type, kept, reason.
    """
    reason = np.where(samples["n_cells"] < min_cells, f"fewer than {min_cells} cells", "")
    type_kept = samples["cell_type"].isin(types.loc[types["kept"], "cell_type"])
    reason = np.where(type_kept, reason, "cell type not kept")
    return samples.assign(kept=reason == "", reason=reason)


def sample_ids(samples: pd.DataFrame, types: pd.DataFrame) -> np.ndarray:
    """Names of samples: the cell type's id, then the donor."""
    ids = samples["cell_type"].map(types.set_index("cell_type")["id"])
    return (ids.astype(str) + "|" + samples["donor_id"].astype(str)).to_numpy(dtype=object)


def write_pseudobulk(table: anndata.AnnData, types: pd.DataFrame, *, min_cells: int, folder: Path, prefix: str) -> None:
    """Write the whole table, the list of samples, and a checkpoint for each kept cell type.

    Parameters
    ----------
    table
        Samples x genes, raw sums; obs donor_id, cell_type, n_cells, age_years, sex and more; var symbol.
    types
        id, cell_type, kept, reason.
    folder
        Where what is published goes.
    prefix
        Checkpoints become PREFIX_<id>_step-pseudobulk_counts.h5ad.
    """
    samples = mark_samples(
        table.obs[["donor_id", "cell_type", "n_cells"]].assign(sample_id=table.obs_names), types, min_cells=min_cells
    )
    columns = ["sample_id", "donor_id", "cell_type", "n_cells", "kept", "reason"]
    write_tsv(samples[columns].sort_values(["cell_type", "donor_id"]), folder / "pseudobulk/samples.tsv")
    write_h5ad(table, folder / "pseudobulk/pseudobulk.h5ad", portable=True)
    for row in types[types["kept"]].itertuples():
        chosen = (samples["kept"] & (samples["cell_type"] == row.cell_type)).to_numpy()
        write_h5ad(table[chosen].copy(), Path(f"{prefix}_{row.id}_step-pseudobulk_counts.h5ad"))
