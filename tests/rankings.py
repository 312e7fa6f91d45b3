"""Rankings of genes within donors, for tests of the steps that rank and select."""

import numpy as np
from scipy import sparse

from immune_aging.embedding import seurat_v3


def rank_donors(counts: sparse.csr_matrix, donors: np.ndarray) -> dict[str, object]:
    """The rankings of all donors, in the order of their ids."""
    return {donor: seurat_v3.rank_donor(counts[donors == donor], span=0.8) for donor in np.unique(donors)}
