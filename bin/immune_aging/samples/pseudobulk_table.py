"""The table of pseudobulk samples that the statistics start from: its columns, its rules, its files by cell type."""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.donors import sample_key
from immune_aging.cohort.gene_groups import SOME_FILES
from immune_aging.samples.levels import COHORT_LEVELS, cohort_levels
from immune_aging.samples.sample_rules import mark_samples
from immune_aging.samples.some_files import stacked
from immune_aging.task.checkpoints import LINE_ENDS, write_file_table, write_h5ad, write_tsv
from immune_aging.task.command_line import BadInput


def sample_ids(samples: pd.DataFrame, types: pd.DataFrame) -> np.ndarray:
    """Names of samples: the cell type's id, then the donor, then the sample where donors have several."""
    names = samples["cell_type"].map(types.set_index("cell_type")["id"]).astype(str)
    for column in sample_key(samples):
        names = names + "|" + samples[column].astype(str)
    return names.to_numpy(dtype=object)


def totals(counts: sparse.csr_matrix) -> np.ndarray:
    """Counts of each sample over all genes, of samples x genes."""
    return np.asarray(counts.sum(axis=1)).ravel()


def sample_table(
    counts: sparse.csr_matrix,
    samples: pd.DataFrame,
    donors: pd.DataFrame,
    types: pd.DataFrame,
    var: pd.DataFrame,
    some_files: tuple[sparse.csr_matrix, dict] | None = None,
) -> anndata.AnnData:
    """One table of samples, sorted by cell type, donor and sample, with their counts and what is known of them.

    Parameters
    ----------
    counts
        Samples x genes, raw sums.
    samples
        donor_id, sample_of_donor where donors have several, cell_type, n_cells; one row per row of `counts`, indexed
        from 0.
    donors
        One row per donor, or per sample of a donor: donor_id, age_years, sex and more. Its own cell_type, n_cells or
        n_counts do not replace the samples'.
    types
        id, cell_type.
    var
        Genes: index gene_id, symbol.
    some_files
        Counts of genes that not all files measure, samples x genes, and their names; None for none.
    """
    samples = samples.assign(n_counts=totals(counts))
    key = sample_key(samples)
    order = samples.sort_values(["cell_type", *key], kind="stable").index
    extra = [column for column in donors.columns if column not in ("cell_type", "n_cells", "n_counts")]
    obs = samples.loc[order].merge(donors[extra], on=key, how="left", validate="many_to_one")
    # A table whose rows are called like one of its columns cannot be written (scverse/anndata#1417).
    obs.index = pd.Index(sample_ids(obs, types), name=None if "sample_id" in obs else "sample_id")
    table = anndata.AnnData(X=counts[order.to_numpy()], obs=obs, var=var.copy())
    if some_files is not None:
        table.obsm[SOME_FILES], table.uns[SOME_FILES] = some_files[0][order.to_numpy()], some_files[1]
    return table


def merge(parts: list[anndata.AnnData], donors: pd.DataFrame, types: pd.DataFrame) -> anndata.AnnData:
    """One table of samples from those of the shards, sorted by cell type and donor, with the donors' columns.

    Parameters
    ----------
    parts
        Samples x genes of each shard, the same genes in each; obs donor_id, sample_of_donor where donors have several,
        cell_type, n_cells.
    donors
        One row per donor, or per sample of a donor: donor_id, age_years, sex and more.
    types
        id, cell_type.
    """
    samples = pd.concat([part.obs for part in parts], ignore_index=True)
    samples = samples.astype(dict.fromkeys([*sample_key(samples), "cell_type"], str))
    counts = sparse.vstack([part.X for part in parts], format="csr")
    return sample_table(counts, samples, donors, types, parts[0].var, stacked(parts))


def write_pseudobulk(
    table: anndata.AnnData, types: pd.DataFrame, *, min_cells: int, min_depth_share: float, folder: Path, prefix: str
) -> None:
    """Write the whole table, the list of samples, a checkpoint for each kept cell type, and which file is whose.

    Parameters
    ----------
    table
        Samples x genes, raw sums; obs donor_id, cell_type, n_cells, n_counts, age_years, sex and more; var symbol.
    types
        id, cell_type, kept, reason.
    min_cells, min_depth_share
        The rules of `reasons_to_leave_out`.
    folder
        Where what is published goes.
    prefix
        Checkpoints become PREFIX_<id>_step-pseudobulk_counts.h5ad, their table PREFIX_all_step-pseudobulk_files.tsv.
    """
    own = [*sample_key(table.obs), "cell_type", "n_cells", "n_counts"]
    samples = table.obs[own].assign(sample_id=table.obs_names)
    samples = mark_samples(samples, types, min_cells=min_cells, min_depth_share=min_depth_share)
    listed = samples[["sample_id", *own, "kept", "reason"]].sort_values(["cell_type", *sample_key(samples)])
    write_tsv(listed, folder / "pseudobulk/samples.tsv")
    write_h5ad(table, folder / "pseudobulk/pseudobulk.h5ad", portable=True)
    write_cell_types(table, samples["kept"].to_numpy(dtype=bool), types, prefix=prefix)


def write_cell_types(table: anndata.AnnData, used: np.ndarray, types: pd.DataFrame, *, prefix: str) -> None:
    """Write a checkpoint for each kept cell type, with the levels of the whole cohort, and which file is whose.

    Parameters
    ----------
    table
        Samples x genes of all cell types; obs cell_type and more.
    used
        Whether the statistics use a sample, one value per row of `table`.
    types
        id, cell_type, kept.
    prefix
        As of `write_pseudobulk`.
    """
    files = {}
    levels = json.dumps(cohort_levels(table.obs), ensure_ascii=False)
    for row in types[types["kept"]].itertuples():
        chosen = used & (table.obs["cell_type"] == row.cell_type).to_numpy()
        files[row.id] = Path(f"{prefix}_{row.id}_step-pseudobulk_counts.h5ad")
        own = table[chosen].copy()
        own.uns = dict(own.uns) | {COHORT_LEVELS: levels}
        write_h5ad(own, files[row.id])
    write_file_table(files, Path(f"{prefix}_all_step-pseudobulk_files.tsv"))


def as_summed(table: anndata.AnnData) -> anndata.AnnData:
    """A published table as it was before it was written: there text is categories, here it is text again.

    What is known of donors is text or numbers throughout (`donors.plain`), so that nothing is lost by it.
    """
    obs, var = (
        part.assign(
            **{name: part[name].astype(object) for name in part if isinstance(part[name].dtype, pd.CategoricalDtype)}
        )
        for part in (table.obs, table.var)
    )
    return anndata.AnnData(X=table.X, obs=obs, var=var, obsm=dict(table.obsm), uns=dict(table.uns))


def used_samples(table: anndata.AnnData, listed: pd.DataFrame, path: str | Path) -> np.ndarray:
    """Whether the statistics use each sample of a published table, by the list of samples published beside it.

    Parameters
    ----------
    listed
        sample_id, kept.
    path
        Where the list was read from, for messages.

    Raises
    ------
    BadInput
        The list is not of the same samples.
    """
    # Both are sorted alike. In the list, what would end a line is a blank.
    names = [LINE_ENDS.sub(" ", name) for name in table.obs_names]
    if listed["sample_id"].tolist() != names:
        raise BadInput(f"{path}: does not list the {table.n_obs} samples of the table; give both of one run")
    return listed["kept"].to_numpy(dtype=bool)
