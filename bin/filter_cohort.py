#!/usr/bin/env python3
"""Choose the donors and cell types that the analysis keeps, count every loss with its reason, and plan the shards.

In: `cells.parquet` and `donors.parquet` of CHECK_COHORT. Out: the kept cells with their shard, the dropped ones with
their reason, `donors.tsv`, the table of cell types, `filtering.json` (the funnel). Rules, in this order:

1. cells without a donor or a cell type go;
2. donors without a known age go, then donors with fewer cells than the given percentile over donors;
3. cell types stay that have at least `min_cells_per_type` cells in at least `min_donor_fraction` of these donors;
4. donors who lack one of these cell types altogether go.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import read_parquet, unique_slugs, write_json, write_parquet, write_tsv, write_versions
from command_line import BadInput, run


def donor_reasons(donors: pd.DataFrame, n_cells: pd.Series, *, donor_percentile: float) -> tuple[pd.Series, float]:
    """Why a donor goes before the cell types are looked at; '' for those who stay.

    Parameters
    ----------
    donors
        One row a donor: donor_id, age_years.
    n_cells
        Cells by donor_id.
    donor_percentile
        Donors below this percentile of the number of cells go (0-100).

    Returns
    -------
    Reasons by donor_id, and the least number of cells a donor needs.
    """
    reasons = pd.Series("", index=donors["donor_id"].to_numpy())
    reasons[donors["age_years"].isna().to_numpy()] = "age unknown"
    counts = n_cells.reindex(reasons.index, fill_value=0)
    known = counts[reasons == ""]
    cut = float(np.percentile(known, donor_percentile)) if len(known) else 0.0
    reasons[(reasons == "") & (counts < cut)] = f"fewer than {cut:g} cells (percentile {donor_percentile:g})"
    return reasons, cut


def choose_cell_types(table: pd.DataFrame, *, min_cells: int, min_fraction: float) -> pd.Series:
    """Which cell types are in enough donors.

    Parameters
    ----------
    table
        Donors x cell types, number of cells.

    Returns
    -------
    A boolean by cell type.
    """
    # The small allowance keeps 95 % of 20 donors at 19, which floating point puts at 19.000000000000004.
    return (table >= min_cells).sum(axis=0) >= min_fraction * len(table) - 1e-9


@dataclass(frozen=True)
class Chosen:
    """What the rules keep.

    Attributes
    ----------
    cells
        Why a cell has no place ('no donor', 'no cell type'); '' for the others. In the order of the cells.
    donors
        Why a donor goes, by donor_id; '' for those who stay.
    cut
        The least number of cells of a donor.
    table
        Donors that the cell types were judged by x cell types, number of cells.
    types
        Whether a cell type stays, by its name.
    """

    cells: pd.Series
    donors: pd.Series
    cut: float
    table: pd.DataFrame
    types: pd.Series


def choose(
    cells: pd.DataFrame, donors: pd.DataFrame, *, donor_percentile: float, min_cells: int, min_fraction: float
) -> Chosen:
    """Apply the rules to cells (donor_id, cell_type) and donors (donor_id, age_years).

    Raises
    ------
    BadInput
        No cell type or no donor is left.
    """
    cell_reason = pd.Series("", index=cells.index)
    cell_reason[cells["cell_type"].isna()] = "no cell type"
    cell_reason[cells["donor_id"].isna()] = "no donor"
    labelled = cells[cell_reason == ""]
    reasons, cut = donor_reasons(donors, labelled["donor_id"].value_counts(), donor_percentile=donor_percentile)
    staying = reasons.index[reasons == ""]
    table = pd.crosstab(labelled["donor_id"], labelled["cell_type"]).reindex(staying, fill_value=0)
    kept_types = choose_cell_types(table, min_cells=min_cells, min_fraction=min_fraction)
    if not kept_types.any():
        best = (table >= min_cells).mean(axis=0).sort_values(ascending=False)
        hint = (
            f"'{best.index[0]}' comes nearest with {100 * best.iloc[0]:.0f} %"
            if len(best) and len(table)
            else "no donor is left"
        )
        raise BadInput(
            f"cohort: no cell type has {min_cells} cells in {100 * min_fraction:g} % of {len(table)} donors ({hint}); "
            "lower --min_cells_per_type or --min_donor_fraction"
        )
    for donor, row in table.loc[:, kept_types].iterrows():
        missing = list(row.index[row == 0])
        if missing:
            reasons[donor] = f"no {missing[0]}" if len(missing) == 1 else f"lacks {len(missing)} of the cell types kept"
    if not (reasons == "").any():
        raise BadInput("cohort: every donor lacks one of the kept cell types; raise --min_donor_fraction")
    return Chosen(cell_reason, reasons, cut, table, kept_types)


def cell_type_rows(labelled: pd.DataFrame, table: pd.DataFrame, kept: pd.Series, *, min_cells: int) -> pd.DataFrame:
    """The table of cell types: id, cell_type, n_cells, n_donors, kept, reason; sorted by id.

    Parameters
    ----------
    labelled
        All cells with a donor and a cell type.
    table
        Donors x cell types, number of cells, of the donors that the cell types were judged by.
    kept
        A boolean by cell type.
    """
    names = sorted(labelled["cell_type"].unique())
    table = table.reindex(columns=names, fill_value=0)
    kept = kept.reindex(names, fill_value=False).to_numpy()
    enough = (table >= min_cells).sum(axis=0).to_numpy()
    ids = unique_slugs(names)
    rows = pd.DataFrame(
        {
            "id": [ids[name] for name in names],
            "cell_type": names,
            "n_cells": labelled["cell_type"].value_counts().reindex(names).to_numpy(),
            "n_donors": (table > 0).sum(axis=0).to_numpy(),
            "kept": kept,
            "reason": np.where(kept, "", [f"{min_cells} cells in only {n} of {len(table)} donors" for n in enough]),
        }
    )
    return rows.sort_values("id", ignore_index=True)


def plan_shards(n_cells: pd.Series, *, cells_per_shard: int) -> pd.Series:
    """Give each donor a shard: consecutive donors in sorted order, about `cells_per_shard` cells a shard.

    Contiguity makes the cells of all shards, one after another, the same sequence whatever their number.

    Parameters
    ----------
    n_cells
        Kept cells by donor_id.

    Returns
    -------
    Shard number by donor_id, sorted by donor_id.
    """
    ordered = n_cells.sort_index()
    n_shards = max(1, round(ordered.sum() / cells_per_shard))
    # The middle of a donor's cells decides, so that shards come out about equal.
    middle = ordered.cumsum() - ordered / 2
    shards = (middle / max(ordered.sum(), 1) * n_shards).astype(int).clip(upper=n_shards - 1)
    return pd.Series(pd.factorize(shards)[0], index=ordered.index)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--donors", type=Path, required=True)
    parser.add_argument("--donor-percentile", type=float, default=1.0)
    parser.add_argument("--min-cells-per-type", type=int, default=10)
    parser.add_argument("--min-donor-fraction", type=float, default=0.95)
    parser.add_argument("--cells-per-shard", type=int, default=50_000)
    parser.add_argument("--output-cells", type=Path, required=True)
    parser.add_argument("--output-dropped", type=Path, required=True)
    parser.add_argument("--output-cell-types", type=Path, required=True)
    parser.add_argument("--output-donors", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    cells, donors = read_parquet(args.cells), read_parquet(args.donors)
    chosen = choose(
        cells,
        donors,
        donor_percentile=args.donor_percentile,
        min_cells=args.min_cells_per_type,
        min_fraction=args.min_donor_fraction,
    )
    cell_reason, reasons, kept_types, table = chosen.cells, chosen.donors, chosen.types, chosen.table
    labelled = cells[cell_reason == ""]
    n_cells = labelled["donor_id"].value_counts()

    donor_kept, type_kept = reasons == "", set(kept_types.index[kept_types])
    unlabelled = cell_reason != ""
    donor_out = ~unlabelled & ~cells["donor_id"].isin(donor_kept.index[donor_kept])
    cell_reason[donor_out] = "donor left out: " + cells.loc[donor_out, "donor_id"].map(reasons).replace(
        {r"^(no|lacks) .*": "lacks a cell type kept", r"^fewer.*": "too few cells"}, regex=True
    )
    type_out = ~unlabelled & ~donor_out & ~cells["cell_type"].isin(type_kept)
    cell_reason[type_out] = "cell type in too few donors"

    kept = cells[cell_reason == ""]
    shards = plan_shards(kept["donor_id"].value_counts(), cells_per_shard=args.cells_per_shard)
    kept = kept.assign(shard=kept["donor_id"].map(shards).astype(np.int64))
    write_parquet(kept.reset_index(drop=True), args.output_cells)
    write_parquet(cells.assign(reason=cell_reason)[cell_reason != ""].reset_index(drop=True), args.output_dropped)

    donor_rows = donors[["donor_id", "age_years", "sex"]].assign(
        n_cells=n_cells.reindex(donors["donor_id"], fill_value=0).to_numpy(),
        n_cells_kept=kept["donor_id"].value_counts().reindex(donors["donor_id"], fill_value=0).to_numpy(),
        kept=donor_kept.to_numpy(),
        reason=reasons.to_numpy(),
    )
    write_tsv(donor_rows, args.output_donors)

    type_rows = cell_type_rows(labelled, table, kept_types, min_cells=args.min_cells_per_type)
    write_parquet(type_rows, args.output_cell_types)
    write_json(
        {
            "rules": {
                "donor_percentile": args.donor_percentile,
                "min_cells_of_a_donor": chosen.cut,
                "min_cells_per_type": args.min_cells_per_type,
                "min_donor_fraction": args.min_donor_fraction,
            },
            "cells": {
                "input": len(cells),
                "lost": cell_reason[cell_reason != ""].value_counts().sort_index().to_dict(),
                "kept": len(kept),
            },
            "donors": {
                "input": len(donors),
                "lost": reasons[reasons != ""].value_counts().sort_index().to_dict(),
                "kept": int(donor_kept.sum()),
            },
            "cell_types": {
                "input": len(type_rows),
                "lost": {"in too few donors": int((~type_rows["kept"]).sum())},
                "kept": int(type_rows["kept"].sum()),
            },
            "shards": int(shards.max()) + 1,
        },
        args.output_summary,
    )
    write_versions("filter_cohort", ["numpy", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
