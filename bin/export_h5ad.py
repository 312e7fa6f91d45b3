#!/usr/bin/env python3
"""Write the whole cohort as one h5ad: raw counts with everything the pipeline found out about its cells.

In: the cohort's own file, all shards of raw counts, and the published tables (quality control, PCA, Harmony, UMAP,
clusters). Out: one h5ad with every cell that the cohort filter kept, or of these only what quality control kept: X raw
counts; obs and var the input's columns, then quality control, doublets, clusters; obsm the input's embeddings and
ours (NaN for cells that quality control dropped, which `obs['kept']` marks); uns the input's, parameters, versions.
Counts are streamed shard by shard, so that memory follows the shard.
"""

import argparse
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, write_elem
from scipy import sparse

from checkpoints import atomic_path, check_same_cells, read_h5ad, read_json, read_parquet, write_versions
from cohort_file import open_cohort, read_table
from command_line import BadInput, Progress, run
from h5ad_stream import append, encode, growing

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
    "umap-learn",
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


def blocks_of(
    shards: list[Path], cells: pd.DataFrame, *, only_kept: bool
) -> Iterator[tuple[sparse.csr_matrix, pd.DataFrame]]:
    """The counts of each shard that belong into the file, and the shard's genes.

    Raises
    ------
    BadInput
        The shards hold other cells than `cells`.
    """
    start = 0
    for path in shards:
        shard = read_h5ad(path)
        here = slice(start, start + shard.n_obs)
        check_same_cells(cells["cell_id"].iloc[here], shard.obs_names, "qc/cells.parquet", path)
        block = sparse.csr_matrix(shard.X)
        yield (block[cells["kept"].iloc[here].to_numpy(dtype=bool)] if only_kept else block), shard.var
        start = here.stop
    if start != len(cells):
        raise BadInput(f"shards: {start} cells, but qc/cells.parquet has {len(cells)}; run both on the same cohort")


def stream_counts(
    file: h5py.File, shards: list[Path], cells: pd.DataFrame, *, only_kept: bool, target_sum: float | None
) -> pd.DataFrame:
    """Write X, and the layer `log1p` where a `target_sum` is given, shard by shard; returns the genes' table."""
    n_cells = int(cells["kept"].sum()) if only_kept else len(cells)
    progress = Progress(n_cells, unit="cells", label="writing counts")
    var = None
    for block, genes in blocks_of(shards, cells, only_kept=only_kept):
        if var is None:
            var, shape = genes, (n_cells, block.shape[1])
            counts = matrix(file.create_group("X"), shape)
            layer = matrix(file.create_group("layers/log1p"), shape) if target_sum else None
        append_rows(counts, block)
        if layer is not None:
            append_rows(layer, normalised(block, target_sum))
        progress.advance(block.shape[0])
    progress.close()
    return var


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="the input's h5ad")
    parser.add_argument("--check", type=Path, required=True, help="check.json")
    parser.add_argument("--shards", type=Path, nargs="+", required=True)
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published folders of earlier steps")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--params", type=Path, required=True, help="params.json")
    parser.add_argument("--cells", choices=("all", "kept"), default="all", help="kept: not those that QC dropped")
    parser.add_argument("--target-sum", type=float, help="add the layer log1p of counts scaled to this sum")
    parser.add_argument("--pipeline-version", default="")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells = read_parquet(find(args.published, "qc/cells.parquet"))
    only_kept = args.cells == "kept"
    written = cells[cells["kept"].astype(bool)].reset_index(drop=True) if only_kept else cells
    ids = written["cell_id"].to_numpy(dtype=object)
    obs, var, obsm, uns = of_input(args.cohort, ids, read_json(args.check)["counts"]["var_path"])
    own = own_columns(written, read_parquet(args.donors), cluster_columns(args.published, written))
    for name, relative in EMBEDDINGS.items():
        if path := find(args.published, relative):
            obsm[name] = aligned(read_parquet(path), written)
    uns |= {DISTRIBUTION: "count"} if DISTRIBUTION in uns else {}
    uns["immune_aging"] = {
        "parameters": {name: str(entry["value"]) for name, entry in read_json(args.params).items()},
        "versions": {"immune-aging": args.pipeline_version, "python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
    }
    with atomic_path(args.output) as temporary, h5py.File(temporary, "w") as file:
        # An empty AnnData lays out the file's skeleton as this version of anndata has it.
        write_elem(file, "/", anndata.AnnData(obs=text_as_categories(with_own_columns(obs, own))))
        for part in ("X", "raw"):
            if part in file:
                del file[part]
        shards = sorted(args.shards, key=lambda path: path.name)
        genes = stream_counts(file, shards, cells, only_kept=only_kept, target_sum=args.target_sum)
        var = with_own_columns(var.set_axis(var.index.astype(str)).loc[genes.index], genes[["symbol"]])
        if FILTERED in var:  # X is what was counted, so nothing of it was filtered
            var[FILTERED] = False
        write_elem(file, "var", text_as_categories(var))
        for name, values in sorted(obsm.items()):
            write_elem(file, f"obsm/{name}", values)
        write_elem(file, "uns", uns)
    write_versions("export_h5ad", ["anndata", "h5py"], args.versions)


if __name__ == "__main__":
    run(main)
