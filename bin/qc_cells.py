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
import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from checkpoints import read_h5ad, read_parquet, write_json, write_parquet, write_versions
from command_line import BadInput, Progress, limit_threads, run
from gene_lists import is_hemoglobin, is_mitochondrial, is_ribosomal
from qc_rules import BOUNDS, Thresholds, broken_rules, reasons_of

MIN_CELLS_FOR_SCRUBLET = 100
# Scrublet's own defaults (scrublet 0.2.3, `Scrublet.scrub_doublets`).
SCRUBLET_DEFAULTS = {"min_counts": 3, "min_cells": 3, "min_gene_variability_pctl": 85, "n_prin_comps": 30}
FEWER_COMPONENTS = (SCRUBLET_DEFAULTS["n_prin_comps"], 20, 10)
# A threshold found between two modes that are not there calls a large part of the donor, or next to nothing of it.
PLAUSIBLE_CALLS = (0.2, 3.0)
# In donors of few cells a plausible threshold is often too low. Measured on five cohorts of 180 cells a donor: with at
# most so many times the expected calls precision is .91 instead of .89 at the same recall (.79); with 1,000 cells a
# donor nothing changes.
MOST_CALLS = 1.75


def qc_metrics(counts: sparse.csr_matrix, symbols: np.ndarray) -> pd.DataFrame:
    """QC metrics of cells, as `scanpy.pp.calculate_qc_metrics` defines them.

    Parameters
    ----------
    counts
        Cells x genes, raw counts.
    symbols
        Gene symbols, '' where unknown.

    Returns
    -------
    n_genes, n_counts and pct_mito, pct_ribo, pct_hb (0-100; NaN where no gene has a symbol; 0 in an empty cell).
    """
    ones = np.ones(counts.shape[1], dtype=np.float64)
    totals = (counts @ ones).astype(np.int64)
    metrics = pd.DataFrame({"n_genes": np.diff(counts.indptr).astype(np.int64), "n_counts": totals})
    known = (symbols != "").any()
    for name, member in (("mito", is_mitochondrial), ("ribo", is_ribosomal), ("hb", is_hemoglobin)):
        part = counts @ member(symbols).astype(np.float64)
        share = np.divide(100 * part, totals, out=np.zeros(len(totals)), where=totals > 0)
        metrics[f"pct_{name}"] = share if known else np.nan
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


def score_doublets(
    counts: sparse.csr_matrix, *, expected_rate: float, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Scrublet's doublet scores of one donor's cells, and its calls (None where it finds no threshold).

    Parameters
    ----------
    counts
        Cells of one donor x all genes, raw counts.
    """
    import scrublet

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        counts = sparse.csc_matrix(counts.astype(np.float64))
        scrub = scrublet.Scrublet(counts, expected_doublet_rate=expected_rate, random_state=seed)
        for components in FEWER_COMPONENTS:
            options = SCRUBLET_DEFAULTS | {"n_prin_comps": components}
            try:
                scores, found = scrub.scrub_doublets(use_approx_neighbors=False, verbose=False, **options)
                break
            except ValueError as error:
                # Raised where Scrublet's own gene filter leaves fewer variable genes than components.
                if "n_components" not in str(error) or components == FEWER_COMPONENTS[-1]:
                    raise
    return scores, found


def doublets_by_donor(
    counts: sparse.csr_matrix, donors: np.ndarray, passing: np.ndarray, *, expected_rate: float, seed: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score and call the doublets of each donor among the cells that pass the thresholds.

    Returns
    -------
    doublet_score (NaN where not scored) and is_doublet by cell, and by donor how it was called or why it was not.
    """
    score, called = np.full(len(donors), np.nan), np.zeros(len(donors), dtype=bool)
    how = {}
    progress = Progress(len(donors), unit="cells", label="doublets")
    for donor in np.unique(donors):
        rows = np.flatnonzero((donors == donor) & passing)
        if len(rows) < MIN_CELLS_FOR_SCRUBLET:
            how[donor] = f"not scored: fewer than {MIN_CELLS_FOR_SCRUBLET} cells"
        else:
            try:
                score[rows], found = score_doublets(counts[rows], expected_rate=expected_rate, seed=seed)
                called[rows], how[donor] = call_doublets(score[rows], found, expected_rate=expected_rate)
            except (ValueError, np.linalg.LinAlgError) as error:
                how[donor] = f"not scored: {' '.join(str(error).split())}"
        progress.advance(int((donors == donor).sum()))
    progress.close()
    return pd.DataFrame({"doublet_score": score, "is_doublet": called}), how


def rules_of_cells(
    donors: np.ndarray, fixed: Thresholds, expected_rate: float, table: pd.DataFrame | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """The bounds and the expected doublet rate of each cell.

    Parameters
    ----------
    donors
        Donor of each cell.
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
        bounds = pd.DataFrame({name: np.full(len(donors), float(value)) for name, value in vars(fixed).items()})
        return bounds, np.full(len(donors), expected_rate)
    missing = set(donors) - set(table["donor_id"])
    if missing:
        raise BadInput(f"thresholds: donor '{min(missing)}' is missing; make them from the same cohort")
    rows = table.set_index("donor_id").loc[donors].reset_index(drop=True)
    return rows[list(BOUNDS)].astype(float), rows["expected_doublet_rate"].to_numpy(dtype=float)


def doublets_at_rates(
    counts: sparse.csr_matrix, donors: np.ndarray, passing: np.ndarray, *, rates: np.ndarray, seed: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """`doublets_by_donor` with an expected rate of each donor's own.

    Parameters
    ----------
    rates
        Expected share of doublets, one value a cell, the same in all cells of a donor.
    """
    if len(np.unique(rates)) == 1:
        return doublets_by_donor(counts, donors, passing, expected_rate=float(rates[0]), seed=seed)
    parts, how = [], {}
    for rate in np.unique(rates):
        rows = np.flatnonzero(rates == rate)
        part, part_how = doublets_by_donor(
            counts[rows], donors[rows], passing[rows], expected_rate=float(rate), seed=seed
        )
        parts.append(part.set_index(rows))
        how |= part_how
    return pd.concat(parts).sort_index(), dict(sorted(how.items()))


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
    table = read_parquet(args.thresholds) if args.thresholds else None
    shard = read_h5ad(args.shard)
    symbols, donors = shard.var["symbol"].to_numpy(dtype=object), shard.obs["donor_id"].to_numpy(dtype=object)
    metrics = qc_metrics(shard.X, symbols)
    bounds, rates = rules_of_cells(donors, fixed, args.expected_doublet_rate, table)
    rules = broken_rules(metrics, bounds)
    passing = ~np.logical_or.reduce(list(rules.values()))
    # One thread: with two, BLAS adds up in another order and scores change in their last digits. Shards run in
    # parallel instead.
    with limit_threads(1):
        doublets, how = doublets_at_rates(shard.X, donors, passing, rates=rates, seed=args.seed)
    rules["doublet"] = doublets["is_doublet"].to_numpy()
    cells = pd.DataFrame(
        {
            "cell_id": shard.obs_names.to_numpy(dtype=object),
            "donor_id": donors,
            "cell_type": shard.obs["cell_type"].to_numpy(dtype=object),
        }
    )
    reason = reasons_of(rules)
    cells = pd.concat([cells, metrics, doublets], axis=1).assign(kept=reason == "", reason=reason)
    write_parquet(cells, args.output)

    notes = []
    if not (symbols != "").any():
        notes.append("no gene symbols: mitochondrial, ribosomal and hemoglobin shares are unknown and were not judged")
    else:
        for name, member in (("mitochondrial", is_mitochondrial), ("hemoglobin", is_hemoglobin)):
            if not member(symbols).any():
                notes.append(f"no {name} gene in the cohort: its share is 0 in every cell")
    in_force = {name: [float(bounds[name].min()), float(bounds[name].max())] for name in BOUNDS}
    expected = dict(zip(donors.tolist(), rates.tolist(), strict=True))
    summary = {"donors": how, "notes": notes, "thresholds": in_force, "expected_doublet_rates": expected}
    write_json(summary, args.output_summary)
    write_versions("qc_cells", ["numpy", "scipy", "scrublet"], args.versions)


if __name__ == "__main__":
    run(main)
