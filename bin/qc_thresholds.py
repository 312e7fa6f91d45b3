#!/usr/bin/env python3
"""Give each donor its own thresholds and its own expected rate of doublets, before quality control.

In: the donors, with their numbers of cells; for thresholds by median absolute deviations all shards, read one after
another, because a group of donors (a pool) may lie in several. Out: `thresholds.tsv` for people and the same as Parquet
for QC_CELLS, one row a donor.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import read_parquet, read_tsv, write_parquet, write_tsv, write_versions
from command_line import BadInput, Progress, run
from qc_cells import gene_classes, qc_metrics
from qc_rules import BOUNDS, MIN_CELLS_FOR_MAD, Thresholds, thresholds_by_group
from shard_file import donor_counts, read_shard

# Neither a donor of ten cells nor a mistyped chemistry shall make a rate that Scrublet cannot work with.
LOWEST_RATE, HIGHEST_RATE = 0.001, 0.5


def read_metrics(shards: list[Path]) -> pd.DataFrame:
    """Metrics and donor of the cells of all shards, one donor's counts in memory at a time."""
    parts = []
    progress = Progress(len(shards), unit="shards", label="metrics")
    for path in shards:
        shard = read_shard(path)
        classes = gene_classes(shard.symbols)
        parts += [qc_metrics(counts, classes).assign(donor_id=donor) for donor, _, counts in donor_counts(shard)]
        progress.advance(1)
    progress.close()
    return pd.concat(parts, ignore_index=True)


def group_of_donors(donors: pd.DataFrame, column: str) -> pd.Series:
    """The group of each donor as text, index donor_id; missing where the column has no value.

    Raises
    ------
    BadInput
        There is no such donor column.
    """
    if column not in donors:
        raise BadInput(
            f"--mad_group {column}: is no obs column that is constant within donors; there are: "
            f"{', '.join(map(str, donors.columns))}"
        )
    names = donors[column].map(lambda value: value if pd.isna(value) else str(value)).astype(object)
    return pd.Series(names.to_numpy(), index=donors["donor_id"])


def doublet_rates(
    donors: pd.DataFrame, *, fixed: float, per_1000_cells: float | None, column: str | None
) -> pd.DataFrame:
    """Expected share of doublets among the cells of each donor, and by which rule.

    A donor's value in `column` counts where there is one; else `per_1000_cells` times the donor's cells in thousands;
    else `fixed`.

    10x Genomics states about 0.8 % for each 1,000 cells recovered (user guides of Chromium Single Cell 3', multiplet
    rate table). Doublets of two donors of one pool are told apart by genotype or hashtag and are gone from such data:
    of the pool's rate, 0.8 % a 1,000 cells of the pool, a donor with the share p of its cells keeps p, which is 0.8 %
    a 1,000 cells of its own. So one rule serves donors alone in a lane and pooled ones.

    Parameters
    ----------
    donors
        donor_id, n_cells and `column`.

    Returns
    -------
    expected_doublet_rate and doublet_rate_rule, in the order of `donors`.

    Raises
    ------
    BadInput
        A value of the column is no share above 0 and below 1.
    """
    rate = pd.Series(fixed, index=donors.index, dtype=float)
    rule = pd.Series("fixed", index=donors.index, dtype=object)
    if per_1000_cells is not None:
        rate = (per_1000_cells * donors["n_cells"] / 1000).clip(LOWEST_RATE, HIGHEST_RATE)
        rule = pd.Series("cells of the donor", index=donors.index, dtype=object)
    if column:
        if column not in donors:
            raise BadInput(
                f"--doublet_rate_column {column}: is no obs column that is constant within donors; there are: "
                f"{', '.join(map(str, donors.columns))}"
            )
        given = pd.to_numeric(donors[column], errors="coerce")
        wrong = donors[column].notna() & ~((given > 0) & (given < 1))
        if wrong.any():
            row = donors[wrong].iloc[0]
            raise BadInput(
                f"--doublet_rate_column {column}: donor '{row['donor_id']}' has '{row[column]}'; give a share of cells "
                "above 0 and below 1 (0.06 for 6 %)"
            )
        rate, rule = given.fillna(rate), rule.where(given.isna(), "column")
    return pd.DataFrame({"expected_doublet_rate": rate, "doublet_rate_rule": rule})


def donor_thresholds(donors: pd.Series, groups: pd.Series, metrics: pd.DataFrame, fixed: Thresholds, *, cutoff: float):
    """The bounds of each donor by its group's median absolute deviations.

    Parameters
    ----------
    donors
        Donor ids.
    groups
        Group by donor_id.
    metrics
        n_genes, n_counts, pct_mito and donor_id of every cell.

    Returns
    -------
    threshold_group, n_cells_of_group, threshold_rule and the bounds, in the order of `donors`.
    """
    group_of_cell = metrics["donor_id"].map(groups)
    found = thresholds_by_group(metrics, group_of_cell, fixed, cutoff=cutoff)
    sizes = group_of_cell.value_counts()
    rows = []
    for donor in donors:
        group = groups.get(donor)
        size = 0 if pd.isna(group) else int(sizes.get(group, 0))
        rule = f"{cutoff:g} MAD" if size >= MIN_CELLS_FOR_MAD else f"fixed: fewer than {MIN_CELLS_FOR_MAD} cells"
        bounds = fixed if pd.isna(group) else found.get(group, fixed)
        rule = "fixed: no group" if pd.isna(group) else rule
        rows.append(
            {"threshold_group": group, "n_cells_of_group": size, "threshold_rule": rule}
            | {name: float(f"{value:.6g}") for name, value in vars(bounds).items()}  # as thresholds.tsv shows them
        )
    return pd.DataFrame(rows, index=donors.index)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--donors", type=Path, required=True, help="donors.parquet")
    parser.add_argument(
        "--donors-table", type=Path, required=True, help="donors.tsv: which donors are kept, their cells"
    )
    parser.add_argument("--shards", type=Path, nargs="*", default=[], help="all shards; none: fixed thresholds")
    parser.add_argument("--mad-cutoff", type=float, default=5.0)
    parser.add_argument("--mad-group", default="donor_id", help="donor column whose values are judged together")
    for name, default in vars(Thresholds()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    parser.add_argument("--expected-doublet-rate", type=float, default=0.06)
    parser.add_argument("--doublet-rate-per-1000", type=float)
    parser.add_argument("--doublet-rate-column", default="")
    parser.add_argument("--output", type=Path, required=True, help="Parquet")
    parser.add_argument("--output-table", type=Path, required=True, help=".tsv")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    known = read_parquet(args.donors)
    # By row, as both list the same donors in the same order: the .tsv may write a name otherwise.
    kept = read_tsv(args.donors_table, dtype={"donor_id": str, "sex": str, "reason": str})
    if len(known) != len(kept):
        raise BadInput(f"{args.donors_table}: {len(kept)} donors, but {args.donors} has {len(known)}; run both anew")
    donors = known.assign(n_cells=kept["n_cells"].to_numpy())[kept["kept"].to_numpy()].reset_index(drop=True)
    fixed = Thresholds(**{name: getattr(args, name) for name in BOUNDS})
    if args.shards:
        groups = group_of_donors(donors, args.mad_group)
        metrics = read_metrics(sorted(args.shards, key=lambda path: path.name))
        bounds = donor_thresholds(donors["donor_id"], groups, metrics, fixed, cutoff=args.mad_cutoff)
    else:
        bounds = pd.DataFrame(vars(fixed), index=donors.index).assign(
            threshold_group="", n_cells_of_group=np.nan, threshold_rule="fixed"
        )
    rates = doublet_rates(
        donors,
        fixed=args.expected_doublet_rate,
        per_1000_cells=args.doublet_rate_per_1000,
        column=args.doublet_rate_column or None,
    )
    columns = ["threshold_group", "n_cells_of_group", "threshold_rule", *BOUNDS]
    table = pd.concat([donors[["donor_id", "n_cells"]], bounds[columns], rates], axis=1)
    write_parquet(table, args.output)
    write_tsv(table, args.output_table)
    write_versions("qc_thresholds", ["numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
