"""Which of several files measure which gene, where a cohort has the union of their genes.

A gene that a file does not measure is no zero. So such genes stand apart from the others in every file after the
gathered one: X holds what all files measure, and whatever reads X alone is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from immune_aging.task.h5ad_stream import encode

IN_ALL_FILES = "immune_aging_in_all_files"  # of the gathered file's var; only there where a gene is not in all of them
GROUPS = "immune_aging_gene_groups"  # of its uns
PARTLY = "not measured in all files"  # what genes.parquet says of such a gene
# Of obsm and uns of shards and tables of samples: counts of such genes, and their ids and symbols.
SOME_FILES = "genes_of_some_files"


@dataclass(frozen=True)
class GeneGroups:
    """Cells whose files measure the same genes.

    Attributes
    ----------
    of_cells
        The group of each cell, in the order of the cohort's file.
    measured
        Groups x genes: whether the group's files measure it.
    """

    of_cells: np.ndarray
    measured: np.ndarray


def gene_groups(measured: np.ndarray, sizes: Sequence[int]) -> GeneGroups:
    """The groups of the cells of several files.

    Parameters
    ----------
    measured
        Files x genes.
    sizes
        Cells of each file.
    """
    distinct, group = np.unique(measured, axis=0, return_inverse=True)
    return GeneGroups(np.repeat(group.ravel(), sizes), distinct)


def write_groups(file: h5py.File, groups: GeneGroups, *, filters: dict) -> None:
    """Keep the groups in uns of an h5ad that is open for writing."""
    item = encode(file["uns"].create_group(GROUPS), "dict", "0.1.0")
    for name, values in (("of_cells", groups.of_cells.astype(np.int32)), ("measured", groups.measured)):
        encode(item.create_dataset(name, data=values, **filters), "array", "0.2.0")


def read_groups(file: h5py.File) -> GeneGroups | None:
    """The groups in an open h5ad; None where all cells have the same genes."""
    if "uns" not in file or not isinstance(file["uns"], h5py.Group) or GROUPS not in file["uns"]:
        return None
    item = file["uns"][GROUPS]
    return GeneGroups(item["of_cells"][:], item["measured"][:].astype(bool))


def measured_everywhere(var: pd.DataFrame) -> np.ndarray:
    """Which genes of a table of genes all files of the cohort measure."""
    return var[IN_ALL_FILES].to_numpy(dtype=bool) if IN_ALL_FILES in var else np.ones(len(var), dtype=bool)
