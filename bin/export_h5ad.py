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
from pathlib import Path

from immune_aging.cohort.cohort_file import Counts
from immune_aging.cohort.export import Source, annotation, find, provenance, write_export
from immune_aging.task.checkpoints import read_json, read_parquet, write_versions
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
    parser.add_argument("--cells", choices=("all", "kept"), required=True, help="kept: not the dropped ones")
    parser.add_argument("--target-sum", type=float, help="add the layer log1p of counts scaled to this sum")
    parser.add_argument("--pipeline-version", default="")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    only_kept = args.cells == "kept"
    source = Source(
        path=args.cohort,
        sha256=args.sha256,
        counts=Counts(**read_json(args.check)["counts"]),
        genes=read_parquet(args.genes),
        cells=read_parquet(find(args.published, "qc/cells.parquet")),
        dropped=read_parquet(args.dropped).iloc[: 0 if only_kept else None],
        only_kept=only_kept,
    )
    made_by = provenance(read_json(args.params), args.pipeline_version)
    beside = annotation(source, read_parquet(args.donors), args.published, made_by)
    shards = sorted(args.shards, key=lambda path: path.name)
    write_export(args.output, source, beside, shards, target_sum=args.target_sum)
    write_versions("export_h5ad", ["anndata", "h5py", "isal"], args.versions)


if __name__ == "__main__":
    run(main)
