"""What is known of the cells that an embedding holds, matched to them by the ids of cells and donors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import match, sample_key
from immune_aging.results import Results
from immune_aging.task.checkpoints import (
    SAMPLE_OF_DONOR,
    check_same_cells,
    parquet_blocks,
    read_parquet,
    require_columns,
)
from immune_aging.task.command_line import BadInput

CELL_COLUMNS = ("cell_id", "donor_id", "cell_type", "n_counts", "doublet_score", "kept")


def kept_cells(path: Path) -> pd.DataFrame:
    """The cells of cells.parquet that quality control kept, donors and cell types as categories.

    Raises
    ------
    BadInput
        The table lacks one of `CELL_COLUMNS`.
    """
    blocks = parquet_blocks(path, [*CELL_COLUMNS, SAMPLE_OF_DONOR], optional=[SAMPLE_OF_DONOR])
    cells = pd.concat([block[block["kept"]] for block in blocks], ignore_index=True)
    names = {column: cells[column].astype(str).astype("category") for column in (*sample_key(cells), "cell_type")}
    return cells.assign(**names)


def read_embedding(path: Path, cell_ids: pd.Series, cells_path: Path) -> pd.DataFrame:
    """A table of coordinates, one row per cell.

    Raises
    ------
    BadInput
        It does not hold the cells of `cells_path` in their order.
    """
    table = read_parquet(path)
    check_same_cells(cell_ids, table["cell_id"], cells_path, path)
    return table


def read_components(
    path: Path, cell_ids: pd.Series, cells_path: Path, *, shown: int, rows: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """The first components of all cells, and all components of some: memory does not follow their number times cells.

    Parameters
    ----------
    shown
        How many components of all cells to keep.
    rows
        Of the cells of which all are kept, sorted.

    Returns
    -------
    A table of `shown` columns, one row per cell; `rows` x components, 64 bits.

    Raises
    ------
    BadInput
        The table does not hold the cells of `cells_path` in their order.
    """
    first, some, names, start = [], [], [], 0
    for block in parquet_blocks(path):
        names.append(block.pop("cell_id").to_numpy(dtype=object))
        first.append(block.iloc[:, :shown].copy())  # a view would hold all of the block
        here = rows[(rows >= start) & (rows < start + len(block))] - start
        some.append(block.iloc[here].to_numpy(dtype=np.float64))
        start += len(block)
    check_same_cells(cell_ids, np.concatenate(names), cells_path, path)
    return pd.concat(first, ignore_index=True), np.concatenate(some)


def with_donors(cells: pd.DataFrame, donors: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The cells with age (years) and sex of their donors or samples; missing where the table of these has none.

    Parameters
    ----------
    cells
        donor_id, and sample_of_donor where `donors` has it.
    donors
        donors.parquet, read from `path`.
    """
    require_columns(donors, ["donor_id", "age_years", "sex"], path)
    found = match(cells, donors, ["age_years", "sex"])
    return cells.assign(**{name: found[name].to_numpy() for name in found})


def expression_of(cell_ids: pd.Series, shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Expression of the genes asked for, cells x genes; no columns without tables.

    Parameters
    ----------
    shards
        What GENE_EXPRESSION writes of each shard: cell_id, then one column per gene.
    """
    if not shards:
        return pd.DataFrame(index=cell_ids)
    return pd.concat(list(shards), ignore_index=True).set_index("cell_id").reindex(cell_ids)


def clusters_of(cell_ids: pd.Series, published: Results, cells_path: Path) -> dict[str, pd.Series]:
    """The cluster of each cell by resolution, these and the categories in numerical order.

    Raises
    ------
    BadInput
        A resolution has no table of clusters, or one of other cells than `cells_path`.
    """
    found = {}
    for resolution in published.resolutions:
        name = f"clusters/resolution-{resolution}/clusters.parquet"
        table = published.table(name, ["cell_id", "cluster"])
        if table is None:
            raise BadInput(f"--clusters: {name} is missing or has no cells; give what CLUSTER publishes")
        check_same_cells(cell_ids, table["cell_id"], cells_path, f"clusters of resolution {resolution}")
        clusters = table["cluster"].astype(str)
        order = sorted(clusters.unique(), key=lambda text: (len(text), text))
        found[resolution] = pd.Series(pd.Categorical(clusters, categories=order))
    return found
