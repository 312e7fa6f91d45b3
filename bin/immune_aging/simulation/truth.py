"""What is true of a simulated cohort, for scoring."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.simulation import genes as simulation_genes
from immune_aging.simulation.cohort import donor_columns
from immune_aging.simulation.model import KEYS, NAMES, TYPES, Model
from immune_aging.task.checkpoints import write_json, write_tsv


def truth_of_ageing(model: Model, sets: dict[str, list[str]], donors: pd.DataFrame) -> pd.DataFrame:
    """List the genes that age, by cell type: by how much, their CPM, and the planted set ('' outside)."""
    sd_years = donors["age_years"].std(ddof=1)
    tables = []
    for row, key in enumerate(KEYS):
        columns = np.flatnonzero(model.age_lfc[row])
        genes = model.genes.iloc[columns]
        of_set = {
            symbol: name
            for planted_key, name, _ in simulation_genes.PLANTED[: model.settings.planted]
            if planted_key == key
            for symbol in sets[name]
        }
        tables.append(pd.DataFrame({
            "cell_type": NAMES[row],
            "gene_id": genes["gene_id"],
            "symbol": genes["symbol"],
            "lfc_per_sd": model.age_lfc[row, columns],
            "lfc_per_decade": model.age_lfc[row, columns] * 10 / sd_years,
            "cpm": 1e6 * model.profile[row, columns],
            "planted_set": [of_set.get(symbol, "") for symbol in genes["symbol"]],
        }))  # fmt: skip
    return pd.concat(tables).sort_values(["cell_type", "gene_id"], ignore_index=True)


def write_truth(model: Model, sets: dict[str, list[str]], donors: pd.DataFrame, folder: Path) -> None:
    """Write the tables of what is true, those of single cells apart."""
    ageing = truth_of_ageing(model, sets, donors)
    write_tsv(ageing, folder / "age_effects.tsv")
    pairs = simulation_genes.PLANTED[: model.settings.planted] if model.settings.age_effect else []
    planted = pd.DataFrame(
        [(simulation_genes.CELL_TYPES[key].name, name, direction) for key, name, direction in pairs],
        columns=["cell_type", "gene_set", "direction"],
    )
    n_ageing = ageing.groupby(["cell_type", "planted_set"]).size()
    planted["n_genes"] = [n_ageing.get((row.cell_type, row.gene_set), 0) for row in planted.itertuples()]
    write_tsv(planted.sort_values(["cell_type", "gene_set"], ignore_index=True), folder / "gene_sets_planted.tsv")
    factor = model.settings.composition_effect
    composition = pd.DataFrame({
        "cell_type": NAMES,
        "share": [cell_type.share for cell_type in TYPES],
        "log_share_per_sd": [cell_type.log_share_per_sd * factor for cell_type in TYPES],
    })  # fmt: skip
    write_tsv(composition, folder / "composition_effects.tsv")
    people = donor_columns(donors).assign(age_years=donors["age_years"], n_cells=donors["n_cells"], note=donors["note"])
    write_tsv(people, folder / "donors.tsv")
    ages = {"age_mean_years": donors["age_years"].mean(), "age_sd_years": donors["age_years"].std(ddof=1)}
    write_json({"seed": model.seed, **asdict(model.settings), **ages}, folder / "settings.json")
