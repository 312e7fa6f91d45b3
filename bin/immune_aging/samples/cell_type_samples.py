"""The pseudobulk table of one cell type: summed raw counts of donors or their samples, with what is known of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import one_per_donor, sample_key
from immune_aging.samples.levels import COHORT_LEVELS
from immune_aging.samples.some_files import GenesOfSomeFiles, genes_of_some_files
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, read_h5ad
from immune_aging.task.command_line import BadInput

SUMMED = ("n_cells", "n_counts")  # columns of samples that are added up with their counts
REQUIRED_OBS = ("donor_id", "cell_type", "age_years", "sex")


@dataclass(frozen=True)
class CellTypeSamples:
    """One cell type's samples, sorted by sample and by gene so that the order in the file changes no result.

    Attributes
    ----------
    counts
        Raw count sums, samples x genes, int64.
    samples
        One row per sample, index sample_id: donor_id, cell_type, age_years, sex and every other column of the sample. A
        donor has several rows only where sample_of_donor tells them apart; they are not independent.
    symbols
        Gene symbol of each gene, '' where unknown; index gene_id.
    some_files
        The same samples' counts of genes that not all files of the cohort measure; None where there are none. They are
        in no library size.
    cohort_levels
        Of columns that hold few values: those in the samples of all cell types, as text, in ascending order.
    """

    counts: np.ndarray
    samples: pd.DataFrame
    symbols: pd.Series
    some_files: GenesOfSomeFiles | None = None
    cohort_levels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def gene_ids(self) -> pd.Index:
        """Ids of the columns of `counts`."""
        return self.symbols.index

    @property
    def cell_type(self) -> str:
        """Raw name of the cell type: data for tables, never for a shell."""
        return str(self.samples["cell_type"].iloc[0])

    def of(self, rows: np.ndarray) -> "CellTypeSamples":
        """These samples alone, by a mask or by number."""
        further = None if self.some_files is None else self.some_files.of(rows)
        return replace(self, counts=self.counts[rows], samples=self.samples.iloc[rows], some_files=further)


def read_samples(path: str | Path) -> CellTypeSamples:
    """Read and check the table of one cell type.

    Raises
    ------
    BadInput
        A column is missing; a count is negative or not whole; a gene stands there twice, or a donor does whose samples
        are not told apart, or a sample of a donor; more than one cell type.
    """
    adata = read_h5ad(path)
    for column in REQUIRED_OBS:
        if column not in adata.obs:
            raise BadInput(f"{path}: obs has no column '{column}'; it has: {', '.join(map(str, adata.obs.columns))}")
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise BadInput(f"{path}: the table has {adata.n_obs} samples and {adata.n_vars} genes; both must be there")
    samples = adata.obs.copy()
    key = sample_key(samples)
    for column in (*key, "cell_type"):
        samples[column] = samples[column].astype(str)
    samples["sex"] = samples["sex"].astype(object).where(samples["sex"].notna(), None)
    for what, names in {
        "gene": adata.var_names,
        "sample": adata.obs_names,
        "donor" if len(key) == 1 else "donor and sample": samples[key].agg(", ".join, axis=1),
    }.items():
        names = pd.Index(names)
        if not names.is_unique:
            twice = names[names.duplicated()][0]
            raise BadInput(f"{path}: {what} '{twice}' stands there more than once; sum or rename its rows")
    if samples["cell_type"].nunique() > 1:
        two = ", ".join(sorted(samples["cell_type"].unique())[:2])
        raise BadInput(f"{path}: more than one cell type ({two}, ...); give one file per cell type")
    counts = np.asarray(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X, dtype=np.float64)
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.floor(counts)).any():
        raise BadInput(f"{path}: X holds values that are no counts; give summed raw counts (whole numbers from 0)")
    rows, genes = np.argsort(adata.obs_names.astype(str)), np.argsort(adata.var_names.astype(str))
    names = adata.var["symbol"].astype(object) if "symbol" in adata.var else pd.Series("", index=adata.var_names)
    symbols = names.where(names.notna(), "").astype(str).rename_axis("gene_id")
    further = genes_of_some_files(adata, str(path))
    return CellTypeSamples(
        counts[np.ix_(rows, genes)].astype(np.int64),
        samples.iloc[rows],
        symbols.iloc[genes],
        None if further is None else further.of(rows),
        json.loads(adata.uns.get(COHORT_LEVELS, "{}")),
    )


def summed_by_donor(table: CellTypeSamples) -> CellTypeSamples:
    """One row per donor: the counts of its samples added up, their mean age, and the columns that they agree in.

    What learns from persons, and leaves persons out, takes this: a person's samples resemble each other whatever their
    ages, so that a model which knows one of them recognises the other. A table that has one row per donor is returned
    as it is.
    """
    if SAMPLE_OF_DONOR not in table.samples:
        return table
    names, row = np.unique(table.samples["donor_id"].to_numpy(dtype=str), return_inverse=True)
    counts = np.zeros((len(names), table.counts.shape[1]), dtype=np.int64)
    np.add.at(counts, row, table.counts)
    donors = one_per_donor(table.samples.reset_index(drop=True)).sort_values("donor_id", ignore_index=True)
    summed = {
        name: np.bincount(row, weights=table.samples[name].astype(float)) for name in SUMMED if name in table.samples
    }
    donors = donors.assign(**summed)
    prefix = table.samples.index[0].split("|")[0]
    donors.index = pd.Index([f"{prefix}|{name}" for name in names], name=table.samples.index.name)
    further = table.some_files
    if further is not None:
        sums = np.zeros((len(names), further.counts.shape[1]))
        np.add.at(sums, row, further.counts)  # a donor is measured for what all of its samples are
        further = replace(further, counts=sums)
    return CellTypeSamples(counts, donors, table.symbols, further, table.cohort_levels)
