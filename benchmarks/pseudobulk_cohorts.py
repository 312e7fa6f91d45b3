#!/usr/bin/env python3
"""Simulated pseudobulk tables with known truth, drawn from the simulator's own model without drawing cells."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bin"))
from immune_aging.simulation.cohort import donor_rates, draw_composition  # noqa: E402  bin/ is on the path only now
from immune_aging.simulation.model import (  # noqa: E402
    DONOR,
    NAMES,
    PRESETS,
    TYPES,
    Model,
    build_model,
    draw_donors,
    read_gene_sets,
    stream,
)

HALLMARK = ROOT / "assets/gene_sets/h.all.v7.5.1.symbols.gmt"


@dataclass(frozen=True)
class PseudobulkCohort:
    """Pseudobulk sums of every donor and cell type.

    Attributes
    ----------
    donors
        donor_id, age_years, age_z, sex, pool, years_ahead; one row per donor.
    cells
        Number of cells, donors x cell types.
    counts
        By cell type: donors x genes, raw sums.
    model
        What is true.
    """

    donors: pd.DataFrame
    cells: np.ndarray
    counts: dict[str, np.ndarray]
    model: Model

    def profile(self, cell_type: str) -> np.ndarray:
        """Share of a cell's counts that each gene has at the mean age, before donor, pool and sex."""
        return self.model.profile[NAMES.index(cell_type)]

    def lfc(self, cell_type: str) -> np.ndarray:
        """log2 fold change per SD of age of each gene."""
        return self.model.age_lfc[NAMES.index(cell_type)]


def draw(
    *,
    n_donors: int,
    cells_per_donor: int,
    cell_types: list[str],
    seed: int,
    preset: str = "demo",
    years_ahead: np.ndarray | None = None,
    **changes: object,
) -> PseudobulkCohort:
    """Draw a cohort: Poisson sums around the simulator's rates, composition and donors included.

    Parameters
    ----------
    years_ahead
        By how much each donor's cells are older than the donor; 0 where not given.
    changes
        Settings of the simulator that replace the preset's.
    """
    settings = replace(
        PRESETS[preset], donors=n_donors, cells=n_donors * cells_per_donor, unknown_age_share=0.0, lacking_share=0.0,
        few_cells_share=0.0, **changes,
    )  # fmt: skip
    model = build_model(read_gene_sets(HALLMARK), settings, seed=seed)
    donors = draw_donors(settings, seed=seed)
    ahead = np.zeros(n_donors) if years_ahead is None else years_ahead
    donors = donors.assign(cells_z=donors["age_z"] + ahead / donors["age_years"].std(ddof=1), years_ahead=ahead)
    cells = np.zeros((n_donors, len(NAMES)), dtype=int)
    counts = {name: np.zeros((n_donors, len(model.genes)), dtype=np.int64) for name in cell_types}
    library = np.array([cell_type.library for cell_type in TYPES])
    for index in range(n_donors):
        rng = stream(seed, DONOR, index)
        donor = donors.iloc[index].copy()
        donor["age_z"] = donor["cells_z"]
        rates = donor_rates(model, donor, rng)
        cells[index] = rng.multinomial(donor["n_cells"], draw_composition(model, donor, rng))
        for name in cell_types:
            row = NAMES.index(name)
            counts[name][index] = rng.poisson(cells[index, row] * settings.counts_per_cell * library[row] * rates[row])
    return PseudobulkCohort(donors, cells, counts, model)
