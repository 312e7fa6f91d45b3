#!/usr/bin/env python3
"""Make `tests/inputs/r_reference`: a small table and what R's DESeq2 and limma say of it, so that tests need no R.

Run where Rscript has DESeq2, limma, edgeR and statmod (Debian: r-bioc-deseq2, r-bioc-limma, r-bioc-edger,
r-cran-statmod): `sh containers/bootstrap.sh dev python tests/inputs/r_reference.py`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests")]

from immune_aging.statistics.designs import build_design  # noqa: E402
from inputs.statistics_inputs import simulate_samples  # noqa: E402

FOLDER = ROOT / "tests/inputs/r_reference"
ENGINES = ("deseq2", "limma_voom", "limma_random")


def main() -> None:
    adata, _ = simulate_samples(seed=11, n_genes=140, n_donors=24, donor_sd=0.3)
    counts = adata.X.toarray()[:, :100]
    design = build_design(adata.obs)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "table"
        folder.mkdir()
        np.savetxt(folder / "counts.tsv", counts.T, fmt="%d", delimiter="\t")
        design.matrix.round(12).to_csv(folder / "design.tsv", sep="\t", index=False)
        (folder / "coefficient.txt").write_text(f"{list(design.matrix.columns).index('age') + 1}\n")
        (folder / "size_factors.txt").write_text("ratio\n")
        (folder / "block.txt").write_text("\n".join(adata.obs["pool"]) + "\n")
        script = ROOT / "benchmarks/de_reference.R"
        subprocess.run(["Rscript", str(script), parent, ",".join(ENGINES)], check=True)
        FOLDER.mkdir(exist_ok=True)
        for name in ("counts.tsv", "design.tsv", "block.txt"):
            (FOLDER / name).write_bytes((folder / name).read_bytes())
        for engine in ENGINES:
            table = pd.read_csv(folder / f"{engine}.tsv", sep="\t")
            table.to_csv(FOLDER / f"{engine}.tsv", sep="\t", index=False, float_format="%.8g", na_rep="NaN")


if __name__ == "__main__":
    main()
