"""The export: the input with all results in it, cell by cell, streamed."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from immune_aging.cohort.cohort_file import Counts, open_cohort, read_table
from immune_aging.cohort.spool import spool_counts
from immune_aging.task.checkpoints import check_same_cells, read_h5ad, read_parquet
from immune_aging.task.command_line import BadInput, Progress
from immune_aging.task.h5ad_stream import append, encode, growing

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
            obsm[name] = values[rows] if isinstance(values, np.ndarray) else values.iloc[rows].set_axis(cell_ids)
        uns = read_elem(file["uns"]) if "uns" in file else {}
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
    """What the pipeline found out: quality control, age in years, clusters; in the order of `cells`."""
    found = cells.drop(columns=["cell_id", "donor_id", "cell_type"]).assign(
        age_years=cells["donor_id"].map(donors.set_index("donor_id")["age_years"])
    )
    return text_as_categories(found).assign(**clusters)


def matrix(group: h5py.Group, shape: tuple[int, int]) -> h5py.Group:
    """Start a CSR matrix of float32 to which rows are appended."""
    group.attrs["shape"] = np.array(shape, dtype=np.int64)
    encode(group, "csr_matrix", "0.1.0")
    for name, dtype in (("data", np.float32), ("indices", np.int32), ("indptr", np.int64)):
        growing(group, name, dtype)
    append(group["indptr"], np.zeros(1, dtype=np.int64))
    return group


def append_rows(group: h5py.Group, block: sparse.csr_matrix) -> None:
    """Append the rows of a block."""
    before = group["data"].shape[0]
    append(group["data"], block.data.astype(np.float32))
    append(group["indices"], block.indices)
    append(group["indptr"], block.indptr[1:].astype(np.int64) + before)


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


def blocks_of_dropped(cohort: Path, counts: Counts, dropped: pd.DataFrame) -> Iterator[sparse.csr_matrix]:
    """The counts of cells (`row` in the cohort's file), in their order, cells x all genes of the input."""
    place = np.arange(len(dropped))
    cells = pd.DataFrame({"row": dropped["row"], "shard": place // SPOOLED_CELLS, "position": place % SPOOLED_CELLS})
    with tempfile.TemporaryDirectory(prefix="spool-", dir=".") as folder:
        with open_cohort(cohort) as file:
            spools, _ = spool_counts(file, counts, cells, Path(folder), where="cohort")
        columns = np.arange(counts.n_genes, dtype=np.int32)
        for spool, n_cells in zip(spools, cells["shard"].value_counts(sort=False), strict=True):
            yield from spool.take_blocks(n_cells, columns)


def stream_counts(
    file: h5py.File, blocks: Iterable[sparse.csr_matrix], shape: tuple[int, int], *, target_sum: float | None
) -> None:
    """Write X (cells x genes), and the layer `log1p` where a `target_sum` is given, block by block."""
    progress = Progress(shape[0], unit="cells", label="writing counts")
    counts = matrix(file.create_group("X"), shape)
    layer = matrix(file.create_group("layers/log1p"), shape) if target_sum else None
    for block in blocks:
        append_rows(counts, block)
        if layer is not None:
            append_rows(layer, normalised(block, target_sum))
        progress.advance(block.shape[0])
    progress.close()
