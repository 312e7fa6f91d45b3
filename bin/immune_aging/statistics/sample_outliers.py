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


def residual_ratios(counts: np.ndarray, design: pd.DataFrame) -> np.ndarray:
    """How much larger each sample's residuals are than the median sample's.

    The root mean square over genes of the residuals of voom's weighted fit, in units of each gene's own residual SD
    and allowing for the sample's leverage.

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
    leverage = np.einsum("ij,jk,ik->i", matrix, np.linalg.inv(matrix.T @ matrix), matrix)
    size = np.sqrt((left**2 * voom["weights"]).mean(axis=0) / np.maximum(1 - leverage, 1e-6))
    return size / np.median(size)


def are_outliers(ratios: np.ndarray) -> np.ndarray:
    """Which samples do not belong with the others, judged by their residuals alone, whatever their age."""
    logs = np.log(ratios)
    spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
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
