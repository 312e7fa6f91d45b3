"""Samples that do not belong with the others of their cell type, told by the size of their residuals."""

import numpy as np
import pandas as pd

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.designs import Design
from immune_aging.statistics.empty_samples import without_samples
from immune_aging.statistics.expressed_genes import expressed_genes
from immune_aging.statistics.linear_models import weighted_fits

# An outlier sample: its residuals are this many times those of the median sample, and so far from it in SDs (by the
# MAD, of logs). In four cell types of 27 to 40 real donors no sample reaches both (largest 1.5 times, 3.7 SDs).
OUTLIER_RATIO, OUTLIER_SDS = 1.5, 5.0
# A sample that a term of the design has for itself, as the only one of its donor or batch, has a leverage of 1 and no
# residual whatever its counts: nothing tells whether it belongs with the others.
LARGEST_LEVERAGE = 1 - 1e-6


def leverages(matrix: np.ndarray) -> np.ndarray:
    """How far the fit of each sample follows that sample alone, 0 to 1.

    Parameters
    ----------
    matrix
        Samples x coefficients, of full rank.
    """
    return np.einsum("ij,jk,ik->i", matrix, np.linalg.inv(matrix.T @ matrix), matrix)


def count_unjudged(design: Design) -> int:
    """How many samples of a design have no residuals to be judged by."""
    return int((leverages(design.matrix.to_numpy(dtype=float)) >= LARGEST_LEVERAGE).sum())


def residual_ratios(counts: np.ndarray, design: pd.DataFrame) -> np.ndarray:
    """How much larger each sample's residuals are than the median sample's.

    The root mean square over genes of the residuals of voom's weighted fit, in units of each gene's own residual SD
    and allowing for the sample's leverage. NaN where the leverage is 1: such samples have no residuals, and are not
    among those that the median is of.

    Parameters
    ----------
    counts
        Samples x genes, raw, genes with enough counts.
    design
        Samples x coefficients.
    """
    import pylimma

    matrix = design.to_numpy(dtype=float)
    voom = pylimma.voom(counts.T.astype(float), matrix)
    fit = weighted_fits(voom["E"], voom["weights"], matrix)
    left = (voom["E"] - fit["coefficients"] @ matrix.T) / fit["sigma"][:, None]
    leverage = leverages(matrix)
    judged = leverage < LARGEST_LEVERAGE
    size = np.full(len(matrix), np.nan)
    size[judged] = np.sqrt((left**2 * voom["weights"])[:, judged].mean(axis=0) / (1 - leverage[judged]))
    return size / np.median(size[judged])


def are_outliers(ratios: np.ndarray) -> np.ndarray:
    """Which samples do not belong with the others, judged by their residuals alone, whatever their age.

    Parameters
    ----------
    ratios
        Of `residual_ratios`; NaN is no outlier.
    """
    logs = np.log(ratios)
    known = logs[np.isfinite(logs)]
    spread = 1.4826 * np.median(np.abs(known - np.median(known)))
    return (ratios > OUTLIER_RATIO) & (logs > OUTLIER_SDS * spread)


def without_outliers(table: CellTypeSamples, design: Design) -> tuple[CellTypeSamples, list[dict]]:
    """The samples without those that do not belong with the others.

    Parameters
    ----------
    design
        Of (some of) these samples, without batches; each has counts in the genes that it would test
        (`without_empty_samples`).

    Returns
    -------
    The table, and what was left out: sample_id, donor_id and how many times larger its residuals are.
    """
    counts = table.counts[table.samples.index.get_indexer(design.matrix.index)]
    counts = counts[:, expressed_genes(counts, design.matrix)]
    if counts.shape[1] < 2:
        return table, []  # a cell type that will be skipped, with this reason
    ratios = residual_ratios(counts, design.matrix)
    bad = are_outliers(ratios)
    names = design.matrix.index[bad]
    left_out = [
        {"sample_id": str(name), "donor_id": str(table.samples.loc[name, "donor_id"]), "residuals": float(ratio)}
        for name, ratio in zip(names, ratios[bad], strict=True)
    ]
    return without_samples(table, names), left_out
