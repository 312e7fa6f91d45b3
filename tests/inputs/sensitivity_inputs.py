#!/usr/bin/env python3
"""Small tables of genes under a run and a variant, for the tests of the sensitivity analysis.

Run as `python tests/inputs/sensitivity_inputs.py OUTDIR`.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bin"))
from immune_aging.statistics.expression_tests import COLUMNS
from immune_aging.task.checkpoints import write_json, write_tsv


def genes_of(rows: list[tuple[str, float, float, bool]]) -> pd.DataFrame:
    """A de.tsv from gene, log2 fold change, adjusted p and robust; all else as small as it may be."""
    table = pd.DataFrame(rows, columns=["gene_id", "log2_fold_change", "padj", "robust"])
    rest = {name: 0.1 for name in COLUMNS if name not in table and name != "symbol"}
    return table.assign(symbol=table["gene_id"], **rest)[list(COLUMNS)]


def write_inputs(folder: Path) -> None:
    """Tables of the run and of a variant of stricter quality control; a variant of the design has none."""
    rng = np.random.default_rng(0)
    names = [f"ENSG{i:011d}" for i in range(60)]
    effect = rng.normal(0, 1, 60)
    for variant, noise, n_samples in (("base", 0.0, 12), ("strict", 0.4, 9)):
        effects = effect + noise * rng.normal(0, 1, 60)
        padj = np.where(np.abs(effects) > 1, 0.01, 0.5)
        rows = list(zip(names, effects, padj, padj < 0.05, strict=True))
        write_tsv(genes_of(rows), folder / f"{variant}_de.tsv")
        write_json(
            {"status": "done", "cell_type": "B cell", "n_samples": n_samples}, folder / f"{variant}_de_summary.json"
        )
    samples = pd.DataFrame({"sample_id": [f"b_cell|D{i}" for i in range(13)], "donor_id": [f"D{i}" for i in range(13)]})
    samples = samples.assign(cell_type="B cell", n_cells=range(9, 22), kept=[False] + 12 * [True], reason="")
    write_tsv(samples, folder / "samples.tsv")
    strict = {
        "variant": "strict", "changes": {"max_pct_mito": 10.0}, "n_cells": 1000, "n_kept": 700, "n_kept_in_run": 900,
        "n_lost": 200, "n_gained": 0, "n_gained_without_doublet_score": 0,
        "cell_types": {"b_cell": {"cell_type": "B cell", "kept": True, "reason": "", "n_samples": 9, "n_cells": 150}},
    }  # fmt: skip
    write_json(strict, folder / "strict_vary_qc_summary.json")
    variants = [{"id": "strict", "changes": "max_pct_mito=10"}, {"id": "design", "changes": "design=~ age"}]
    write_json(variants, folder / "variants.json")


if __name__ == "__main__":
    write_inputs(Path(sys.argv[1]))
