#!/usr/bin/env python3
"""Which genes of one cell type change with age: PyDESeq2 and limma-voom side by side on pseudobulk counts.

In: the cell type's pseudobulk table (raw count sums, one sample a donor). Out: `de.tsv`, one row a tested
gene, and `de_summary.json`, which counts what was left out and why. One engine is the primary, the other its
companion: a gene is `robust` where both call it with the same sign. The calls of both hold their false
discovery rate at any number of samples, those of PyDESeq2 alone only from about 60 on. A categorical term with
several levels also gives `de_contrasts.tsv`, every contrast one after another.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.statistics.batches import AUTO, EFFECTS, choose_batches
from immune_aging.statistics.count_tests import (
    COOKS,
    REFERENCES,
    DeseqOptions,
)
from immune_aging.statistics.designs import DEFAULT_DESIGN, build_design
from immune_aging.statistics.expression_tests import (
    COLUMNS,
    METHODS,
    cautions,
    compare_genes,
    design_facts,
    random_blocks,
    without_outliers,
)
from immune_aging.task.checkpoints import write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, limit_threads, run
from immune_aging.task.skipped import CannotFit, write_skipped


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pseudobulk", required=True, help="the cell type's pseudobulk table (h5ad)")
    parser.add_argument("--design", default=DEFAULT_DESIGN, help="formula over donor columns (default: %(default)s)")
    parser.add_argument("--test-term", default="age", help="donor column to test (default: %(default)s)")
    parser.add_argument(
        "--method", default="pydeseq2", choices=METHODS, help="the primary engine (default: %(default)s)"
    )
    parser.add_argument("--contrast", default="", help="'LEVEL vs REFERENCE' of a categorical term")
    parser.add_argument("--pool-column", default=AUTO, help="donor column of batches, auto or none")
    parser.add_argument("--pool-effect", default="auto", choices=EFFECTS, help="how it enters (default: %(default)s)")
    parser.add_argument("--keep-outliers", action="store_true", help="keep samples that do not belong with the others")
    parser.add_argument("--cooks", default="deseq2", choices=COOKS, help="PyDESeq2's outliers (default: %(default)s)")
    parser.add_argument(
        "--reference", default="auto", choices=REFERENCES, help="PyDESeq2's null distribution (default: %(default)s)"
    )
    parser.add_argument("--no-independent-filtering", action="store_true", help="adjust over all tested genes")
    parser.add_argument("--shrink", action="store_true", help="add lfc_shrunken, PyDESeq2's apeGLM estimate")
    parser.add_argument("--min-samples", type=int, default=10, help="fewer samples are skipped (default: %(default)s)")
    parser.add_argument("--strict", action="store_true", help="a cell type that cannot be fitted is an error")
    parser.add_argument("--output", type=Path, required=True, help="de.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="de_summary.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if args.min_samples < 4:
        raise BadInput(f"--min-samples {args.min_samples}: must be at least 4, or no variance can be estimated")

    table = read_samples(args.pseudobulk)
    facts = {"cell_type": table.cell_type, "n_samples_in": len(table.samples)}
    facts |= {"design": args.design, "test_term": args.test_term}
    terms = {"formula": args.design, "test_term": args.test_term, "contrast": args.contrast}
    columns = [*COLUMNS, *(["lfc_shrunken"] if args.shrink else [])]
    try:
        if not args.keep_outliers:
            plain = build_design(table.samples, **terms, min_samples=args.min_samples)
            with limit_threads(1):
                table, facts["outlier_samples"] = without_outliers(table, plain)
        batches = choose_batches(table.samples, **terms, column=args.pool_column, effect=args.pool_effect)
        facts["batches"] = asdict(batches)
        fixed = batches.column if batches.use == "fixed" else ""
        design = build_design(table.samples, **terms, batch=fixed, min_samples=args.min_samples)
        facts |= design_facts(design, batches)
        block = random_blocks(table.samples.loc[design.matrix.index], batches)
        options = DeseqOptions(
            cooks=args.cooks,
            independent_filtering=not args.no_independent_filtering,
            reference=args.reference,
            shrink=args.shrink,
        )
        with limit_threads(1):  # a fit is many small problems: more BLAS threads cost time and change last digits
            result, numbers = compare_genes(table, design, method=args.method, options=options, block=block)
    except CannotFit as reason:
        write_skipped(str(reason), tables={args.output: columns}, summary=args.summary, strict=args.strict, facts=facts)
    else:
        leading = result["contrast"] == design.contrasts[0].name
        write_tsv(result.loc[leading, columns], args.output)
        if len(design.contrasts) > 1:
            write_tsv(result[["contrast", *columns]], args.output.with_name("de_contrasts.tsv"))
        facts |= {**numbers, "warnings": cautions(design, batches, facts.get("outlier_samples", ()))}
        write_json({"status": "done", "reason": "", **facts}, args.summary)
    write_versions(
        "differential_expression",
        ["edgepython", "formulaic", "numpy", "pydeseq2", "pylimma", "scipy"],
        args.versions,
    )


if __name__ == "__main__":
    run(main)
