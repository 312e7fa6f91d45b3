#!/usr/bin/env python3
"""Load to clusters and UMAP with brisc (0.2.3), the fastest toolkit on CPUs, by its own defaults and quick start.

Runs in an environment of its own that `benchmarks/run` makes: nothing here may import the pipeline. Out:
`cells.parquet` (cell_id, doublet_score, cluster) and `seconds.json`, CPU seconds of each step.
"""

import sys
from pathlib import Path

from brisc import SingleCell

from stopwatch import Stopwatch, parser_of


def write_cells(cells: SingleCell, columns: list[str], folder: Path) -> None:
    """Write columns of all cells by cell_id."""
    names = cells.obs.columns[0]
    cells.obs.select(names, *columns).rename({names: "cell_id"}).write_parquet(folder / "cells.parquet")


def main(argv: list[str]) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-doublets", action="store_true", help="end there: no clusters in the table")
    args = parser.parse_args(argv)
    watch = Stopwatch()
    cells = SingleCell(str(args.cohort), num_threads=args.threads)
    watch.done("read")
    # Its mitochondrial and MALAT1 rules look for symbols in the gene names, where CELLxGENE has Ensembl ids.
    cells = cells.qc(
        max_mito_fraction=None, min_genes=200, min_counts=500, nonzero_MALAT1=False, allow_float=True, verbose=False
    )
    watch.done("quality control")
    cells = cells.find_doublets(batch_column="donor_id")
    watch.done("doublets")
    if args.only_doublets:
        write_cells(cells, ["doublet_score"], args.output)
        return
    # By donor its loess fails on these cohorts, and its error says to leave the batch out.
    cells = cells.hvg(num_genes=3000)
    watch.done("variable genes")
    cells = cells.normalize()
    watch.done("normalise")
    cells = cells.pca()
    watch.done("PCA")
    cells = cells.neighbors(num_neighbors=30)
    watch.done("neighbours")
    cells = cells.shared_neighbors().cluster(resolution=1.0)
    watch.done("clusters")
    cells = cells.umap()
    watch.done("UMAP")
    write_cells(cells, ["doublet_score", "cluster"], args.output)
    watch.write(args.output / "seconds.json")


if __name__ == "__main__":
    main(sys.argv[1:])
