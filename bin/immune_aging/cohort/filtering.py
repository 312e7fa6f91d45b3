"""Which cell types, donors and samples of donors a cohort keeps, and the shards that they are divided into.

Either each cell type is analysed in the donors that have enough of it (`EACH`): then every labelled cell of a donor who
stays goes on, and which cell types are analysed changes nothing in the others. Or all are analysed in the donors that
have all of them (`COMMON`): cell types that too many donors lack go, with their cells, and then the donors who lack one
of the others.

The rules are about persons: a donor's samples count together for its number of cells and for the cell types that it
has. Only an unknown age takes single samples away, unless the cohort has no ages at all (--age_column none).
"""

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import not_told, one_per_donor, sample_key
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, VARYING, unique_slugs
from immune_aging.task.command_line import BadInput

EACH, COMMON = "each", "common"
COMMON_FRACTION = 0.95  # of the donors that must have a cell type, where `COMMON` is asked for and no other is given


def of_unknown_age(donors: pd.DataFrame) -> np.ndarray:
    """Which donors, or samples of donors, go because their age is not known; none where no age is used."""
    return donors["age_years"].isna().to_numpy() & (not not_told(donors, "age_years"))


def donor_reasons(donors: pd.DataFrame, n_cells: pd.Series, *, donor_percentile: float) -> tuple[pd.Series, float]:
    """Why a donor goes before the cell types are looked at; '' for those who stay.

    Parameters
    ----------
    donors
        One row per donor: donor_id, age_years.
    n_cells
        Cells by donor_id.
    donor_percentile
        Donors below this percentile of the number of cells go (0-100).

    Returns
    -------
    Reasons by donor_id, and the least number of cells a donor needs.
    """
    reasons = pd.Series("", index=donors["donor_id"].to_numpy())
    reasons[of_unknown_age(donors)] = "age unknown"
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
        Why a cell has no place ('no donor', 'no sample', 'no cell type', or its sample is left out while others of the
        donor stay); '' for the others. In the order of the cells.
    donors
        Why a donor goes, by donor_id; '' for those who stay.
    cut
        The least number of cells of a donor.
    table
        Donors that the cell types were judged by x cell types, number of cells.
    types
        Whether a cell type stays, by its name.
    common
        Whether the cell types are analysed in the donors that have all of them: then the cells of the others are left
        out, too.
    """

    cells: pd.Series
    donors: pd.Series
    cut: float
    table: pd.DataFrame
    types: pd.Series
    common: bool

    @property
    def cells_of_donors(self) -> pd.DataFrame:
        """Donors who stay x cell types, number of cells that go on to quality control."""
        staying = self.donors.index[self.donors == ""]
        return self.table.loc[staying, self.types] if self.common else self.table.loc[staying]


def in_ageless_samples(cells: pd.DataFrame, donors: pd.DataFrame) -> np.ndarray:
    """Which cells are of a sample of unknown age whose donor has another sample of known age.

    Parameters
    ----------
    cells, donors
        As of `choose`.
    """
    if SAMPLE_OF_DONOR not in donors:
        return np.zeros(len(cells), dtype=bool)
    known = donors["age_years"].notna()
    out = donors[~known & donors["donor_id"].isin(donors.loc[known, "donor_id"])]
    return pd.MultiIndex.from_frame(cells[sample_key(cells)]).isin(pd.MultiIndex.from_frame(out[sample_key(out)]))


def why_no_cell_type(table: pd.DataFrame, *, min_cells: int, min_fraction: float) -> str:
    """The message where no cell type is in enough donors, with the one that comes nearest and the remedy.

    Parameters
    ----------
    table
        Donors x cell types, number of cells.
    """
    best = (table >= min_cells).mean(axis=0).sort_values(ascending=False)
    hint = (
        f"'{best.index[0]}' comes nearest with {100 * best.iloc[0]:.0f} %"
        if len(best) and len(table)
        else "no donor is left"
    )
    return (
        f"cohort: no cell type has {min_cells} cells in {100 * min_fraction:g} % of {len(table)} donors ({hint}); "
        "lower --min_cells_per_type or --min_donor_fraction"
    )


def lacking(table: pd.DataFrame) -> pd.Series:
    """Which donors (index) lack one of the cell types, with the reason; those who lack none are not in it.

    Parameters
    ----------
    table
        Donors x the cell types that stay, number of cells.
    """
    missing = {donor: list(row.index[row == 0]) for donor, row in table.iterrows()}
    reasons = {
        donor: f"no {names[0]}" if len(names) == 1 else f"lacks {len(names)} of the cell types kept"
        for donor, names in missing.items()
        if names
    }
    return pd.Series(list(reasons.values()), index=pd.Index(list(reasons), dtype=object), dtype=object)


def choose(
    cells: pd.DataFrame,
    donors: pd.DataFrame,
    *,
    donor_percentile: float,
    min_cells: int,
    min_fraction: float | None,
    common: bool,
) -> Chosen:
    """Apply the rules to cells (donor_id, cell_type) and donors (donor_id, age_years).

    With samples of donors, both have sample_of_donor, and `donors` has one row per sample.

    Parameters
    ----------
    min_cells, min_fraction
        A cell type stays that so many cells of are in such a share of the donors; None for any cell type.
    common
        Whether the donors who lack a cell type that stays go.

    Raises
    ------
    BadInput
        No cell type or no donor is left.
    """
    cell_reason = pd.Series("", index=cells.index)
    cell_reason[cells["cell_type"].isna()] = "no cell type"
    if SAMPLE_OF_DONOR in cells:
        cell_reason[cells[SAMPLE_OF_DONOR].isna()] = "no sample"
    cell_reason[cells["donor_id"].isna()] = "no donor"
    cell_reason[(cell_reason == "") & in_ageless_samples(cells, donors)] = SAMPLE_OUT
    labelled, people = cells[cell_reason == ""], one_per_donor(donors)
    n_cells = labelled["donor_id"].value_counts()
    reasons, cut = donor_reasons(people, n_cells, donor_percentile=donor_percentile)
    if not common:
        reasons[(reasons == "") & (n_cells.reindex(reasons.index, fill_value=0) == 0)] = NO_LABELLED_CELL
    staying = reasons.index[reasons == ""]
    if not common and not len(staying):
        raise BadInput(
            "cohort: no donor that is left has a cell with a cell type; name other columns of donors, ages or cell "
            "types"
        )
    table = pd.crosstab(labelled["donor_id"], labelled["cell_type"]).reindex(staying, fill_value=0)
    kept_types = pd.Series(True, index=table.columns)
    if min_fraction is not None:
        kept_types = choose_cell_types(table, min_cells=min_cells, min_fraction=min_fraction)
        if not kept_types.any():
            raise BadInput(why_no_cell_type(table, min_cells=min_cells, min_fraction=min_fraction))
    if common:
        without = lacking(table.loc[:, kept_types])
        reasons[without.index] = without
    if not (reasons == "").any():
        raise BadInput("cohort: every donor lacks one of the kept cell types; raise --min_donor_fraction")
    return Chosen(cell_reason, reasons, cut, table, kept_types, common)


def add_type_options(parser: argparse.ArgumentParser) -> None:
    """The options of a step for the rules about cell types and the donors who lack them."""
    parser.add_argument(
        "--analysed-donors",
        choices=(EACH, COMMON),
        required=True,
        help="each: of every cell type those that have enough of it; common: those that have all cell types",
    )
    parser.add_argument("--min-cells-per-type", type=int, required=True, help="for --min-donor-fraction")
    parser.add_argument(
        "--min-donor-fraction", type=float, help=f"default: {COMMON_FRACTION} with common, no such rule with each"
    )


def fraction_of(args: argparse.Namespace) -> float | None:
    """The share of the donors that must have a cell type, from the options of `add_type_options`; None for none."""
    if args.min_donor_fraction is None and args.analysed_donors == COMMON:
        return COMMON_FRACTION
    return args.min_donor_fraction


def add_rule_options(parser: argparse.ArgumentParser) -> None:
    """The options of a step for the rules and for the size of the shards."""
    parser.add_argument("--donor-percentile", type=float, required=True)
    add_type_options(parser)
    parser.add_argument("--cells-per-shard", type=int, required=True)


def choose_by_options(cells: pd.DataFrame, donors: pd.DataFrame, args: argparse.Namespace) -> Chosen:
    """Apply the rules with the values that the options of `add_rule_options` have; raises as `choose`."""
    return choose(
        cells,
        donors,
        donor_percentile=args.donor_percentile,
        min_cells=args.min_cells_per_type,
        min_fraction=fraction_of(args),
        common=args.analysed_donors == COMMON,
    )


def rules_in_force(args: argparse.Namespace, chosen: Chosen) -> dict:
    """What filtering.json says of the rules: those that were applied, with their values."""
    fraction = fraction_of(args)
    donors = {"donor_percentile": args.donor_percentile, "min_cells_of_a_donor": chosen.cut}
    types = {"min_cells_per_type": args.min_cells_per_type, "min_donor_fraction": fraction}
    return ({} if chosen.common else {"donors": EACH}) | donors | ({} if fraction is None else types)


# First columns of samples.tsv; those that are constant within samples follow.
SAMPLE_COLUMNS = ("donor_id", SAMPLE_OF_DONOR, "age_years", "sex", "n_cells", "n_cells_kept", "kept", "reason")
SAMPLE_OUT = "sample left out: age unknown"
NO_LABELLED_CELL = "no cell with a cell type"
# Donors' reasons, as regular expressions, and what stands for each in the reason of a cell: fewer words, no names.
_REASON_OF_CELL = {r"^(no|lacks) .*": "lacks a cell type kept", r"^fewer.*": "too few cells"}


def reasons_of_cells(cells: pd.DataFrame, chosen: Chosen) -> pd.Series:
    """Why each cell is dropped; '' for one that is kept. In the order of the cells.

    Parameters
    ----------
    cells
        donor_id, cell_type; those that `chosen` was made from.
    """
    labelled = chosen.cells == ""
    donor_out = labelled & ~cells["donor_id"].isin(chosen.donors.index[chosen.donors == ""])
    type_out = labelled & ~donor_out & ~cells["cell_type"].isin(chosen.types.index[chosen.types]) & chosen.common
    reasons = chosen.cells.copy()
    why = cells.loc[donor_out, "donor_id"].map(chosen.donors).replace(_REASON_OF_CELL, regex=True)
    reasons[donor_out] = "donor left out: " + why
    reasons[type_out] = "cell type in too few donors"
    return reasons


@dataclass(frozen=True)
class Filtered:
    """A cohort after the rules.

    Attributes
    ----------
    kept
        The kept cells with their shard.
    dropped
        The other cells with their reason.
    donors
        One row per donor: donor_id, age_years, sex, n_cells, n_cells_kept, kept, reason.
    samples
        One row per sample of a donor, with the same columns, sample_of_donor, and those that are constant within
        samples. None where donors have no samples of their own.
    cell_types
        The table of cell types.
    n_shards
        Shards that the kept cells are divided into.
    """

    kept: pd.DataFrame
    dropped: pd.DataFrame
    donors: pd.DataFrame
    samples: pd.DataFrame | None
    cell_types: pd.DataFrame
    n_shards: int


def filtered(
    cells: pd.DataFrame, donors: pd.DataFrame, chosen: Chosen, *, min_cells: int, cells_per_shard: int
) -> Filtered:
    """Sort cells, donors and cell types by what the rules chose, and divide the kept cells into shards.

    Parameters
    ----------
    cells, donors
        Those that `chosen` was made from.
    min_cells
        Cells of a type that a donor needs, for the table of cell types.
    """
    reasons = reasons_of_cells(cells, chosen)
    kept = cells[reasons == ""]
    shards = plan_shards(kept["donor_id"].value_counts(), cells_per_shard=cells_per_shard)
    labelled = cells[(chosen.cells == "") | (chosen.cells == SAMPLE_OUT)]
    people = one_per_donor(donors)
    donor_rows = people[["donor_id", "age_years", "sex"]].assign(
        n_cells=_cells_of(people, labelled),
        n_cells_kept=_cells_of(people, kept),
        kept=(chosen.donors == "").to_numpy(),
        reason=chosen.donors.to_numpy(),
    )
    return Filtered(
        kept.assign(shard=kept["donor_id"].map(shards).astype(np.int64)).reset_index(drop=True),
        cells.assign(reason=reasons)[reasons != ""].reset_index(drop=True),
        donor_rows,
        sample_rows(donors, chosen, labelled, kept) if SAMPLE_OF_DONOR in donors else None,
        cell_type_rows(labelled, chosen.table, chosen.types, min_cells=min_cells),
        int(shards.max()) + 1,
    )


def _cells_of(donors: pd.DataFrame, cells: pd.DataFrame) -> np.ndarray:
    """How many of `cells` each donor, or each sample of a donor, has."""
    key = sample_key(donors)
    return cells.groupby(key).size().reindex(donors.set_index(key).index, fill_value=0).to_numpy()


def sample_rows(samples: pd.DataFrame, chosen: Chosen, labelled: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """samples.tsv: one row per sample of a donor, with its facts, its cells, and why it is left out.

    Parameters
    ----------
    samples
        Those that `chosen` was made from.
    labelled, kept
        The cells that have a donor, a sample and a cell type; those of them that are kept.
    """
    n_kept = _cells_of(samples, kept)
    of_donor = samples["donor_id"].map(chosen.donors).to_numpy(dtype=object)
    reason = np.where(of_donor != "", "donor left out: " + of_donor, np.where(n_kept > 0, "", "no cell is kept"))
    reason = np.where(of_unknown_age(samples), "age unknown", reason)
    counted = {"n_cells": _cells_of(samples, labelled), "n_cells_kept": n_kept, "kept": reason == "", "reason": reason}
    own = samples[["donor_id", SAMPLE_OF_DONOR, "age_years", "sex"]].assign(**counted)
    others = [name for name in samples if name not in (*SAMPLE_COLUMNS, "age_text", VARYING)]
    return pd.concat([own[list(SAMPLE_COLUMNS)], samples[others]], axis=1)


def _lost(reasons: pd.Series) -> dict[str, int]:
    return reasons[reasons != ""].value_counts().sort_index().to_dict()


def funnel(found: Filtered) -> dict:
    """Cells, donors and cell types that came in, were lost by each reason and are kept; and the number of shards."""
    n_types_kept = int(found.cell_types["kept"].sum())
    of_samples = {}
    if found.samples is not None:
        of_samples["samples"] = {
            "input": len(found.samples),
            "lost": _lost(found.samples["reason"]),
            "kept": int(found.samples["kept"].sum()),
        }
    return {
        "cells": {
            "input": len(found.kept) + len(found.dropped),
            "lost": _lost(found.dropped["reason"]),
            "kept": len(found.kept),
        },
        "donors": {
            "input": len(found.donors),
            "lost": _lost(found.donors["reason"]),
            "kept": int(found.donors["kept"].sum()),
        },
        **of_samples,
        "cell_types": {
            "input": len(found.cell_types),
            "lost": {"in too few donors": len(found.cell_types) - n_types_kept},
            "kept": n_types_kept,
        },
        "shards": found.n_shards,
    }


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
    """Give each donor a shard: consecutive donors in sorted order, about `cells_per_shard` cells per shard.

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
