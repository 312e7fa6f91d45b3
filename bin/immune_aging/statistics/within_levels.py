"""The tested term's effect within each level of another column, and how the levels differ."""

from dataclasses import replace

import numpy as np
import pandas as pd

from immune_aging.statistics.contrasts import (
    Contrast,
    Model,
    compared_levels,
    difference,
    on_scaled_columns,
)
from immune_aging.statistics.count_tests import fit_voom
from immune_aging.statistics.designs import (
    MIN_RESIDUAL_DF,
    Design,
    collinearity,
    complete_values,
    evaluated,
    refuse_untold,
    refuse_varying_columns,
    scaled_columns,
    varies_somewhere,
)
from immune_aging.statistics.formulas import parse, quoted, source_column, with_random_term
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.statistics.repeated_samples import in_basis, row_space
from immune_aging.task.checkpoints import VARYING
from immune_aging.task.command_line import BadInput
from immune_aging.task.skipped import CannotFit

COLUMNS = (
    "gene_id", "symbol", "level", "log2_fold_change", "lfc_se", "p_value", "padj", "difference", "difference_se",
    "difference_p_value", "difference_padj",
)  # fmt: skip
MIN_PER_LEVEL = 4  # samples; a slope within fewer is nothing that a reader could trust


def values_to_compare(samples: pd.DataFrame, design: Design, *, by: str) -> pd.DataFrame:
    """The columns of a design and the one by whose levels it is asked, of the samples that have all of them.

    Raises
    ------
    BadInput, CannotFit
        As `design_by_level`.
    """
    test = design.test_term.strip("`")
    if by == test:
        raise BadInput(f"--by_column '{by}': is the tested term itself; name another column")
    refuse_untold(samples, by, what=f"--by_column '{by}'")
    if not {by, source_column(by, samples)} & set(samples.columns) and not varies_somewhere(samples, by):
        there = ", ".join(sorted(str(one) for one in samples.columns if one != VARYING))
        raise BadInput(f"--by_column '{by}': is no donor column; there are: {there}")
    refuse_varying_columns(samples, [by])
    of_design = parse(parse(design.formula).fixed).columns
    for name in of_design:
        if source_column(name, samples) not in samples:
            raise CannotFit(f"'{name}' of the design differs between the samples of a donor, which were added up")
    values, _ = complete_values(samples.loc[design.matrix.index], [*of_design, by], batch=design.batch)
    if values[by].dtype == float:
        raise BadInput(f"--by_column '{by}': holds numbers, which have no levels; name a column of groups")
    if test not in values:
        raise BadInput(f"--by_column '{by}': needs a tested term that is a column; '{design.test_term}' is none")
    refuse_small_levels(values[by], by=by)
    return values


def refuse_small_levels(levels: pd.Series, *, by: str) -> None:
    """Raise `CannotFit` where there are no two levels, or too few samples in one.

    Parameters
    ----------
    levels
        Of each sample.
    """
    sizes = levels.value_counts()
    if len(sizes) < 2:
        raise CannotFit(f"all samples have the '{by}' '{sizes.index[0]}': there are no levels to compare")
    if sizes.min() < MIN_PER_LEVEL:
        few = sorted(sizes.index[sizes < MIN_PER_LEVEL])[0]
        raise CannotFit(
            f"'{by}' has {sizes[few]} samples of '{few}'; at least {MIN_PER_LEVEL} are needed in each level"
        )


def design_by_level(samples: pd.DataFrame, design: Design, *, by: str, contrast: str = "") -> tuple[Design, list[str]]:
    """The design with the tested term's interaction with a column, and a contrast for each level.

    Parameters
    ----------
    samples
        Those of `design`, with their columns.
    design
        Of the run, batch included, as `build_design` makes it: what becomes of several samples of a donor comes after.
    by
        A column of levels.
    contrast
        'LEVEL vs REFERENCE' of a categorical tested term; '' for its second level against the first.

    Returns
    -------
    A design whose contrasts are the effect within each level, in order, then the difference: the last level minus the
    first, or, of more than two levels, the joint test that all effects are equal. And the levels.

    Raises
    ------
    BadInput
        The column is a number, or is itself tested; the tested term is no column of its own.
    CannotFit
        These samples have too few levels or too few samples in one, or do not carry the interaction.

    Notes
    -----
    Columns that follow from the others are left out as long as every contrast can be told: where donors are terms, that
    is what is the same in all samples of a donor.
    """
    values = values_to_compare(samples, design, by=by)
    test, fixed = design.test_term.strip("`"), parse(design.formula).fixed
    present = evaluated(values, fixed).terms
    parsed = parse(fixed)
    further = [] if by in parsed.columns and frozenset([parsed.plain_name(by)]) in present else [quoted(by)]
    further.append(f"{quoted(test)}:{quoted(by)}")  # the formula's own rules do not add one twice
    model = evaluated(values, " + ".join([fixed, *further]))
    matrix, means, sds = scaled_columns(model)
    pairs = {}
    if design.contrasts[0].level:
        pairs = {test: compared_levels(model, test, contrast=contrast)[0]}
    groups = model.levels(by)
    within = [on_scaled_columns(difference(model, [test], pairs, at={by: group}), means, sds) for group in groups]
    name = design.contrasts[0].name
    contrasts = [Contrast(f"{name} in {group}", "", "", weights) for group, weights in zip(groups, within, strict=True)]
    gap = within[-1] - within[0]
    joint = np.array([weights - within[0] for weights in within[1:]]) if len(groups) > 2 else None
    contrasts.append(Contrast(f"{name}, {groups[-1]} minus {groups[0]}", "", "", gap, joint))
    formula = with_random_term(model.formula.text, design.random)
    whole = replace(design, matrix=matrix, contrasts=tuple(contrasts), formula=formula)
    return of_full_rank(whole, model), groups


def of_full_rank(design: Design, model: Model) -> Design:
    """A design, some columns of which may follow from the others, in columns that do not, with the same contrasts.

    Raises
    ------
    CannotFit
        A contrast cannot be told, or the samples are too few.
    """
    matrix = design.matrix.to_numpy(dtype=float)
    basis = row_space(matrix)
    n_coefficients = basis.shape[1]
    if len(matrix) - n_coefficients < MIN_RESIDUAL_DF:
        raise CannotFit(f"{len(matrix)} samples for {n_coefficients} coefficients of '{design.formula}': too few")
    if n_coefficients == matrix.shape[1]:
        return design
    new, contrasts = in_basis(design, matrix, basis, otherwise=collinearity(model))
    columns = [f"coefficient {place + 1}" for place in range(n_coefficients)]
    return replace(design, matrix=pd.DataFrame(new, index=design.matrix.index, columns=columns), contrasts=contrasts)


def table_by_level(results: list[pd.DataFrame], genes: pd.DataFrame, levels: list[str]) -> pd.DataFrame:
    """`COLUMNS`: one row per gene and level, genes by the p of the difference, levels in order.

    Parameters
    ----------
    results
        `RESULT_COLUMNS` of each contrast of `design_by_level`, the same genes in each.
    genes
        gene_id and symbol, in the order of `results`.
    """
    *within, difference = results
    of_genes = genes.assign(
        difference=difference["log2_fold_change"].to_numpy() if len(levels) == 2 else np.nan,
        difference_se=difference["lfc_se"].to_numpy() if len(levels) == 2 else np.nan,
        difference_p_value=difference["p_value"].to_numpy(),
        difference_padj=difference["padj"].to_numpy(),
    )
    parts = [
        of_genes.assign(level=level, place=place, **{name: one[name].to_numpy() for name in COLUMNS[3:7]})
        for place, (level, one) in enumerate(zip(levels, within, strict=True))
    ]
    table = pd.concat(parts, ignore_index=True)
    table = table.sort_values(["difference_p_value", "gene_id", "place"], kind="stable", ignore_index=True)
    return table[list(COLUMNS)]


def effects_by_level(
    counts: np.ndarray,
    genes: pd.DataFrame,
    design: Design,
    levels: list[str],
    *,
    block: np.ndarray | None = None,
) -> pd.DataFrame:
    """The table of `table_by_level`, fitted by voom, which holds its rate with few samples by itself.

    Parameters
    ----------
    counts
        Samples x genes, raw; the samples of `design`, the tested genes.
    design, levels
        Of `design_by_level`.
    block
        Group of each sample whose samples are correlated; None for none.
    """
    weights = [one.weights for one in design.contrasts]
    hypotheses = [one.hypothesis for one in design.contrasts]
    results = fit_voom(counts, design.matrix, weights, hypotheses=hypotheses, block=block)
    return table_by_level(results, genes, levels)


def facts(table: pd.DataFrame, design: Design, levels: list[str], *, column: str) -> dict:
    """What the summary says of the effects by level."""
    own = table.drop_duplicates("gene_id")
    return {
        "column": column,
        "status": "done",
        "reason": "",
        "levels": levels,
        "design": design.formula,
        "contrasts": [one.name for one in design.contrasts],
        "n_samples": len(design.matrix),
        "n_called": {level: int((table.loc[table["level"] == level, "padj"] < ALPHA).sum()) for level in levels},
        "n_different": int((own["difference_padj"] < ALPHA).sum()),
    }
