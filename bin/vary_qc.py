#!/usr/bin/env python3
"""Apply other quality control to cells that were measured already: one variant of the sensitivity analysis.

In: the cell tables of QC_CELLS, with metrics and doublet scores, the cell types of the cohort filter, the donors, the
thresholds in force, and what the variant changes. Out: the same cell tables with other `kept` and `reason`, one a shard
in which a cell is left; the cell types under the variant; and a summary of what it gains and loses.

Nothing is measured again. Scrublet's scores are those of the run itself, so a cell that only a milder threshold lets in
has none and is never called a doublet; the summary counts such cells.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import read_parquet, write_json, write_parquet, write_tsv, write_versions
from command_line import BadInput, run
from merge_qc import final_cell_types
from qc_rules import BOUNDS, Thresholds, broken_rules, reasons_of, thresholds_by_group
from qc_thresholds import group_of_donors

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
    groups: pd.Series | None,
) -> pd.DataFrame:
    """The bounds of each cell under a variant: those of the run, but for what it changes.

    A changed bound is the same for all donors. With `mad_cutoff` every bound is anew by deviations, within the fixed
    ones with the variant's changes.

    Parameters
    ----------
    cells
        donor_id and metrics of all cells.
    table
        The donors' own bounds, where they have some.
    groups
        Group by donor_id, for `mad_cutoff`.
    """
    own = {name: float(changes[name]) for name in BOUNDS if name in changes}
    if "mad_cutoff" in changes:
        limits = Thresholds(**(vars(fixed) | own))
        group_of_cell = cells["donor_id"].map(groups)
        found = thresholds_by_group(cells, group_of_cell, limits, cutoff=float(changes["mad_cutoff"]))
        rows = {group: vars(bounds) for group, bounds in found.items()}
        by_group = pd.DataFrame.from_dict(rows, orient="index", columns=list(BOUNDS))
        return by_group.reindex(group_of_cell).fillna(vars(limits)).reset_index(drop=True)
    if table is None:
        bounds = pd.DataFrame({name: np.full(len(cells), float(value)) for name, value in vars(fixed).items()})
    else:
        bounds = table.set_index("donor_id").loc[cells["donor_id"], list(BOUNDS)].astype(float).reset_index(drop=True)
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


def sizes_by_type(cells: pd.DataFrame, types: pd.DataFrame, *, min_cells: int) -> dict[str, dict]:
    """Of each cell type of the variant: whether it is analysed, why not, its samples and their cells."""
    sizes = cells[cells["kept"]].groupby(["cell_type", "donor_id"], observed=True).size()
    n_cells = sizes[sizes >= min_cells].groupby("cell_type", observed=True).sum()
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


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="the cell table of each shard")
    parser.add_argument("--cell-types", type=Path, required=True, help="cell types after the cohort filter")
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument("--thresholds", type=Path, help="a table with each donor's own bounds")
    for name, default in vars(Thresholds()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    parser.add_argument("--mad-group", default="donor_id")
    parser.add_argument("--min-cells-per-sample", type=int, default=10)
    parser.add_argument("--min-samples-per-type", type=int, default=10)
    parser.add_argument("--variant", required=True, help="its id")
    parser.add_argument("--changes", nargs="+", required=True, help="NAME=VALUE")
    parser.add_argument("--output", type=Path, default=Path(), help="folder; a table has its own name there")
    parser.add_argument("--output-cell-types", type=Path, required=True, help=".tsv")
    parser.add_argument("--output-summary", type=Path, required=True, help=".json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    changes = parse_changes(args.changes)
    fixed = Thresholds(**{name: getattr(args, name) for name in BOUNDS})
    table = read_parquet(args.thresholds) if args.thresholds else None
    paths = sorted(args.cells, key=lambda path: path.name)
    parts = [read_parquet(path) for path in paths]
    cells = pd.concat(parts, ignore_index=True)
    groups = group_of_donors(read_parquet(args.donors), args.mad_group) if "mad_cutoff" in changes else None
    bounds = varied_bounds(cells, changes, fixed=fixed, table=table, groups=groups)
    varied = vary(cells, bounds, varied_doublets(cells, changes))

    start = 0
    for path, part in zip(paths, parts, strict=True):
        own = varied.iloc[start : start + len(part)]
        start += len(part)
        if own["kept"].any():
            write_parquet(own.reset_index(drop=True), args.output / path.name)
    types = final_cell_types(
        read_parquet(args.cell_types), varied, min_cells=args.min_cells_per_sample,
        min_samples=args.min_samples_per_type,
    )  # fmt: skip
    write_tsv(types, args.output_cell_types)
    unscored = varied["kept"] & varied["doublet_score"].isna()
    write_json(
        {
            "variant": args.variant,
            "changes": changes,
            "n_cells": len(cells),
            "n_kept": int(varied["kept"].sum()),
            "n_kept_in_run": int(cells["kept"].sum()),
            "n_lost": int((cells["kept"] & ~varied["kept"]).sum()),
            "n_gained": int((~cells["kept"] & varied["kept"]).sum()),
            "n_gained_without_doublet_score": int((unscored & ~cells["kept"]).sum()),
            "cell_types": sizes_by_type(varied, types, min_cells=args.min_cells_per_sample),
        },
        args.output_summary,
    )
    write_versions("vary_qc", ["numpy", "pandas", "pyarrow"], args.versions)


if __name__ == "__main__":
    run(main)
