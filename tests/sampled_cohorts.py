"""Cohorts whose donors gave several samples, and the steps from them to pseudobulk tables."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

import check_cohort
import filter_cohort
import merge_pseudobulk
import merge_qc
import pseudobulk
import qc_cells
import split_cohort
from inputs.step_options import default_options
from small_cohorts import small_cohort, write_cohort


def cohort_of_visits(*, visits: int = 2, years: float = 3, **size: int) -> anndata.AnnData:
    """A small cohort whose cells are of one of several visits each, `years` apart; `run` is a library of two visits."""
    cohort = small_cohort(**size)
    visit = np.random.default_rng(1).integers(0, visits, cohort.n_obs)
    first = cohort.obs["development_stage"].astype(str).str.extract(r"(\d+)")[0].astype(float)
    ages = (first + years * visit).to_numpy()
    cohort.obs["visit"] = pd.Categorical([f"T{v}" for v in visit])
    cohort.obs["development_stage"] = [f"{age:g}-year-old stage" for age in ages]
    donor = cohort.obs["donor_id"].astype(str).str[1:].astype(int).to_numpy()
    cohort.obs["run"] = [f"run{v}{d % 2}" for v, d in zip(visit, donor, strict=True)]
    return cohort


def to_samples(
    cohort: anndata.AnnData | Path, folder: Path, *options: str, rules: Sequence[str] = (), cells_per_shard: int = 150
) -> Path:
    """From a cohort, or its file, to its samples: check, filter, split, quality control (doublets are all it drops) and sums.

    Parameters
    ----------
    options, rules
        More options of the check, and of the filter.

    Returns
    -------
    The folder with what the steps publish in `p`, and the checkpoint of each cell type beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    at = lambda name: str(folder / name)  # noqa: E731
    versions = ["--versions", at("v.json")]
    if isinstance(cohort, Path):
        shutil.copy(cohort, folder / "cohort.h5ad")
    else:
        write_cohort(cohort, folder / "cohort.h5ad")
    check_cohort.main(
        [*default_options("check_cohort"), "--cohort", at("cohort.h5ad"), *options, "--output-cells", at("cells.parquet"),
         "--output-donors", at("donors.parquet"), "--output-genes", at("genes.parquet"), "--output-check",
         at("check.json"), *versions]
    )  # fmt: skip
    filter_cohort.main(
        [*default_options("filter_cohort"), "--cells", at("cells.parquet"), "--donors", at("donors.parquet"),
         "--min-cells-per-type", "3", "--donor-percentile", "0", "--cells-per-shard", str(cells_per_shard),
         "--output-cells", at("kept.parquet"), "--output-dropped", at("dropped.parquet"), "--output-cell-types",
         at("types.parquet"), "--output-donors", at("p/cohort/donors.tsv"), "--output-summary",
         at("p/cohort/filtering.json"), *rules, *versions]
    )  # fmt: skip
    split_cohort.main(
        ["--cohort", at("cohort.h5ad"), "--check", at("check.json"), "--cells", at("kept.parquet"), "--genes",
         at("genes.parquet"), "--prefix", at("x"), "--output-summary", at("genes.json"), *versions]
    )  # fmt: skip
    tables, summaries, parts = [], [], []
    for i, shard in enumerate(sorted(folder.glob("x_shard-*_step-split_counts.h5ad"))):
        tables.append(at(f"qc-{i}.parquet"))
        summaries.append(at(f"qc-{i}.json"))
        parts.append(at(f"part-{i}.h5ad"))
        qc_cells.main(
            [*default_options("qc_cells"), "--shard", str(shard), "--min-genes", "1", "--min-counts", "1",
             "--max-pct-mito", "100", "--max-pct-hb", "100", "--output", tables[-1], "--output-summary", summaries[-1],
             *versions]
        )  # fmt: skip
        pseudobulk.main(["--shard", str(shard), "--cells", tables[-1], "--output", parts[-1], *versions])
    few = ["--min-cells-per-sample", "3"]
    merge_qc.main(
        [*default_options("merge_qc"), "--cells", *tables, "--summaries", *summaries, "--cell-types", at("types.parquet"),
         "--output", at("p"), *few, "--min-samples-per-type", "4", *versions]
    )  # fmt: skip
    merge_pseudobulk.main(
        [*default_options("merge_pseudobulk"), "--parts", *parts, "--donors", at("donors.parquet"), "--cell-types",
         at("p/cohort/cell_types.tsv"), "--prefix", at("x"), "--output", at("p"), *few, *versions]
    )  # fmt: skip
    return folder
