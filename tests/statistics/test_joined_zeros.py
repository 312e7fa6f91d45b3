"""Files of different genes that were joined with zeros are told by the genes that have no count in the same samples."""

import numpy as np
import pytest

from de_step import run_step
from immune_aging.samples.cell_type_samples import read_samples
from immune_aging.statistics.joined_zeros import joined_zeros
from immune_aging.task.checkpoints import write_h5ad
from inputs.statistics_inputs import simulate_samples

# Which samples have no counts of which genes, and whether that is noted.
ZEROS = {
    "nothing": (lambda obs: np.zeros(len(obs), dtype=bool), np.arange(60, 80), False),
    "another file": (lambda obs: np.arange(len(obs)) >= 25, np.arange(60, 80), True),
    "four genes": (lambda obs: np.arange(len(obs)) >= 25, np.arange(60, 64), False),
    "genes of the Y chromosome": (lambda obs: (obs["sex"] == "female").to_numpy(), np.arange(60, 80), False),
    "one sample": (lambda obs: np.arange(len(obs)) == 3, np.arange(60, 80), False),
    "genes with few counts": (lambda obs: np.arange(len(obs)) >= 25, np.arange(160, 200), False),
}


@pytest.mark.parametrize("kind", ZEROS)
def test_genes_without_a_count_in_the_same_samples_are_noted(kind, tmp_path):
    choose, genes, noted = ZEROS[kind]
    adata, _ = simulate_samples(n_donors=40, n_genes=200, seed=2)
    counts = adata.X.toarray() if hasattr(adata.X, "toarray") else np.array(adata.X)
    counts[np.ix_(choose(adata.obs), genes)] = 0
    adata.X = counts
    write_h5ad(adata, tmp_path / "x.h5ad")
    notes = joined_zeros(read_samples(tmp_path / "x.h5ad"))
    assert len(notes) == noted
    if noted:
        assert notes[0].startswith("20 genes ('SYM60', ...) have no count in the same 15 of 40 samples (donor ")
        _, summary = run_step(tmp_path, adata, "--method", "voom")
        assert notes[0] in summary["warnings"]
