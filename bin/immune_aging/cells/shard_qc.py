"""Quality control of one shard, sample by sample: metrics, broken rules, doublets.

A sample is what was loaded together: a donor, or one of several samples of a donor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cells.doublet_calls import METHODS, SCRUBLET
from immune_aging.cells.metrics import gene_classes, qc_metrics
from immune_aging.cells.qc_rules import BOUNDS, Thresholds, broken_rules, reasons_of
from immune_aging.cohort.shard_file import Shard, sample_counts
from immune_aging.task.command_line import Progress, limit_threads

# The donor, and the sample where donors have several.
Sample = tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A shard after quality control.

    Attributes
    ----------
    cells
        One row per cell in the shard's order: cell_id, donor_id, cell_type, metrics, doublet_score, is_doublet, kept,
        and in reason every rule that the cell broke.
    doublets
        How the doublets of each sample were called, or why they were not; by `Sample`.
    notes
        What could not be judged.
    """

    cells: pd.DataFrame
    doublets: dict[Sample, str]
    notes: list[str]


def judge_sample(
    counts: sparse.csr_matrix,
    classes: pd.DataFrame | None,
    bounds: Thresholds,
    find_doublets: Callable[[sparse.csr_matrix, np.ndarray], tuple[pd.DataFrame, str]],
) -> tuple[pd.DataFrame, str]:
    """Judge the cells of one sample.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    classes
        `gene_classes` of the genes.
    find_doublets
        Of the counts and of which cells pass the thresholds: one of `METHODS` with all else that it needs.

    Returns
    -------
    Metrics, doublet_score, is_doublet, kept, reason, one row per cell; and how the doublets were called.
    """
    metrics = qc_metrics(counts, classes)
    rules = broken_rules(metrics, bounds)
    passing = ~np.logical_or.reduce(list(rules.values()))
    doublets, how = find_doublets(counts, passing)
    reason = reasons_of(rules | {"doublet": doublets["is_doublet"].to_numpy()})
    return pd.concat([metrics, doublets], axis=1).assign(kept=reason == "", reason=reason), how


def notes_on_classes(classes: pd.DataFrame | None) -> list[str]:
    """Which shares of counts could not be judged, from `gene_classes`."""
    if classes is None:
        return ["no gene symbols: mitochondrial, ribosomal and hemoglobin shares are unknown and were not judged"]
    return [
        f"no {name} gene in the cohort: its share is 0 in every cell"
        for name, column in (("mitochondrial", "mito"), ("hemoglobin", "hb"))
        if not classes[column].any()
    ]


def judge_shard(
    shard: Shard,
    rules: Mapping[Sample, tuple[Thresholds, float]],
    *,
    method: str = SCRUBLET,
    spare_rare_types: bool = False,
    seed: int,
) -> Judged:
    """Judge all cells of a shard; one sample's counts are in memory at a time.

    Parameters
    ----------
    rules
        Bounds and expected share of doublets of each sample.
    method
        The name of one of `METHODS`.
    spare_rare_types
        Scrublet calls no cell of a type that is too rare in its sample to be judged.
    """
    classes, tables, how = gene_classes(shard.symbols), [], {}
    progress = Progress(len(shard.cell_ids), unit="cells", label="quality control")
    # One thread: with two, BLAS adds up in another order and scores change in their last digits. Shards run in
    # parallel instead.
    with limit_threads(1):
        for sample, rows, counts in sample_counts(shard):
            bounds, rate = rules[sample]
            calls = None if shard.calls is None else shard.calls[rows]

            types = shard.cell_types[rows] if spare_rare_types else None

            def find_doublets(own, passing, calls=calls, rate=rate, types=types):
                return METHODS[method](own, passing, calls, cell_types=types, expected_rate=rate, seed=seed)

            table, how[sample] = judge_sample(counts, classes, bounds, find_doublets)
            tables.append(table)
            progress.advance(rows.stop - rows.start)
    progress.close()
    cells = shard.labels().assign(cell_type=shard.cell_types)
    cells.insert(0, "cell_id", shard.cell_ids)
    return Judged(pd.concat([cells, pd.concat(tables, ignore_index=True)], axis=1), how, notes_on_classes(classes))


def by_name(values: Mapping[Sample, object]) -> dict:
    """Values by donor; where donors have samples, by donor and then by sample."""
    nested: dict = {}
    for (donor, *sample), value in values.items():
        if sample:
            nested.setdefault(donor, {})[sample[0]] = value
        else:
            nested[donor] = value
    return nested


def shard_summary(judged: Judged, rules: Mapping[Sample, tuple[Thresholds, float]], *, method: str = SCRUBLET) -> dict:
    """What qc.json says: how doublets were called, notes, the range of each bound, expected rates (`by_name`).

    Only Scrublet goes by a rate.
    """
    in_force = pd.DataFrame([vars(bounds) for bounds, _ in rules.values()])
    return {
        "donors": by_name(judged.doublets),
        "notes": judged.notes,
        "thresholds": {name: [float(in_force[name].min()), float(in_force[name].max())] for name in BOUNDS},
        "expected_doublet_rates": by_name({sample: rate for sample, (_, rate) in rules.items() if method == SCRUBLET}),
    }
