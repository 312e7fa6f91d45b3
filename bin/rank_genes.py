#!/usr/bin/env python3
"""Measure how variable each gene is within each donor of one shard, on the raw counts of its kept cells.

In: a shard of raw counts and its quality control. Out: a table of genes with their total count and one column
a donor, `donor:<id>`, of seurat_v3 normalised variances; and a summary of the donors with those left out and
why.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from checkpoints import check_same_cells, read_h5ad, read_parquet, write_json, write_parquet, write_versions
from command_line import Progress, limit_threads, run
from seurat_v3 import DonorRanking, rank_donor


def rank_donors(counts: sparse.csr_matrix, donors: np.ndarray, *, span: float) -> dict[str, DonorRanking]:
    """Rank the genes within each donor, in the order of donor ids.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    donors
        Donor id of each cell.
    span
        Share of the genes that each local regression sees.
    """
    rankings = {}
    names = np.unique(donors)
    progress = Progress(len(names), unit="donors", label="ranking genes")
    for donor in names:
        rankings[donor] = rank_donor(counts[donors == donor], span=span)
        progress.advance(1)
    return rankings


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True, help="quality control of the shard")
    parser.add_argument("--span", type=float, default=0.8, help="loess span, share of the genes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    shard, cells = read_h5ad(args.shard), read_parquet(args.cells, ["cell_id", "donor_id", "kept"])
    check_same_cells(shard.obs_names, cells["cell_id"], args.shard, args.cells)
    kept = cells["kept"].to_numpy()
    counts, donors = shard.X[kept], cells.loc[kept, "donor_id"].to_numpy(dtype=object).astype(str)
    with limit_threads(args.threads):
        rankings = rank_donors(counts, donors, span=args.span)
    columns = {
        "gene_id": shard.var_names.to_numpy(dtype=object),
        "symbol": shard.var["symbol"].to_numpy(dtype=object),
        "n_counts": np.asarray(counts.sum(axis=0, dtype=np.int64)).ravel(),
    }
    columns |= {f"donor:{name}": of.variance_norm for name, of in rankings.items() if of.variance_norm is not None}
    write_parquet(pd.DataFrame(columns), args.output)
    write_json(
        {
            "donors": [
                {"donor_id": name, "n_cells": of.n_cells, "jitter": of.jitter, "reason": of.reason}
                for name, of in rankings.items()
            ]
        },
        args.output_summary,
    )
    write_versions("rank_genes", ["anndata", "numpy", "scikit-misc", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
