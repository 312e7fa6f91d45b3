#!/usr/bin/env python3
"""Check that a cohort can be analysed, from its metadata and a sample of its counts, and write down what it holds.

In: the cohort's h5ad, a table of facts about donors if there is one, and a table of gene symbols for genes that it
does not name. Out: `cells.parquet` (row, cell_id, donor_id, cell_type; one row per cell of the file), `donors.parquet`
(donor_id, age_years, sex, and every column that is constant within donors), `genes.parquet` (position, gene_id, symbol,
left_out) and `check.json` (where the counts are, what is missing). All problems found are reported at once.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.cohort_file import unchanged
from immune_aging.cohort.columns import add_column_options, columns_of
from immune_aging.cohort.doublet_labels import DOUBLET_CALL
from immune_aging.cohort.examination import cell_table, check_summary, examine, gene_table, with_calls
from immune_aging.cohort.gene_symbols import gene_names, read_symbol_table
from immune_aging.task.checkpoints import write_json, write_parquet, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="h5ad")
    parser.add_argument("--sha256", default="", help="of the cohort; a file that is another by now is refused")
    add_column_options(parser)
    parser.add_argument("--gene-symbols", type=Path, help="TSV of gene id and symbol, for genes that have none")
    parser.add_argument("--output-cells", type=Path, required=True)
    parser.add_argument("--output-donors", type=Path, required=True)
    parser.add_argument("--output-genes", type=Path, required=True)
    parser.add_argument("--output-check", type=Path, required=True)
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    source, columns, known = args.cohort.resolve(), columns_of(args), read_symbol_table(args.gene_symbols)
    with unchanged(source, args.sha256):
        cohort, problems = examine(
            source,
            columns=columns,
            counts_layer=args.counts_layer,
            age_ranges=args.age_ranges,
            round_counts=args.round_counts,
            donor_facts=args.donor_table,
        )
    cohort, calls, wrong = with_calls(cohort, args.doublet_column)
    problems += wrong
    if problems:
        raise BadInput(f"{cohort.called}: " + " | ".join(problems))
    cells, genes = cell_table(cohort, columns), gene_names(cohort.var, known, cohort.beside)
    write_parquet(cells if calls is None else cells.assign(**{DOUBLET_CALL: calls}), args.output_cells)
    write_parquet(cohort.donors, args.output_donors)
    write_parquet(gene_table(genes), args.output_genes)
    write_json(check_summary(cohort, cells, genes), args.output_check)
    write_versions("check_cohort", ["anndata", "h5py", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
