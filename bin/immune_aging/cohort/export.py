"""The export: the input with all results in it, cell by cell, streamed."""

import itertools
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.abc import CSRDataset
from anndata.io import read_elem, sparse_dataset, write_elem
from scipy import sparse

from immune_aging.cohort.cohort_file import Counts, open_cohort, read_table, unchanged
from immune_aging.cohort.donors import AS_GIVEN, OWN_COLUMNS, match, not_told
from immune_aging.cohort.gathering import NOTES
from immune_aging.cohort.gene_groups import GROUPS, IN_ALL_FILES
from immune_aging.cohort.splitting import are_genes
from immune_aging.cohort.spool import spool_counts
from immune_aging.task.checkpoints import atomic_path, check_same_cells, read_h5ad, read_parquet
from immune_aging.task.command_line import BadInput, Progress
from immune_aging.task.h5ad_stream import H5_CHUNK, PORTABLE

SPOOLED_CELLS = 50_000  # dropped cells that are in memory at a time
PREFIX = "immune_aging_"  # of a column of ours that the input has as well
DISTRIBUTION = "X_approximate_distribution"  # CELLxGENE's name for what X holds
FILTERED = "feature_is_filtered"  # CELLxGENE's name for genes that X lacks and raw.X has
# What made the numbers; all steps run in one environment.
PACKAGES = (
    "anndata",
    "faiss-cpu",
    "harmonypy",
    "igraph",
    "numpy",
    "scikit-learn",
    "scikit-misc",
    "scipy",
)
EMBEDDINGS = {
    "X_pca": "embedding/pca.parquet",
    "X_harmony": "embedding/harmony.parquet",
    "X_umap": "embedding/umap.parquet",
}


def find(folders: list[Path], relative: str) -> Path | None:
    """The one file at `relative` below any of the folders; None if there is none."""
    return next((folder / relative for folder in folders if (folder / relative).exists()), None)


def aligned(table: pd.DataFrame, cells: pd.DataFrame) -> np.ndarray:
    """Values of a per-cell table (cell_id first) in the order of `cells`, NaN where a cell was dropped."""
    return table.set_index("cell_id").reindex(cells["cell_id"]).to_numpy(dtype=np.float32)


def cluster_columns(folders: list[Path], cells: pd.DataFrame) -> dict[str, pd.Categorical]:
    """Clusters of each resolution as obs columns; cells that were dropped have none."""
    columns = {}
    for folder in folders:
        for path in sorted(folder.glob("clusters/resolution-*/clusters.parquet")):
            clusters = read_parquet(path).set_index("cell_id")["cluster"].reindex(cells["cell_id"])
            columns[f"leiden_{path.parent.name.removeprefix('resolution-')}"] = pd.Categorical(clusters)
    return dict(sorted(columns.items()))


def of_input(path: Path, cell_ids: np.ndarray, var_path: str) -> tuple[pd.DataFrame, pd.DataFrame, dict, dict]:
    """What the cohort's own file says of these cells: obs, var of the counts, obsm, uns.

    Parameters
    ----------
    var_path
        Table of the genes of the counts; columns that only `var` has are added to it.
    """
    with open_cohort(path) as file:
        obs = read_table(file, "obs")
        rows = pd.Index(obs.index.astype(str)).get_indexer(cell_ids)
        if (rows < 0).any():
            raise BadInput(f"{path}: lacks cell '{cell_ids[rows < 0][0]}' of the shards; run both on the same cohort")
        var = read_table(file, var_path)
        whole = read_table(file, "var").reindex(var.index)
        var = var.join(whole[[name for name in whole if name not in var]])
        obsm = {}
        for name in file.get("obsm", {}):
            values = read_elem(file[f"obsm/{name}"])
            obsm[name] = values.iloc[rows].set_axis(cell_ids) if isinstance(values, pd.DataFrame) else values[rows]
        said = read_elem(file["uns"]) if "uns" in file else {}
        uns = {name: value for name, value in said.items() if name not in (NOTES, GROUPS)}
        var = var.drop(columns=[IN_ALL_FILES], errors="ignore")  # of a union, whose other genes are not written
    return obs.iloc[rows].set_axis(pd.Index(cell_ids, name=obs.index.name)), var, obsm, uns


def with_own_columns(table: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """A table of the input with our columns after its own; ours have a prefix where the input has the name."""
    names = {name: f"{PREFIX}{name}" if name in table else name for name in own}
    return table.assign(
        **{names[name]: own[name].to_numpy() if own[name].dtype != "category" else own[name].array for name in own}
    )


def text_as_categories(table: pd.DataFrame) -> pd.DataFrame:
    """A copy in which text is categorical, as CELLxGENE wants it."""
    return table.assign(**{name: pd.Categorical(table[name]) for name in table if table[name].dtype == object})


def with_dropped(cells: pd.DataFrame, dropped: pd.DataFrame) -> pd.DataFrame:
    """Cells of quality control, then those that the cohort filter dropped, of which only `reason` is known."""
    flags = {name: False for name in cells if cells[name].dtype == bool}
    return pd.concat([cells, dropped.drop(columns="row").assign(**flags)], ignore_index=True) if len(dropped) else cells


def own_columns(cells: pd.DataFrame, donors: pd.DataFrame, clusters: dict[str, pd.Categorical]) -> pd.DataFrame:
    """What the pipeline found out: quality control, age in years if it is used, clusters; in the order of `cells`."""
    found = cells.drop(columns=["cell_id", "donor_id", "cell_type"])
    if not not_told(donors, "age_years"):
        found = found.assign(age_years=match(cells, donors, ["age_years"])["age_years"].to_numpy())
    return text_as_categories(found).assign(**clusters)


def told_of_donors(cells: pd.DataFrame, donors: pd.DataFrame, given: Sequence[str]) -> pd.DataFrame:
    """What a table of donors tells beside the input (`--donor_table`): columns of cells that the input lacks.

    Parameters
    ----------
    given
        Columns of cells of the input.
    """
    others = (*OWN_COLUMNS, *AS_GIVEN.values(), *given)
    told = match(cells, donors, [name for name in donors if name not in others])
    return text_as_categories(told.set_axis(cells.index))


def empty_matrix(file: h5py.File, name: str, n_genes: int) -> CSRDataset:
    """Start a CSR matrix of float32 to which blocks of cells are appended."""
    write_elem(
        file,
        name,
        sparse.csr_matrix((0, n_genes), dtype=np.float32),
        dataset_kwargs={"chunks": (H5_CHUNK,), **PORTABLE, "indptr_dtype": np.int64},
    )
    return sparse_dataset(file[name])


def normalised(block: sparse.csr_matrix, target_sum: float) -> sparse.csr_matrix:
    """log1p of counts scaled to `target_sum` a cell, as scanpy does it; cells without counts stay."""
    totals = np.asarray(block.sum(axis=1)).ravel()
    scale = target_sum / np.where(totals > 0, totals, 1)
    data = np.log1p(block.data * np.repeat(scale, np.diff(block.indptr)))
    return sparse.csr_matrix((data, block.indices, block.indptr), shape=block.shape)


def blocks_of_shards(
    shards: list[Path], cells: pd.DataFrame, genes: pd.DataFrame, *, only_kept: bool
) -> Iterator[sparse.csr_matrix]:
    """The counts of each shard that belong into the file, cells x all genes of the input.

    Raises
    ------
    BadInput
        The shards hold other cells than `cells`, or genes that are not in `genes`.
    """
    start, positions = 0, pd.Index(genes["gene_id"])
    for path in shards:
        shard = read_h5ad(path)
        here = slice(start, start + shard.n_obs)
        check_same_cells(cells["cell_id"].iloc[here], shard.obs_names, "qc/cells.parquet", path)
        columns = positions.get_indexer(shard.var_names).astype(np.int32)
        if (columns < 0).any():
            raise BadInput(
                f"{path}: gene '{shard.var_names[columns < 0][0]}' is not in the cohort; run both on the same"
            )
        block = sparse.csr_matrix(shard.X)
        block = sparse.csr_matrix((block.data, columns[block.indices], block.indptr), shape=(shard.n_obs, len(genes)))
        yield block[cells["kept"].iloc[here].to_numpy(dtype=bool)] if only_kept else block
        start = here.stop
    if start != len(cells):
        raise BadInput(f"shards: {start} cells, but qc/cells.parquet has {len(cells)}; run both on the same cohort")


def blocks_of_dropped(
    cohort: Path, counts: Counts, dropped: pd.DataFrame, genes: np.ndarray
) -> Iterator[sparse.csr_matrix]:
    """The counts of cells (`row` in the cohort's file), in their order, cells x all genes of the input.

    `genes` says which of the input's features are genes.
    """
    place = np.arange(len(dropped))
    cells = pd.DataFrame({"row": dropped["row"], "shard": place // SPOOLED_CELLS, "position": place % SPOOLED_CELLS})
    with tempfile.TemporaryDirectory(prefix="spool-", dir=".") as folder:
        with open_cohort(cohort) as file:
            spools, _ = spool_counts(file, counts, cells, Path(folder), genes=genes, where="cohort")
        columns = np.where(genes, np.cumsum(genes) - 1, -1).astype(np.int32)
        for spool, n_cells in zip(spools, cells["shard"].value_counts(sort=False), strict=True):
            yield from spool.take_blocks(n_cells, columns)


def stream_counts(
    file: h5py.File, blocks: Iterable[sparse.csr_matrix], *, n_cells: int, n_genes: int, target_sum: float | None
) -> None:
    """Write X (`n_cells` x genes), and the layer `log1p` where a `target_sum` is given, block by block."""
    progress = Progress(n_cells, unit="cells", label="writing counts")
    counts = empty_matrix(file, "X", n_genes)
    layer = empty_matrix(file, "layers/log1p", n_genes) if target_sum else None
    for block in blocks:
        counts.append(block.astype(np.float32))
        if layer is not None and target_sum:
            layer.append(normalised(block, target_sum).astype(np.float32))
        progress.advance(block.shape[0])
    progress.close()


@dataclass(frozen=True)
class Source:
    """The cohort's own file, and which of its cells are exported.

    Attributes
    ----------
    path, sha256
        Where it is; what its content must be ('' for anything).
    counts
        Where in it the counts are.
    genes
        gene_id, symbol of all its features, and left_out, what one is that is no gene; genes alone are exported.
    cells
        Those of quality control, in the order of the shards: cell_id, donor_id, kept, and what was found out.
    dropped
        Those that the cohort filter dropped and that are exported all the same: row, cell_id, reason.
    only_kept
        Export only what quality control kept.
    """

    path: Path
    sha256: str
    counts: Counts
    genes: pd.DataFrame
    cells: pd.DataFrame
    dropped: pd.DataFrame
    only_kept: bool

    @property
    def written(self) -> pd.DataFrame:
        """The exported cells in their order."""
        if self.only_kept:
            return self.cells[self.cells["kept"].astype(bool)].reset_index(drop=True)
        return with_dropped(self.cells, self.dropped)

    def blocks(self, shards: list[Path]) -> Iterator[sparse.csr_matrix]:
        """Counts of the exported cells in their order: those in shards, then those that are in none."""
        genes = self.genes[are_genes(self.genes)]
        blocks = blocks_of_shards(shards, self.cells, genes, only_kept=self.only_kept)
        if not len(self.dropped):
            return blocks
        return itertools.chain(blocks, blocks_of_dropped(self.path, self.counts, self.dropped, are_genes(self.genes)))


@dataclass(frozen=True)
class Annotation:
    """What the export says beside its counts."""

    obs: pd.DataFrame
    var: pd.DataFrame
    obsm: dict[str, object]
    uns: dict


def provenance(parameters: Mapping[str, Mapping], pipeline_version: str) -> dict:
    """The parameters of the run, as text, and the versions of what made the numbers."""
    versions = {"immune-aging": pipeline_version, "python": platform.python_version()}
    return {
        "parameters": {name: str(entry["value"]) for name, entry in parameters.items()},
        "versions": versions | {name: metadata.version(name) for name in PACKAGES},
    }


def annotation(source: Source, donors: pd.DataFrame, published: list[Path], made_by: dict) -> Annotation:
    """The input's own tables with what the pipeline found out.

    Parameters
    ----------
    donors
        donor_id, age_years.
    published
        Published folders of earlier steps.
    made_by
        Of `provenance`.
    """
    written = source.written
    obs, var, obsm, uns = of_input(source.path, written["cell_id"].to_numpy(dtype=object), source.counts.var_path)
    own = own_columns(written, donors, cluster_columns(published, written))
    own = own.assign(**told_of_donors(written, donors, list(obs.columns)))
    for name, relative in EMBEDDINGS.items():
        if path := find(published, relative):
            obsm[name] = aligned(read_parquet(path), written)
    var = with_own_columns(var.set_axis(var.index.astype(str)), source.genes[["symbol"]])
    var = var[are_genes(source.genes)]
    if FILTERED in var:  # X is what was counted, so nothing of it was filtered
        var = var.assign(**{FILTERED: False})
    uns = uns | ({DISTRIBUTION: "count"} if DISTRIBUTION in uns else {}) | {"immune_aging": made_by}
    return Annotation(text_as_categories(with_own_columns(obs, own)), text_as_categories(var), obsm, uns)


def write_export(
    path: Path, source: Source, beside: Annotation, shards: list[Path], *, target_sum: float | None
) -> None:
    """Write the file, its counts block by block.

    Parameters
    ----------
    target_sum
        Adds the layer `log1p` of counts scaled to this sum per cell; None for no such layer.

    Raises
    ------
    BadInput
        The shards are of another cohort, or the cohort's file is another by now.
    """
    with atomic_path(path) as temporary, unchanged(source.path, source.sha256), h5py.File(temporary, "w") as file:
        # An empty AnnData lays out the file's skeleton as this version of anndata has it.
        write_elem(file, "/", anndata.AnnData(obs=beside.obs))
        for part in ("X", "raw"):
            if part in file:
                del file[part]
        stream_counts(
            file, source.blocks(shards), n_cells=len(beside.obs), n_genes=len(beside.var), target_sum=target_sum
        )
        write_elem(file, "var", beside.var)
        for name, values in sorted(beside.obsm.items()):
            write_elem(file, f"obsm/{name}", values)
        write_elem(file, "uns", beside.uns)
