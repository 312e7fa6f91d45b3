"""Published clocks applied to the cells of each donor."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse, stats

from immune_aging.prediction.clock_files import Clock
from immune_aging.task.checkpoints import read_tsv, require_columns

AGES = ("clock", "donor_id", "age_years", "predicted", "n_cells")
METRICS = (
    "clock", "cell_types", "n_donors", "n_donors_few_cells", "n_genes", "n_genes_missing", "weight_missing", "mae",
    "baseline_mae", "r", "spearman", "error_slope",
)  # fmt: skip
COUNTS_OF_CELL, COUNTS_OF_DONOR = 1e4, 1e6  # total before the logarithm, as the clocks were trained


def mean_log_expression(counts: sparse.csr_matrix, genes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Mean over each donor's cells of log(1 + counts per 10,000), donors x genes.

    Parameters
    ----------
    counts
        Cells x all genes.
    genes
        Columns to return.
    owner
        Row of the result for each cell.
    """
    total = np.asarray(counts.sum(axis=1)).ravel()
    used = sparse.csr_matrix(counts[:, genes], dtype=np.float64)
    row = np.repeat(np.arange(used.shape[0]), np.diff(used.indptr))
    logs = np.log1p(used.data * (COUNTS_OF_CELL / total[row]))
    logs = sparse.csr_matrix((logs, used.indices, used.indptr), shape=used.shape)
    return np.asarray((cells_of(owner) @ logs).todense()) / np.bincount(owner)[:, None]


def log_of_sums(counts: sparse.csr_matrix, genes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """log(1 + counts per million) of the sums over each donor's cells, donors x genes; as `mean_log_expression`."""
    total = np.bincount(owner, weights=np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel())
    sums = cells_of(owner) @ sparse.csr_matrix(counts[:, genes], dtype=np.float64)
    return np.log1p(np.asarray(sums.todense()) * (COUNTS_OF_DONOR / np.maximum(total, 1)[:, None]))


def cells_of(owner: np.ndarray) -> sparse.csr_matrix:
    """Donors x cells, 1 where the cell is the donor's."""
    shape = (owner.max(initial=-1) + 1, len(owner))
    return sparse.csr_matrix((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=shape)


def predict_donors(counts: sparse.csr_matrix, donors: pd.Series, clock: Clock, weights: np.ndarray) -> pd.DataFrame:
    """Age of each donor by one clock, from the cells or samples of its types: donor_id, predicted; sorted by donor.

    Parameters
    ----------
    counts
        Cells or samples x all genes of the cohort.
    donors
        Donor of each of these rows.
    weights
        The clock's weight of each gene.
    """
    owner, names = pd.factorize(donors.astype(str), sort=True)
    genes = np.flatnonzero(weights)
    expression = (log_of_sums if clock.of_sums else mean_log_expression)(counts, genes, owner)
    # Not a product of BLAS, whose order of sums in a row may depend on the number of rows: donors of the shard.
    predicted = clock.intercept + (expression * weights[genes]).sum(axis=1)
    return pd.DataFrame({"donor_id": names, "predicted": predicted})


def read_types_of_clocks(path: str | Path, clocks: Mapping[str, Clock]) -> dict[str, set[str]]:
    """The cell types that each clock is for, from a table of the columns cell_type and clock."""
    types = read_tsv(path, dtype=str)
    require_columns(types, ["cell_type", "clock"], path)
    return {name: set(types.loc[types["clock"] == name, "cell_type"]) for name in clocks}


def predict_clocks(
    counts: sparse.csr_matrix,
    rows: pd.DataFrame,
    used: np.ndarray,
    clocks: Mapping[str, Clock],
    weights: np.ndarray,
    types_of: Mapping[str, set[str]],
) -> pd.DataFrame:
    """Age of the donors of a shard, or of a table of samples, by every clock: clock, donor_id, predicted, n_cells.

    A donor whose cells have no counts has no age: it would be the clock's intercept.

    Parameters
    ----------
    counts
        Cells or samples x all genes of the cohort; samples only for clocks that take sums.
    rows
        donor_id, cell_type, n_cells (1 for a cell, NaN where a sample's is not known) of each row of `counts`.
    used
        Which of these rows may be used.
    weights
        Genes x clocks.
    types_of
        Cell types of each clock.
    """
    parts = [pd.DataFrame({name: [] for name in ("clock", "donor_id", "predicted", "n_cells")})]
    usable = used & (np.asarray(counts.sum(axis=1)).ravel() > 0)
    for column, (name, clock) in enumerate(clocks.items()):
        own = usable & rows["cell_type"].isin(types_of[name]).to_numpy()
        predicted = predict_donors(counts[own], rows.loc[own, "donor_id"], clock, weights[:, column])
        n_cells = rows[own].groupby(rows.loc[own, "donor_id"].astype(str))["n_cells"].sum(min_count=1)
        parts.append(predicted.assign(clock=name, n_cells=predicted["donor_id"].map(n_cells)))
    return pd.concat(parts[1:] or parts)


def age_table(predicted: pd.DataFrame, ages: pd.DataFrame) -> pd.DataFrame:
    """The predictions with the donors' true ages, sorted by clock and donor (`AGES`).

    Parameters
    ----------
    ages
        donor_id, age_years.
    """
    known = ages.astype({"donor_id": str})
    return predicted.merge(known, on="donor_id", how="left").sort_values(["clock", "donor_id"])


def metric_table(
    rows: pd.DataFrame,
    few: pd.Series,
    *,
    types_of: Mapping[str, set[str]],
    seen: Set[str],
    facts: Mapping[str, dict],
) -> pd.DataFrame:
    """clock_metrics.tsv: one row per clock.

    Parameters
    ----------
    rows
        As of `age_table`.
    few
        Which of them are of too few cells, and counted only.
    types_of
        Cell types of each clock.
    seen
        Cell types of the cohort.
    facts
        What is missing of each clock.
    """
    metrics = []
    for name, types in types_of.items():
        mine = rows["clock"] == name
        row = {
            "clock": name,
            "cell_types": ";".join(sorted(seen & types)),
            "n_donors_few_cells": int((mine & few).sum()),
        }
        metrics.append(row | facts[name] | clock_metrics(rows[mine & ~few]))
    return pd.DataFrame(metrics, columns=list(METRICS))


def clock_notes(
    clocks: Mapping[str, Clock],
    told: Set[str],
    facts: Mapping[str, dict],
    *,
    sums_alone: bool,
    training: Sequence[str] = (),
) -> list[str]:
    """What a reader must know of clocks that say nothing of this cohort, or that may know its donors.

    Parameters
    ----------
    told
        The clocks that predict any donor.
    facts
        What is missing of each clock.
    sums_alone
        Whether the cohort is a table of sums, which clocks of single cells cannot take.
    training
        Notes on what clocks were trained on.
    """
    of_cells = {name for name, clock in clocks.items() if sums_alone and not clock.of_sums}
    notes = [
        f"clock {name}: takes single cells, which a table of samples has not; left out" for name in sorted(of_cells)
    ]
    without = sorted(set(clocks) - told - of_cells)
    notes += [f"clock {name}: no cell type of this cohort is its own; name it in cell_types.tsv" for name in without]
    return [*notes, *training] + [
        f"clock {name}: the cohort has none of its genes, so all its ages are its intercept; does it have symbols?"
        for name in clocks
        if name not in of_cells and facts[name]["n_genes_missing"] == facts[name]["n_genes"]
    ]


def clock_metrics(ages: pd.DataFrame) -> dict[str, float]:
    """How well one clock tells the donors of known age: years, correlations, regression to the mean."""
    known = ages[ages["age_years"].notna()]
    true, predicted = known["age_years"].to_numpy(dtype=float), known["predicted"].to_numpy(dtype=float)
    row: dict[str, float] = {"n_donors": len(known)}
    if len(known) > 2 and np.ptp(true) > 0 and np.ptp(predicted) > 0:
        row |= {
            "mae": np.abs(predicted - true).mean(),
            "baseline_mae": np.abs(true - np.median(true)).mean(),
            "r": np.corrcoef(true, predicted)[0, 1],
            "spearman": stats.spearmanr(true, predicted).statistic,
            "error_slope": np.polyfit(true, predicted - true, 1)[0],
        }
    return row
