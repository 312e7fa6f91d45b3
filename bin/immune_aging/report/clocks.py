"""What the report says of published clocks: how well each tells these donors' ages, and whether it has seen them."""

from immune_aging.prediction.training_cohorts import Training, training_notes
from immune_aging.results import Results

FOLDER = "published_clocks"


def training_in(results: Results) -> dict[str, Training]:
    """What is known of each clock's training, as PUBLISHED_CLOCKS wrote it."""
    said = results.summary(f"{FOLDER}/clocks.json").get("training", {})
    return {name: Training(**one) for name, one in said.items()}


def published_clocks(results: Results) -> dict:
    """Rows: each clock that tells the age of any donor, its metrics and its training in words; and other notes."""
    columns = ["clock", "cell_types", "n_donors", "mae", "baseline_mae", "r", "spearman", "weight_missing"]
    metrics = results.table(f"{FOLDER}/clock_metrics.tsv", columns)
    training = training_in(results)
    told = [] if metrics is None else metrics[metrics["n_donors"] > 0].to_dict("records")
    beside = training_notes(training)  # stand beside the clock's metrics
    return {
        "rows": [row | {"training": training[row["clock"]].text} for row in told],
        "notes": [note for note in results.summary(f"{FOLDER}/clocks.json").get("notes", []) if note not in beside],
    }


def seen_ages(results: Results) -> list[str]:
    """A note on each clock that was trained on this very cohort, for the top of the report."""
    known = {name: one for name, one in training_in(results).items() if one.recognised}
    return [f"published {note}" for note in training_notes(known)]
