"""How many tasks a run has, and how long they take."""

import math
import shutil

PARTS = ("qc", "embedding", "clusters", "pseudobulk", "statistics")
# CPU seconds measured at 1.27 million cells, 1.5 billion counts, 982 donors, 6 cell types (docs/benchmarks.md), without
# the start of each task.
READING_PER_BILLION = 55.0  # read, check, filter, split
QC_PER_MILLION = 100.0
GENES_PER_MILLION = 25.0  # ranks, selection, normalised counts
COMPONENTS_PER_MILLION = 45.0  # PCA, Harmony
NEIGHBOURS_PER_MILLION = 230.0
LAYOUT_PER_MILLION = 72.0
CLUSTERS_PER_MILLION = 70.0  # a resolution
SUMS_PER_MILLION = 25.0
TESTS_PER_SAMPLE = 0.028  # of a cell type
FIT_PER_SAMPLE = 0.0125  # of a cell type, model and penalty
START = 1.0  # of a task: Python and its libraries
# Memory of the largest task and bytes on disk, from the same run.
LARGEST_TASK_GB, LARGEST_TASK_GB_PER_MILLION = 1.0, 4.7
DISK_PER_COUNT, RESULTS_PER_COUNT = 3.0, 0.5  # of work/, of what is copied from there
EXPORT_PER_COUNT, LAYER_PER_COUNT = 2.75, 2.35  # raw counts, the layer log1p


def reaches(stop_after: str, part: str) -> bool:
    """Whether a run that ends after `stop_after` ('' for the whole) comes to `part`."""
    return not stop_after or PARTS.index(part) <= PARTS.index(stop_after)


def list_value(parameters: dict, name: str) -> list[str]:
    """The elements of a list parameter, whichever way it was given."""
    value = parameters[name]["value"]
    value = value if isinstance(value, list) else str(value or "").split(",")
    return [str(element).strip() for element in value if str(element).strip()]


def prediction_fits(parameters: dict) -> int:
    """How many models and penalties each cell type is given."""
    own = {"elastic_net": "elastic_net_alphas", "linear_svr": "svr_alphas"}
    n_fits = 0
    for model in sorted(set(list_value(parameters, "prediction_models"))):
        alphas = list_value(parameters, own.get(model, "ridge_alphas")) or list_value(parameters, "ridge_alphas")
        n_fits += len(set(map(float, alphas))) + bool(parameters["nested_alphas"]["value"])
    return n_fits


def costs(plan: dict, parameters: dict, *, stop_after: str, cores: int) -> dict:
    """Tasks, minutes, memory and disk of a run, from what was measured on a cohort of a million cells.

    Parameters
    ----------
    plan
        n_cells, n_counts (stored), n_samples (of all cell types), n_types, n_shards; cells are 0 for a table.
    """
    shards, types, samples = plan["n_shards"], plan["n_types"], plan["n_samples"]
    million, billion = plan["n_cells_kept"] / 1e6, plan["n_counts"] / 1e9
    embedding = bool(million) and reaches(stop_after, "embedding")
    n_resolutions = len(set(map(float, list_value(parameters, "leiden_resolutions"))))
    n_resolutions *= bool(million) and reaches(stop_after, "clusters")
    sums = bool(million) and reaches(stop_after, "pseudobulk")
    statistics = reaches(stop_after, "statistics")
    fits = prediction_fits(parameters) * statistics
    variants = [text.partition(":")[2] or text for text in list_value(parameters, "sensitivity")] * statistics
    on_cells = sum(any(not one.strip().startswith("design") for one in text.split("&")) for text in variants)
    value = {name: entry["value"] for name, entry in parameters.items()}
    own_thresholds = value["qc_thresholds"] == "mad" or value["doublet_rate_per_1000"] or value["doublet_rate_column"]

    tasks = 2 + 2  # the plan and what reads the input; the graph and the report
    if million:
        tasks += 3 + 3 + shards + bool(own_thresholds) + bool(value["simulate"])
        tasks += (2 * shards + 6) * embedding + n_resolutions + (shards + 1) * sums
        tasks += bool(value["export_h5ad"]) + bool(value["published_clocks"] and statistics)
    tasks += reaches(stop_after, "pseudobulk")
    if statistics:
        tasks += 5 + bool(value["nested_alphas"]) + types * (4 + fits)
        tasks += bool(variants) + len(variants) * types + on_cells * (2 + shards)

    serial = READING_PER_BILLION * billion
    serial += embedding * (COMPONENTS_PER_MILLION + LAYOUT_PER_MILLION) * million
    parallel = QC_PER_MILLION * million + embedding * (GENES_PER_MILLION + NEIGHBOURS_PER_MILLION) * million
    parallel += n_resolutions * CLUSTERS_PER_MILLION * million + sums * SUMS_PER_MILLION * million
    parallel += statistics * (1 + len(variants)) * TESTS_PER_SAMPLE * samples + fits * FIT_PER_SAMPLE * samples
    parallel += START * tasks
    export = value["export_h5ad"] and EXPORT_PER_COUNT + bool(value["export_normalized"]) * LAYER_PER_COUNT
    disk = DISK_PER_COUNT + export + (value["publish_mode"] == "copy") * (RESULTS_PER_COUNT + export)
    return {
        "tasks": int(tasks),
        "cores": cores,
        "minutes": max(1, math.ceil((serial + parallel / cores) / 60)),
        "largest_task_gb": round(LARGEST_TASK_GB + LARGEST_TASK_GB_PER_MILLION * million, 1),
        "disk_gb": round(0.05 + disk * billion, 1),
        "free_disk_gb": round(shutil.disk_usage(".").free / 1e9, 1),
    }
