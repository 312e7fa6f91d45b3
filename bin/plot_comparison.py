#!/usr/bin/env python3
"""Draw the cell types side by side: composition with age, gene sets, genes that age alike, and power.

In: published trees with `composition/` and `comparison/`; what is not there or has no rows is not drawn. Out:
figures.
"""

import argparse
from pathlib import Path

from immune_aging.figures.comparison import (
    N_SETS,
    plot_effects,
    plot_genes,
    plot_nes,
    plot_power,
    plot_proportions,
    striking_genes,
    unit_of,
)
from immune_aging.figures.style import save_figure
from immune_aging.results import merge_trees, summary_of, table_of
from immune_aging.task.checkpoints import write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True, help="published trees")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets composition/ and comparison/")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    files = merge_trees(args.published)
    composition, comparison = args.output / "composition/figures", args.output / "comparison/figures"
    facts = summary_of(files, "composition/composition_summary.json")
    changes = table_of(files, "composition/composition.tsv")
    shares = table_of(files, "composition/proportions.tsv")
    if changes is not None and shares is not None:
        save_figure(
            plot_effects(changes, unit=unit_of(facts)),
            composition / "effects",
            title="Cell types that become more or less frequent",
            description=f"Change of each cell type {unit_of(facts)} against the cell types that keep still, with its "
            f"95 % interval, over {facts.get('n_donors', 0):,} donors; in brackets its mean share. The grey bar is the "
            "change of its plain share, which also moves when another cell type grows.",
        )
        save_figure(
            plot_proportions(shares, changes),
            composition / "proportions",
            title="Shares of the cell types by age",
            description="Each donor's share of cells of the type, with medians of equal groups by age; coloured where "
            "the cell type itself changes (adjusted p below 0.05).",
        )
    facts = summary_of(files, "comparison/comparison_summary.json")
    names = facts.get("cell_types", {})
    sets = table_of(files, "comparison/gsea_nes.tsv")
    if sets is not None:
        save_figure(
            plot_nes(sets, names),
            comparison / "nes",
            title="Gene sets across cell types",
            description="Normalised enrichment scores (red: rises with age); dots: q below 0.05; grey: not tested. "
            f"{min(len(sets), N_SETS)} of {len(sets)} sets, those called in most cell types.",
        )
    genes = table_of(files, "comparison/shared_ageing.tsv")
    striking = striking_genes(genes) if genes is not None else None
    if striking is not None and len(striking):
        counts = facts.get("patterns", {})
        save_figure(
            plot_genes(striking, names, unit=unit_of(facts)),
            comparison / "shared_genes",
            title="Genes that age alike, and genes of one cell type",
            description=f"Effects of the {len(striking)} most striking of {counts.get('shared', 0):,} shared, "
            f"{counts.get('opposed', 0):,} opposed and {counts.get('specific', 0):,} specific genes; dots: robustly "
            "called in that cell type; grey: not tested.",
        )
    power = table_of(files, "comparison/power.tsv")
    if power is not None:
        save_figure(
            plot_power(power, unit=unit_of(facts)),
            comparison / "power",
            title="What each cell type could have shown",
            description=f"The smallest effect that a gene of median error would show ({facts.get('rule_power', '')}), "
            "by thirds of genes by mean count; the bar holds the middle 80 % of all genes; in brackets the samples.",
        )
    write_versions("plot_comparison", ["matplotlib", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
