#!/usr/bin/env python3
"""Compare this cohort's effects with those of cohorts that this pipeline analysed earlier.

In: the published trees of DIFFERENTIAL_EXPRESSION and `samples.tsv` of this run, and the results folders of earlier
runs on other cohorts. Out: `effects.tsv`, one row per cell type and gene that two cohorts tested; `discoveries.tsv`,
one row per gene that one cohort calls, with what the other says of it; `rates.tsv`, how many replicate and how many
were to be expected; `concordance.tsv`, how often the directions agree; `shared_donors.tsv`; and a summary.
"""

import argparse
from pathlib import Path

from immune_aging import results
from immune_aging.statistics.cohort_comparison import TABLES, compare_cohorts
from immune_aging.statistics.cohort_effects import cohort_of
from immune_aging.statistics.other_cohorts import OPTION, THIS, labels_of, published_by
from immune_aging.task.checkpoints import write_json, write_tsv, write_versions
from immune_aging.task.command_line import limit_threads, run
from immune_aging.task.skipped import write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees of this run")
    parser.add_argument("--samples", type=Path, required=True, help="samples.tsv of this run")
    parser.add_argument("--others", type=Path, nargs="+", required=True, help="results folders of other cohorts")
    parser.add_argument("--shown", nargs="+", required=True, help="the same as the user named them, in this order")
    parser.add_argument("--strict", action="store_true", help="no cell type to compare is an error")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables and the summary")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    own = results.Results({**results.merge_trees(args.published), "pseudobulk/samples.tsv": args.samples})
    labels = labels_of(args.shown)
    others = [published_by(folder, shown=shown) for folder, shown in zip(args.others, args.shown, strict=True)]
    cohorts = [cohort_of(THIS, own, source=args.published[0])]
    for label, other, shown in zip(labels, others, args.shown, strict=True):
        cohorts.append(cohort_of(label, other, source=f"{OPTION} {shown}"))
    with limit_threads(1):
        found = compare_cohorts(cohorts)
    facts = {"folders": dict(zip(labels, args.shown, strict=True)), **found.facts}
    write_tsv(found.donors, args.output / "shared_donors.tsv")
    summary = args.output / "replication_summary.json"
    if found.reason:
        tables = {args.output / f"{name}.tsv": columns for name, columns in TABLES.items()}
        write_skipped(found.reason, tables=tables, summary=summary, strict=args.strict, facts=facts)
    else:
        for name in TABLES:
            write_tsv(getattr(found, name), args.output / f"{name}.tsv")
        write_json({"status": "done", "reason": "", **facts}, summary)
    write_versions("compare_cohorts", ["numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
