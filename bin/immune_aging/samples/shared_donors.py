"""Donors that two cohorts have in common: what replicates in the same persons is no replication."""

import pandas as pd

COLUMNS = ("cohort", "donor_id", "other_cohort", "other_donor_id", "how", "n_equal_samples")
# Of two cohorts of a thousand donors some samples have equal numbers of cells and counts by chance; two of one donor
# do not.
MIN_EQUAL = 2
SURE_COUNTS = 100_000  # a donor's only sample with so many counts


def _equal_samples(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Pairs of donors with samples of the same numbers: donor_id, other_donor_id, n_equal_samples, n_counts."""
    keys = ["n_cells", "n_counts"] if one["n_cells"].notna().all() and other["n_cells"].notna().all() else ["n_counts"]
    both = one[one["n_counts"] > 0].merge(other[other["n_counts"] > 0], on=keys, suffixes=("", "_other"))
    found = both.groupby(["donor_id", "donor_id_other"], as_index=False).agg(
        n_equal_samples=("sample_id", "nunique"), n_counts=("n_counts", "max")
    )
    return found.rename(columns={"donor_id_other": "other_donor_id"})


def shared_donors(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Donors of two cohorts that bear the same name, or whose samples have the same numbers of cells and counts.

    Parameters
    ----------
    one, other
        samples.tsv: sample_id, donor_id, n_cells, n_counts.

    Returns
    -------
    donor_id, other_donor_id, how ('name', 'counts', or 'name and counts'), n_equal_samples; sorted. Equal names alone
    may be those of different persons.
    """
    one, other = (table.assign(donor_id=table["donor_id"].astype(str)) for table in (one, other))
    equal = _equal_samples(one, other)
    n_one, n_other = (table.groupby("donor_id").size() for table in (one, other))
    alone = (equal["donor_id"].map(n_one) == 1) | (equal["other_donor_id"].map(n_other) == 1)
    sure = (equal["n_equal_samples"] >= MIN_EQUAL) | (alone & (equal["n_counts"] >= SURE_COUNTS))
    by_counts = equal.loc[sure].set_index(["donor_id", "other_donor_id"])["n_equal_samples"].to_dict()
    by_name = {(name, name) for name in set(one["donor_id"]) & set(other["donor_id"])}
    rows = []
    for pair in sorted({*by_counts, *by_name}):
        how = " and ".join([*(["name"] if pair in by_name else []), *(["counts"] if pair in by_counts else [])])
        rows.append((*pair, how, by_counts.get(pair, 0)))
    return pd.DataFrame(rows, columns=["donor_id", "other_donor_id", "how", "n_equal_samples"])


def note_on_shared(found: pd.DataFrame, label: str) -> str:
    """What a reader must know of donors in both cohorts; '' where there are none."""
    if not len(found):
        return ""
    sure = found[found["how"] != "name"]
    if len(sure):
        who = f"{sure['donor_id'].nunique()} donors are also in {label}, by the cells and counts of their samples"
        return f"{who} ('{sure['donor_id'].iloc[0]}'): what replicates in the same persons is no replication"
    first = found["donor_id"].iloc[0]
    return (
        f"{len(found)} donors have the same names as donors of {label} ('{first}'), though other numbers of cells and "
        "counts; if they are the same persons, what replicates in them is no replication"
    )
