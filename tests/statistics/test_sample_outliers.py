"""Samples that do not belong with the others are told by their residuals alone, where they have any."""

import numpy as np
import pandas as pd
import pytest

from immune_aging.samples.cell_type_samples import CellTypeSamples
from immune_aging.statistics.count_tests import DeseqOptions
from immune_aging.statistics.designs import build_design
from immune_aging.statistics.differential_expression import Question, analyse_cell_type
from immune_aging.statistics.sample_outliers import are_outliers, count_unjudged, residual_ratios, without_outliers
from inputs.statistics_inputs import simulate_samples


def test_low_depth_or_an_extreme_age_makes_no_outlier():
    adata, _ = simulate_samples(n_donors=60)
    counts = adata.X.toarray()[:, :360]
    counts[5] = np.random.default_rng(1).binomial(counts[5].astype(int), 0.1)
    obs = adata.obs.copy()
    obs.loc[obs.index[9], "age_years"] = 120.0
    assert not are_outliers(residual_ratios(counts, build_design(obs).matrix)).any()


def of_donors(n_pairs: int, n_single: int) -> pd.DataFrame:
    """Samples of donors with both conditions, then of donors with one."""
    donors = [f"P{i:02d}" for i in range(n_pairs) for _ in range(2)] + [f"U{i:02d}" for i in range(n_single)]
    conditions = np.resize(["ctrl", "stim"], len(donors))
    return pd.DataFrame({"donor_id": donors, "condition": conditions})


def of_batches(sizes: list[int]) -> pd.DataFrame:
    """One sample of each donor, in batches of these sizes."""
    batches = np.repeat([f"b{i:02d}" for i in range(len(sizes))], sizes)
    donors = [f"D{i:02d}" for i in range(len(batches))]
    return pd.DataFrame({"donor_id": donors, "condition": np.resize(["ctrl", "stim"], len(donors)), "batch": batches})


PAIRED, BATCHES = "~ donor + condition", "~ batch + condition"
# Of each: its samples, the design, how many of them, the last ones, cannot be judged.
LAYOUTS = {
    "no further term": (of_batches([20]), "~ condition", 0),
    "all paired": (of_donors(10, 0), PAIRED, 0),
    "few without a partner": (of_donors(10, 4), PAIRED, 4),
    "most without a partner": (of_donors(10, 22), PAIRED, 22),
    "nearly all without a partner": (of_donors(4, 40), PAIRED, 40),
    "one batch of a single sample": (of_batches([8, 8, 1]), BATCHES, 1),
    "most batches of a single sample": (of_batches([6, 6, *[1] * 15]), BATCHES, 15),
}


def table_of(samples: pd.DataFrame, *, seed: int, broken: int | None = None) -> CellTypeSamples:
    """Counts of genes that differ between donors; in the broken sample each gene has the counts of another."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(5, 0.7, 80))
    codes, names = pd.factorize(samples["donor_id"])
    own = rng.normal(0, 0.3, (len(names), 80))[codes] + rng.normal(0, 0.1, (len(samples), 80))
    counts = rng.poisson(level * np.exp(own))
    if broken is not None:
        counts[broken] = rng.permutation(counts[broken])
    known = samples.assign(cell_type="T", age_years=50.0, sex="female", n_cells=50)
    symbols = pd.Series("", index=[f"g{i}" for i in range(80)])
    return CellTypeSamples(counts, known.set_axis([f"s{i:02d}" for i in range(len(samples))]), symbols)


@pytest.mark.parametrize(("samples", "formula", "n_unjudged"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_broken_sample_is_found_in_every_layout_wherever_it_has_residuals(samples, formula, n_unjudged):
    n = len(samples)
    for broken in (None, 0, 7, n - 1):
        table = table_of(samples, seed=1, broken=broken)
        design = build_design(table.samples, formula=formula, test_term="condition", few_pairs=True)
        ratios = residual_ratios(table.counts, design.matrix)
        assert np.flatnonzero(np.isnan(ratios)).tolist() == list(range(n - n_unjudged, n))
        assert count_unjudged(design) == n_unjudged
        left_out = {one["sample_id"] for one in without_outliers(table, design)[1]}
        if broken is None or broken >= n - n_unjudged:
            assert left_out == set()
        else:  # of a pair both: the two have one residual, of opposite sign
            partners = samples["donor_id"] == samples["donor_id"].iloc[broken]
            allowed = set(table.samples.index[partners]) if formula == PAIRED else {table.samples.index[broken]}
            assert table.samples.index[broken] in left_out and left_out <= allowed


def test_how_many_samples_could_not_be_judged_is_said_and_the_others_are_tested():
    table = table_of(LAYOUTS["most without a partner"][0], seed=2)
    asked = Question(PAIRED, "condition", "", "none", "none", 6, False, "pydeseq2", DeseqOptions())
    answer = analyse_cell_type(table, asked)
    assert answer.leading is not None and answer.facts["outlier_samples"] == []
    assert any(note.startswith("22 samples could not be judged as outliers") for note in answer.facts["warnings"])
    answer = analyse_cell_type(table_of(LAYOUTS["all paired"][0], seed=2), asked)
    assert not any("could not be judged" in note for note in answer.facts["warnings"])
