"""Expression of single genes against age."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.effects import gene_names
from immune_aging.figures.style import DOWN, NEUTRAL, UP, new_figure, shorten
from immune_aging.prediction.age_features import log_cpm, sex_labels
from immune_aging.samples.cell_type_samples import CellTypeSamples

N_EXPRESSION = 40  # genes of smallest p whose expression is written by donor
DONOR_COLUMNS = ("donor_id", "age_years", "sex")  # of expression_by_age.tsv, before its genes


def expression_by_age(table: CellTypeSamples, de: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """Donors with log2 counts per million of the genes of smallest p, then of those `wanted` by symbol or id.

    Genes that the table does not hold have no column.

    Returns
    -------
    donor_id, age_years, sex, then one column per gene, named by its id; sorted by donor. A donor of several samples has
    a row for each.
    """
    first = de[de["p_value"].notna()].sort_values(["p_value", "gene_id"], kind="stable")["gene_id"].head(N_EXPRESSION)
    asked = table.gene_ids[table.gene_ids.isin(wanted) | table.symbols.isin(wanted)]
    genes = [gene for gene in dict.fromkeys([*first, *asked]) if gene in table.gene_ids]
    values = pd.DataFrame(log_cpm(table.counts), columns=table.gene_ids)[genes]
    donors = pd.DataFrame(
        {
            "donor_id": table.samples["donor_id"].to_numpy(),
            "age_years": table.samples["age_years"].to_numpy(dtype=float),
            "sex": sex_labels(table.samples["sex"]).to_numpy(),
        }
    )
    return pd.concat([donors[list(DONOR_COLUMNS)], values], axis=1).sort_values(
        "donor_id", kind="stable", ignore_index=True
    )


def plot_genes_by_age(expression: pd.DataFrame, genes: pd.DataFrame) -> Figure:
    """Expression of a few genes against age, one dot per donor, by sex.

    Parameters
    ----------
    expression
        As `expression_by_age` gives it.
    genes
        Rows of de.tsv to draw; their ids are columns of `expression`.
    """
    columns = min(3, len(genes))
    rows = -(-len(genes) // columns)
    figure = new_figure(0.4 + 3.1 * columns, 0.5 + 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    sexes = sorted(expression["sex"].unique())
    size = float(np.clip(1500 / len(expression), 4, 20))
    for ax, gene, name in zip(axes.flat, genes.to_dict("records"), gene_names(genes), strict=False):
        for i, sex in enumerate(sexes):
            own = expression[expression["sex"] == sex]
            ax.scatter(
                own["age_years"], own[gene["gene_id"]], s=size, color=(DOWN, UP, NEUTRAL)[i % 3], marker="oDs^"[i % 4],
                alpha=0.8, linewidth=0, label=sex, rasterized=len(own) > 300,
            )  # fmt: skip
        chance = "not given" if np.isnan(gene["padj"]) else f"{gene['padj']:.1g}"
        ax.set_title(f"{shorten(name, 24)}, adjusted p {chance}", loc="left", fontsize=8.5)
    for ax in axes.flat[len(genes) :]:
        ax.set_axis_off()
    figure.supxlabel("Age (years)", fontsize=9)
    figure.supylabel("log2 counts per million", fontsize=9)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(sexes))
    return figure
