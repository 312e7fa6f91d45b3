"""Samples without counts in the tested genes are left out until each sample has some."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.empty_samples import empty_samples, without_empty_samples
from immune_aging.statistics.expressed_genes import expressed_genes
from immune_aging.statistics.sample_outliers import without_outliers
from immune_aging.task.skipped import CannotFit
from inputs.statistics_inputs import simulate_samples

N_DONORS, N_GENES, N_TESTED = 20, 120, 80


def table_of(*, empty=(), only_weak=()):
    """Twenty samples, of which some have no counts, or one in a gene that is not tested."""
    adata, _ = simulate_samples(n_donors=N_DONORS, n_genes=N_GENES)
    counts = adata.X.toarray()
    counts[[*empty, *only_weak]] = 0
    counts[list(only_weak), -1] = 1
    return CellTypeSamples(counts, adata.obs, adata.var["symbol"])


def design_of(samples):
    return build_design(samples, min_samples=10)


@pytest.mark.parametrize(
    ("empty", "only_weak"), [((), ()), ((0,), ()), ((), (19,)), ((4, 5, 6), ()), ((4,), (5, 6)), ((0, 1), (2, 3, 4))]
)
def test_what_is_left_has_counts_in_the_genes_that_it_would_test(empty, only_weak):
    table = table_of(empty=empty, only_weak=only_weak)
    kept, left_out = without_empty_samples(table, design_of)
    gone = sorted([*empty, *only_weak])
    assert sorted(one["donor_id"] for one in left_out) == [f"donor {row:03d}" for row in gone]
    assert all(one["sample_id"] == f"{one['donor_id']}_t" for one in left_out)
    np.testing.assert_array_equal(kept.counts, np.delete(table.counts, gone, axis=0))
    assert kept.samples.index.tolist() == np.delete(table.samples.index.to_numpy(), gone).tolist()
    design = design_of(kept.samples)
    assert (kept.counts[:, expressed_genes(kept.counts, design.matrix)].sum(axis=1) > 0).all()
    again, more = without_empty_samples(kept, design_of)
    assert more == [] and len(again.samples) == len(kept.samples)
    same, outliers = without_outliers(kept, design)
    assert outliers == [] and len(same.samples) == len(kept.samples)


def test_a_sample_that_the_design_leaves_out_is_not_counted_as_empty():
    table = table_of(empty=[2])
    samples = table.samples.assign(age_years=table.samples["age_years"].where(np.arange(N_DONORS) != 2))
    kept, left_out = without_empty_samples(CellTypeSamples(table.counts, samples, table.symbols), design_of)
    assert left_out == [] and len(kept.samples) == N_DONORS


def test_samples_are_not_empty_for_genes_that_are_not_tested():
    counts = np.zeros((12, 5), dtype=int)
    counts[:, 0] = 1
    design = pd.DataFrame({"Intercept": np.ones(12)})
    assert expressed_genes(counts, design).sum() < 2
    assert not empty_samples(counts, design).any()
    counts[4] = 0
    assert empty_samples(counts, design).tolist() == [row == 4 for row in range(12)]


def test_too_few_samples_with_counts_cannot_be_fitted_and_the_reason_says_why():
    table = table_of(empty=range(11))
    with pytest.raises(CannotFit, match=r"^9 samples; at least 10 are needed; 11 samples without counts in the tested"):
        without_empty_samples(table, design_of)
    with pytest.raises(CannotFit, match=r"^20 samples; at least 21 are needed$"):
        without_empty_samples(table, lambda samples: build_design(samples, min_samples=21))
