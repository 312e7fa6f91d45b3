"""How a cohort is split into shards of whole donors: its counts are read once and written once."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import Counts, open_cohort, unchanged
from immune_aging.cohort.donors import sample_key
from immune_aging.cohort.doublet_labels import DOUBLET_CALL
from immune_aging.cohort.gene_groups import PARTLY, read_groups
from immune_aging.cohort.shard_file import SomeFiles, write_shard
from immune_aging.cohort.spool import spool_counts
from immune_aging.task.command_line import BadInput


@dataclass(frozen=True)
class Split:
    """What came of a cohort.

    Attributes
    ----------
    shards
        The file of each shard's id, in order.
    totals
        Sum of each gene of the input over the kept cells.
    """

    shards: dict[str, Path]
    totals: np.ndarray


def shard_id(shard: int) -> str:
    """The id of a shard, by its number."""
    return f"shard-{shard:03d}"


def shard_path(prefix: str, shard: int) -> Path:
    """The file of a shard, by its number."""
    return Path(f"{prefix}_{shard_id(shard)}_step-split_counts.h5ad")


def are_genes(genes: pd.DataFrame) -> np.ndarray:
    """Which features of the input are genes that all of its files measure."""
    return (genes["left_out"] == "").to_numpy() if "left_out" in genes else np.ones(len(genes), dtype=bool)


def are_genes_of_some_files(genes: pd.DataFrame) -> np.ndarray:
    """Which features of the input are genes that not all of its files measure."""
    return (genes["left_out"] == PARTLY).to_numpy() if "left_out" in genes else np.zeros(len(genes), dtype=bool)


def split_counts(
    source: Path, counts: Counts, cells: pd.DataFrame, genes: pd.DataFrame, *, sha256: str, layer: str, prefix: str
) -> Split:
    """Read the counts of the kept cells once and write them into shards, without genes that no kept cell expresses.

    Genes that not all files measure stand in a matrix of their own.

    Parameters
    ----------
    cells
        Kept cells as `canonical_order` gives them.
    genes
        gene_id, symbol of all features of the input, and left_out, what one is that is no gene.
    sha256
        Of the cohort; '' where any content will do.
    layer
        How messages name the matrix.
    prefix
        Shards become PREFIX_shard-NNN_step-split_counts.h5ad.

    Raises
    ------
    BadInput
        A value is no count, no kept cell has any, or the file is another by now.
    """
    shards = {}
    everywhere, partly = are_genes(genes), are_genes_of_some_files(genes)
    with tempfile.TemporaryDirectory(prefix="spool-", dir=".") as folder:
        with unchanged(source, sha256), open_cohort(source) as file:
            spools, totals = spool_counts(
                file, counts, cells, Path(folder), genes=everywhere | partly, where=f"cohort: {layer}"
            )
            groups = read_groups(file)
        expressed, some = (totals > 0) & everywhere, (totals > 0) & partly
        if not expressed.any():
            raise BadInput(f"cohort: {layer} holds no count in any kept cell; give raw counts with --counts_layer")
        # First the genes of all files, then the others.
        columns = np.where(expressed, np.cumsum(expressed) - 1, -1).astype(np.int32)
        columns = np.where(some, expressed.sum() + np.cumsum(some) - 1, columns).astype(np.int32)
        for shard, spool in enumerate(spools):
            here = cells[cells["shard"] == shard]
            path = shards[shard_id(shard)] = shard_path(prefix, shard)
            blocks = spool.take_blocks(len(here), columns)
            write_shard(
                path,
                blocks,
                here[["cell_id", *sample_key(here), "cell_type", *({DOUBLET_CALL} & set(here))]],
                genes.loc[expressed, ["gene_id", "symbol"]],
                None
                if groups is None or not some.any()
                else SomeFiles(
                    genes.loc[some, ["gene_id", "symbol"]],
                    groups.of_cells[here["row"].to_numpy()],
                    groups.measured[:, some],
                ),
            )
    return Split(shards, totals)


def split_summary(split: Split, *, genes: pd.DataFrame, n_cells: int) -> dict:
    """Genes of the input that are kept and lost, cells, counts and shards."""
    everywhere, partly = are_genes(genes), are_genes_of_some_files(genes)
    n_expressed, n_genes = int(((split.totals > 0) & everywhere).sum()), int(everywhere.sum())
    n_partly = int(partly.sum())
    no_genes = {"no genes": len(genes) - n_genes - n_partly} if n_genes + n_partly < len(genes) else {}
    of_some = {PARTLY: n_partly} if n_partly else {}
    return {
        "genes": {
            "input": len(split.totals),
            "lost": {"expressed in no kept cell": n_genes - n_expressed} | no_genes | of_some,
            "kept": n_expressed,
        },
        "cells": n_cells,
        "counts": int(split.totals[everywhere].sum()),
        "shards": len(split.shards),
    }
