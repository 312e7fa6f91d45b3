#!/usr/bin/env python3
"""The simulated cohorts of the benchmarks, made once and kept in `build/bench`."""

import sys
from pathlib import Path

from measure import run

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench"


def simulated(folder: Path, name: str, *, n_cells: int, n_donors: int) -> Path:
    """`NAME.h5ad` in `folder`, made on first use by the simulator's OneK1K preset; its truth lies in `NAME_truth`."""
    path = folder / f"{name}.h5ad"
    if not path.exists():
        print(f"simulating {n_cells:,} cells of {n_donors} donors", file=sys.stderr, flush=True)
        command = [sys.executable, str(ROOT / "bin/simulate_cohort.py"), "--preset", "onek1k", "--threads", "2"]
        command += ["--cells", str(n_cells), "--donors", str(n_donors)]
        command += ["--gene-sets", str(ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt")]
        command += ["--output", str(path), "--truth", str(folder / f"{name}_truth")]
        made = run(command, cwd=folder, log=folder / f"{name}_simulate.log")
        print(f"simulated: {made}", file=sys.stderr, flush=True)
    return path
