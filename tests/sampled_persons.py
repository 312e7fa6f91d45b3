"""Pseudobulk samples of persons whose ages are invented: whatever tells their ages has recognised the persons."""

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING


def samples_of_persons(
    seed: int, *, n_donors: int = 30, visits: int = 2, icc: float = 0.8, n_genes: int = 80, years: float = 0.0
) -> CellTypeSamples:
    """Samples whose log expression is the person's by `icc` of its variance, and whose ages are invented."""
    rng = np.random.default_rng(seed)
    person = rng.normal(0, np.sqrt(icc), (n_donors, 1, n_genes))
    log2_mean = 6 + 0.7 * (person + rng.normal(0, np.sqrt(1 - icc), (n_donors, visits, n_genes)))
    counts = rng.poisson(2**log2_mean).reshape(-1, n_genes)
    donor, visit = np.divmod(np.arange(n_donors * visits), visits)
    samples = pd.DataFrame(
        {
            "donor_id": [f"P{d:02d}" for d in donor], SAMPLE_OF_DONOR: [f"T{v}" for v in visit], "cell_type": "T",
            "n_cells": rng.integers(10, 90, len(donor)), "n_counts": counts.sum(axis=1),
            "age_years": rng.uniform(20, 90, n_donors).round()[donor] + years * visit,
            "sex": np.where(donor % 2, "male", "female"), VARYING: "[]", "visit": visit,
        },
        index=pd.Index([f"t|P{d:02d}|T{v}" for d, v in zip(donor, visit, strict=True)], name="sample_id"),
    )  # fmt: skip
    symbols = pd.Series("", index=pd.Index([f"G{i:03d}" for i in range(n_genes)], name="gene_id"))
    return CellTypeSamples(counts, samples, symbols)


def each_its_own_donor(table: CellTypeSamples) -> CellTypeSamples:
    """The samples as people had to give them before: every one a donor of its own."""
    names = table.samples["donor_id"] + "_" + table.samples[SAMPLE_OF_DONOR]
    return CellTypeSamples(
        table.counts, table.samples.assign(donor_id=names).drop(columns=SAMPLE_OF_DONOR), table.symbols
    )
