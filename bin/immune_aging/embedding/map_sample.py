"""A sample of the UMAP's cells with what is known of them, small enough for the report's interactive map."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

N_CELLS = 4000  # SVG draws as many dots in a second, and they take some 50 kB of the page
FEWEST = 20  # cells of each cell type, so that a rare one is seen
SEED = 0
DECIMALS = 3  # a thousandth of a UMAP's unit is less than a pixel
COLUMNS = ("UMAP1", "UMAP2", "cell_type", "donor_id", "age_years", "sex")
# Before a resolution and a gene's name: no gene can then be taken for another column, whatever it is called.
CLUSTER, GENE = "cluster_", "gene_"


def drawn_rows(cell_types: pd.Series, inside: np.ndarray, *, most: int = N_CELLS, fewest: int = FEWEST) -> np.ndarray:
    """Rows of the cells to draw, in the random order in which they are to be drawn: no donor covers the others.

    Cells are drawn at random from a fixed seed, after the first `fewest` of each cell type (or all that it has, or
    fewer where there are so many types that they would fill half of the sample). The same cells in the same order
    give the same rows.

    Parameters
    ----------
    cell_types
        Of all cells.
    inside
        Whether a cell lies in the frame of the still figures, shape (cells,). Others are left out, since a few far
        cells would squeeze the map, unless all cells of their type are such.
    most
        Cells to draw, at most.
    """
    types = cell_types.astype("category").cat.codes.to_numpy()
    inside = inside | ~np.isin(types, np.unique(types[inside]))
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(types))
    order = order[inside[order]]
    place = pd.Series(types[order]).groupby(types[order]).cumcount().to_numpy()
    fewest = min(fewest, max(1, most // 2 // max(len(np.unique(types)), 1)))
    first = np.concatenate([np.flatnonzero(place < fewest), np.flatnonzero(place >= fewest)])
    return rng.permutation(order[first[:most]])


def sample_table(
    points: np.ndarray,
    cells: pd.DataFrame,
    clusters: Mapping[str, pd.Series],
    expression: pd.DataFrame,
    *,
    inside: np.ndarray,
) -> pd.DataFrame:
    """A row per cell drawn, in the order of drawing: `COLUMNS`, a column per resolution, a column per gene.

    Parameters
    ----------
    points
        Coordinates, cells x 2.
    cells
        Of all cells: cell_type, donor_id, age_years, sex.
    clusters
        By resolution: the cluster of each cell.
    expression
        Cells x genes, log-normalised.
    inside
        As `drawn_rows` takes it.
    """
    rows = drawn_rows(cells["cell_type"], inside)
    table = pd.DataFrame(points[rows].round(DECIMALS), columns=list(COLUMNS[:2]))
    known = cells[list(COLUMNS[2:])].iloc[rows].reset_index(drop=True)
    of_resolution = {
        f"{CLUSTER}{resolution}": kinds.astype(str).to_numpy()[rows] for resolution, kinds in clusters.items()
    }
    of_gene = {
        f"{GENE}{gene}": expression[gene].to_numpy(dtype=float)[rows].round(DECIMALS) for gene in expression.columns
    }
    return pd.concat([table, known, pd.DataFrame(of_resolution | of_gene, index=table.index)], axis=1)
