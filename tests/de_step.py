"""The step DIFFERENTIAL_EXPRESSION run in this process, as the module runs it."""

from pathlib import Path

import anndata
import pandas as pd

import differential_expression
from immune_aging.task.checkpoints import read_json, read_tsv, write_h5ad
from inputs.step_options import default_options


def run_step(folder: Path, adata: anndata.AnnData, *options: str) -> tuple[pd.DataFrame, dict]:
    """Run the script on a table; its de.tsv and summary."""
    folder.mkdir(exist_ok=True)
    write_h5ad(adata, folder / "counts.h5ad")
    files = ["--output", str(folder / "de.tsv"), "--summary", str(folder / "de_summary.json")]
    files += ["--versions", str(folder / "v.json"), *default_options("differential_expression")]
    differential_expression.main(["--pseudobulk", str(folder / "counts.h5ad"), *files, *options])
    return read_tsv(folder / "de.tsv"), read_json(folder / "de_summary.json")
