"""What is known of samples is read without their counts."""

import pandas as pd
import pytest

from immune_aging.samples.sample_obs import read_obs
from immune_aging.task.checkpoints import write_h5ad
from immune_aging.task.command_line import BadInput
from inputs.statistics_inputs import simulate_samples


def test_the_samples_are_those_of_the_table(tmp_path):
    adata, _ = simulate_samples(n_genes=50)
    write_h5ad(adata, tmp_path / "counts.h5ad")
    found = read_obs(tmp_path / "counts.h5ad")
    assert list(found["donor_id"].astype(str)) == list(adata.obs["donor_id"])
    pd.testing.assert_series_equal(found["age_years"], adata.obs["age_years"], check_index=False)


def test_what_is_no_table_is_bad_input(tmp_path):
    (tmp_path / "text.h5ad").write_text("no table")
    with pytest.raises(BadInput, match="cannot be read as a pseudobulk table"):
        read_obs(tmp_path / "text.h5ad")
