"""Differential expression of one cell type: both methods, their consensus, and what to be careful about."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.batches import Batches
from immune_aging.statistics.count_tests import (
    ALPHA,
    DEFAULTS,
    MIN_COUNT,
    OUTLIER_RATIO,
    DeseqOptions,
    are_outliers,
    expressed_genes,
    fit_pydeseq2,
    fit_voom,
    residual_ratios,
    size_factor_method,
)
from immune_aging.statistics.designs import Contrast, Design, as_labels
from immune_aging.task.skipped import CannotFit

METHODS = ("pydeseq2", "voom")
COLUMNS = (
    "gene_id", "symbol", "base_mean", "log2_fold_change", "lfc_se", "stat", "p_value", "padj",
    "lfc_per_unit", "lfc_per_decade", "log2_fold_change_companion", "p_value_companion", "padj_companion", "robust",
)  # fmt: skip
# Under this number PyDESeq2's false discovery rate was measured at .02 to .10, depending on the genes'
# variances.
CALIBRATED_FROM_SAMPLES = 60


def refuse_empty_samples(counts: np.ndarray, samples: pd.Index, where: str) -> None:
    """Raise `CannotFit` where a sample has no counts: it has no size factor."""
    empty = samples[counts.sum(axis=1) == 0]
    if len(empty):
        raise CannotFit(f"sample '{empty[0]}' has no counts{where}")


def without_outliers(table: CellTypeSamples, design: Design) -> tuple[CellTypeSamples, list[dict]]:
    """The samples without those that do not belong with the others.

    Parameters
    ----------
    design
        Of (some of) these samples, without batches.

    Returns
    -------
    The table, and what was left out: sample_id, donor_id and how many times larger its residuals are.
    """
    counts = table.counts[table.samples.index.get_indexer(design.matrix.index)]
    if (counts.sum(axis=1) > 0).all():
        counts = counts[:, expressed_genes(counts, design.matrix)]
    if counts.shape[1] < 2 or (counts.sum(axis=1) == 0).any():
        return table, []  # a cell type that will be skipped, with this reason
    ratios = residual_ratios(counts, design.matrix)
    bad = are_outliers(ratios)
    names = design.matrix.index[bad]
    left_out = [
        {"sample_id": str(name), "donor_id": str(table.samples.loc[name, "donor_id"]), "residuals": float(ratio)}
        for name, ratio in zip(names, ratios[bad], strict=True)
    ]
    kept = ~table.samples.index.isin(names)
    return replace(table, counts=table.counts[kept], samples=table.samples[kept]), left_out


def merge_engines(first: pd.DataFrame, second: pd.DataFrame, *, design: Design, contrast: Contrast) -> pd.DataFrame:
    """One contrast's table by gene from its two engines, in the genes' own order.

    Parameters
    ----------
    first, second
        `RESULT_COLUMNS` of the primary engine and of its companion, the same genes.
    """
    effect = first["log2_fold_change"]
    result = first.assign(
        lfc_per_unit=np.nan if contrast.level else effect / design.sd,
        lfc_per_decade=effect / design.sd * 10 if design.test_term == "age" and not contrast.level else np.nan,
        log2_fold_change_companion=second["log2_fold_change"],
        p_value_companion=second["p_value"],
        padj_companion=second["padj"],
    )
    result["robust"] = (
        (result["padj"] < ALPHA)
        & (result["padj_companion"] < ALPHA)
        & (np.sign(effect) == np.sign(result["log2_fold_change_companion"]))
    )
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


def compare_genes(
    table: CellTypeSamples,
    design: Design,
    *,
    method: str = "pydeseq2",
    options: DeseqOptions = DEFAULTS,
    block: pd.Series | None = None,
) -> tuple[pd.DataFrame, dict]:
    """Test every gene with enough counts by both engines.

    Parameters
    ----------
    table
        One cell type's samples.
    design
        Of (some of) these samples.
    method
        The primary engine; the other is the companion.
    block
        Batch of each sample, for voom's correlation within batches; None for none.

    Returns
    -------
    The contrasts one after another (column `contrast`), each sorted by p and gene id, and the numbers of the
    summary, of the leading contrast where there are several.

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
    companion = next(name for name in METHODS if name != method)
    weights = [contrast.weights for contrast in design.contrasts]
    blocks = None if block is None else block.reindex(design.matrix.index).to_numpy(dtype=str)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        fits = {
            "pydeseq2": fit_pydeseq2(counts, design.matrix, weights, options=options),
            "voom": fit_voom(counts, design.matrix, weights, block=blocks),
        }
    columns = [*COLUMNS, *(["lfc_shrunken"] if options.shrink else [])]
    parts = []
    for number, contrast in enumerate(design.contrasts):
        part = merge_engines(fits[method][number], fits[companion][number], design=design, contrast=contrast)
        part = part.assign(gene_id=table.gene_ids[tested], symbol=table.symbols.to_numpy()[tested])
        if options.shrink and number == 0:
            part["lfc_shrunken"] = fits["pydeseq2"][0]["lfc_shrunken"]
        part = part.reindex(columns=columns).sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)
        parts.append(part.assign(contrast=contrast.name))
    leading = parts[0]
    correlation, df = fits["voom"][0].attrs["correlation"], fits["pydeseq2"][0].attrs["df"]
    numbers = {
        "method": method,
        "companion": companion,
        "size_factors": size_factor_method(counts),
        "cooks": options.cooks,
        "independent_filtering": options.independent_filtering,
        "reference": f"t with {df:.1f} degrees of freedom" if np.isfinite(df) else "normal",
        "n_samples": len(design.matrix),
        "n_coefficients": design.matrix.shape[1],
        "n_genes_in": len(tested),
        "n_tested": int(tested.sum()),
        "n_low_count": int((~tested).sum()),
        "low_count_rule": f"edgeR filterByExpr with the design, min.count {MIN_COUNT}",
        "n_padj_missing": int(leading["padj"].isna().sum()),
        **count_calls(leading),
        "engine_messages": sorted({" ".join(str(w.message).split()) for w in caught}),
    }
    if len(parts) > 1:
        numbers["contrasts"] = [
            {"contrast": contrast.name, **count_calls(part)}
            for contrast, part in zip(design.contrasts, parts, strict=True)
        ]
    if correlation is not None:
        numbers["correlation_within_batches"] = correlation
    return pd.concat(parts, ignore_index=True), numbers


def random_blocks(samples: pd.DataFrame, batches: Batches) -> pd.Series | None:
    """The batch of each sample where it is a random effect.

    Raises
    ------
    CannotFit
        A sample has none, or there is nothing to estimate a correlation from.
    """
    if batches.use != "random":
        return None
    labels = as_labels(samples[batches.column])
    if labels.isna().any():
        raise CannotFit(f"'{batches.column}' is unknown for {int(labels.isna().sum())} of {len(labels)} samples")
    if not 2 <= labels.nunique() < len(labels):
        raise CannotFit(f"'{batches.column}' has {labels.nunique()} levels in {len(labels)} samples: no random effect")
    return labels


def design_facts(design: Design, batches: Batches) -> dict:
    """What the summary says of the design."""
    return {
        "design": design.formula,
        "test_term": design.test_term,
        "contrast": design.contrasts[0].name,
        "test_term_mean": design.mean,
        "test_term_sd": design.sd,
        "batches": asdict(batches),
    }


def batch_note(batches: Batches) -> str:
    """What a reader must know of the batch; '' where the cohort has none."""
    if not batches.column:
        return ""
    use = {
        "fixed": f"'{batches.column}' is a term of the design",
        "random": f"'{batches.column}' is a random effect in voom and left out of PyDESeq2",
        "none": f"'{batches.column}' was not added to the design",
    }
    return f"{use[batches.use]}: {batches.reason}"


def cautions(design: Design, batches: Batches, left_out: Sequence[Mapping[str, object]] = ()) -> list[str]:
    """What a reader must know of these samples before trusting the calls."""
    notes = list(design.notes)
    if left_out:
        worst = max(left_out, key=lambda one: one["residuals"])
        notes.append(
            f"{len(left_out)} samples left out as outliers: their residuals are at least {OUTLIER_RATIO} times those "
            f"of the median sample (donor '{worst['donor_id']}': {worst['residuals']:.1f} times)"
        )
    if len(design.matrix) < CALIBRATED_FROM_SAMPLES:
        notes.append(
            f"{len(design.matrix)} samples: under {CALIBRATED_FROM_SAMPLES} PyDESeq2's false discovery rate "
            "can reach twice its nominal level; rely on the robust calls"
        )
    note = batch_note(batches)
    return [*notes, note] if note else notes
