#!/usr/bin/env python3
"""The same analysis as scanpy's tutorials write it, in one process: what the pipeline is measured against.

In: the cohort's h5ad. Out: a folder with `cells.parquet` (cell_id, metrics, doublet score, kept, cluster, UMAP1,
UMAP2), `genes.tsv` (gene_id, selected: of the genes given to the ranking) and `pseudobulk.h5ad`; and `seconds.json`,
CPU seconds of each step. After the
tutorials "Preprocessing and clustering" and "Pseudobulk" of scanpy 1.11; Harmony by harmonypy itself, as scanpy's
wrapper does not fit its version 2. Thresholds and numbers are the pipeline's defaults.
"""

import sys
from pathlib import Path

import harmonypy
import numpy as np
import pandas as pd
import scanpy as sc

from stopwatch import Stopwatch, parser_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bin"))
from immune_aging.cells.gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal, nuisance_reason


def cohort_filter(obs: pd.DataFrame) -> np.ndarray:
    """Cells of donors above the 1st percentile of cells, of cell types with 10 cells in 95 % of donors."""
    sizes = obs["donor_id"].value_counts()
    donors = sizes.index[sizes >= np.percentile(sizes, 1)]
    table = pd.crosstab(obs["donor_id"], obs["cell_type"]).loc[donors]
    types = table.columns[(table >= 10).mean() >= 0.95]
    donors = table.index[(table[types] > 0).all(axis=1)]
    return (obs["donor_id"].isin(donors) & obs["cell_type"].isin(types)).to_numpy()


def main(argv: list[str]) -> None:
    parser = parser_of(__doc__)
    args = parser.parse_args(argv)
    watch = Stopwatch()
    adata = sc.read_h5ad(args.cohort)
    adata = adata[cohort_filter(adata.obs)].copy()
    watch.done("read")

    symbols = adata.var["feature_name"].astype(str).to_numpy(dtype=object)
    for name, member in (("mt", is_mitochondrial), ("ribo", is_ribosomal), ("hb", is_hemoglobin)):
        adata.var[name] = member(symbols)
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt", "ribo", "hb"], percent_top=None, log1p=False, inplace=True)
    obs = adata.obs
    good = obs["n_genes_by_counts"].between(200, 6000) & obs["total_counts"].between(500, 30_000)
    good &= (obs["pct_counts_mt"] <= 20) & (obs["pct_counts_hb"] <= 5)
    metrics = obs[["n_genes_by_counts", "total_counts", "pct_counts_mt", "pct_counts_ribo", "pct_counts_hb"]].copy()
    adata = adata[good].copy()
    watch.done("quality control")

    sc.pp.scrublet(adata, batch_key="donor_id", expected_doublet_rate=0.06, random_state=0)
    metrics["doublet_score"] = adata.obs["doublet_score"]
    adata = adata[~adata.obs["predicted_doublet"].to_numpy(dtype=bool)].copy()
    watch.done("doublets")

    pseudobulk = sc.get.aggregate(adata, by=["donor_id", "cell_type"], func="sum")
    watch.done("pseudobulk")

    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    watch.done("normalise")
    # Genes of few counts make loess fail within a donor (scanpy issue 1504).
    counted = np.asarray(adata.layers["counts"].sum(axis=0)).ravel() >= 100
    genes = adata[:, counted].copy()
    sc.pp.highly_variable_genes(
        genes, n_top_genes=3000, flavor="seurat_v3", layer="counts", batch_key="donor_id", span=0.8
    )
    selected = genes.var["highly_variable"].to_numpy() & (nuisance_reason(symbols[counted]) == "")
    given = pd.DataFrame({"gene_id": genes.var_names, "selected": selected})
    genes = genes[:, selected].copy()
    watch.done("variable genes")

    sc.pp.pca(genes, n_comps=50)
    watch.done("PCA")
    harmony = harmonypy.run_harmony(genes.obsm["X_pca"], genes.obs, "donor_id", verbose=False)
    genes.obsm["X_harmony"] = np.asarray(harmony.Z_corr).reshape(len(genes), -1)
    watch.done("Harmony")
    sc.pp.neighbors(genes, n_neighbors=30, n_pcs=40, use_rep="X_harmony")
    watch.done("neighbours")
    sc.tl.umap(genes)
    watch.done("UMAP")
    sc.tl.leiden(genes, resolution=1.0, flavor="igraph", n_iterations=2, directed=False)
    watch.done("Leiden")

    metrics["kept"] = metrics.index.isin(genes.obs_names)
    metrics["cluster"] = genes.obs["leiden"].astype(str)
    metrics[["UMAP1", "UMAP2"]] = pd.DataFrame(genes.obsm["X_umap"], index=genes.obs_names)
    metrics.rename_axis("cell_id").reset_index().to_parquet(args.output / "cells.parquet", index=False)
    given.to_csv(args.output / "genes.tsv", sep="\t", index=False)
    pseudobulk.write_h5ad(args.output / "pseudobulk.h5ad")
    watch.done("write")
    watch.write(args.output / "seconds.json")


if __name__ == "__main__":
    main(sys.argv[1:])
