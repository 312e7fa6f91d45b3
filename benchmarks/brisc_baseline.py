#!/usr/bin/env python3
"""Load to clusters and UMAP with brisc (0.2.3), the fastest toolkit on CPUs, by its own defaults and quick start.

Runs in an environment of its own that `benchmarks/run` makes: nothing here may import the pipeline. Out:
`cells.parquet` (cell_id, doublet_score, cluster) and `seconds.json`, CPU seconds of each step.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from brisc import SingleCell


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    seconds, last = {}, time.process_time()

    def done(step: str) -> None:
        nonlocal last
        now = time.process_time()
        seconds[step], last = round(now - last, 1), now
        print(f"{step}: {seconds[step]} CPU s", file=sys.stderr, flush=True)

    seconds["start"] = round(last, 1)
    cells = SingleCell(str(args.cohort), num_threads=args.threads)
    done("read")
    # Its mitochondrial and MALAT1 rules look for symbols in the gene names, where CELLxGENE has Ensembl ids.
    cells = cells.qc(
        max_mito_fraction=None, min_genes=200, min_counts=500, nonzero_MALAT1=False, allow_float=True, verbose=False
    )
    done("quality control")
    cells = cells.find_doublets(batch_column="donor_id")
    done("doublets")
    # By donor its loess fails on these cohorts, and its error says to leave the batch out.
    cells = cells.hvg(num_genes=3000)
    done("variable genes")
    cells = cells.normalize()
    done("normalise")
    cells = cells.pca()
    done("PCA")
    cells = cells.neighbors(num_neighbors=30)
    done("neighbours")
    cells = cells.shared_neighbors().cluster(resolution=1.0)
    done("clusters")
    cells = cells.umap()
    done("UMAP")
    names = cells.obs.columns[0]
    cells.obs.select(names, "doublet_score", "cluster").rename({names: "cell_id"}).write_parquet(
        args.output / "cells.parquet"
    )
    (args.output / "seconds.json").write_text(json.dumps(seconds, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
