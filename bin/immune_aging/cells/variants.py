"""Quality control once more under the rules of a variant of the sensitivity analysis."""

import numpy as np
import pandas as pd

from immune_aging.cells.qc_rules import BOUNDS, Thresholds, broken_rules, reasons_of, thresholds_by_group
from immune_aging.cohort.donors import match
from immune_aging.task.command_line import BadInput

DOUBLETS = ("drop", "keep")
CHANGES = (*BOUNDS, "mad_cutoff", "max_doublet_score", "doublets")


def parse_changes(texts: list[str]) -> dict[str, float | str]:
    """Changes from NAME=VALUE texts.

    Raises
    ------
    BadInput
        No such change, or no such value.
    """
    changes: dict[str, float | str] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if name not in CHANGES:
            raise BadInput(f"--changes {text}: '{name}' cannot be varied; there are: {', '.join(CHANGES)}")
        if name == "doublets":
            if value not in DOUBLETS:
                raise BadInput(f"--changes {text}: give one of {', '.join(DOUBLETS)}")
            changes[name] = value
            continue
        try:
            changes[name] = float(value)
        except ValueError:
            raise BadInput(f"--changes {text}: '{value}' is no number") from None
    return changes


def varied_bounds(
    cells: pd.DataFrame,
    changes: dict[str, float | str],
    *,
    fixed: Thresholds,
    table: pd.DataFrame | None,
    groups: pd.DataFrame | None,
) -> pd.DataFrame:
    """The bounds of each cell under a variant: those of the run, but for what it changes.

    A changed bound is the same for all donors. With `mad_cutoff` the MAD rule replaces each bound, never wider than the
    fixed bounds with the variant's changes.

    Parameters
    ----------
    cells
        donor_id, sample_of_donor where samples are told apart, and metrics of all cells.
    table
        The own bounds of donors or samples, where they have some.
    groups
        Of `group_of_donors`, for `mad_cutoff`.
    """
    own = {name: float(changes[name]) for name in BOUNDS if name in changes}
    if "mad_cutoff" in changes:
        assert groups is not None, "the MAD rule judges cells by groups"
        limits = Thresholds(**(vars(fixed) | own))
        group_of_cell = match(cells, groups, ["group"])["group"]
        found = thresholds_by_group(cells, group_of_cell, limits, cutoff=float(changes["mad_cutoff"]))
        rows = {group: vars(bounds) for group, bounds in found.items()}
        by_group = pd.DataFrame.from_dict(rows, orient="index", columns=list(BOUNDS))
        return by_group.reindex(group_of_cell).fillna(vars(limits)).reset_index(drop=True)
    if table is None:
        bounds = pd.DataFrame({name: np.full(len(cells), float(value)) for name, value in vars(fixed).items()})
    else:
        bounds = match(cells, table, list(BOUNDS)).astype(float)
    return bounds.assign(**own)


def varied_doublets(cells: pd.DataFrame, changes: dict[str, float | str]) -> np.ndarray:
    """Which cells are dropped as doublets under a variant."""
    if changes.get("doublets") == "keep":
        return np.zeros(len(cells), dtype=bool)
    if "max_doublet_score" in changes:
        return (cells["doublet_score"] > changes["max_doublet_score"]).to_numpy()
    return cells["is_doublet"].to_numpy(dtype=bool)


def vary(cells: pd.DataFrame, bounds: pd.DataFrame, doublets: np.ndarray) -> pd.DataFrame:
    """The cells with other `kept`, `reason` and `is_doublet`; all other columns as they are."""
    rules = broken_rules(cells, bounds) | {"doublet": doublets}
    reason = reasons_of(rules)
    return cells.assign(is_doublet=doublets, kept=reason == "", reason=reason)


def sizes_by_type(samples: pd.DataFrame, types: pd.DataFrame) -> dict[str, dict]:
    """Of each cell type of the variant: whether it is analysed, why not, its samples and their cells.

    Parameters
    ----------
    samples
        The variant's: cell_type, n_cells, and in reason why a sample is not used, '' where it is.
    types
        The table of cell types under the variant.
    """
    n_cells = samples[samples["reason"] == ""].groupby("cell_type", observed=True)["n_cells"].sum()
    return {
        row.id: {
            "cell_type": row.cell_type,
            "kept": bool(row.kept),
            "reason": row.reason,
            "n_samples": int(row.n_samples),
            "n_cells": int(n_cells.get(row.cell_type, 0)),
        }
        for row in types.itertuples()
    }


def variant_summary(cells: pd.DataFrame, varied: pd.DataFrame, samples: pd.DataFrame, types: pd.DataFrame) -> dict:
    """How many cells a variant gains and loses against the run, and what is left of each cell type.

    Parameters
    ----------
    cells, varied
        All cells in the run and in the variant, in the same order.
    samples, types
        As `sizes_by_type` takes them.
    """
    gained = ~cells["kept"] & varied["kept"]
    return {
        "n_cells": len(cells),
        "n_kept": int(varied["kept"].sum()),
        "n_kept_in_run": int(cells["kept"].sum()),
        "n_lost": int((cells["kept"] & ~varied["kept"]).sum()),
        "n_gained": int(gained.sum()),
        "n_gained_without_doublet_score": int((gained & varied["doublet_score"].isna()).sum()),
        "cell_types": sizes_by_type(samples, types),
    }
