#!/usr/bin/env python3
"""Principal components of the normalised counts of all shards.

In: the normalised shards. Out: `pca.parquet` (cell_id, PC1..), `pca_loadings.parquet` (gene_id, symbol,
PC1..), `pca_variance.tsv`, `pca.json`. The genes' covariance is added up cell by cell in 64 bits, and Lanczos
iterations on it are exact to machine precision. Shards are read donor by donor, twice (covariance, scores): of the
cohort only the scores are held, and the same sums come out of any number of shards. Signs are fixed, so that a
component does not flip between machines. Given a sketch, the components are still those of all cells, and
`pca.parquet` has the sketch's; by the model (gene_id, each gene's mean, its loadings) the others are projected.
"""

import argparse
from pathlib import Path

from immune_aging.embedding.components import (
    MIN_CELLS,
    MIN_GENES,
    embed_cells,
    loading_table,
    model_table,
    moments,
    principal_components,
    read_shards,
    variance_table,
)
from immune_aging.task.checkpoints import read_parquet, write_json, write_parquet, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, limit_threads, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=Path, nargs="+", required=True, help="normalised shards")
    parser.add_argument("--n-pcs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--sketch", type=Path, help="table of the cells (cell_id) that the embedding is computed on")
    parser.add_argument("--output-model", type=Path, help="what projects further cells")
    parser.add_argument("--output-cells", type=Path, help="for pca.parquet, if it is not to lie in the output folder")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder; gets pca.parquet, pca_loadings.parquet, ..."
    )
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    found = moments(matrix for matrix, _, _ in read_shards(args.counts))
    n_cells, n_genes = found.n_cells, len(found.sums)
    if n_cells < MIN_CELLS or n_genes < MIN_GENES:
        raise BadInput(
            f"{args.counts[0]}: {n_cells} cells and {n_genes} selected genes in all, too few for an "
            f"embedding ({MIN_CELLS} cells, {MIN_GENES} genes); loosen the thresholds or --stop_after qc"
        )
    n_pcs = min(args.n_pcs, min(n_cells, n_genes) - 1)
    with limit_threads(1):  # the vectors are short: a second BLAS thread costs more than it brings
        pca = principal_components(found, n_pcs, seed=args.seed)
    only = read_parquet(args.sketch, ["cell_id"])["cell_id"] if args.sketch else None
    table, genes = embed_cells(args.counts, pca, only=only)
    if args.output_model:
        write_parquet(model_table(genes, pca), args.output_model)
    write_parquet(table, args.output_cells or args.output / "pca.parquet")
    write_parquet(loading_table(genes, pca), args.output / "pca_loadings.parquet")
    write_tsv(variance_table(pca), args.output / "pca_variance.tsv")
    fewer = f"{n_pcs} components, not {args.n_pcs}: {n_cells} cells and {n_genes} genes hold no more"
    write_json(
        {"n_pcs": n_pcs, "n_cells": n_cells, "n_genes": n_genes, "total_variance": pca.total_variance,
         "notes": [fewer] if n_pcs < args.n_pcs else []},
        args.output / "pca.json",
    )  # fmt: skip
    write_versions("pca", ["h5py", "numba", "numpy", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
