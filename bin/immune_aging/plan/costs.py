"""How many tasks a run has, and how long they take."""

import math
import shutil

from immune_aging.cohort.columns import NO_COLUMN

# CPU seconds measured at 1.27 million cells, 1.5 billion counts, 982 donors, 6 cell types (docs/benchmarks.md), without
# the start of each task.
READING_PER_BILLION = 55.0  # read, check, filter, split
QC_PER_MILLION = 100.0
GENES_PER_MILLION = 25.0  # ranks, selection, normalised counts
COMPONENTS_PER_MILLION = 45.0  # PCA, Harmony
NEIGHBOURS_PER_MILLION = 230.0
LAYOUT_PER_MILLION = 72.0
CLUSTERS_PER_MILLION = 70.0  # a resolution
PLACING_PER_MILLION = 200.0  # cells by a sketch
SUMS_PER_MILLION = 25.0
TESTS_PER_SAMPLE = 0.028  # of a cell type
FIT_PER_SAMPLE = 0.0125  # of a cell type, model and penalty
START = 1.0  # of a task: Python and its libraries
# Memory of the largest task and bytes on disk, from the same run.
LARGEST_TASK_GB, LARGEST_TASK_GB_PER_MILLION = 1.0, 4.7
DISK_PER_COUNT, RESULTS_PER_COUNT = 3.0, 0.5  # of work/, of what is copied from there
EXPORT_PER_COUNT, LAYER_PER_COUNT = 2.75, 2.35  # raw counts, the layer log1p


def task_counts(plan: dict, parameters: dict, fan_out: dict, parts: list[str]) -> dict[str, int]:
    """How many tasks each process of a run has.

    Parameters
    ----------
    plan
        n_cells_kept, n_types, n_shards.
    parameters
        The value of each parameter.
    fan_out
        `fits` (model and penalty), `resolutions`, `variants`: what the workflow makes tasks for each of. A variant with
        `cells` changes which cells there are.
    parts
        The parts of the analysis that the run comes to; without qc it starts from a table of samples.
    """
    shards, types, variants = plan["n_shards"], plan["n_types"], fan_out["variants"]
    once = ["PLAN_RUN", "DRAW_DAG", "REPORT"]
    counts: dict[str, int] = {}
    has_ages = parameters["age_column"] != NO_COLUMN
    counts["PUBLISHED_CLOCKS"] = bool(parameters["published_clocks"] and has_ages and "statistics" in parts)
    if "qc" in parts:
        once += ["FETCH_COHORT", "CHECK_COHORT", "FILTER_COHORT", "SPLIT_COHORT", "MERGE_QC", "PLOT_COHORT", "PLOT_QC"]
        own_doublet_rates = parameters["doublet_rate_per_1000"] is not None or parameters["doublet_rate_column"]
        counts["SIMULATE_COHORT"] = bool(parameters["simulate"])
        counts["QC_THRESHOLDS"] = bool(parameters["qc_thresholds"] == "mad" or own_doublet_rates)
        counts["QC_CELLS"] = shards
        counts["EXPORT_H5AD"] = bool(parameters["export_h5ad"])
    else:
        once.append("CHECK_PSEUDOBULK")
    if "embedding" in parts:
        once += ["SELECT_GENES", "PCA", "NEIGHBORS", "UMAP", "PLOT_EMBEDDING"]
        counts["HARMONY"] = parameters["integration"] == "harmony"
        ranking = {"seurat_v3": "RANK_GENES", "pearson_residuals": "RANK_RESIDUALS"}[parameters["hvg_flavor"]]
        counts |= {ranking: shards, "NORMALIZE": shards}
        if plan["n_cells_kept"] > parameters["embedding_cells"]:
            once += ["SKETCH_CELLS", "MERGE_PLACED"]
            counts["PLACE_CELLS"] = shards
            counts |= {"BATCH_SUMS": shards * counts["HARMONY"], "FIT_BATCHES": counts["HARMONY"]}
        counts["GENE_EXPRESSION"] = shards * bool(parameters["report_genes"])
    if "clusters" in parts:
        counts["CLUSTER"] = len(fan_out["resolutions"])
    if "pseudobulk" in parts:
        once.append("PLOT_PSEUDOBULK")
        if "qc" in parts:
            once.append("MERGE_PSEUDOBULK")
            counts["PSEUDOBULK"] = shards
    if "statistics" in parts:
        once += ["FETCH_GENE_SETS", "COMPOSITION", "COMPARE_CELL_TYPES", "PLOT_COMPARISON"]
        by_type = ["DIFFERENTIAL_EXPRESSION", "GSEA", "OVERREPRESENTATION", "PLOT_CELL_TYPE"]
        counts |= dict.fromkeys(by_type, types)
        counts["PREDICT_AGE"] = types * len(fan_out["fits"])
        counts["SUMMARIZE_PREDICTIONS"] = has_ages
        counts["IMMUNE_AGE"] = bool(parameters["nested_alphas"]) and has_ages
        counts |= dict.fromkeys(["COMPARE_COHORTS", "PLOT_COHORTS"], bool(parameters["compare_with"]))
        of_cells = sum(variant["cells"] for variant in variants)
        counts |= {"VARY_QC": of_cells, "VARIED_PSEUDOBULK": of_cells * shards, "VARIED_SAMPLES": of_cells}
        counts |= {"VARIED_EXPRESSION": len(variants) * types, "SENSITIVITY": bool(variants)}
    counts |= dict.fromkeys(once, 1)
    return {process: int(count) for process, count in sorted(counts.items()) if count}


def costs(plan: dict, asked: dict, *, parts: list[str], cores: int) -> dict:
    """Tasks, minutes, memory and disk of a run, from what was measured on a cohort of a million cells.

    Parameters
    ----------
    plan
        n_cells, n_counts (stored), n_samples (of all cell types), n_types, n_shards; cells are 0 for a table.
    asked
        `parameters` and `fan_out`, as `task_counts` takes them.
    parts
        As of `task_counts`.
    """
    value, fan_out, samples = asked["parameters"], asked["fan_out"], plan["n_samples"]
    million, billion = plan["n_cells_kept"] / 1e6, plan["n_counts"] / 1e9
    embedded = min(million, value["embedding_cells"] / 1e6)
    embedding, sums, statistics = (part in parts for part in ("embedding", "pseudobulk", "statistics"))
    n_resolutions = len(fan_out["resolutions"]) * ("clusters" in parts)
    fits, n_variants = len(fan_out["fits"]) * statistics, len(fan_out["variants"]) * statistics
    processes = task_counts(plan, value, fan_out, parts)
    tasks = sum(processes.values())

    serial = READING_PER_BILLION * billion
    serial += embedding * (COMPONENTS_PER_MILLION * million + LAYOUT_PER_MILLION * embedded)
    parallel = QC_PER_MILLION * million
    parallel += embedding * (GENES_PER_MILLION * million + NEIGHBOURS_PER_MILLION * embedded)
    parallel += embedding * (million > embedded) * PLACING_PER_MILLION * million
    parallel += n_resolutions * CLUSTERS_PER_MILLION * embedded + sums * SUMS_PER_MILLION * million
    parallel += statistics * (1 + n_variants) * TESTS_PER_SAMPLE * samples + fits * FIT_PER_SAMPLE * samples
    parallel += START * tasks
    export = value["export_h5ad"] and EXPORT_PER_COUNT + bool(value["export_normalized"]) * LAYER_PER_COUNT
    disk = DISK_PER_COUNT + export + (value["publish_mode"] == "copy") * (RESULTS_PER_COUNT + export)
    return {
        "tasks": tasks,
        "processes": processes,
        "cores": cores,
        "minutes": max(1, math.ceil((serial + parallel / cores) / 60)),
        "largest_task_gb": round(LARGEST_TASK_GB + LARGEST_TASK_GB_PER_MILLION * embedded, 1),
        "disk_gb": round(0.05 + disk * billion, 1),
        "free_disk_gb": round(shutil.disk_usage(".").free / 1e9, 1),
    }
