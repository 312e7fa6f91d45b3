"""One shard's cells on the components of a cohort, and the batches that they are corrected for."""

from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import sample_key
from immune_aging.embedding.components import embed_cells, model_of
from immune_aging.embedding.harmony import batches_of
from immune_aging.task.checkpoints import check_same_cells, read_parquet, require_columns
from immune_aging.task.command_line import BadInput


def projected(counts: Path, model: Path) -> pd.DataFrame:
    """The cells of a normalised shard on the principal components: cell_id, PC1, ...

    Parameters
    ----------
    model
        What `components.model_table` wrote down.

    Raises
    ------
    BadInput
        The model is of other genes.
    """
    table = read_parquet(model)
    require_columns(table, ["gene_id", "mean"], model)
    cells, genes = embed_cells([counts], model_of(table))
    if not np.array_equal(genes["gene_id"], table["gene_id"]):
        raise BadInput(f"{model}: column 'gene_id' differs from the genes of {counts}; run PCA anew on this cohort")
    return cells


def batches_of_shard(cell_ids: pd.Series, counts: Path, cells: Path, donors: Path, column: str) -> np.ndarray:
    """The batch of each kept cell, as text.

    Parameters
    ----------
    cell_ids
        Of the cells that `counts` holds.
    cells, donors
        Quality control of these cells, and donors.parquet.

    Raises
    ------
    BadInput
        `cells` keeps other cells than `counts` holds, or `batches_of` finds no batch.
    """
    of_donors = read_parquet(donors)
    require_columns(of_donors, ["donor_id"], donors)
    known = read_parquet(cells, ["cell_id", *sample_key(of_donors), "cell_type", "kept"])
    known = known[known["kept"]].reset_index(drop=True)
    check_same_cells(cell_ids, known["cell_id"], counts, cells)
    return batches_of(known, of_donors, column, cells_path=cells, donors_path=donors)
