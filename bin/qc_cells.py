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

from immune_aging.cells.doublet_calls import doublets_of_donor
from immune_aging.cells.metrics import gene_classes, qc_metrics
from immune_aging.cells.qc_rules import BOUNDS, Thresholds, broken_rules, reasons_of
from immune_aging.cells.thresholds import rules_by_donor
from immune_aging.cohort.shard_file import donor_counts, read_shard
from immune_aging.task.checkpoints import read_parquet, write_json, write_parquet, write_versions
from immune_aging.task.command_line import Progress, limit_threads, run


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
