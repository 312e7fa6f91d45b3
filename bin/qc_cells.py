#!/usr/bin/env python3
"""Quality control of one shard: metrics, thresholds, and doublets by Scrublet donor by donor.

In: a shard of raw counts. Out: a table with one row a cell of the shard, in its order: metrics, doublet score,
whether the cell is kept and every rule it broke; and `qc.json` with the thresholds in force and what could not be
done. Thresholds and the expected doublet rate are the same for all, or each donor's own where a table gives them.

Scrublet (Wolock, Lopez & Klein 2019, doi:10.1016/j.cels.2018.11.005) runs on the cells that pass the thresholds,
on all genes, with exact neighbours, each donor by itself: doublets form within a sample, and a donor's scores then
depend on no other donor.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from checkpoints import read_parquet, write_json, write_parquet, write_versions
from command_line import BadInput, Progress, limit_threads, run
from doublets import score_doublets
from gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal
from qc_rules import BOUNDS, Thresholds, broken_rules, reasons_of
from shard_file import donor_counts, read_shard

MIN_CELLS_FOR_SCRUBLET = 100
# A threshold found between two modes that are not there calls a large part of the donor, or next to nothing of it.
PLAUSIBLE_CALLS = (0.2, 3.0)
# In donors of few cells a plausible threshold is often too low. Measured on five cohorts of 180 cells a donor: with at
# most so many times the expected calls precision is .91 instead of .89 at the same recall (.79); with 1,000 cells a
# donor nothing changes.
MOST_CALLS = 1.75


def gene_classes(symbols: np.ndarray) -> pd.DataFrame | None:
    """Which genes are mitochondrial, ribosomal, hemoglobin: booleans, genes x mito, ribo, hb; None without symbols."""
    if not (symbols != "").any():
        return None
    return pd.DataFrame(
        {"mito": is_mitochondrial(symbols), "ribo": is_ribosomal(symbols), "hb": is_hemoglobin(symbols)}
    )


def qc_metrics(counts: sparse.csr_matrix, classes: pd.DataFrame | None) -> pd.DataFrame:
    """QC metrics of cells, as `scanpy.pp.calculate_qc_metrics` defines them.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    classes
        `gene_classes` of the genes.

    Returns
    -------
    n_genes, n_counts and pct_mito, pct_ribo, pct_hb (0-100; NaN where no gene has a symbol; 0 in an empty cell).
    """
    n_genes = counts.shape[1]
    member = np.ones((n_genes, 1)) if classes is None else np.column_stack([np.ones(n_genes), classes.to_numpy(float)])
    sums = counts.astype(np.float64) @ member
    totals = sums[:, 0].astype(np.int64)
    metrics = pd.DataFrame({"n_genes": np.diff(counts.indptr).astype(np.int64), "n_counts": totals})
    for column, name in enumerate(("mito", "ribo", "hb"), start=1):
        share = np.full(len(totals), np.nan)
        if classes is not None:
            share = np.divide(100 * sums[:, column], totals, out=np.zeros(len(totals)), where=totals > 0)
        metrics[f"pct_{name}"] = share
    return metrics


def call_doublets(scores: np.ndarray, found: np.ndarray | None, *, expected_rate: float) -> tuple[np.ndarray, str]:
    """Doublet calls of one donor.

    Scrublet's calls stand where its threshold is plausible, the highest scores of them up to `MOST_CALLS` times the
    expected rate; else the `expected_rate` of cells with the highest scores is called. Ties at a limit are not called.

    Parameters
    ----------
    scores
        Doublet scores of the donor's cells.
    found
        Scrublet's calls, or None where it found no threshold.

    Returns
    -------
    Calls, and 'scrublet', 'scrublet, fewer' or 'expected rate'.
    """
    low, high = PLAUSIBLE_CALLS
    if found is not None and low * expected_rate <= found.mean() <= high * expected_rate:
        if found.mean() > MOST_CALLS * expected_rate:
            return found & (scores > np.quantile(scores, 1 - MOST_CALLS * expected_rate)), "scrublet, fewer"
        return found.astype(bool), "scrublet"
    return scores > np.quantile(scores, 1 - expected_rate), "expected rate"


def doublets_of_donor(
    counts: sparse.csr_matrix, passing: np.ndarray, *, expected_rate: float, seed: int
) -> tuple[pd.DataFrame, str]:
    """Score and call the doublets of one donor among the cells that pass the thresholds.

    Returns
    -------
    doublet_score (NaN where not scored) and is_doublet by cell, and how they were called or why they were not.
    """
    score, called = np.full(len(passing), np.nan), np.zeros(len(passing), dtype=bool)
    if passing.sum() < MIN_CELLS_FOR_SCRUBLET:
        how = f"not scored: fewer than {MIN_CELLS_FOR_SCRUBLET} cells"
    else:
        try:
            found = score_doublets(counts[passing], expected_rate=expected_rate, seed=seed)
            score[passing] = found.cells
            called[passing], how = call_doublets(found.cells, found.calls, expected_rate=expected_rate)
        except (ValueError, np.linalg.LinAlgError) as error:
            how = f"not scored: {' '.join(str(error).split())}"
    return pd.DataFrame({"doublet_score": score, "is_doublet": called}), how


def rules_by_donor(
    donors: np.ndarray, fixed: Thresholds, expected_rate: float, table: pd.DataFrame | None
) -> dict[str, tuple[Thresholds, float]]:
    """The bounds and the expected doublet rate of each donor.

    Parameters
    ----------
    fixed, expected_rate
        What holds where there is no table.
    table
        One row a donor: donor_id, the bounds, expected_doublet_rate (made by QC_THRESHOLDS).

    Raises
    ------
    BadInput
        The table lacks a donor.
    """
    if table is None:
        return dict.fromkeys(donors, (fixed, expected_rate))
    if missing := set(donors) - set(table["donor_id"]):
        raise BadInput(f"thresholds: donor '{min(missing)}' is missing; make them from the same cohort")
    rows = table.set_index("donor_id")
    bounds, rates = rows[list(BOUNDS)].astype(float), rows["expected_doublet_rate"].astype(float)
    return {donor: (Thresholds(**bounds.loc[donor]), float(rates[donor])) for donor in donors}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", type=Path, required=True)
    for name, default in vars(Thresholds()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    parser.add_argument("--expected-doublet-rate", type=float, default=0.06)
    parser.add_argument("--thresholds", type=Path, help="a table with each donor's own bounds and doublet rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--output-summary", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    fixed = Thresholds(**{name: getattr(args, name) for name in BOUNDS})
    shard = read_shard(args.shard)
    table = read_parquet(args.thresholds) if args.thresholds else None
    rules_of = rules_by_donor(np.unique(shard.donors), fixed, args.expected_doublet_rate, table)
    classes = gene_classes(shard.symbols)
    tables, how = [], {}
    progress = Progress(len(shard.cell_ids), unit="cells", label="quality control")
    # One thread: with two, BLAS adds up in another order and scores change in their last digits. Shards run in
    # parallel instead.
    with limit_threads(1):
        for donor, rows, counts in donor_counts(shard):
            bounds, rate = rules_of[donor]
            metrics = qc_metrics(counts, classes)
            rules = broken_rules(metrics, bounds)
            passing = ~np.logical_or.reduce(list(rules.values()))
            doublets, how[donor] = doublets_of_donor(counts, passing, expected_rate=rate, seed=args.seed)
            rules["doublet"] = doublets["is_doublet"].to_numpy()
            reason = reasons_of(rules)
            tables.append(pd.concat([metrics, doublets], axis=1).assign(kept=reason == "", reason=reason))
            progress.advance(rows.stop - rows.start)
    progress.close()
    cells = pd.DataFrame({"cell_id": shard.cell_ids, "donor_id": shard.donors, "cell_type": shard.cell_types})
    write_parquet(pd.concat([cells, pd.concat(tables, ignore_index=True)], axis=1), args.output)

    notes = []
    if classes is None:
        notes.append("no gene symbols: mitochondrial, ribosomal and hemoglobin shares are unknown and were not judged")
    else:
        for name, column in (("mitochondrial", "mito"), ("hemoglobin", "hb")):
            if not classes[column].any():
                notes.append(f"no {name} gene in the cohort: its share is 0 in every cell")
    in_force = pd.DataFrame([vars(bounds) for bounds, _ in rules_of.values()])
    summary = {
        "donors": how,
        "notes": notes,
        "thresholds": {name: [float(in_force[name].min()), float(in_force[name].max())] for name in BOUNDS},
        "expected_doublet_rates": {donor: rate for donor, (_, rate) in rules_of.items()},
    }
    write_json(summary, args.output_summary)
    write_versions("qc_cells", ["h5py", "numpy", "scikit-learn", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
