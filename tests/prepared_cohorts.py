"""Cohorts as the first steps of the pipeline leave them, for tests of what comes after."""

from pathlib import Path

import check_cohort
import filter_cohort
from inputs.step_options import default_options

# Options with which a cohort of a few hundred cells goes through the plan.
SMALL = [
    "--min-samples-per-type", "4", "--min-cells-per-type", "3", "--min-cells-per-sample", "3", "--cells-per-shard", "30",
    "--parts", "qc", "embedding", "clusters", "pseudobulk", "statistics",
]  # fmt: skip


def prepared(path: Path, folder: Path, *options: str) -> list[str]:
    """Check and filter; returns the arguments of SPLIT_COHORT."""
    names = {name: str(folder / f"{name}.parquet") for name in ("cells", "donors", "genes", "kept", "dropped", "types")}
    versions = ["--versions", str(folder / "v.json")]
    check_cohort.main(
        [*default_options("check_cohort"), "--cohort", str(path), *options, "--output-cells", names["cells"], "--output-donors", names["donors"], "--output-genes",
         names["genes"], "--output-check", str(folder / "check.json"), *versions]
    )  # fmt: skip
    filter_cohort.main(
        [*default_options("filter_cohort"), "--cells", names["cells"], "--donors", names["donors"], "--min-cells-per-type", "3", "--donor-percentile", "0",
         "--analysed-donors", "common", "--cells-per-shard", "30", "--output-cells", names["kept"], "--output-dropped", names["dropped"],
         "--output-cell-types", names["types"], "--output-donors", str(folder / "donors.tsv"), "--output-summary",
         str(folder / "filtering.json"), *versions]
    )  # fmt: skip
    return ["--cohort", str(path), "--check", str(folder / "check.json"), "--cells", names["kept"], "--genes", names["genes"],
            "--prefix", "x", "--output-summary", str(folder / "genes.json"), *versions]  # fmt: skip
