#!/usr/bin/env python3
"""The simulated cohorts of the benchmarks, made once and kept in `build/bench`."""

import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

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


def with_even_doublets(cohort: Path) -> Path:
    """The cohort whose doublets have as many counts as its other cells, made on first use; its truth is the cohort's.

    A simulated doublet is the sum of two cells, so that its number of counts alone gives it away (AUROC .94). Here each
    of its counts is kept with a probability of one half, and what tells it is which genes it expresses together.
    """
    path = cohort.with_name(f"{cohort.stem}_even.h5ad")
    if not path.exists():
        cells = anndata.read_h5ad(cohort)
        truth = pd.read_parquet(cohort.with_name(f"{cohort.stem}_truth") / "cells.parquet").set_index("cell_id")
        stored = np.repeat(truth.loc[cells.obs_names, "is_doublet"].to_numpy(), np.diff(cells.X.indptr))
        counts = cells.X.data
        counts[stored] = np.random.default_rng(0).binomial(counts[stored].astype(np.int64), 0.5)
        cells.X = sparse.csr_matrix((counts, cells.X.indices, cells.X.indptr), shape=cells.shape)  # one kind of index
        cells.X.eliminate_zeros()
        cells.write_h5ad(path, compression="lzf")
    return path
