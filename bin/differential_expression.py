#!/usr/bin/env python3
"""Which genes of one cell type change with age: PyDESeq2 and limma-voom side by side on pseudobulk counts.

In: the cell type's pseudobulk table (raw count sums, one sample per donor). Out: `de.tsv`, one row per tested
gene, and `de_summary.json`, which counts what was left out and why; where asked for, voom's fit of every gene, which
the test of gene sets needs. One engine is the primary, the other its
companion: a gene is `robust` where both call it with the same sign. The calls of both hold their false
discovery rate at any number of samples, those of PyDESeq2 alone only from about 60 on. A categorical term with
several levels also gives `de_contrasts.tsv`, every contrast one after another; --by-column gives `de_by_COLUMN.tsv`,
the effect within each level, and --age-spline `de_curve.tsv` and `de_curve_points.tsv`, curves of expression by age.
"""

import argparse
from pathlib import Path

from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.statistics.batches import EFFECTS
from immune_aging.statistics.count_tests import COOKS, REFERENCES, DeseqOptions
from immune_aging.statistics.differential_expression import Question, analyse_cell_type
from immune_aging.statistics.expression_tests import METHODS, result_columns
from immune_aging.statistics.gene_fits import write_gene_fits
from immune_aging.task.checkpoints import slug, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, limit_threads, run
from immune_aging.task.skipped import write_skipped

PACKAGES = ["edgepython", "formulaic", "h5py", "hdf5plugin", "numba", "numpy", "pydeseq2", "pylimma", "scipy"]


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pseudobulk", required=True, help="the cell type's pseudobulk table (h5ad)")
    parser.add_argument("--design", required=True, help="formula over donor columns")
    parser.add_argument("--test-term", required=True, help="donor column to test")
    parser.add_argument("--method", required=True, choices=METHODS, help="the primary engine")
    parser.add_argument("--contrast", required=True, help="'LEVEL vs REFERENCE' of a categorical term, or ''")
    parser.add_argument("--pool-column", required=True, help="donor column of batches, auto or none")
    parser.add_argument("--pool-effect", required=True, choices=EFFECTS, help="how it enters")
    parser.add_argument("--keep-outliers", action="store_true", help="keep samples that do not belong with the others")
    parser.add_argument("--cooks", required=True, choices=COOKS, help="PyDESeq2's outliers")
    parser.add_argument("--reference", required=True, choices=REFERENCES, help="PyDESeq2's null distribution")
    parser.add_argument("--no-independent-filtering", action="store_true", help="adjust over all tested genes")
    parser.add_argument("--shrink", action="store_true", help="add lfc_shrunken, PyDESeq2's apeGLM estimate")
    parser.add_argument("--by-column", required=True, help="donor column, within each of whose levels to test, or ''")
    parser.add_argument("--age-spline", type=int, required=True, help="functions of a spline of age to test, or 0")
    parser.add_argument("--min-samples", type=int, required=True, help="fewer samples are skipped")
    parser.add_argument("--strict", action="store_true", help="a cell type that cannot be fitted is an error")
    parser.add_argument("--output", type=Path, required=True, help="de.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="de_summary.json")
    parser.add_argument("--fits", type=Path, help="where to write voom's fit of every gene (h5), for gsea.py")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if args.min_samples < 4:
        raise BadInput(f"--min-samples {args.min_samples}: must be at least 4, or no variance can be estimated")
    return args


def main(argv: list[str]) -> None:
    args = arguments(argv)
    options = DeseqOptions(
        cooks=args.cooks,
        independent_filtering=not args.no_independent_filtering,
        reference=args.reference,
        shrink=args.shrink,
    )
    question = Question(
        formula=args.design,
        test_term=args.test_term,
        contrast=args.contrast,
        pool_column=args.pool_column,
        pool_effect=args.pool_effect,
        min_samples=args.min_samples,
        keep_outliers=args.keep_outliers,
        method=args.method,
        options=options,
        by_column=args.by_column,
        age_spline=args.age_spline,
    )
    table = read_samples(args.pseudobulk)
    with limit_threads(1):  # a fit is many small problems: more BLAS threads cost time and change last digits
        answer = analyse_cell_type(table, question)
    if answer.leading is None:
        tables = {args.output: result_columns(options)}
        write_skipped(answer.reason, tables=tables, summary=args.summary, strict=args.strict, facts=answer.facts)
    else:
        write_tsv(answer.leading, args.output)
        if answer.contrasts is not None:
            write_tsv(answer.contrasts, args.output.with_name("de_contrasts.tsv"))
        write_json({"status": "done", "reason": "", **answer.facts}, args.summary)
    names = {"by_level": f"de_by_{slug(args.by_column)}", "curve": "de_curve", "curve_points": "de_curve_points"}
    for name, further in answer.further.items():
        write_tsv(further, args.output.with_name(f"{names[name]}.tsv"))
    if args.fits:
        write_gene_fits(answer.fits, args.fits)
    write_versions("differential_expression", PACKAGES, args.versions)


if __name__ == "__main__":
    run(main)
