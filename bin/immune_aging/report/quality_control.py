"""What the report says of quality control: each rule with the cells it removes, and how doublets were called."""

from immune_aging.results import Results


def qc_content(results: Results) -> dict:
    """Rows of the table of rules, and how many donors' doublets were called in which way; empty where not run."""
    rules = results.table("qc/rules.tsv", ["rule", "threshold", "alone", "only", "with_others", "percent"])
    doublets = results.table("qc/doublets.tsv", ["how"])
    how = [] if doublets is None else list(doublets["how"].value_counts().sort_index().items())
    return {
        "qc_rules": [] if rules is None else rules.fillna({"threshold": ""}).to_dict("records"),
        "doublet_calls": how,
    }
