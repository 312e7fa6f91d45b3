"""Every gene of one cell type tested by both engines: one table for each contrast, and what both agree on."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.count_tests import (
    DEFAULTS,
    DeseqOptions,
    fit_pydeseq2,
    fit_voom,
    size_factor_method,
)
from immune_aging.statistics.designs import Contrast, Design
from immune_aging.statistics.expressed_genes import RULE, expressed_genes
from immune_aging.statistics.gene_fits import GeneFits, fit_genes, no_fits
from immune_aging.statistics.joint_tests import JOINT
from immune_aging.statistics.linear_models import WeightedExpression, weighted_expression
from immune_aging.statistics.multiple_testing import ALPHA
from immune_aging.task.skipped import CannotFit

METHODS = ("pydeseq2", "voom")
COLUMNS = (
    "gene_id", "symbol", "base_mean", "log2_fold_change", "lfc_se", "stat", "p_value", "padj",
    "lfc_per_unit", "lfc_per_decade", "log2_fold_change_companion", "p_value_companion", "padj_companion", "robust",
)  # fmt: skip
SHRUNKEN = "lfc_shrunken"


def result_columns(options: DeseqOptions, *, joint: bool = False) -> list[str]:
    """The columns of de.tsv under these options, of a joint test or not."""
    return [*COLUMNS, *([SHRUNKEN] if options.shrink else []), *([JOINT] if joint else [])]


def refuse_empty_samples(counts: np.ndarray, samples: pd.Index, where: str) -> None:
    """Raise `CannotFit` where a sample has no counts: it has no size factor (see `without_empty_samples`)."""
    empty = samples[counts.sum(axis=1) == 0]
    if len(empty):
        raise CannotFit(f"sample '{empty[0]}' has no counts{where}")


def counts_to_test(table: CellTypeSamples, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the design's samples in the genes with enough of them, and which genes these are.

    Returns
    -------
    Samples x tested genes, raw; a mask of the table's genes.

    Raises
    ------
    CannotFit
        Fewer than two genes have enough counts, or a sample has no counts in them.
    """
    counts = table.counts[table.samples.index.get_indexer(design.matrix.index)]
    refuse_empty_samples(counts, design.matrix.index, "")
    tested = expressed_genes(counts, design.matrix)
    if tested.sum() < 2:
        raise CannotFit(f"{int(tested.sum())} of {len(tested)} genes have enough counts to test")
    counts = counts[:, tested]
    refuse_empty_samples(counts, design.matrix.index, " in the tested genes")
    return counts, tested


def fit_engines(
    counts: np.ndarray,
    design: Design,
    *,
    options: DeseqOptions,
    block: pd.Series | None,
    engines: Sequence[str] = METHODS,
) -> tuple[dict[str, list[pd.DataFrame]], WeightedExpression, list[str]]:
    """One table per engine and contrast, what voom's were fitted to, and what the engines warned of.

    Parameters
    ----------
    counts
        Samples x genes, raw; the samples of the design.
    block
        Batch of each sample, for voom's correlation within batches; None for none.
    engines
        Voom, and PyDESeq2 where it is valid.
    """
    weights = [contrast.weights for contrast in design.contrasts]
    hypotheses = [contrast.hypothesis for contrast in design.contrasts]
    blocks = None if block is None else block.reindex(design.matrix.index).to_numpy(dtype=str)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        fits = {}
        if "pydeseq2" in engines:
            fits["pydeseq2"] = fit_pydeseq2(counts, design.matrix, weights, options=options, hypotheses=hypotheses)
        weighted = weighted_expression(counts, design.matrix.to_numpy(dtype=float), block=blocks)
        fits["voom"] = fit_voom(counts, design.matrix, weights, weighted=weighted, hypotheses=hypotheses)
    return fits, weighted, sorted({" ".join(str(warning.message).split()) for warning in caught})


def merge_engines(
    first: pd.DataFrame, second: pd.DataFrame | None, *, design: Design, contrast: Contrast
) -> pd.DataFrame:
    """One contrast's table by gene from its two engines, in the genes' own order.

    Parameters
    ----------
    first, second
        `RESULT_COLUMNS` of the primary engine and of its companion, the same genes; without a companion no gene is
        robust.
    """
    if second is None:
        second = pd.DataFrame(np.nan, index=first.index, columns=first.columns)
    effect = first["log2_fold_change"]
    result = first.assign(
        lfc_per_unit=effect / design.sd,  # NaN where the term has no unit
        lfc_per_decade=effect / design.sd * 10 if design.of_age else np.nan,
        log2_fold_change_companion=second["log2_fold_change"],
        p_value_companion=second["p_value"],
        padj_companion=second["padj"],
    )
    result["robust"] = (result["padj"] < ALPHA) & (result["padj_companion"] < ALPHA)
    if contrast.signed:
        result["robust"] &= np.sign(effect) == np.sign(result["log2_fold_change_companion"])
    return result


def count_calls(result: pd.DataFrame) -> dict[str, int]:
    """Numbers of calls of one contrast."""
    called = result["padj"] < ALPHA
    return {
        "n_up": int((called & (result["log2_fold_change"] > 0)).sum()),
        "n_down": int((called & (result["log2_fold_change"] < 0)).sum()),
        "n_companion": int((result["padj_companion"] < ALPHA).sum()),
        "n_robust": int(result["robust"].sum()),
    }


def contrast_tables(
    fits: dict[str, list[pd.DataFrame]],
    genes: pd.DataFrame,
    *,
    design: Design,
    method: str,
    companion: str,
    options: DeseqOptions,
) -> list[pd.DataFrame]:
    """The part of de.tsv of each contrast of the design: `result_columns` and `contrast`, sorted by p and gene id.

    Parameters
    ----------
    fits
        Of each engine, by contrast.
    genes
        gene_id and symbol of the fitted genes.
    companion
        '' for none.
    """
    parts = []
    for number, contrast in enumerate(design.contrasts):
        second = fits[companion][number] if companion else None
        part = merge_engines(fits[method][number], second, design=design, contrast=contrast)
        part = part.assign(gene_id=genes["gene_id"].to_numpy(), symbol=genes["symbol"].to_numpy())
        if options.shrink and number == 0 and "pydeseq2" in fits:
            part[SHRUNKEN] = fits["pydeseq2"][0][SHRUNKEN]
        if not contrast.signed:
            part[JOINT] = len(contrast.hypotheses)
        part = part.reindex(columns=result_columns(options, joint=not contrast.signed))
        part = part.sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)
        parts.append(part.assign(contrast=contrast.name))
    return parts


def compare_genes(
    table: CellTypeSamples,
    design: Design,
    *,
    method: str = "pydeseq2",
    options: DeseqOptions = DEFAULTS,
    block: pd.Series | None = None,
    engines: Sequence[str] = METHODS,
) -> tuple[pd.DataFrame, dict, GeneFits]:
    """Test every gene with enough counts by both engines, or by voom alone.

    Parameters
    ----------
    table
        One cell type's samples.
    design
        Of (some of) these samples.
    method
        The primary engine, one of `engines`; the other is the companion.
    block
        Batch of each sample, for voom's correlation within batches; None for none.
    engines
        Those that are valid for these samples.

    Returns
    -------
    The contrasts one after another (column `contrast`), each sorted by p and gene id; the numbers of the summary, of
    the leading contrast where there are several; voom's fit of the leading contrast, for the test of gene sets (of no
    gene where it is a joint test).

    Raises
    ------
    CannotFit
        Fewer than two genes have enough counts, or a sample has no counts in them.
    """
    counts, tested = counts_to_test(table, design)
    fits, weighted, messages = fit_engines(counts, design, options=options, block=block, engines=engines)
    companion = next((name for name in engines if name != method), "")
    genes = pd.DataFrame({"gene_id": table.gene_ids[tested], "symbol": table.symbols.to_numpy()[tested]})
    parts = contrast_tables(fits, genes, design=design, method=method, companion=companion, options=options)
    numbers = {
        "method": method,
        "companion": companion,
        **engine_facts(counts, fits, options=options),
        **gene_facts(design, tested),
        "n_padj_missing": int(parts[0]["padj"].isna().sum()),
        **count_calls(parts[0]),
        "engine_messages": messages,
        **contrast_facts(parts),
    }
    correlation = fits["voom"][0].attrs["correlation"]
    if correlation is not None:
        numbers["correlation_within_batches"] = correlation
    gene_fits = no_fits()
    if design.signed:
        matrix = design.matrix.to_numpy(dtype=float)
        gene_fits = fit_genes(table.gene_ids[tested], weighted, matrix, design.contrasts[0].weights)
    return pd.concat(parts, ignore_index=True), numbers, gene_fits


def engine_facts(counts: np.ndarray, fits: dict[str, list[pd.DataFrame]], *, options: DeseqOptions) -> dict:
    """How PyDESeq2 was run, for the summary."""
    if "pydeseq2" not in fits:
        return {}
    df = fits["pydeseq2"][0].attrs["df"]
    return {
        "size_factors": size_factor_method(counts),
        "cooks": options.cooks,
        "independent_filtering": options.independent_filtering,
        "reference": f"t with {df:.1f} degrees of freedom" if np.isfinite(df) else "normal",
    }


def gene_facts(design: Design, tested: np.ndarray) -> dict:
    """How many samples and genes were tested, for the summary."""
    return {
        "n_samples": len(design.matrix),
        "n_coefficients": design.matrix.shape[1],
        "n_genes_in": len(tested),
        "n_tested": int(tested.sum()),
        "n_low_count": int((~tested).sum()),
        "low_count_rule": RULE,
    }


def contrast_facts(parts: list[pd.DataFrame]) -> dict:
    """The calls of each contrast, for the summary; nothing where there is one contrast only."""
    if len(parts) == 1:
        return {}
    return {"contrasts": [{"contrast": part["contrast"].iloc[0], **count_calls(part)} for part in parts]}
