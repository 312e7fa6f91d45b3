#!/usr/bin/env python3
"""Write the small inputs of the module tests of the cohort and quality-control steps into a folder.

The steps themselves make them, one after another, from a small cohort: each module's test then starts from what the
step before it really writes.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests")]

import check_cohort  # noqa: E402
import filter_cohort  # noqa: E402
import merge_pseudobulk  # noqa: E402
import merge_qc  # noqa: E402
import pseudobulk  # noqa: E402
import qc_cells  # noqa: E402
import qc_thresholds  # noqa: E402
import split_cohort  # noqa: E402
from immune_aging.task.checkpoints import read_parquet, write_h5ad, write_json  # noqa: E402
from inputs.step_options import default_options  # noqa: E402
from small_cohorts import small_cohort, write_cohort  # noqa: E402


def main(argv: list[str]) -> None:
    folder = Path(argv[0])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    cohort = small_cohort(donors=6, cells_per_type=60, genes=80)
    write_cohort(cohort, folder / "cohort.h5ad")
    ids_alone = cohort.copy()
    del ids_alone.var["feature_name"]  # ENSG00000000003 and ENSG00000000005 are genes; the other ids are none
    write_cohort(ids_alone, folder / "ids_alone.h5ad")
    (folder / "facts.csv").write_text("donor,cmv\nD00,yes\nD01,no\n")
    (folder / "sheet.csv").write_text("file,site\ncohort.h5ad,north\nother.h5ad,south\n")
    write_json(
        {"where": "--input sheet.csv", "notes": [], "files": [
            {"id": f"file-000{i}", "name": name, "source": f"/data/{name}", "sha256": "", "line": i + 2, "facts": {}}
            for i, name in enumerate(("cohort.h5ad", "ids_alone.h5ad"))
        ]}, folder / "files.json",
    )  # fmt: skip
    (folder / "marker.txt").write_text("downloads\n")
    check_cohort.main(
        [*default_options("check_cohort"), "--cohort", "cohort.h5ad", "--output-cells", "cells.parquet", "--output-donors", "donors.parquet",
         "--output-genes", "genes.parquet", "--output-check", "check.json"]
    )  # fmt: skip
    filter_cohort.main(
        [*default_options("filter_cohort"), "--cells", "cells.parquet", "--donors", "donors.parquet", "--cells-per-shard", "400", "--donor-percentile", "0",
         "--output-cells", "kept.parquet", "--output-dropped", "dropped.parquet", "--output-cell-types", "types.parquet",
         "--output-donors", "donors.tsv", "--output-summary", "filtering.json"]
    )  # fmt: skip
    split_cohort.main(
        ["--cohort", "cohort.h5ad", "--check", "check.json", "--cells", "kept.parquet", "--genes", "genes.parquet", "--prefix",
         "dataset-test", "--output-summary", "genes.json"]
    )  # fmt: skip
    parts = []
    for shard in sorted(folder.glob("dataset-test_shard-*_step-split_counts.h5ad")):
        stem = shard.name.removesuffix("_step-split_counts.h5ad")
        qc_cells.main(
            [*default_options("qc_cells"), "--shard", shard.name, "--min-genes", "5", "--min-counts", "10", "--max-pct-mito", "100", "--max-pct-hb", "100",
             "--output", f"{stem}_step-qc_cells.parquet", "--output-summary", f"{stem}_step-qc_summary.json"]
        )  # fmt: skip
        parts.append(f"{stem}_step-pseudobulk_sums.h5ad")
        pseudobulk.main(["--shard", shard.name, "--cells", f"{stem}_step-qc_cells.parquet", "--output", parts[-1]])
    qc_thresholds.main(
        [*default_options("qc_thresholds"), "--shards", *map(str, sorted(folder.glob("*_step-split_counts.h5ad"))), "--donors", "donors.parquet",
         "--donors-table", "donors.tsv", "--min-genes", "5", "--min-counts", "10", "--mad-group", "pool", "--output",
         "dataset-test_step-qc_thresholds.parquet", "--output-table", "published/qc/thresholds.tsv"]
    )  # fmt: skip
    merge_qc.main(
        [*default_options("merge_qc"), "--cells", *map(str, sorted(folder.glob("*_step-qc_cells.parquet"))), "--summaries",
         *map(str, sorted(folder.glob("*_step-qc_summary.json"))), "--cell-types", "types.parquet", "--min-samples-per-type", "4",
         "--output", "published"]
    )  # fmt: skip
    # What an earlier run published.
    merge_pseudobulk.main(
        [*default_options("merge_pseudobulk"), "--parts", *parts, "--donors", "donors.parquet", "--cell-types",
         "published/cohort/cell_types.tsv", "--prefix", "dataset-earlier", "--output", "earlier"]
    )  # fmt: skip
    (folder / "earlier/pipeline_info").mkdir()
    versions = {"merge_qc": {"step": "merge_qc", "python": "3", "packages": {}}}
    write_json(versions, folder / "earlier/pipeline_info/versions.json")
    table = small_cohort(donors=12, cells_per_type=1, genes=30)
    table.obs = table.obs.drop(columns=["barcode_number"]).assign(n_cells=50)
    write_h5ad(table, folder / "table.h5ad")
    (folder / "graph.tsv").write_text(
        "1\tPROCESS\tCOHORT:CHECK\t2\tOPERATOR\tmap\n2\tOPERATOR\tmap\t3\tPROCESS\tCOHORT:SPLIT\n\t\t\t1\tPROCESS\tCOHORT:CHECK\n"
    )
    write_json(
        {"seed": {"value": 0, "default": 0}, "dataset": {"value": "test", "default": "cohort"}}, folder / "params.json"
    )
    assert len(read_parquet("published/qc/cells.parquet")) == cohort.n_obs


if __name__ == "__main__":
    main(sys.argv[1:])
