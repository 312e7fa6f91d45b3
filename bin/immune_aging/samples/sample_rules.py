"""Which samples the statistics use, by their cells and by their counts, and which cell types have enough of them."""

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import sample_key

NO_COUNTS = "no counts"


def too_shallow(totals: np.ndarray, *, min_share: float) -> np.ndarray:
    """Which samples of one cell type have no counts, or fewer than a share of the median sample's.

    The share is relative because the totals of a panel of 1,000 genes and of a whole transcriptome differ a
    hundredfold. The number of cells is not needed, so a table of sums that comes without one is guarded as well.
    Below a tenth of the median a sample costs the tests power, and false discoveries treble where the shallow samples
    are those of old donors (docs/decisions/0022-age-prediction-penalties-and-depth.md).

    Parameters
    ----------
    totals
        Counts of each sample over all genes: the samples that no other rule leaves out.
    min_share
        0 leaves out only samples without counts.
    """
    counted = totals > 0
    if not counted.any():
        return ~counted
    return ~counted | (totals < min_share * np.median(totals[counted]))


def reasons_to_leave_out(samples: pd.DataFrame, *, min_cells: int, min_depth_share: float) -> np.ndarray:
    """Why each sample is not used, '' where it is.

    A sample of too few cells does not count for the median of its cell type.

    Parameters
    ----------
    samples
        cell_type, n_cells (NaN where unknown: the rule of cells takes no such sample), n_counts.
    """
    reasons = np.where(samples["n_cells"] < min_cells, f"fewer than {min_cells} cells", "").astype(object)
    cell_types, totals = samples["cell_type"].to_numpy(), samples["n_counts"].to_numpy()
    large = pd.Series(np.flatnonzero(reasons == ""), dtype=int)
    for _, own in large.groupby(cell_types[large]):
        shallow = own[too_shallow(totals[own], min_share=min_depth_share)]
        few = f"fewer counts than {min_depth_share:g} times the median sample's"
        reasons[shallow] = np.where(totals[shallow] > 0, few, NO_COUNTS)
    return reasons


def mark_samples(samples: pd.DataFrame, types: pd.DataFrame, *, min_cells: int, min_depth_share: float) -> pd.DataFrame:
    """Which samples the statistics use, with the reason for each that is left out.

    Parameters
    ----------
    samples
        sample_id, donor_id, and the columns of `reasons_to_leave_out`.
    types
        cell_type, kept, reason.
    """
    reason = reasons_to_leave_out(samples, min_cells=min_cells, min_depth_share=min_depth_share)
    type_kept = samples["cell_type"].isin(types.loc[types["kept"], "cell_type"])
    reason = np.where(type_kept, reason, "cell type not kept")
    return samples.assign(kept=reason == "", reason=reason)


def samples_of_cells(cells: pd.DataFrame, *, min_cells: int, min_depth_share: float) -> pd.DataFrame:
    """The samples that the kept cells will make, known before their counts are summed.

    Parameters
    ----------
    cells
        cell_type, donor_id, sample_of_donor where donors have several, n_counts, kept; one row per cell.

    Returns
    -------
    cell_type, donor_id and sample, n_cells, n_counts, and reason of `reasons_to_leave_out`; sorted by the first three.
    """
    groups = cells[cells["kept"]].groupby(["cell_type", *sample_key(cells)], observed=True)
    samples = groups["n_counts"].agg(n_cells="size", n_counts="sum").reset_index()
    reason = reasons_to_leave_out(samples, min_cells=min_cells, min_depth_share=min_depth_share)
    return samples.assign(reason=reason)


def final_cell_types(types: pd.DataFrame, samples: pd.DataFrame, *, min_cells: int, min_samples: int) -> pd.DataFrame:
    """The table of cell types with the number of samples that the statistics can use.

    A cell type that passed the cohort filter is kept if at least `min_samples` samples are left.

    Parameters
    ----------
    types
        id, cell_type, n_cells, n_donors, kept, reason; after the cohort filter.
    samples
        Of `samples_of_cells`.
    """
    used = samples["reason"] == ""
    shallow = ~used & ~(samples["n_cells"] < min_cells)
    n_samples, n_shallow = (
        types["cell_type"].map(samples.loc[chosen, "cell_type"].value_counts()).fillna(0).astype(int)
        for chosen in (used, shallow)
    )
    table = types.assign(n_samples=n_samples)
    few = table["kept"] & (n_samples < min_samples)
    table.loc[few, "reason"] = [
        f"{n} samples of {min_cells} cells after quality control{f', {more} more with too few counts' if more else ''}"
        for n, more in zip(n_samples[few], n_shallow[few], strict=True)
    ]
    table.loc[few, "kept"] = False
    return table[["id", "cell_type", "n_cells", "n_donors", "n_samples", "kept", "reason"]]
