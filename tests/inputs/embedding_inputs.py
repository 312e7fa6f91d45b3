#!/usr/bin/env python3
"""Write the small inputs of the module tests from gene ranking to clusters into a folder.

Two shards of a small simulated cohort with known cell types, batches and nuisance genes; then the steps
themselves make what the next one reads.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests")]

import rank_genes  # noqa: E402
import select_genes  # noqa: E402
from immune_aging.task.checkpoints import write_h5ad, write_parquet  # noqa: E402
from inputs.step_options import default_options  # noqa: E402

N_TOP_GENES = 120
NUISANCE = {
    "TRBV7-2": "T-cell receptor variable region",
    "IGHV3-23": "immunoglobulin variable region",
    "MT-CO1": "mitochondrial",
    "RPS4X": "ribosomal protein",
}
MARKERS_PER_TYPE = 20


def embedding_cohort(
    *, donors: int = 6, cells_per_donor: int = 60, genes: int = 300, types: int = 3, seed: int = 0
) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.DataFrame]:
    """Simulate counts of cells whose types differ in marker genes, and whose donors come in two pools.

    The first genes are the nuisance genes, as variable as markers; then `MARKERS_PER_TYPE` markers of each
    type; then background genes; the last gene is expressed in no cell.

    Returns
    -------
    Counts (cells x genes, 16 bits, sorted by donor), obs (cell_id, donor_id, cell_type, pool,
    kept: one in ten is not), var (gene_id, symbol).
    """
    random = np.random.default_rng(seed)
    n_cells = donors * cells_per_donor
    donor = np.repeat(np.arange(donors), cells_per_donor)
    cell_type = random.integers(0, types, n_cells)
    rate = np.tile(random.gamma(0.6, 0.8, genes), (n_cells, 1))
    rate[:, : len(NUISANCE)] = 8 * (random.random((n_cells, len(NUISANCE))) < 0.3)
    for kind in range(types):
        markers = len(NUISANCE) + MARKERS_PER_TYPE * kind + np.arange(MARKERS_PER_TYPE)
        rate[:, markers] = np.where(cell_type[:, None] == kind, random.uniform(4, 8, MARKERS_PER_TYPE), 0.2)
    # A pool shifts a third of the genes, a cell its depth.
    shift = np.where(random.random(genes) < 1 / 3, 1.8, 1.0)
    rate = np.where((donor % 2 == 1)[:, None], rate * shift, rate) * random.gamma(8, 1 / 8, (n_cells, 1))
    rate[:, -1] = 0
    counts = sparse.csr_matrix(random.poisson(rate).astype(np.uint16))
    obs = pd.DataFrame(
        {
            "cell_id": [f"CELL{i:04d}" for i in range(n_cells)],
            "donor_id": [f"D{d:02d}" for d in donor],
            "cell_type": [f"type {k}" for k in cell_type],
            "pool": [f"pool {d % 2}" for d in donor],
            "kept": random.random(n_cells) < 0.9,
        }
    )
    symbols = [*NUISANCE, *(f"GENE{i}" for i in range(genes - len(NUISANCE)))]
    var = pd.DataFrame({"gene_id": [f"ENSG{i:011d}" for i in range(genes)], "symbol": symbols})
    return counts, obs, var


def write_shard(
    folder: Path, name: str, counts: sparse.csr_matrix, obs: pd.DataFrame, var: pd.DataFrame
) -> tuple[Path, Path]:
    """Write counts and quality control of one shard; their paths."""
    shard = folder / f"dataset-test_{name}_step-split_counts.h5ad"
    cells = folder / f"dataset-test_{name}_step-qc_cells.parquet"
    index = pd.Index(obs["cell_id"].to_numpy(dtype=object), name="cell_id")
    labels = pd.DataFrame(
        {column: pd.Categorical(obs[column].to_numpy()) for column in ("donor_id", "cell_type")}, index=index
    )
    genes = pd.DataFrame(
        {"symbol": var["symbol"].to_numpy(dtype=object)},
        index=pd.Index(var["gene_id"].to_numpy(dtype=object), name="gene_id"),
    )
    write_h5ad(anndata.AnnData(X=counts, obs=labels, var=genes), shard)
    write_parquet(obs[["cell_id", "donor_id", "cell_type", "kept"]], cells)
    return shard, cells


def write_shards(folder: Path, bounds: list[int], **how: int) -> list[tuple[Path, Path]]:
    """Write the cohort as shards, cut at the donors numbered `bounds`; and cells.parquet, donors.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    counts, obs, var = embedding_cohort(**how)
    number = obs["donor_id"].str[1:].astype(int).to_numpy()
    paths = []
    for shard, (low, high) in enumerate(zip([0, *bounds], [*bounds, number.max() + 1], strict=True)):
        here = (number >= low) & (number < high)
        paths.append(write_shard(folder, f"shard-{shard:03d}", counts[here], obs[here], var))
    write_parquet(obs[["cell_id", "donor_id", "cell_type", "kept"]], folder / "cells.parquet")
    donors = obs.drop_duplicates("donor_id")[["donor_id", "pool"]].assign(age_years=50.0)
    write_parquet(donors, folder / "donors.parquet")
    return paths


def as_task(script: str, argv: list[str]) -> None:
    """Run a script of bin/ with what NumPy has in a task: numbers of one with AVX-512 have other last digits."""
    config = (ROOT / "nextflow.config").read_text()
    without = re.search(r"NPY_DISABLE_CPU_FEATURES = '(.+)'", config)[1]
    command = [sys.executable, str(ROOT / "bin" / script), *default_options(script.removesuffix(".py")), *argv]
    subprocess.run(command, check=True, env=os.environ | {"NPY_DISABLE_CPU_FEATURES": without})


def main(argv: list[str]) -> None:
    folder = Path(argv[0])
    versions = ["--versions", str(folder / "versions.json")]
    stem = str(folder / "dataset-test_all_step-")
    shards = write_shards(folder, [3])
    embedding = folder / "embedding"

    def of(shard: Path, step: str) -> str:
        return str(shard).replace("split_counts.h5ad", step)

    for shard, cells in shards:
        rank_genes.main(
            [*default_options("rank_genes"), "--shard", str(shard), "--cells", str(cells), "--output", of(shard, "rank_ranks.parquet"),
             "--output-summary", of(shard, "rank_summary.json"), *versions]
        )  # fmt: skip
    select_genes.main(
        [*default_options("select_genes"), "--ranks", *(of(shard, "rank_ranks.parquet") for shard, _ in shards),
         "--summaries", *(of(shard, "rank_summary.json") for shard, _ in shards),
         "--n-top-genes", str(N_TOP_GENES), "--output", str(embedding / "genes.tsv"),
         "--output-summary", str(embedding / "genes.json"), *versions]
    )  # fmt: skip
    for shard, cells in shards:
        as_task(
            "normalize.py",
            ["--shard", str(shard), "--cells", str(cells), "--genes", str(embedding / "genes.tsv"),
             "--output", of(shard, "normalize_counts.h5ad"), *versions]
        )  # fmt: skip
    as_task(
        "pca.py",
        [
            "--counts",
            *(of(shard, "normalize_counts.h5ad") for shard, _ in shards),
            "--n-pcs",
            "10",
            "--output",
            str(embedding),
            *versions,
        ],
    )
    as_task(
        "harmony.py",
        ["--pca", str(embedding / "pca.parquet"), "--cells", str(folder / "cells.parquet"), "--donors",
         str(folder / "donors.parquet"), "--output", str(embedding / "harmony.parquet"),
         "--output-summary", str(embedding / "harmony.json"), *versions]
    )  # fmt: skip
    as_task(
        "neighbors.py",
        ["--embedding", str(embedding / "harmony.parquet"), "--output", f"{stem}neighbors_graph.h5",
         "--output-summary", str(embedding / "neighbors.json"), *versions]
    )  # fmt: skip
    as_task(
        "umap_layout.py",
        ["--graph", f"{stem}neighbors_graph.h5", "--embedding", str(embedding / "harmony.parquet"),
         "--output", str(embedding / "umap.parquet"), *versions]
    )  # fmt: skip
    for resolution in ("0.5", "1"):
        as_task(
            "cluster.py",
            [
                "--graph",
                f"{stem}neighbors_graph.h5",
                "--resolution",
                resolution,
                "--output",
                str(folder / "clusters"),
                *versions,
            ],
        )
    make_sketch(folder, shards)


def make_sketch(folder: Path, shards: list[tuple[Path, Path]]) -> None:
    """What the steps make of the same shards on a sketch of 150 cells, in `sketch/`."""
    versions, out = ["--versions", str(folder / "versions.json")], folder / "sketch"
    tables, stem = out / "published/embedding", str(out / "dataset-test_all_step-")
    counts = [str(shard).replace("split_counts.h5ad", "normalize_counts.h5ad") for shard, _ in shards]
    sketch, donors = f"{stem}sketch_cells.parquet", ["--donors", str(folder / "donors.parquet")]
    as_task(
        "sketch_cells.py",
        ["--cells", str(folder / "cells.parquet"), "--embedding-cells", "150", "--output", sketch, "--output-summary",
         str(tables / "sketch.json"), *versions]
    )  # fmt: skip
    as_task(
        "pca.py",
        ["--counts", *counts, "--n-pcs", "10", "--sketch", sketch, "--output-model", f"{stem}pca_model.parquet", "--output",
         str(tables), *versions]
    )  # fmt: skip
    as_task(
        "harmony.py",
        ["--pca", str(tables / "pca.parquet"), "--cells", sketch, *donors, "--output", str(tables / "harmony.parquet"),
         "--output-summary", str(tables / "harmony.json"), "--output-terms", f"{stem}harmony_terms.h5", *versions]
    )  # fmt: skip
    model, terms = ["--model", f"{stem}pca_model.parquet"], f"{stem}harmony_terms.h5"
    sums = [str(out / Path(path).name.replace("normalize_counts.h5ad", "batch_sums.h5")) for path in counts]
    for counts_file, (_, cells), to in zip(counts, shards, sums, strict=True):
        given = ["--counts", counts_file, "--cells", str(cells), *donors, *model, "--terms", terms]
        as_task("batch_sums.py", [*given, "--output", to, *versions])
    fitted = f"{stem}fit_batches_"
    as_task(
        "fit_batches.py",
        ["--sums", *sums, "--terms", terms, "--pca", str(tables / "pca.parquet"), "--cells", sketch, *donors, "--output",
         f"{fitted}cells.parquet", "--output-terms", f"{fitted}terms.h5", *versions]
    )  # fmt: skip
    embedding = ["--embedding", f"{fitted}cells.parquet"]
    graph = f"{stem}neighbors_graph.h5"
    summary = ["--output-summary", str(tables / "neighbors.json")]
    as_task("neighbors.py", [*embedding, "--output", graph, *summary, *versions])
    as_task("umap_layout.py", ["--graph", graph, *embedding, "--output", str(tables / "umap.parquet"), *versions])
    as_task(
        "cluster.py", ["--graph", graph, "--output", str(out / "published/clusters"), "--resolution", "1", *versions]
    )
    for counts_file, (_, cells) in zip(counts, shards, strict=True):
        placed = str(out / Path(counts_file).name.replace("normalize_counts.h5ad", "place_cells.parquet"))
        as_task(
            "place_cells.py",
            ["--counts", counts_file, "--cells", str(cells), *donors, *model, "--terms",
             f"{fitted}terms.h5", *embedding, "--umap", str(tables / "umap.parquet"), "--clusters",
             str(out / "published"), "--output", placed, *versions]
        )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
