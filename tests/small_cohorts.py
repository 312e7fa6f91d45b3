"""Small cohorts and points that tests make for themselves, every part adjustable."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

SYMBOLS = ["MT-ND1", "MT-CO1", "HBB", "HBA1", "RPS6", "RPL3", "HBEGF", "RPS6KA1", "TRAV1-2", "IGHV3-23", "CD3E", "LYZ"]


def small_cohort(
    *,
    donors: int = 8,
    cells_per_type: int = 20,
    types: tuple[str, ...] = ("T cell", "B cell, naive/memory"),
    genes: int = 60,
    seed: int = 0,
) -> anndata.AnnData:
    """A CELLxGENE-like cohort in memory, float32 CSR counts, cells of donors interleaved."""
    rng = np.random.default_rng(seed)
    n = donors * cells_per_type * len(types)
    symbols = SYMBOLS + [f"GENE{i}" for i in range(genes - len(SYMBOLS))]
    rate = rng.gamma(0.7, 3.0, size=genes)
    labels = [(d, t) for d in range(donors) for t in types for _ in range(cells_per_type)]
    order = rng.permutation(n)
    rates = np.stack([rate * (1 + (np.arange(genes) % (types.index(t) + 2) == 0)) for _, t in labels])
    counts = rng.poisson(rates).astype(np.float32)
    counts[:, -1] = 0  # a gene that no cell expresses
    donor = np.array([f"D{d:02d}" for d, _ in labels])
    obs = pd.DataFrame(
        {
            "donor_id": pd.Categorical(donor),
            "cell_type": pd.Categorical([t for _, t in labels]),
            "development_stage": pd.Categorical([f"{30 + 5 * d}-year-old stage" for d, _ in labels]),
            "sex": pd.Categorical([("female", "male")[d % 2] for d, _ in labels]),
            "pool": pd.Categorical([f"pool{d // 4}" for d, _ in labels]),
            "barcode_number": np.arange(n),
        },
        index=[f"CELL{i:05d}-{d}" for i, (d, _) in enumerate(labels)],
    )
    var = pd.DataFrame({"feature_name": symbols}, index=[f"ENSG{i:011d}" for i in range(genes)])
    return anndata.AnnData(X=sparse.csr_matrix(counts), obs=obs, var=var)[order].copy()


def write_cohort(cohort: anndata.AnnData, path: Path, **kwargs: object) -> Path:
    """Write a cohort as h5ad and return its path."""
    cohort.write_h5ad(path, **kwargs)
    return path


def shard_of(cohort: anndata.AnnData) -> anndata.AnnData:
    """A cohort in the form of a shard: sorted, unsigned counts, symbols."""
    order = cohort.obs.assign(cell_id=cohort.obs_names).sort_values(["donor_id", "cell_id"]).index
    sorted_cohort = cohort[order]
    return anndata.AnnData(
        X=sparse.csr_matrix(sorted_cohort.X, dtype=np.uint16),
        obs=sorted_cohort.obs[["donor_id", "cell_type"]].copy(),
        var=pd.DataFrame({"symbol": cohort.var["feature_name"].to_numpy(dtype=object)}, index=cohort.var_names),
    )


def clouds(cells: int = 1500, dimensions: int = 12, seed: int = 0) -> np.ndarray:
    """Points around six centres, cells x dimensions, 32 bits, as components of six cell types."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 4, (6, dimensions))
    return (centres[random.integers(0, 6, cells)] + random.normal(0, 1, (cells, dimensions))).astype(np.float32)
