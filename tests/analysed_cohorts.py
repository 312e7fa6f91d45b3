"""From a cohort's file to the sums of its samples, in one process: what checking, filtering and splitting make of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.examination import cell_table, check_summary, examine, gene_table
from immune_aging.cohort.filtering import choose, filtered
from immune_aging.cohort.gene_symbols import NO_TABLE, SymbolTable, gene_names
from immune_aging.cohort.shard_file import canonical_order, read_shard
from immune_aging.cohort.splitting import split_counts
from immune_aging.samples.sums import sum_shard
from immune_aging.task.command_line import BadInput

COLUMNS = {"donor": "donor_id", "cell_type": "cell_type", "age": "development_stage", "sex": "sex"}


@dataclass(frozen=True)
class Analysed:
    """What came of a cohort.

    Attributes
    ----------
    sums
        Samples (donor, cell type) x genes that any kept cell expresses, by id.
    donors
        One row per donor: donor_id, age_years, sex and more.
    genes
        One row per feature: gene_id, symbol, left_out.
    dropped
        cell_id, reason of the cells that are left out.
    check
        What check.json says.
    """

    sums: pd.DataFrame
    donors: pd.DataFrame
    genes: pd.DataFrame
    dropped: pd.DataFrame
    check: dict

    @property
    def notes(self) -> str:
        """All notes, a line each."""
        return "\n".join(self.check["notes"])


def analysed(
    path: Path,
    folder: Path,
    *,
    columns: Mapping[str, str] | None = None,
    known: SymbolTable = NO_TABLE,
    counts_layer: str = "auto",
    **options: object,
) -> Analysed:
    """Check, filter, split and sum a cohort; everything that is wrong with it is one `BadInput`, as in a run.

    Parameters
    ----------
    folder
        For what is written on the way.
    columns
        Names of columns that are not the usual ones, by role.
    options
        Of `examine`.
    """
    names = COLUMNS | dict(columns or {})
    cohort, problems = examine(path, columns=names, counts_layer=counts_layer, **options)
    if problems:
        raise BadInput(" | ".join(problems))
    cells, genes = cell_table(cohort, names), gene_names(cohort.var, known, cohort.beside)
    chosen = choose(cells, cohort.donors, donor_percentile=0, min_cells=1, min_fraction=0.5, common=True)
    found = filtered(cells, cohort.donors, chosen, min_cells=1, cells_per_shard=60)
    before, table = Path.cwd(), gene_table(genes)
    os.chdir(folder)
    try:
        kept = canonical_order(found.kept)
        split = split_counts(path, cohort.counts, kept, table, sha256="", layer=cohort.layer, prefix="x")
        parts = []
        for shard_path in split.shards.values():
            shard = read_shard(shard_path)
            samples, sums = sum_shard(shard, np.ones(len(shard.cell_ids), dtype=bool))
            index = pd.MultiIndex.from_frame(samples[["donor_id", "cell_type"]])
            parts.append(pd.DataFrame(sums.toarray(), index=index, columns=shard.gene_ids))
            shard_path.unlink()
    finally:
        os.chdir(before)
    sums = pd.concat(parts).sort_index()
    return Analysed(sums, cohort.donors, table, found.dropped, check_summary(cohort, cells, genes))


def true_sums(counts: np.ndarray, donors: object, cell_types: object, genes: object) -> pd.DataFrame:
    """The sums by donor and cell type, added up plainly; cells without either are left out, as are silent genes.

    Parameters
    ----------
    counts
        Cells x genes.
    """
    totals: dict[tuple[str, str], np.ndarray] = {}
    for row, donor, kind in zip(counts, donors, cell_types, strict=True):
        if donor is not None and kind is not None:
            totals[donor, kind] = totals.get((donor, kind), 0) + row.astype(np.int64)
    table = pd.DataFrame.from_dict(totals, orient="index", columns=list(genes))
    table.index = pd.MultiIndex.from_tuples(table.index, names=["donor_id", "cell_type"])
    return table.loc[:, (table != 0).any()].sort_index()
