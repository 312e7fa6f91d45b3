#!/usr/bin/env python3
"""Quality control against simulated cohorts whose truth is known, by the pipeline's own scripts from h5ad to calls.

Demo cohorts (48 donors, about 180 cells each) with several seeds, judged together; donors of 1,000 cells, as in OneK1K;
and the thresholds by deviations, by donor and by pool, on the same metrics.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from cohorts import ROOT
from score_run import score_cells
from verdict import Verdict

sys.path.append(str(ROOT / "tests"))
from inputs.step_options import default_options

FOLDER = ROOT / "build" / "truth" / "qc"
SEEDS = (21, 22, 23)
LARGE_SEED = 24
LARGE = ("--donors", "16", "--cells", "16000", "--genes", "8000")
GENE_SETS = ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt"


def step(script: str, *arguments: object, folder: Path) -> None:
    """Run one script of the pipeline in a folder; what it says goes to a log."""
    with (folder / "log.txt").open("a") as log:
        command = [
            sys.executable,
            str(ROOT / "bin" / script),
            *default_options(script.removesuffix(".py")),
            *map(str, arguments),
        ]
        subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)


def quality_controlled(seed: int, *options: str) -> Path:
    """Simulate a cohort and take it through the steps up to quality control; the folder of all files."""
    folder = FOLDER / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    simulate = ["--preset", "demo", "--seed", seed, *options, "--gene-sets", GENE_SETS]
    step("simulate_cohort.py", *simulate, "--output", "cohort.h5ad", "--truth", "truth", folder=folder)
    step(
        "check_cohort.py", "--cohort", "cohort.h5ad", "--output-cells", "all.parquet", "--output-donors",
        "donors.parquet", "--output-genes", "genes.parquet", "--output-check", "check.json", folder=folder,
    )  # fmt: skip
    step(
        "filter_cohort.py", "--cells", "all.parquet", "--donors", "donors.parquet", "--output-cells", "kept.parquet",
        "--output-dropped", "dropped.parquet", "--output-cell-types", "types.parquet", "--output-donors", "donors.tsv",
        "--output-summary", "f.json", folder=folder,
    )  # fmt: skip
    step(
        "split_cohort.py", "--cohort", "cohort.h5ad", "--check", "check.json", "--cells", "kept.parquet", "--genes",
        "genes.parquet", "--prefix", "truth", "--output-summary", "s.json", folder=folder,
    )  # fmt: skip
    for shard in sorted(folder.glob("truth_shard-*_step-split_counts.h5ad")):
        output = shard.name.replace("split_counts.h5ad", "qc_cells.parquet")
        step("qc_cells.py", "--shard", shard.name, "--output", output, "--output-summary", "qc.json", folder=folder)
    return folder


def cells_of(folder: Path) -> pd.DataFrame:
    """The cells of all shards in a folder."""
    return pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*_step-qc_cells.parquet"))])


def by_deviations(folder: Path, group: str) -> pd.DataFrame:
    """The same cells judged by median absolute deviations with the default cutoff, within a donor column."""
    output = folder / f"mad_{group}"
    output.mkdir(exist_ok=True)
    tables = sorted(path.name for path in folder.glob("*_step-qc_cells.parquet"))
    shards = [f"shard-{number:03d}" for number in range(len(tables))]
    step(
        "vary_qc.py", "--variant", "mad", "--changes", "mad_cutoff=5", "--mad-group", group, "--cells", *tables,
        "--shards", *shards, "--cell-types", "types.parquet", "--donors", "donors.parquet", "--output", output.name,
        "--output-files", f"{output.name}/f.tsv", "--output-cell-types", f"{output.name}/t.tsv", "--output-summary",
        f"{output.name}/s.json", folder=folder,
    )  # fmt: skip
    return cells_of(output)


def together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables of several cohorts as one: their barcodes may be the same, so each gets its cohort's number."""
    numbered = [table.assign(cell_id=[f"{i}-{name}" for name in table["cell_id"]]) for i, table in enumerate(tables)]
    return pd.concat(numbered, ignore_index=True)


def verdicts(quick: bool = False) -> Iterator[Verdict]:
    """Score quality control; `quick` takes one demo cohort and leaves out the larger donors."""
    folders = [quality_controlled(seed) for seed in (SEEDS[:1] if quick else SEEDS)]
    truth = together([pd.read_parquet(folder / "truth/cells.parquet") for folder in folders])
    seeds = f"{len(folders)} demo cohort{'s' if len(folders) > 1 else ''}"
    yield from score_cells(together([cells_of(folder) for folder in folders]), truth, f"QC, {seeds}")
    for group in ("donor_id", "pool"):
        varied = together([by_deviations(folder, group) for folder in folders])
        found = list(score_cells(varied, truth, f"QC, {seeds}, 5 MAD by {group}"))
        yield from (verdict for verdict in found if "doublet" not in verdict.target)
    if not quick:
        large = quality_controlled(LARGE_SEED, *LARGE)
        truth = pd.read_parquet(large / "truth/cells.parquet")
        yield from score_cells(cells_of(large), truth, "QC, donors of 1,000 cells")
