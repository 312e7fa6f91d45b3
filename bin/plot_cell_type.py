#!/usr/bin/env python3
"""Draw one cell type's results: volcano, MA, gene sets, genes by the tested term, predicted against true age.

In: published trees with `cell_types/<id>/...`, the cell type's counts, the gene sets; what is not there or has no
rows is not drawn. Out: figures, and `expression_by_age.tsv`: the donors' expression of the genes one looks at first.
"""

import argparse
from pathlib import Path

from immune_aging import results
from immune_aging.figures.cell_type import draw
from immune_aging.figures.genes_by_age import expression_by_term
from immune_aging.figures.style import save_drawings
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.statistics.gene_sets import read_gmt
from immune_aging.task.checkpoints import write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees")
    parser.add_argument("--id", required=True, help="id of the cell type")
    parser.add_argument("--counts", type=Path, help="pseudobulk table of the cell type: draws genes against age")
    parser.add_argument("--gene-sets", type=Path, help="GMT file: draws running sums")
    parser.add_argument("--genes", required=True, help="symbols or ids to write the expression of, comma-separated")
    parser.add_argument("--output", type=Path, required=True, help="folder of the cell type; figures go below it")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    published = results.open(*args.published)
    if args.id not in published.cell_type_ids:
        raise BadInput(f"--id {args.id}: none of the trees holds cell_types/{args.id}/")
    de = published.table(f"cell_types/{args.id}/de.tsv", ["gene_id", "p_value"])
    expression = None
    if args.counts and de is not None:
        wanted = [gene.strip() for gene in args.genes.split(",") if gene.strip()]
        term = str(published.summary(f"cell_types/{args.id}/de_summary.json").get("test_term", "age"))
        expression = expression_by_term(read_samples(args.counts), de, wanted, term=term)
        write_tsv(expression, args.output / "expression_by_age.tsv")
    sets = read_gmt(args.gene_sets) if args.gene_sets else None
    figures = args.output / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    save_drawings(draw(published, args.id, expression=expression, sets=sets), figures)
    write_versions("plot_cell_type", ["matplotlib", "pandas"], args.versions)


if __name__ == "__main__":
    run(main)
