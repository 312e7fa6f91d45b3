#!/usr/bin/env python3
"""What the cell types have in common: genes and gene sets that age alike, and what each cell type could have shown.

In: the published trees of DIFFERENTIAL_EXPRESSION and GSEA. Out: `shared_ageing.tsv`, one row a gene that at least
two cell types were tested for; `gsea_nes.tsv`, gene sets x cell types; `power.tsv`, the smallest effect that each
cell type would show; and a summary.
"""

import argparse
from pathlib import Path

import numpy as np

from immune_aging.results import merge_trees
from immune_aging.statistics.comparison import ALPHA, PATTERNS, SETS, SHARED, enrichment_matrix, measured, shared_ageing
from immune_aging.statistics.power import CHANGING_SHARE, POWER_AIM, power_table
from immune_aging.task.checkpoints import write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, limit_threads, run
from immune_aging.task.skipped import write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees of all cell types")
    parser.add_argument("--strict", action="store_true", help="fewer than two cell types with a result are an error")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables and the summary")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    files = merge_trees(args.published)
    tables, summaries, left_out = measured(files)
    if not tables and not left_out:
        raise BadInput(f"--published {args.published[0]}: holds no de.tsv; give what DIFFERENTIAL_EXPRESSION publishes")
    names = {name: str(summary.get("cell_type", name)) for name, summary in summaries.items()}
    sds = {name: float(summary.get("test_term_sd") or np.nan) for name, summary in summaries.items()}
    samples = {name: int(summary.get("n_samples", 0)) for name, summary in summaries.items()}
    by_age = all(summary.get("test_term") == "age" for summary in summaries.values())
    first = next(iter(summaries.values()), {})
    facts = {
        "test_term": first.get("test_term", ""),
        "contrast": first.get("contrast", ""),
        "cell_types": names,
        "left_out": left_out,
        "rule_power": f"adjusted p < {ALPHA}, {POWER_AIM:.0%} power, {CHANGING_SHARE:.0%} of the genes changing",
    }
    decade = sds if by_age else dict.fromkeys(sds, np.nan)
    write_tsv(power_table(tables, names, samples, decade), args.output / "power.tsv")
    sets = enrichment_matrix(files)
    write_tsv(sets.reindex(columns=list(sets.columns) if len(sets) else list(SETS)), args.output / "gsea_nes.tsv")
    facts |= {"n_gene_sets": len(sets)}

    summary = args.output / "comparison_summary.json"
    path = args.output / "shared_ageing.tsv"
    with limit_threads(1):
        if len(tables) < 2:
            reason = f"{len(tables)} cell type with tested genes; two are needed to compare"
            write_skipped(reason, tables={path: SHARED}, summary=summary, strict=args.strict, facts=facts)
        else:
            table, correlations, common = shared_ageing(tables, sds)
            table["lfc_per_decade"] = table["log2_fold_change"] / common * 10 if by_age else np.nan
            order = table.sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)
            write_tsv(order[[*SHARED, *(f"lfc_{name}" for name in tables)]], path)
            facts |= {
                "n_genes": len(table),
                "patterns": {name: int((table["pattern"] == name).sum()) for name in PATTERNS},
                "common_sd": common,
                "error_correlation": [
                    {name: row.round(2).to_dict() for name, row in correlation.iterrows()}
                    for correlation in correlations
                ],
            }
            write_json({"status": "done", "reason": "", **facts}, summary)
    write_versions("compare_cell_types", ["numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
