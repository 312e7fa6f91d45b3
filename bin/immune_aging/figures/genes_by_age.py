"""Expression of single genes against age, or against the tested term where that is another."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from immune_aging.figures.effects import gene_names
from immune_aging.figures.style import DOWN, NEUTRAL, PALE, UP, new_figure, shorten
from immune_aging.prediction.age_features import UNKNOWN_SEX, log_cpm, sex_labels
from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.designs import as_labels
from immune_aging.statistics.formulas import drawn_column

N_EXPRESSION = 40  # genes of smallest p whose expression is written by donor
DONOR_COLUMNS = ("donor_id", "age_years", "sex")  # of expression_by_age.tsv, before its genes
TERM_VALUE = "test_term_value"  # a further one, where the tested term is not age
JITTER = 0.12  # of dots beside their level


def expression_by_age(table: CellTypeSamples, de: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """Donors with log2 counts per million of the genes of smallest p, then of those `wanted` by symbol or id.

    Genes that the table does not hold have no column. A gene that not all files of the cohort measure is missing in the
    samples that were not measured for it; its counts are those per million of the genes that all files measure.

    Returns
    -------
    donor_id, age_years, sex, then one column per gene, named by its id; sorted by donor. A donor of several samples has
    a row for each.
    """
    return expression_by_term(table, de, wanted, term="age")


def expression_by_term(table: CellTypeSamples, de: pd.DataFrame, wanted: Sequence[str], *, term: str) -> pd.DataFrame:
    """As `expression_by_age`, with what the tested term says of each sample in `TERM_VALUE` where that is not age.

    Parameters
    ----------
    term
        The tested term. Of several columns the first is taken, age before all others.
    """
    first = de[de["p_value"].notna()].sort_values(["p_value", "gene_id"], kind="stable")["gene_id"].head(N_EXPRESSION)
    values, symbols = pd.DataFrame(log_cpm(table.counts), columns=table.gene_ids), table.symbols
    if table.some_files is not None:
        further = log_cpm(table.some_files.counts, library=table.counts.sum(axis=1))
        symbols = pd.concat([symbols, table.some_files.symbols])
        values = pd.concat([values, pd.DataFrame(further, columns=table.some_files.symbols.index)], axis=1)
    asked = symbols.index[symbols.index.isin(wanted) | symbols.isin(wanted)]
    values = values[[gene for gene in dict.fromkeys([*first, *asked]) if gene in symbols.index]]
    donors = pd.DataFrame(
        {
            "donor_id": table.samples["donor_id"].to_numpy(),
            "age_years": table.samples["age_years"].to_numpy(dtype=float),
            "sex": sex_labels(table.samples["sex"]).to_numpy(),
        }
    )
    own = [donors[list(DONOR_COLUMNS)]]
    column = drawn_column(term, table.samples)
    if column not in ("", "age_years"):
        value = table.samples[column]
        numeric = pd.api.types.is_numeric_dtype(value) and not pd.api.types.is_bool_dtype(value)
        own.append(pd.DataFrame({TERM_VALUE: (value.astype(float) if numeric else as_labels(value)).to_numpy()}))
    return pd.concat([*own, values], axis=1).sort_values("donor_id", kind="stable", ignore_index=True)


def can_be_drawn(expression: pd.DataFrame) -> bool:
    """Whether there is anything to draw genes against."""
    return bool(expression[TERM_VALUE if TERM_VALUE in expression else "age_years"].notna().any())


def is_of_levels(expression: pd.DataFrame) -> bool:
    """Whether what genes are drawn against has levels rather than numbers."""
    return TERM_VALUE in expression and not pd.api.types.is_numeric_dtype(expression[TERM_VALUE])


def plot_genes_by_age(expression: pd.DataFrame, genes: pd.DataFrame) -> Figure:
    """Expression of a few genes against age, one dot per donor, by sex.

    Parameters
    ----------
    expression
        As `expression_by_age` gives it.
    genes
        Rows of de.tsv to draw; their ids are columns of `expression`.
    """
    return plot_genes(expression, genes, expression["age_years"].to_numpy(dtype=float), label="Age (years)")


def plot_genes_by_term(expression: pd.DataFrame, genes: pd.DataFrame, *, term: str) -> Figure:
    """The same against `TERM_VALUE`: numbers as they are; levels side by side, a donor's samples joined by lines."""
    value = expression[TERM_VALUE]
    if not is_of_levels(expression):
        return plot_genes(expression, genes, value.to_numpy(dtype=float), label=shorten(term, 60))
    levels = sorted(value.dropna().unique())
    place = value.map({level: i for i, level in enumerate(levels)}).to_numpy(dtype=float)
    # The same donor on the same side of each level, so that lines do not cross by chance.
    side = pd.factorize(expression["donor_id"])[0]
    shifted = place + JITTER * (2 * side / max(side.max(), 1) - 1)
    return plot_genes(expression, genes, shifted, label=shorten(term, 60), levels=levels)


def plot_genes(
    expression: pd.DataFrame, genes: pd.DataFrame, x: np.ndarray, *, label: str, levels: Sequence[str] = ()
) -> Figure:
    """One panel per gene: its expression at `x`, one dot per row of `expression`, by sex where that is known.

    Parameters
    ----------
    label
        Of `x`.
    levels
        Names of the places 0, 1, ... of `x`; none of numbers.
    """
    columns = min(3, len(genes))
    rows = -(-len(genes) // columns)
    figure = new_figure(0.4 + 3.1 * columns, 0.5 + 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    sexes = sorted(expression["sex"].unique())
    size = float(np.clip(1500 / len(expression), 4, 20))
    for ax, gene, name in zip(axes.flat, genes.to_dict("records"), gene_names(genes), strict=False):
        if levels:
            for _, own in expression.assign(x=x).dropna(subset="x").groupby("donor_id"):
                own = own.sort_values("x")
                ax.plot(own["x"], own[gene["gene_id"]], color=PALE, linewidth=0.8, zorder=1)
        for i, sex in enumerate(sexes):
            own = expression["sex"].to_numpy() == sex
            ax.scatter(
                x[own], expression.loc[own, gene["gene_id"]], s=size, color=(DOWN, UP, NEUTRAL)[i % 3],
                marker="oDs^"[i % 4], alpha=0.8, linewidth=0, label=sex, rasterized=int(own.sum()) > 300,
            )  # fmt: skip
        chance = "not given" if np.isnan(gene["padj"]) else f"{gene['padj']:.1g}"
        ax.set_title(f"{shorten(name, 24)}, adjusted p {chance}", loc="left", fontsize=8.5)
        if levels:
            ax.set_xticks(range(len(levels)), [shorten(level, 16) for level in levels])
            ax.set_xlim(-0.5, len(levels) - 0.5)
    for ax in axes.flat[len(genes) :]:
        ax.set_axis_off()
    figure.supxlabel(label, fontsize=9)
    figure.supylabel("log2 counts per million", fontsize=9)
    if sexes != [UNKNOWN_SEX]:
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(sexes))
    return figure
