#!/usr/bin/env python3
"""Draw the embedding: PCA by cell type; Harmony; UMAP by cell type, donor, counts, age, sex, doublets, cluster, gene.

In: `cells.parquet`, `donors.parquet`, `pca.parquet`, and where they were made `harmony.parquet`, `umap.parquet`,
published trees that hold `clusters/resolution-R/clusters.parquet`, and the genes asked for. Out: figures, one a
resolution for the clusters; `mixing.tsv`: how batches mix and cell types stay apart before and after Harmony; and
`umap_sample.tsv`: some thousand cells of the UMAP and what is known of them, which the report draws interactively.
"""

import argparse
from pathlib import Path

import pandas as pd

from immune_aging.embedding.harmony import batches_of
from immune_aging.embedding.map_sample import sample_table
from immune_aging.figures.embedding import (
    clusters_of,
    draw_genes,
    draw_mixing,
    draw_umaps,
    expression_of,
    inside,
    plot_categories,
    plot_pca,
    with_donors,
)
from immune_aging.figures.style import save_figure
from immune_aging.task.checkpoints import (
    check_same_cells,
    read_parquet,
    require_columns,
    write_tsv,
    write_versions,
)
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True, help="cells.parquet of all cells")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--pca", type=Path, required=True)
    parser.add_argument("--harmony", type=Path)
    parser.add_argument("--batch-column", default="donor_id", help="what Harmony took out (default: %(default)s)")
    parser.add_argument("--umap", type=Path)
    parser.add_argument("--genes", type=Path, nargs="*", default=[], help="tables of gene_expression.py, by shard")
    parser.add_argument("--clusters", type=Path, nargs="*", default=[], help="published trees")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder that gets embedding/figures and clusters/.../figures",
    )
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    wanted = ["cell_id", "donor_id", "cell_type", "n_counts", "doublet_score", "kept"]
    cells = read_parquet(args.cells)
    require_columns(cells, wanted, args.cells)
    cells = cells.loc[cells["kept"], wanted].reset_index(drop=True)
    for column in ("donor_id", "cell_type"):
        cells[column] = cells[column].astype(str).astype("category")
    pca = read_parquet(args.pca)
    check_same_cells(cells["cell_id"], pca["cell_id"], args.cells, args.pca)
    n, figures = f"{len(cells):,} cells", args.output / "embedding/figures"
    save_figure(
        plot_pca(pca, cells["cell_type"]),
        figures / "pca_cell_type",
        title="Principal components by cell type",
        description=f"The first four principal components of {n}, before Harmony, coloured and numbered by cell type.",
    )
    if args.harmony:
        harmony = read_parquet(args.harmony)
        check_same_cells(cells["cell_id"], harmony["cell_id"], args.cells, args.harmony)
        donors = read_parquet(args.donors)
        batch = batches_of(cells, donors, args.batch_column, cells_path=args.cells, donors_path=args.donors)
        batches = pd.Series(batch, name=args.batch_column.removesuffix("_id").replace("_", " "))
        figure, title, description, table = draw_mixing(pca, harmony, batches, cells["cell_type"])
        save_figure(figure, figures / "mixing", title=title, description=description)
        write_tsv(table, args.output / "embedding/mixing.tsv")
    if args.umap:
        umap = read_parquet(args.umap)
        check_same_cells(cells["cell_id"], umap["cell_id"], args.cells, args.umap)
        points, axis_names = umap[["UMAP1", "UMAP2"]].to_numpy(dtype=float), ("UMAP 1", "UMAP 2")
        in_frame = inside(points)
        n_outside = int((~in_frame).sum())
        n += f" ({n_outside:,} far ones lie outside the frame)" if n_outside else ""
        cells = with_donors(cells, args.donors)
        expression = expression_of(cells["cell_id"], args.genes)
        clusters = clusters_of(cells["cell_id"], args.clusters, args.cells)
        drawn = draw_umaps(points, cells, axis_names, n=n) | draw_genes(points, expression, axis_names, n=n)
        for name, (figure, title, description) in drawn.items():
            save_figure(figure, figures / name, title=title, description=description)
        for resolution, kinds in clusters.items():
            save_figure(
                plot_categories(points, kinds, axis_names=axis_names, numbered=True, clusters=True),
                args.output / f"clusters/resolution-{resolution}/figures/umap_cluster",
                title=f"UMAP by cluster, resolution {resolution}",
                description=f"UMAP of {n}, coloured and numbered by {len(kinds.cat.categories)} Leiden clusters at "
                f"resolution {resolution}, 0 the largest.",
            )
        table = sample_table(points, cells, clusters, expression, inside=in_frame)
        write_tsv(table, args.output / "embedding/umap_sample.tsv")
    elif args.clusters:
        raise BadInput("--clusters: they are drawn on the UMAP; give --umap as well")
    write_versions("plot_embedding", ["harmonypy", "matplotlib", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
