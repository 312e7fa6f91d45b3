"""Genes that not all files of a cohort measure, in tables of samples: beside X, missing where they were not measured.

`obsm["genes_of_some_files"]` is samples x genes, CSR of floats in which NaN is stored where the sample was not measured
for the gene, so that no zero stands for what nobody looked at; `uns["genes_of_some_files"]` has `gene_id` and `symbol`
of its columns. X, and all totals, are of the genes that every file measures.
"""

from dataclasses import dataclass, replace

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.gene_groups import SOME_FILES
from immune_aging.task.command_line import BadInput


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
    names = {name: np.asarray(first[name], dtype=object).astype(str) for name in ("gene_id", "symbol")}
    return sparse.vstack(blocks, format="csr"), names


def genes_of_some_files(adata: anndata.AnnData, where: str) -> GenesOfSomeFiles | None:
    """Such genes of a table of samples, sorted by id; None where it has none.

    Raises
    ------
    BadInput
        Their names are not those of the matrix, or a gene stands twice or also in X; a value is no count.
    """
    if SOME_FILES not in adata.obsm:
        return None
    matrix, said = adata.obsm[SOME_FILES], adata.uns.get(SOME_FILES)
    counts = np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, dtype=np.float64)
    if not isinstance(said, dict) or any(len(said.get(name, ())) != counts.shape[1] for name in ("gene_id", "symbol")):
        raise BadInput(
            f"{where}: obsm '{SOME_FILES}' has {counts.shape[1]} columns, and uns '{SOME_FILES}' not a gene_id and a "
            "symbol for each; take both from one file"
        )
    symbols = pd.Series(np.asarray(said["symbol"], dtype=object).astype(str), np.asarray(said["gene_id"]).astype(str))
    names = symbols.index.append(adata.var_names.astype(str))
    if not names.is_unique:
        raise BadInput(f"{where}: gene '{names[names.duplicated()][0]}' stands there more than once; leave one out")
    known = counts[~np.isnan(counts)]
    if not np.isfinite(known).all() or (known < 0).any() or (known != np.floor(known)).any():
        raise BadInput(f"{where}: obsm '{SOME_FILES}' holds values that are no counts; give summed raw counts, or NaN")
    order = np.argsort(symbols.index)
    return GenesOfSomeFiles(counts[:, order], symbols.iloc[order].rename_axis("gene_id"))
