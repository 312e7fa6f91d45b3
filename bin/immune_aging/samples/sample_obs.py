"""What is known of the samples of a pseudobulk table, without reading its counts."""

from pathlib import Path

import pandas as pd

from immune_aging.task.command_line import BadInput


def read_obs(path: str | Path) -> pd.DataFrame:
    """One row per sample: donor_id, cell_type, n_cells and the donor columns, as the file has them.

    Raises
    ------
    BadInput
        The file is no h5ad file with obs.
    """
    import h5py
    import hdf5plugin  # noqa: F401  registers the zstd filter
    from anndata.io import read_elem

    try:
        with h5py.File(path) as file:
            return read_elem(file["obs"])
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read as a pseudobulk table: {error}") from error
