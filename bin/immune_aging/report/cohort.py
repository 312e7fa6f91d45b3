"""What the report says of the cohort in its first line, and the cell types that were left out."""

from immune_aging.cohort.donors import not_told
from immune_aging.results import Results


def cohort_facts(results: Results) -> dict:
    """Donors, ages and cells, and the cell types that were left out.

    Returns
    -------
    n_donors, n_samples (where donors have several), sexes (name and number), age_low, age_median and age_high (years)
    of the kept donors, and n_types, each where it is known; n_cells, None where quality control was not run; left_out,
    the most cells first.
    """
    facts: dict = {"left_out": []}
    samples = results.table("cohort/samples.tsv", ["kept"])
    if samples is not None:
        facts["n_samples"] = int(samples["kept"].sum())
    donors = results.table("cohort/donors.tsv", ["age_years", "sex", "kept", "n_cells"])
    if donors is not None:
        kept = donors[donors["kept"]]
        sexes = kept["sex"].fillna("unknown").value_counts().sort_index()
        told = not not_told(donors, "sex")
        facts |= {"n_donors": len(kept), "sexes": list(sexes.items()) if told else []}
        ages = kept["age_years"].dropna()
        if len(ages):
            facts |= {"age_low": ages.min(), "age_median": ages.median(), "age_high": ages.max()}
    types = results.table("cohort/cell_types.tsv", ["cell_type", "n_cells", "kept", "reason"])
    if types is not None:
        facts["n_types"] = int(types["kept"].sum())
        facts["left_out"] = types[~types["kept"]].sort_values("n_cells", ascending=False).to_dict("records")
    facts["n_cells"] = results.summary("qc/qc.json").get("cells", {}).get("kept")
    return facts
