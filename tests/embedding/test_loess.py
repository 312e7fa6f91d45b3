"""Loess by value: the numbers of R's library as scikit-misc calls it, and no fit where that one is near singular."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skmisc.loess
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from immune_aging.embedding import loess as loess_module
from immune_aging.embedding.loess import SingularFit, Values, cell_corners, loess


def librarys(x, y, span):
    model = skmisc.loess.loess(x, y, span=span, degree=2)
    model.fit()
    return np.array(model.outputs.fitted_values)


def genes(seed, n_genes, n_cells):
    """Log10 means and variances as a donor's genes have them: sums of counts, many of them small and equal."""
    random = np.random.default_rng(seed)
    totals = random.poisson(10 ** random.normal(-1.5, 1.2, n_genes) * n_cells)
    x = np.log10(totals[totals > 0] / n_cells)
    return x, 1.1 * x + random.normal(0, 0.2, len(x)) + 0.3 * np.maximum(x, 0) ** 2


@pytest.mark.parametrize("n_cells", [60, 1200])
def test_a_donors_fit_is_the_librarys(n_cells):
    x, y = genes(1, 20_000, n_cells)
    largest = np.unique(x, return_counts=True)[1].max()
    assert largest > 1000, "the trap is gone: no value has many genes"
    np.testing.assert_allclose(loess(x, y, span=0.8), librarys(x, y, 0.8), rtol=0, atol=1e-11)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n_genes=st.integers(20, 3000), n_cells=st.integers(3, 1500),
    span=st.sampled_from([0.3, 0.5, 0.8, 1.0]), decimals=st.sampled_from([0, 1, 2, 16]),
)  # fmt: skip
def test_wherever_there_is_a_fit_it_is_the_librarys(seed, n_genes, n_cells, span, decimals):
    x, y = genes(seed, n_genes, n_cells)
    x = x.round(decimals)
    assume(len(x) >= 10)  # with fewer a donor is left out
    try:
        fitted = loess(x, y, span=span)
    except SingularFit:
        return  # the library's turn
    np.testing.assert_allclose(fitted, librarys(x, y, span), rtol=0, atol=1e-10)


def test_a_fit_is_the_same_to_the_last_bit_on_every_processor(tmp_path):
    x, y = genes(3, 5000, 300)
    np.savez(tmp_path / "genes.npz", x=x, y=y)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import loess, numpy\n"
        "genes = numpy.load(sys.argv[2]); print(loess.loess(genes['x'], genes['y'], span=0.8).tobytes().hex())"
    )
    command = [sys.executable, "-c", script, str(Path(loess_module.__file__).parent), str(tmp_path / "genes.npz")]
    fits = {
        subprocess.run(command, env=os.environ | unlike, check=True, capture_output=True, text=True).stdout
        for unlike in ({}, {"OPENBLAS_CORETYPE": "Prescott"}, {"NPY_DISABLE_CPU_FEATURES": "X86_V4"})
    }
    assert len(fits) == 1 and len(fits.pop()) > 1000


def test_there_mostly_is_a_fit():
    n_fitted = 0
    for seed in range(40):
        x, y = genes(seed, 3000, 100)
        try:
            n_fitted += len(loess(x, y, span=0.8)) > 0
        except SingularFit:
            continue
    assert n_fitted == 40


def test_few_values_are_no_fit():
    x = np.repeat([0.0, 1.0, 2.0, 3.0, 4.0], 50)
    with pytest.raises(SingularFit, match="values"):
        loess(x, x**2, span=0.8)
    with pytest.raises(ValueError, match="singularities"):
        librarys(np.repeat([0.0, 1.0], 100), np.arange(200.0), 0.8)


def test_values_nearly_in_two_places_are_no_fit():
    x = np.concatenate([1e-9 * np.arange(10), 1 + 1e-9 * np.arange(10)]).repeat(20)
    with pytest.raises(SingularFit, match="near singularity"):
        loess(x, np.sin(x), span=0.9)


def test_a_parabola_is_fitted_exactly():
    x = np.random.default_rng(0).integers(1, 60, 4000) / 10
    np.testing.assert_allclose(loess(x, 2 - x + 3 * x**2, span=0.5), 2 - x + 3 * x**2, rtol=1e-10)


def test_cells_are_halved_between_values_and_at_one_that_fills_them():
    def corners(n_points, most):
        x = np.arange(len(n_points), dtype=float)
        return cell_corners(Values(x, np.array(n_points), x), most)[1:-1].tolist()

    assert corners([5, 5], 10) == []
    assert corners([10, 10, 10, 10], 20) == [1]
    assert corners([1, 16, 2, 2], 18) == [1]  # six points above the middle rather than ten below
    assert corners([16, 4, 30], 40) == [1]  # five below: above it comes the end of the cell
    assert corners([5, 40, 5], 30) == [0, 1]
    assert corners([40, 5], 30) == [0]  # what is left is one value
