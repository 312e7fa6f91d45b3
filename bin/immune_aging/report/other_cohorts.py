"""What the report says of this cohort beside others."""

from collections.abc import Mapping

from immune_aging.report.pictures import Picture, in_folder
from immune_aging.results import Results

FOLDER = "replication"


def other_cohorts(results: Results, pictures: Mapping[str, Picture]) -> dict:
    """The summary, one row per cell type and pair of cohorts, and the figures; empty where no cohort was compared."""
    summary = results.summary(f"{FOLDER}/replication_summary.json")
    if not summary:
        return {}
    rates = results.table(f"{FOLDER}/rates.tsv")
    return {
        "summary": summary,
        "rows": [] if rates is None else rates.to_dict("records"),
        "n_shared": {label: sum(how.values()) for label, how in summary["shared_donors"].items()},
        "figures": in_folder(pictures, f"{FOLDER}/figures"),
    }
