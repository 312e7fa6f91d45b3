"""What voom's fit leaves of every gene, and the HDF5 file that DIFFERENTIAL_EXPRESSION writes and GSEA reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.statistics.linear_models import WeightedExpression, contrast_as_coefficient, weighted_fits
from immune_aging.task.checkpoints import atomic_path, checked_filters, remedy
from immune_aging.task.command_line import BadInput


@dataclass(frozen=True)
class GeneFits:
    """The fit of every gene: its statistic and what the fit leaves.

    Attributes
    ----------
    gene_ids
        One per gene, each once.
    z
        Moderated t of the contrast on the scale of a standard normal, one value per gene.
    residuals
        Genes x samples: weighted residuals in units of the gene's residual SD, so that the squares of a gene's row
        sum to `df_residual`.
    df_residual
        Samples minus coefficients.
    moderation
        Residual SD over moderated SD, one value per gene: what brings `residuals` to the scale that `z` is on.
    """

    gene_ids: np.ndarray
    z: np.ndarray
    residuals: np.ndarray
    df_residual: int
    moderation: np.ndarray

    def of(self, gene_ids: Sequence[str]) -> "GeneFits":
        """The fits of these genes, in this order.

        Raises
        ------
        BadInput
            A gene was not fitted.
        """
        rows = pd.Index(self.gene_ids).get_indexer(list(gene_ids))
        if (rows < 0).any():
            missing = list(gene_ids)[int(np.flatnonzero(rows < 0)[0])]
            raise BadInput(f"--fits: gene '{missing}' of --de was not fitted; give both files of one task")
        return GeneFits(
            self.gene_ids[rows], self.z[rows], self.residuals[rows], self.df_residual, self.moderation[rows]
        )


def no_fits() -> GeneFits:
    """The fits of no gene: of a cell type that was not tested."""
    nothing = np.empty(0)
    return GeneFits(nothing.astype(str), nothing, np.empty((0, 0)), 0, nothing)


def fit_genes(
    gene_ids: Sequence[str], weighted: WeightedExpression, matrix: np.ndarray, contrast: np.ndarray
) -> GeneFits:
    """Fit every gene by weighted least squares and moderate its variance, as limma does.

    Parameters
    ----------
    gene_ids
        Of the rows of `weighted`.
    weighted
        log2 counts per million and weights, genes x samples.
    matrix
        Samples x coefficients, of full rank.
    contrast
        Weights of the coefficients; tested against 0.

    References
    ----------
    Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3:3; Law, Chen, Shi, Smyth (2014), Genome
    Biology 15:R29.
    """
    from pylimma import squeeze_var, zscore_t

    turned, column = contrast_as_coefficient(matrix, np.asarray(contrast, dtype=float))
    fit = weighted_fits(weighted.expression, weighted.weights, turned, whiten=weighted.whitener, residuals=True)
    n_genes, df = len(fit["sigma"]), len(matrix) - matrix.shape[1]
    moderated = squeeze_var(fit["sigma"] ** 2, df=df)
    # As camera has it: the prior may not lend more degrees of freedom than all genes have together.
    df_total = np.minimum(df + moderated["df_prior"], n_genes * df)
    sd = np.sqrt(moderated["var_post"])
    z = zscore_t(
        fit["coefficients"][:, column] / fit["stdev_unscaled"][:, column] / sd,
        df=df_total,
        approx=True,
        method="hill",
    )
    own_sd = np.maximum(fit["sigma"], 1e-4)
    residuals = fit["residuals"] / own_sd[:, None]
    return GeneFits(np.asarray(gene_ids).astype(str), np.asarray(z), residuals, df, own_sd / sd)


def write_gene_fits(fits: GeneFits, path: str | Path) -> None:
    """Write the fits, zstd-compressed, each part with a checksum; the same fits give the same bytes.

    Residuals are rounded to float32, which moves p by some 1e-9 of itself: they are nearly all of the file.
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["df_residual"] = fits.df_residual
        # Names of fixed length: text of any length would lie outside the checksums.
        names = np.char.encode(fits.gene_ids, "utf-8") if len(fits.gene_ids) else np.empty(0, "S1")
        parts = {"gene_id": names, "z": fits.z, "moderation": fits.moderation}
        parts["residuals"] = fits.residuals.astype(np.float32)
        for name, values in parts.items():
            filters = {"chunks": True, **checked_filters()} if values.size else {}
            file.create_dataset(name, data=values, **filters)


def read_gene_fits(path: str | Path) -> GeneFits:
    """Read the fits; `BadInput` if the file holds none or is damaged."""
    import h5py
    import hdf5plugin  # noqa: F401  registers the zstd filter

    try:
        with h5py.File(path, "r") as file:
            parts = {name: file[name][:] for name in ("gene_id", "z", "residuals", "moderation")}
            df = int(file.attrs["df_residual"])
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read as the fits of genes: {error}{remedy(path)}") from error
    names = np.char.decode(parts["gene_id"], "utf-8")
    return GeneFits(names, parts["z"], parts["residuals"], df, parts["moderation"])
