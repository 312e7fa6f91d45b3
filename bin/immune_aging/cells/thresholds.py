"""The bounds of quality control and the doublet rate of each donor, or of each sample where donors have several."""

from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cells.metrics import gene_classes, qc_metrics
from immune_aging.cells.qc_rules import (
    BOUNDS,
    MIN_CELLS_FOR_MAD,
    Thresholds,
    thresholds_by_group,
)
from immune_aging.cohort.donors import match, sample_key
from immune_aging.cohort.shard_file import donor_counts, read_shard
from immune_aging.task.checkpoints import SAMPLE_OF_DONOR
from immune_aging.task.command_line import BadInput, Progress


def rules_by_sample(
    labels: pd.DataFrame, fixed: Thresholds, expected_rate: float, table: pd.DataFrame | None
) -> dict[tuple[str, ...], tuple[Thresholds, float]]:
    """The bounds and the expected doublet rate of each donor, or of each sample of a donor.

    Parameters
    ----------
    labels
        Whose each cell is: donor_id, and sample_of_donor where samples are told apart.
    fixed, expected_rate
        What holds where there is no table.
    table
        One row per donor or sample: the same columns, the bounds, expected_doublet_rate (made by QC_THRESHOLDS).

    Raises
    ------
    BadInput
        The table lacks a donor or a sample.
    """
    samples = sorted(set(labels.itertuples(index=False, name=None)))
    if table is None:
        return dict.fromkeys(samples, (fixed, expected_rate))
    keys = list(table[list(labels)].itertuples(index=False, name=None))
    if missing := set(samples) - set(keys):
        names = " and sample ".join(f"'{name}'" for name in min(missing))
        raise BadInput(f"thresholds: donor {names} is missing; make them from the same cohort")
    place = {key: row for row, key in enumerate(keys)}
    bounds, rates = table[list(BOUNDS)].astype(float), table["expected_doublet_rate"].astype(float)
    return {sample: (Thresholds(**bounds.iloc[place[sample]]), float(rates.iloc[place[sample]])) for sample in samples}


# Neither a donor of ten cells nor a mistyped chemistry shall make a rate that Scrublet cannot work with.
LOWEST_RATE, HIGHEST_RATE = 0.001, 0.5


def kept_donors(known: pd.DataFrame, listed: pd.DataFrame, known_path: Path, listed_path: Path) -> pd.DataFrame:
    """The donors that the cohort filter kept, with their columns and their n_cells.

    Parameters
    ----------
    known
        Every donor with all its columns (donors.parquet); with samples of donors, every sample.
    listed
        The same in the same order: n_cells, kept (donors.tsv, samples.tsv). They are matched by row, because a table
        for people may write a name in another way.

    Raises
    ------
    BadInput
        The tables have different numbers of donors.
    """
    if len(known) != len(listed):
        raise BadInput(f"{listed_path}: {len(listed)} rows, but {known_path} has {len(known)}; run both anew")
    donors = known.assign(n_cells=listed["n_cells"].to_numpy())
    return donors[listed["kept"].to_numpy()].reset_index(drop=True)


def read_metrics(shards: list[Path]) -> pd.DataFrame:
    """Metrics, donor and sample of the cells of all shards, one donor's counts in memory at a time."""
    parts = []
    progress = Progress(len(shards), unit="shards", label="metrics")
    for path in shards:
        shard = read_shard(path)
        classes = gene_classes(shard.symbols)
        metrics = [qc_metrics(counts, classes) for _, _, counts in donor_counts(shard)]
        parts.append(pd.concat([pd.concat(metrics, ignore_index=True), shard.labels()], axis=1))
        progress.advance(1)
    progress.close()
    return pd.concat(parts, ignore_index=True)


def group_of_donors(donors: pd.DataFrame, column: str) -> pd.DataFrame:
    """The group of each donor as text: donor_id, group; missing where the column has no value.

    Where donors have samples, the group of each sample: what was loaded together is judged together, so that the
    column of donors means the sample.

    Raises
    ------
    BadInput
        There is no such donor column.
    """
    key = sample_key(donors)
    if column == "donor_id" and len(key) > 1:
        names = donors["donor_id"] + ", " + donors[SAMPLE_OF_DONOR]
        return donors[key].assign(group=names.to_numpy(dtype=object))
    if column not in donors:
        raise BadInput(
            f"--mad_group {column}: is no obs column that is constant within donors; there are: "
            f"{', '.join(map(str, donors.columns))}"
        )
    names = donors[column].map(lambda value: value if pd.isna(value) else str(value)).astype(object)
    return donors[key].assign(group=names.to_numpy())


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
        of = "sample" if SAMPLE_OF_DONOR in donors else "donor"
        rule = pd.Series(f"cells of the {of}", index=donors.index, dtype=object)
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


def same_thresholds(donors: pd.DataFrame, fixed: Thresholds) -> pd.DataFrame:
    """The fixed bounds for each donor or sample, in the columns of `donor_thresholds`."""
    rule = {"threshold_group": "", "n_cells_of_group": np.nan, "threshold_rule": "fixed"}
    return pd.DataFrame(rule | vars(fixed), index=donors.index)


def donor_thresholds(groups: pd.DataFrame, metrics: pd.DataFrame, fixed: Thresholds, *, cutoff: float) -> pd.DataFrame:
    """The bounds of each donor, or sample, by its group's median absolute deviations.

    Parameters
    ----------
    groups
        Of `group_of_donors`.
    metrics
        n_genes, n_counts, pct_mito of every cell, and whose it is.

    Returns
    -------
    threshold_group, n_cells_of_group, threshold_rule and the bounds, in the order of `groups`.
    """
    group_of_cell = match(metrics, groups, ["group"])["group"]
    found = thresholds_by_group(metrics, group_of_cell, fixed, cutoff=cutoff)
    sizes = group_of_cell.value_counts()
    rows = []
    for group in groups["group"]:
        size = 0 if pd.isna(group) else int(sizes.get(group, 0))
        rule = f"{cutoff:g} MAD" if size >= MIN_CELLS_FOR_MAD else f"fixed: fewer than {MIN_CELLS_FOR_MAD} cells"
        bounds = fixed if pd.isna(group) else found.get(group, fixed)
        rule = "fixed: no group" if pd.isna(group) else rule
        rows.append(
            {"threshold_group": group, "n_cells_of_group": size, "threshold_rule": rule}
            | {name: float(f"{value:.6g}") for name, value in vars(bounds).items()}  # as thresholds.tsv shows them
        )
    return pd.DataFrame(rows, index=groups.index)
