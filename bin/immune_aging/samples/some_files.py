"""Genes that not all files of a cohort measure, in tables of samples: beside X, missing where they were not measured.

`obsm["genes_of_some_files"]` is samples x genes, CSR of floats in which NaN is stored where the sample was not measured
for the gene, so that no zero stands for what nobody looked at; `uns["genes_of_some_files"]` has `gene_id` and `symbol`
of its columns. X, and all totals, are of the genes that every file measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.gene_groups import SOME_FILES
from immune_aging.task.command_line import BadInput

NAMES = ("gene_id", "symbol")


@dataclass(frozen=True)
class GenesOfSomeFiles:
    """Counts of genes that not all samples were measured for.

    Attributes
    ----------
    counts
        Samples x genes, NaN where the sample was not measured for the gene.
    symbols
        Gene symbol of each gene, '' where unknown; index gene_id.
    """

    counts: np.ndarray
    symbols: pd.Series

    def of(self, rows: np.ndarray) -> "GenesOfSomeFiles":
        """These samples alone, by a mask or by number."""
        return replace(self, counts=self.counts[rows])


def with_gaps(counts: sparse.csr_matrix, measured: np.ndarray) -> sparse.csr_matrix:
    """Counts in which NaN stands where nothing was measured.

    Parameters
    ----------
    counts
        Samples x genes.
    measured
        Of the same shape.
    """
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    counted = measured[rows, counts.indices]
    gaps = np.nonzero(~measured)
    values = np.concatenate([counts.data[counted].astype(np.float64), np.full(len(gaps[0]), np.nan)])
    places = [np.concatenate(pair) for pair in zip((rows[counted], counts.indices[counted]), gaps, strict=True)]
    found = sparse.csr_matrix((values, places), shape=counts.shape)
    found.sort_indices()
    return found


def stacked(parts: list[anndata.AnnData]) -> tuple[sparse.csr_matrix, dict] | None:
    """Such genes of the sums of all shards, as obsm and uns hold them; None where there are none."""
    if SOME_FILES not in parts[0].obsm:
        return None
    blocks = []
    for part in parts:
        said = part.uns[SOME_FILES]
        measured = np.asarray(said["measured"], dtype=bool)[np.asarray(said["group"], dtype=int)]
        blocks.append(with_gaps(sparse.csr_matrix(part.obsm[SOME_FILES]), measured))
    first = parts[0].uns[SOME_FILES]
    names = {name: np.asarray(first[name], dtype=object).astype(str) for name in NAMES}
    return sparse.vstack(blocks, format="csr"), names


def checked(
    matrix: object, said: object, gene_ids: pd.Index, where: str
) -> tuple[sparse.csr_matrix, dict[str, np.ndarray]]:
    """Such genes as a file's obsm and uns hold them.

    Parameters
    ----------
    gene_ids
        Of X.

    Raises
    ------
    BadInput
        Their names are not those of the matrix, or a gene stands twice or also in X; a value is no count.
    """
    counts = sparse.csr_matrix(matrix).astype(np.float64)
    if not isinstance(said, Mapping) or any(len(said.get(name, ())) != counts.shape[1] for name in NAMES):
        raise BadInput(
            f"{where}: obsm '{SOME_FILES}' has {counts.shape[1]} columns, and uns '{SOME_FILES}' not a gene_id and a "
            "symbol for each; take both from one file"
        )
    names = {name: np.asarray(said[name], dtype=object).astype(str) for name in NAMES}
    every = pd.Index(names["gene_id"]).append(gene_ids.astype(str))
    if not every.is_unique:
        raise BadInput(f"{where}: gene '{every[every.duplicated()][0]}' stands there more than once; leave one out")
    known = counts.data[~np.isnan(counts.data)]
    if not np.isfinite(known).all() or (known < 0).any() or (known != np.floor(known)).any():
        raise BadInput(f"{where}: obsm '{SOME_FILES}' holds values that are no counts; give summed raw counts, or NaN")
    return counts, names


def genes_of_some_files(adata: anndata.AnnData, where: str) -> GenesOfSomeFiles | None:
    """Such genes of a table of samples, sorted by id; None where it has none. Raises as `checked`."""
    if SOME_FILES not in adata.obsm:
        return None
    counts, names = checked(adata.obsm[SOME_FILES], adata.uns.get(SOME_FILES), adata.var_names, where)
    symbols = pd.Series(names["symbol"], pd.Index(names["gene_id"], name="gene_id"))
    order = np.argsort(symbols.index)
    return GenesOfSomeFiles(counts.toarray()[:, order], symbols.iloc[order])


def read_some_files(
    file: h5py.File, gene_ids: pd.Index, where: str
) -> tuple[sparse.csr_matrix, dict[str, np.ndarray]] | None:
    """Such genes of a table of samples that is open as HDF5; None where it has none. Raises as `checked`."""
    from anndata.io import read_elem

    if SOME_FILES not in file.get("obsm", {}):
        return None
    said = read_elem(file["uns"][SOME_FILES]) if SOME_FILES in file.get("uns", {}) else None
    return checked(read_elem(file["obsm"][SOME_FILES]), said, gene_ids, where)


def note_on(names: Mapping[str, np.ndarray]) -> str:
    """What a person should know of a given table that has such genes."""
    return (
        f"{len(names['gene_id'])} genes are not measured in all samples (obsm '{SOME_FILES}'): each is tested only "
        "among the samples that measure it, and all else rests on the genes of X"
    )
