#!/usr/bin/env python3
"""Make `tests/inputs/r_reference` and `r_terms`: small tables and what R says of them, so that tests need no R.

Run where Rscript has DESeq2, limma, edgeR, statmod, emmeans and lmerTest (Debian: r-bioc-deseq2, r-bioc-limma,
r-bioc-edger, r-cran-statmod, r-cran-emmeans, r-cran-lmertest):
`sh containers/bootstrap.sh dev python tests/inputs/r_reference.py`.
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
TERMS = ROOT / "tests/inputs/r_terms"


def donors_of_terms(n: int = 90) -> pd.DataFrame:
    """Unbalanced donors, some of whose columns interact: more old women, ages far from 0, three sites."""
    rng = np.random.default_rng(4)
    sex = rng.choice(["female", "male"], n, p=[0.7, 0.3])
    table = pd.DataFrame(
        {
            "age": np.where(sex == "female", rng.uniform(45, 90, n), rng.uniform(20, 75, n)).round(1),
            "sex": sex,
            "site": rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
            "bmi": rng.normal(26, 4, n).round(1),
            "run": rng.integers(1, 5, n),
        }
    )
    effect = (sex == "male") * (3 - 0.08 * table["age"]) + 0.001 * (table["age"] - 40) ** 2
    effect += (table["site"] == "c") * table["bmi"] * 0.2 + 0.3 * table["run"]
    return table.assign(y=(effect + rng.normal(size=n)).round(4))


def repeated_samples(n_donors: int = 30, n_genes: int = 80) -> tuple[np.ndarray, pd.DataFrame]:
    """Counts (samples x genes) of donors seen twice: genes of age, of a curve and of the visit."""
    rng = np.random.default_rng(12)
    donor, visit = np.divmod(np.arange(2 * n_donors), 2)
    age = rng.uniform(20, 90, n_donors).round(1)[donor]
    scaled = (age - 55) / 20
    effect = np.zeros((len(donor), n_genes))
    effect[:, :10] = 0.5 * scaled[:, None]
    effect[:, 10:20] = 0.5 * (scaled**2 - 1)[:, None]
    effect[:, 20:30] = 0.5 * visit[:, None]
    noise = rng.normal(0, 0.35, (n_donors, n_genes))[donor] + rng.normal(0, 0.35, (len(donor), n_genes))
    mean = 150 * rng.lognormal(0, 0.8, n_genes) * np.exp(np.log(2) * effect + noise)
    counts = rng.poisson(mean * rng.lognormal(0, 0.2, (len(donor), 1)))
    sex = np.where(rng.random(n_donors) < 0.4, "male", "female")[donor]
    names = [f"d{one:02d}" for one in donor]
    return counts, pd.DataFrame({"donor": names, "sex": sex, "age": age, "visit": [f"v{one}" for one in visit]})


def make_terms() -> None:
    """Write the tables of terms and what emmeans, DESeq2's likelihood ratio, limma and lmerTest say of them."""
    TERMS.mkdir(exist_ok=True)
    counts, samples = repeated_samples()
    donors_of_terms().to_csv(TERMS / "donors.tsv", sep="\t", index=False)
    samples.to_csv(TERMS / "samples.tsv", sep="\t", index=False)
    np.savetxt(TERMS / "counts.tsv", counts.T, fmt="%d", delimiter="\t")
    subprocess.run(["Rscript", str(ROOT / "benchmarks/terms_reference.R"), str(TERMS)], check=True)


def make_methods() -> None:
    """Write the table of methods and what DESeq2 and limma say of it."""
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
    make_methods()
    make_terms()
