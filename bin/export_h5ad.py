#!/usr/bin/env python3
"""Write the whole cohort as one h5ad: raw counts with everything the pipeline found out about its cells.

In: the cohort's own file, all shards of raw counts, the cells that the cohort filter dropped, and the published tables
(quality control, PCA, Harmony, UMAP, clusters). Out: one h5ad with every cell and gene of the input, or of the cells
only what quality control kept: X raw counts; obs and var the input's columns, then quality control, doublets, clusters;
obsm the input's embeddings and ours (NaN for dropped cells, which `obs['kept']` marks); uns the input's, parameters,
versions. Counts are streamed shard by shard, so that memory follows the shard; those of cells that the cohort filter
dropped are in no shard and are read from the cohort once more.
"""

import argparse
import itertools
import platform
from importlib import metadata
from pathlib import Path

import anndata
import h5py
from anndata.io import write_elem

from immune_aging.cohort.cohort_file import Counts, unchanged
from immune_aging.cohort.export import (
    DISTRIBUTION,
    EMBEDDINGS,
    FILTERED,
    PACKAGES,
    aligned,
    blocks_of_dropped,
    blocks_of_shards,
    cluster_columns,
    find,
    of_input,
    own_columns,
    stream_counts,
    text_as_categories,
    with_dropped,
    with_own_columns,
)
from immune_aging.task.checkpoints import (
    atomic_path,
    read_json,
    read_parquet,
    write_versions,
)
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="the input's h5ad")
    parser.add_argument("--sha256", default="", help="of the cohort; a file that is another by now is refused")
    parser.add_argument("--check", type=Path, required=True, help="check.json")
    parser.add_argument("--shards", type=Path, nargs="+", required=True)
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published folders of earlier steps")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--genes", type=Path, required=True, help="genes.parquet")
    parser.add_argument("--dropped", type=Path, required=True, help="cells that the cohort filter dropped")
    parser.add_argument("--params", type=Path, required=True, help="params.json")
    parser.add_argument("--cells", choices=("all", "kept"), default="all", help="kept: not the dropped ones")
    parser.add_argument("--target-sum", type=float, help="add the layer log1p of counts scaled to this sum")
    parser.add_argument("--pipeline-version", default="")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells = read_parquet(find(args.published, "qc/cells.parquet"))
    counts, genes = Counts(**read_json(args.check)["counts"]), read_parquet(args.genes)
    only_kept = args.cells == "kept"
    dropped = read_parquet(args.dropped).iloc[: 0 if only_kept else None]
    written = cells[cells["kept"].astype(bool)].reset_index(drop=True) if only_kept else with_dropped(cells, dropped)
    ids = written["cell_id"].to_numpy(dtype=object)
    obs, var, obsm, uns = of_input(args.cohort, ids, counts.var_path)
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
    with (
        atomic_path(args.output) as temporary,
        unchanged(args.cohort, args.sha256),
        h5py.File(temporary, "w") as file,
    ):
        # An empty AnnData lays out the file's skeleton as this version of anndata has it.
        write_elem(file, "/", anndata.AnnData(obs=text_as_categories(with_own_columns(obs, own))))
        for part in ("X", "raw"):
            if part in file:
                del file[part]
        shards = sorted(args.shards, key=lambda path: path.name)
        blocks = blocks_of_shards(shards, cells, genes, only_kept=only_kept)
        if len(dropped):
            blocks = itertools.chain(blocks, blocks_of_dropped(args.cohort, counts, dropped))
        stream_counts(file, blocks, (len(written), len(genes)), target_sum=args.target_sum)
        var = with_own_columns(var.set_axis(var.index.astype(str)), genes[["symbol"]])
        if FILTERED in var:  # X is what was counted, so nothing of it was filtered
            var[FILTERED] = False
        write_elem(file, "var", text_as_categories(var))
        for name, values in sorted(obsm.items()):
            write_elem(file, f"obsm/{name}", values)
        write_elem(file, "uns", uns)
    write_versions("export_h5ad", ["anndata", "h5py", "isal"], args.versions)


if __name__ == "__main__":
    run(main)
