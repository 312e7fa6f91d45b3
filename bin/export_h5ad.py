#!/usr/bin/env python3
"""Write the whole cohort as one h5ad: raw counts with everything the pipeline found out about its cells.

In: all shards of raw counts, and the published tables (quality control, PCA, Harmony, UMAP, clusters). Out: one h5ad
with every cell that the cohort filter kept: X raw counts, obs quality control, doublets and clusters, obsm
embeddings (NaN for cells that quality control dropped, which `obs['kept']` marks). Counts are streamed shard by
shard, so that memory follows the shard.
"""

import argparse
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from scipy import sparse

from checkpoints import VARYING, atomic_path, check_same_cells, read_h5ad, read_json, read_parquet, write_versions
from command_line import BadInput, Progress, run
from h5ad_stream import append, encode, growing

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


def stream_counts(shards: list[Path], cells: pd.DataFrame, group: h5py.Group) -> pd.DataFrame:
    """Append the counts of each shard to `group` as one CSR matrix of float32; returns the genes' table."""
    start, values, var = 0, 0, None
    progress = Progress(len(cells), unit="cells", label="writing counts")
    for path in shards:
        shard = read_h5ad(path)
        ids = cells["cell_id"].iloc[start : start + shard.n_obs]
        check_same_cells(ids, shard.obs_names, "qc/cells.parquet", path)
        block = sparse.csr_matrix(shard.X, dtype=np.float32)
        if var is None:
            var = shard.var
            group.attrs["shape"] = np.array([len(cells), shard.n_vars], dtype=np.int64)
            encode(group, "csr_matrix", "0.1.0")
            for name, dtype in (("data", np.float32), ("indices", np.int32), ("indptr", np.int64)):
                growing(group, name, dtype)
            append(group["indptr"], np.zeros(1, dtype=np.int64))
        append(group["data"], block.data)
        append(group["indices"], block.indices)
        append(group["indptr"], block.indptr[1:].astype(np.int64) + values)
        start, values = start + shard.n_obs, values + block.nnz
        progress.advance(shard.n_obs)
    progress.close()
    if start != len(cells):
        raise BadInput(f"shards: {start} cells, but qc/cells.parquet has {len(cells)}; run both on the same cohort")
    return var


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, nargs="+", required=True)
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published folders of earlier steps")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--params", type=Path, required=True, help="params.json")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells = read_parquet(find(args.published, "qc/cells.parquet"))
    donors = read_parquet(args.donors).drop(columns=["cell_type", "n_cells", VARYING], errors="ignore")
    obs = cells.merge(donors, on="donor_id", how="left", validate="many_to_one")
    for column in obs.columns:
        if obs[column].dtype == object and column != "cell_id":
            obs[column] = pd.Categorical(obs[column])
    obs = obs.assign(**cluster_columns(args.published, cells)).set_index("cell_id")
    with atomic_path(args.output) as temporary, h5py.File(temporary, "w") as file:
        # An empty AnnData lays out the file's skeleton as this version of anndata has it.
        write_elem(file, "/", anndata.AnnData(obs=obs))
        for part in ("X", "raw"):
            if part in file:
                del file[part]
        var = stream_counts(sorted(args.shards, key=lambda path: path.name), cells, file.create_group("X"))
        write_elem(file, "var", var.assign(feature_name=var["symbol"]))
        for name, relative in EMBEDDINGS.items():
            if path := find(args.published, relative):
                write_elem(file, f"obsm/{name}", aligned(read_parquet(path), cells))
        parameters = {name: str(entry["value"]) for name, entry in read_json(args.params).items()}
        write_elem(file, "uns", {"immune_aging": {"parameters": parameters}})
    write_versions("export_h5ad", ["anndata", "h5py"], args.versions)


if __name__ == "__main__":
    run(main)
