"""What the report says of the immune age of all cell types together."""

from immune_aging.results import Results

N_WEIGHTS = 12  # fits with the largest weights that are listed


def immune_age(results: Results) -> dict:
    """Metrics by name, tests of age acceleration and the largest weights; only `reason` where there is none."""
    folder = "immune_age"
    summary = results.summary(f"{folder}/immune_age_summary.json")
    metrics = results.table(f"{folder}/immune_age_metrics.tsv", ["metric", "value", "low", "high"])
    if metrics is None:
        return {"reason": summary.get("reason", "")}
    tests = results.table(f"{folder}/age_acceleration_tests.tsv", ["column", "p_value", "padj", "reason"])
    weights = results.table(f"{folder}/immune_age_weights.tsv", ["id", "model", "weight", "mae"])
    return {
        "reason": "",
        "metrics": metrics.set_index("metric").to_dict("index"),
        "tests": [] if tests is None else tests.to_dict("records"),
        "weights": [] if weights is None else weights[weights["weight"] > 0].head(N_WEIGHTS).to_dict("records"),
        "best_single_mae": summary.get("best_single_mae"),
        "acceleration_sd": summary.get("acceleration_sd"),
        "donors_left_out": summary.get("n_donors_left_out", 0),
        "types_left_out": summary.get("cell_types_of_few_donors", []),
    }
