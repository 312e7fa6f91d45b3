#!/usr/bin/env python3
"""Draw the embedding: PCA by cell type; Harmony; UMAP by cell type, donor, counts, age, sex, doublets, cluster, gene.

In: `cells.parquet`, `donors.parquet`, `pca.parquet`, and where they were made `harmony.parquet`, `umap.parquet`,
published trees that hold `clusters/resolution-R/clusters.parquet`, and the genes asked for. Out: figures, one
per resolution for the clusters; `mixing.tsv`: how batches mix and cell types stay apart before and after Harmony; and
`umap_sample.tsv`: some thousand cells of the UMAP and what is known of them, which the report draws interactively.
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging import results
from immune_aging.embedding.embedded_cells import (
    clusters_of,
    expression_of,
    kept_cells,
    read_components,
    read_embedding,
    with_donors,
)
from immune_aging.embedding.harmony import batches_of
from immune_aging.embedding.map_sample import sample_table
from immune_aging.embedding.mixing import sampled
from immune_aging.figures.embedding import draw_clusters, draw_genes, draw_mixing, draw_pca, draw_umaps
from immune_aging.figures.maps import inside
from immune_aging.figures.style import save_drawing, save_drawings
from immune_aging.task.checkpoints import read_parquet, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True, help="cells.parquet of all cells")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--pca", type=Path, required=True)
    parser.add_argument("--harmony", type=Path)
    parser.add_argument("--batch-column", required=True, help="what Harmony took out")
    parser.add_argument("--umap", type=Path)
    parser.add_argument("--genes", type=Path, nargs="*", default=[], help="tables of gene_expression.py, by shard")
    parser.add_argument("--clusters", type=Path, nargs="*", default=[], help="published trees")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets embedding/ and clusters/")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    if args.clusters and not args.umap:
        raise BadInput("--clusters: they are drawn on the UMAP; give --umap as well")
    figures = args.output / "embedding/figures"
    cells = kept_cells(args.cells)
    donors = read_parquet(args.donors)
    rows = sampled(len(cells))
    pca, some = read_components(args.pca, cells["cell_id"], args.cells, shown=4, rows=rows)
    harmony = args.harmony and read_components(args.harmony, cells["cell_id"], args.cells, shown=2, rows=rows)
    umap = read_embedding(args.umap, cells["cell_id"], args.cells) if args.umap else None
    save_drawing(draw_pca(pca, cells["cell_type"]), figures / "pca_cell_type")
    if harmony:
        batch = batches_of(cells, donors, args.batch_column, cells_path=args.cells, donors_path=args.donors)
        batches = pd.Series(batch, name=args.batch_column.removesuffix("_id").replace("_", " "))
        shown = tuple(table.iloc[:, :2].to_numpy(dtype=float) for table in (pca, harmony[0]))
        drawing, mixing = draw_mixing(shown, (some, harmony[1]), rows, batches, cells["cell_type"])
        save_drawing(drawing, figures / "mixing")
        write_tsv(mixing, args.output / "embedding/mixing.tsv")
    if umap is not None:
        points = umap[["UMAP1", "UMAP2"]].to_numpy(dtype=float)
        cells = with_donors(cells, donors, args.donors)
        expression = expression_of(cells["cell_id"], [read_parquet(path) for path in args.genes])
        clusters = clusters_of(cells["cell_id"], results.open(*args.clusters), args.cells)
        save_drawings(draw_umaps(points, cells), figures)
        save_drawings(draw_genes(points, expression), figures)
        save_drawings(draw_clusters(points, clusters), args.output / "clusters")
        sample = sample_table(points, cells, clusters, expression, inside=inside(points))
        write_tsv(sample, args.output / "embedding/umap_sample.tsv")
    write_versions("plot_embedding", ["harmonypy", "matplotlib", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
