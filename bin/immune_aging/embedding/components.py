"""Principal components of the normalised counts, from shards."""

# Own code: Lanczos on the matrix itself takes twice the CPU, and 3.6 GB for OneK1K.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.linalg import eigsh

from immune_aging.cohort.shard_file import donor_counts, read_shard
from immune_aging.task.command_line import BadInput

MIN_CELLS, MIN_GENES = 3, 2
ROUNDING = 1e-12  # of the mean square: a variance below it is what rounding leaves of none
SIGN_DIGITS = 6  # loadings this close in size count as equal when the sign is fixed: the first of them decides


@dataclass(frozen=True)
class Components:
    """Mean of each gene, orthonormal loadings (genes x components), variance of each component and in all."""

    mean: np.ndarray
    loadings: np.ndarray
    variance: np.ndarray
    total_variance: float


@dataclass(frozen=True)
class Moments:
    """Of the cells read so far: how many, each gene's sum, and the sums of products of genes (upper triangle)."""

    n_cells: int
    sums: np.ndarray
    products: np.ndarray


def read_shards(paths: Sequence[Path]) -> Iterator[tuple[sparse.csr_matrix, np.ndarray, pd.DataFrame]]:
    """Read normalised shards in the order of their names, donor by donor.

    Yields
    ------
    Cells x genes in 64 bits with sorted indices, the cells' ids, the genes (gene_id, symbol).

    Raises
    ------
    BadInput
        The genes of a shard are not those of the first.
    """
    paths, genes = sorted(paths, key=lambda path: path.name), None
    for path in paths:
        shard = read_shard(path)
        here = pd.DataFrame({"gene_id": shard.gene_ids, "symbol": shard.symbols})
        genes = here if genes is None else genes
        if not genes["gene_id"].equals(here["gene_id"]):
            raise BadInput(
                f"{path}: its genes differ from those of {paths[0]}; normalise all shards of one cohort anew"
            )
        if not len(shard.cell_ids):
            yield sparse.csr_matrix((0, len(genes))), shard.cell_ids, genes
        for _, rows, values in donor_counts(shard):
            yield values.astype(np.float64), shard.cell_ids[rows], genes


@numba.njit(cache=True)
def _add_cells_inplace(sums, products, data, indices, indptr) -> None:
    """Add cells to the sums of genes and to the upper triangle of the sums of their products, cell by cell."""
    for cell in range(len(indptr) - 1):
        for i in range(indptr[cell], indptr[cell + 1]):
            value, row = data[i], products[indices[i]]
            sums[indices[i]] += value
            for j in range(i, indptr[cell + 1]):
                row[indices[j]] += value * data[j]


def moments(blocks: Iterable[sparse.csr_matrix]) -> Moments:
    """Sums over the cells of all blocks (cells x genes, sorted indices); the same for any division into blocks.

    Half as much work as 130 Lanczos iterations through the sparse matrix took, and it need not be held.
    """
    n_cells, sums, products = 0, np.zeros(0), np.zeros((0, 0))
    for block in blocks:
        if not n_cells:
            sums, products = np.zeros(block.shape[1]), np.zeros((block.shape[1], block.shape[1]))
        _add_cells_inplace(sums, products, block.data, block.indices, block.indptr)
        n_cells += block.shape[0]
    return Moments(n_cells, sums, products)


def fix_signs(loadings: np.ndarray) -> np.ndarray:
    """Sign of each component (column) that makes its largest loading positive."""
    size = np.abs(loadings) / np.abs(loadings).max(axis=0)
    largest = np.argmax(np.round(size, SIGN_DIGITS), axis=0)
    return np.where(loadings[largest, np.arange(loadings.shape[1])] < 0, -1.0, 1.0)


def principal_components(of: Moments, n_components: int, *, seed: int) -> Components:
    """Principal components from the cells' moments.

    Parameters
    ----------
    n_components
        At most one less than cells and than genes.
    seed
        Of the start vector. The result depends on it in the last digits only.

    Raises
    ------
    BadInput
        If no gene varies.
    """
    mean = of.sums / of.n_cells
    upper = np.triu(of.products) - of.n_cells * np.triu(np.outer(mean, mean))
    covariance = (upper + np.triu(upper, 1).T) / (of.n_cells - 1)
    total_variance = float(np.trace(covariance))
    if not total_variance > ROUNDING * np.trace(of.products) / of.n_cells:
        raise BadInput("normalised counts: no selected gene varies between cells; raise --n_top_genes")
    start = np.random.default_rng(seed).uniform(-1, 1, len(mean))
    variance, loadings = eigsh(covariance, k=n_components, v0=start, which="LA")
    variance, loadings = np.maximum(variance[::-1], 0), loadings[:, ::-1]
    return Components(mean, loadings * fix_signs(loadings), variance, total_variance)


def scores(block: sparse.csr_matrix, components: Components) -> np.ndarray:
    """Scores (cells x components) of cells (cells x genes)."""
    return block @ components.loadings - components.mean @ components.loadings


def names_of(components: Components) -> list[str]:
    """PC1, PC2, ..."""
    return [f"PC{i + 1}" for i in range(len(components.variance))]


def embed_cells(
    paths: Sequence[Path], components: Components, *, only: pd.Series | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of the cells of normalised shards, read donor by donor.

    Parameters
    ----------
    only
        Ids of the cells wanted; all without it.

    Returns
    -------
    cell_id, PC1, ... in 32 bits, in the order of `read_shards`; and the genes (gene_id, symbol).
    """
    tables, genes = [], None
    wanted = None if only is None else pd.Index(only)
    for matrix, cell_ids, of_shard in read_shards(paths):
        if wanted is not None:
            here = wanted.get_indexer(cell_ids) >= 0
            matrix, cell_ids = matrix[here], cell_ids[here]
        table = pd.DataFrame(scores(matrix, components).astype(np.float32), columns=names_of(components))
        table.insert(0, "cell_id", cell_ids)
        tables.append(table)
        genes = of_shard
    return pd.concat(tables, ignore_index=True), genes


def model_table(genes: pd.DataFrame, components: Components) -> pd.DataFrame:
    """One row per gene: gene_id, its mean, and its loading on each component; `model_of` reads it."""
    mean = pd.DataFrame({"mean": components.mean})
    return pd.concat([genes[["gene_id"]], mean, loading_table(genes, components)[names_of(components)]], axis=1)


def model_of(table: pd.DataFrame) -> Components:
    """The components that `model_table` wrote down, as far as projecting cells needs them: their variances are lost."""
    names = [name for name in table.columns if name not in ("gene_id", "mean")]
    unknown = np.full(len(names), np.nan)
    return Components(table["mean"].to_numpy(), np.ascontiguousarray(table[names].to_numpy()), unknown, np.nan)


def loading_table(genes: pd.DataFrame, components: Components) -> pd.DataFrame:
    """One row per gene: gene_id, symbol, and its loading on each component."""
    return pd.concat([genes, pd.DataFrame(components.loadings, columns=names_of(components))], axis=1)


def variance_table(components: Components) -> pd.DataFrame:
    """One row per component: component, variance, its ratio of all variance, and these added up."""
    ratio = components.variance / components.total_variance
    columns = {"component": names_of(components), "variance": components.variance, "ratio": ratio}
    return pd.DataFrame(columns | {"cumulative": ratio.cumsum()})
