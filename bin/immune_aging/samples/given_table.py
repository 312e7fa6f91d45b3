"""A pseudobulk table that the user gives instead of cells: how it is read, and brought into the pipeline's own form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.cohort_file import (
    column_names,
    find_counts,
    nearest,
    open_cohort,
    prove_counts,
    read_blocks,
    read_table,
)
from immune_aging.cohort.donors import donor_table, plain, repeated
from immune_aging.cohort.gene_symbols import GeneNames, SymbolTable, gene_names
from immune_aging.cohort.hostile_names import clean_labels
from immune_aging.samples.pseudobulk_table import sample_table, totals
from immune_aging.samples.sample_rules import reasons_to_leave_out
from immune_aging.task.checkpoints import unique_slugs
from immune_aging.task.command_line import BadInput

AGE_COLUMNS = ("age_years", "age")  # our own tables have the first, many others the second


@dataclass(frozen=True)
class GivenTable:
    """What the user's file says.

    Attributes
    ----------
    where
        How messages name the file.
    layer
        The name of the matrix with the sums.
    sums
        Samples x genes, raw sums, 64-bit integers.
    obs, var
        Its samples and genes; names of donors and cell types without hidden characters.
    columns
        Name of the obs column of each role: donor, cell_type, age, sex.
    """

    where: str
    layer: str
    sums: sparse.csr_matrix
    obs: pd.DataFrame
    var: pd.DataFrame
    columns: dict[str, str]


@dataclass(frozen=True)
class GivenSamples:
    """A given table in the pipeline's own form.

    Attributes
    ----------
    table
        The samples that have a donor, a cell type and a known age, as `sample_table` makes it.
    types
        The table of cell types.
    donors
        One row per donor of the file: donor_id, age_years, sex, n_cells, kept, reason.
    genes
        How its genes are called.
    """

    table: anndata.AnnData
    types: pd.DataFrame
    donors: pd.DataFrame
    genes: GeneNames


def columns_in(names: list[str], wanted: Mapping[str, str], *, where: str) -> dict[str, str]:
    """The obs column of each role; the age may also be in a column that is called as our tables call it.

    Raises
    ------
    BadInput
        Columns are missing; all of them are named.
    """
    age = next((name for name in (wanted["age"], *AGE_COLUMNS) if name in names), wanted["age"])
    columns = dict(wanted) | {"age": age}
    problems = [
        f"--{role}_column {column}: obs has no such column, {nearest(column, names)}"
        for role, column in columns.items()
        if column not in names
    ]
    if problems:
        raise BadInput(f"{where}: " + " | ".join(problems))
    return columns


def read_given_table(path: Path, *, columns: Mapping[str, str], counts_layer: str) -> GivenTable:
    """Read a table of samples x genes.

    Parameters
    ----------
    columns
        Name of the obs column of each role: donor, cell_type, age, sex.
    counts_layer
        'auto', 'X', 'raw.X' or the name of a layer.

    Raises
    ------
    BadInput
        A column is missing, or no matrix holds raw sums.
    """
    where = f"--pseudobulk {path.name}"
    with open_cohort(path) as file:
        columns = columns_in(column_names(file, "obs"), columns, where=where)
        layer, counts = find_counts(file, where, counts_layer=counts_layer)
        obs, var = read_table(file, "obs"), read_table(file, counts.var_path)
        for role, what in (("donor", "donor"), ("cell_type", "cell type")):
            obs[columns[role]], _ = clean_labels(obs[columns[role]], what=what)
        blocks = [prove_counts(block, where=f"{where}: {layer}") for _, _, block in read_blocks(file, counts)]
    # A file by genes comes in blocks of genes, any other in blocks of samples.
    stack = sparse.hstack if counts.layout == "csc" else sparse.vstack
    return GivenTable(where, layer, stack(blocks, format="csr").astype(np.int64), obs, var, columns)


def donors_of(given: GivenTable) -> pd.DataFrame:
    """One row per donor, as `donor_table` makes it.

    Raises
    ------
    BadInput
        A donor has two ages or sexes, or a gene's name occurs twice.
    """
    columns = given.columns
    donors, problems = donor_table(given.obs, donor=columns["donor"], age=columns["age"], sex=columns["sex"])
    if name := repeated(given.var.index.astype(str).to_numpy(dtype=object)):
        problems.append(f"var names: '{name}' occurs twice; make them unique with adata.var_names_make_unique()")
    if problems:
        raise BadInput(f"{given.where}: " + " | ".join(problems))
    return donors


def usable_samples(given: GivenTable, donors: pd.DataFrame) -> tuple[pd.DataFrame, sparse.csr_matrix]:
    """The samples that have a donor, a cell type and a known age.

    Returns
    -------
    donor_id, cell_type, n_cells (NaN where the file does not say), one row per sample; and their sums.

    Raises
    ------
    BadInput
        No sample is left, or a donor has two samples of one cell type.
    """
    obs, columns = given.obs, given.columns
    donor, cell_type = obs[columns["donor"]], obs[columns["cell_type"]]
    samples = pd.DataFrame(
        {
            "donor_id": donor.astype(str).to_numpy(dtype=object),
            "cell_type": cell_type.astype(str).to_numpy(dtype=object),
            "n_cells": plain(obs["n_cells"]).to_numpy() if "n_cells" in obs else np.full(len(obs), np.nan),
        }
    )
    known_age = samples["donor_id"].isin(donors.loc[donors["age_years"].notna(), "donor_id"]).to_numpy()
    used = (donor.notna() & cell_type.notna()).to_numpy() & known_age
    samples = samples[used].reset_index(drop=True)
    twice = samples.duplicated(["donor_id", "cell_type"])
    if twice.any():
        row = samples[twice].iloc[0]
        raise BadInput(
            f"{given.where}: donor '{row['donor_id']}' has two samples of cell type '{row['cell_type']}'; "
            "sum them first"
        )
    if not len(samples):
        raise BadInput(
            f"{given.where}: no sample has a donor, a cell type and a known age; check --age_column {columns['age']}"
        )
    return samples, given.sums[used]


def cell_type_table(samples: pd.DataFrame, *, min_samples: int) -> pd.DataFrame:
    """The table of cell types of a pseudobulk table; kept are those with at least `min_samples` usable samples.

    Parameters
    ----------
    samples
        donor_id, cell_type, n_cells (NaN where unknown), and reason of `reasons_to_leave_out`.
    """
    rows = []
    for name, identifier in sorted(unique_slugs(samples["cell_type"]).items(), key=lambda item: item[1]):
        own = samples[samples["cell_type"] == name]
        n_samples = int((own["reason"] == "").sum())
        kept = n_samples >= min_samples
        rows.append(
            {
                "id": identifier,
                "cell_type": name,
                "n_cells": own["n_cells"].sum(min_count=1),
                "n_donors": own["donor_id"].nunique(),
                "n_samples": n_samples,
                "kept": kept,
                "reason": "" if kept else f"{n_samples} samples, fewer than {min_samples}",
            }
        )
    return pd.DataFrame(rows)


def donor_rows(donors: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """What is published about the donors: donor_id, age_years, sex, n_cells over all samples, kept, reason."""
    reason = np.where(donors["age_years"].isna(), "age unknown", "")
    n_cells = donors["donor_id"].map(samples.groupby("donor_id")["n_cells"].sum(min_count=1))
    return donors[["donor_id", "age_years", "sex"]].assign(n_cells=n_cells, kept=reason == "", reason=reason)


def bring_into_form(
    given: GivenTable, *, min_cells: int, min_depth_share: float, min_samples: int, known: SymbolTable
) -> GivenSamples:
    """The table as `MERGE_PSEUDOBULK` would have made it.

    Parameters
    ----------
    known
        Symbols for genes that the file does not name.

    Raises
    ------
    BadInput
        Its samples cannot be used, or no cell type has enough of them.
    """
    donors = donors_of(given)
    samples, sums = usable_samples(given, donors)
    samples = samples.assign(n_counts=totals(sums))
    reasons = reasons_to_leave_out(samples, min_cells=min_cells, min_depth_share=min_depth_share)
    types = cell_type_table(samples.assign(reason=reasons), min_samples=min_samples)
    if not types["kept"].any():
        left_out = pd.Series(reasons[reasons != ""]).value_counts()
        why = "".join(f"; {n} samples have {reason}" for reason, n in sorted(left_out.items()))
        raise BadInput(
            f"{given.where}: no cell type has {min_samples} samples (the largest has {types['n_samples'].max()}{why}); "
            "lower --min_samples_per_type"
        )
    genes = gene_names(given.var, known)
    var = pd.DataFrame({"symbol": genes.symbols}, index=pd.Index(genes.ids, name="gene_id"))
    return GivenSamples(sample_table(sums, samples, donors, types, var), types, donor_rows(donors, samples), genes)


def table_summary(given: GivenTable, found: GivenSamples) -> dict:
    """What check.json says of a given table: where its sums are, how much of everything is used, and notes."""
    return {
        "counts_layer": given.layer,
        "n_samples": found.table.n_obs,
        "n_genes": found.table.n_vars,
        "n_donors": len(found.donors),
        "n_cell_types": len(found.types),
        "n_symbols": found.genes.n_symbols,
        "n_symbols_from_table": found.genes.n_from_table,
        "notes": list(found.genes.notes),
    }
