"""Which matrix holds the counts is told by its values; where two could be it, the run asks."""

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

from immune_aging.cohort import cohort_file
from immune_aging.cohort.cohort_file import read_cells, unwrapped
from immune_aging.cohort.count_evidence import find_counts
from immune_aging.task.command_line import BadInput
from small_cohorts import small_cohort, write_cohort

RNG = np.random.default_rng(3)
DEPTH = np.exp(RNG.normal(0, 0.4, 120))
RATES = RNG.gamma(0.5, 1.0, 300)
COUNTS = sparse.csr_matrix(RNG.poisson(DEPTH[:, None] * RATES * 3000 / RATES.sum()).astype(np.float32))


def changed(function):
    matrix = COUNTS.copy()
    matrix.data = function(matrix.data).astype(np.float32)
    matrix.eliminate_zeros()
    return matrix


def per_cell(total):
    return sparse.csr_matrix(sparse.diags(total / np.asarray(COUNTS.sum(axis=1)).ravel()) @ COUNTS, dtype=np.float32)


def rounded(total):
    matrix = per_cell(total)
    matrix.data = np.rint(matrix.data)
    matrix.eliminate_zeros()
    return matrix


NORMALISED = per_cell(1e4).log1p()
CORRECTED = changed(lambda x: x * RNG.uniform(0.86, 1, len(x)))
PART = changed(lambda x: RNG.binomial(x.astype(int), 0.7))
BINNED = changed(lambda x: np.minimum(1 + np.log2(x).astype(int), 4))


def found(
    tmp_path, x, *, raw=None, layer="auto", layout=sparse.csr_matrix, round_counts=False, of_cells=True, **layers
):
    cohort = small_cohort(donors=3, cells_per_type=20, genes=300)
    cohort.X = layout(x) if raw is None else layout(raw)
    if raw is not None:
        cohort.raw = cohort.copy()
        cohort.X = layout(x)
    for name, matrix in layers.items():
        cohort.layers[name] = layout(matrix)
    path = write_cohort(cohort, tmp_path / "c.h5ad")
    with h5py.File(path) as file:
        return find_counts(file, "c", counts_layer=layer, round_counts=round_counts, of_cells=of_cells)


LAYOUTS = [sparse.csr_matrix, sparse.csc_matrix, lambda matrix: matrix.toarray()]
ONE = {
    "X": ({"x": COUNTS}, "X"),
    "raw.X": ({"x": NORMALISED, "raw": COUNTS}, "raw.X"),
    "the same twice": ({"x": COUNTS, "counts": COUNTS}, "X"),
    "raw.X, and X the same": ({"x": COUNTS, "raw": COUNTS}, "raw.X"),
    "a layer by its name": ({"x": NORMALISED, "counts": COUNTS, "spliced": PART}, "counts"),
    "a layer by what X is made of": (
        {"x": NORMALISED, "matrix": COUNTS, "spliced": PART, "ambiguous": PART * 2},
        "matrix",
    ),
    "a layer alone": ({"x": NORMALISED, "original": COUNTS}, "original"),
    "a layer beside scaled values": ({"x": NORMALISED * -1, "original": COUNTS}, "original"),
    "bins beside a layer": ({"x": NORMALISED, "X_binned": BINNED, "mine": COUNTS}, "mine"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ONE)
def test_the_counts_are_found(name, layout, tmp_path):
    matrices, layer = ONE[name]
    assert found(tmp_path, **matrices, layout=layout).layer == layer


ASKED = {
    "parts alone": {"x": NORMALISED * -1, "spliced": PART, "unspliced": PART * 2},
    "one part": {"x": NORMALISED, "spliced": PART},
    "bins alone": {"x": NORMALISED, "X_binned": BINNED},
    "two by name": {"x": NORMALISED, "counts": COUNTS, "soupx_counts": PART},
    "X and a layer by name": {"x": PART, "counts": COUNTS},
    "raw.X and X": {"x": PART, "raw": COUNTS},
    "two by no name": {"x": NORMALISED * -1, "a": COUNTS, "b": PART},
}


@pytest.mark.parametrize("name", ASKED)
def test_the_run_asks_where_no_matrix_is_likelier(name, tmp_path):
    with pytest.raises(BadInput, match="--counts_layer"):
        found(tmp_path, **ASKED[name])


def test_a_named_layer_is_taken(tmp_path):
    assert found(tmp_path, **ASKED["raw.X and X"], layer="X").layer == "X"
    assert "spliced" in found(tmp_path, **ASKED["one part"], layer="spliced").layer


def test_other_whole_numbers_are_noted(tmp_path):
    assert "other whole numbers are in spliced" in found(tmp_path, COUNTS, spliced=PART).notes[0]
    [note] = found(tmp_path, PART, spliced=PART, unspliced=COUNTS).notes
    assert note == "X holds the same as layer spliced, without the reads of unspliced"
    assert found(tmp_path, COUNTS, log=NORMALISED).notes == ()


NO_COUNTS = {
    "rounded, from shallow cells": (rounded(1e4), "no 1 in"),
    "rounded, at about their depth": (rounded(3e3), "nearly the same total in all cells"),
    "binary": (changed(np.sign), "nothing but 0 and 1"),
    "logarithms": (NORMALISED, "fractions .*, so it is normalised"),
    "normalised": (per_cell(1e4), "fractions .*, so it is normalised"),
    "corrected": (CORRECTED, "ambient correction .* --round_counts"),
    "estimated": (changed(lambda x: x + 0.25 * (np.arange(len(x)) % 3 == 0)), "estimates of transcripts"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NO_COUNTS)
def test_what_is_no_count_is_recognised(name, layout, tmp_path):
    matrix, message = NO_COUNTS[name]
    with pytest.raises(BadInput, match=message):
        found(tmp_path, matrix, layout=layout)


@pytest.mark.parametrize("name", ["rounded, from shallow cells", "rounded, at about their depth", "binary"])
def test_a_person_may_say_that_whole_numbers_are_counts(name, tmp_path):
    [note] = found(tmp_path, NO_COUNTS[name][0], layer="X").notes
    assert "it is taken for raw counts, as --counts_layer says" in note
    assert found(tmp_path, NO_COUNTS[name][0], of_cells=False).layer == "X", "sums of cells are not judged so"


@pytest.mark.parametrize("name", ["corrected", "estimated"])
def test_counts_that_are_fractions_are_rounded_where_that_is_asked_for(name, tmp_path):
    chosen = found(tmp_path, NO_COUNTS[name][0], round_counts=True)
    assert chosen.counts.rounded and "are rounded" in chosen.notes[0]
    chosen = found(tmp_path, NO_COUNTS[name][0], counts=COUNTS, round_counts=True)
    assert (chosen.layer, chosen.counts.rounded) == ("counts", False), "whole numbers go before"
    with pytest.raises(BadInput, match="so it is normalised"):
        found(tmp_path, NORMALISED, round_counts=True)


def test_downsampled_cells_of_one_total_are_counts(tmp_path):
    even = np.array([RNG.multinomial(1500, row / row.sum()) for row in COUNTS.toarray().astype(float)])
    assert found(tmp_path, sparse.csr_matrix(even.astype(np.float32))).layer == "X"


@pytest.mark.parametrize(("dtype", "note"), [(np.uint8, "are 255"), (np.float16, "above 2,048"), (np.float64, "")])
def test_numbers_too_small_for_counts_are_noted(dtype, note, tmp_path):
    matrix = COUNTS.copy()
    matrix.data[:5] = 255 if dtype == np.uint8 else 4000
    path = write_cohort(small_cohort(donors=3, cells_per_type=20, genes=300), tmp_path / "c.h5ad")
    with h5py.File(path, "a") as file:
        for part in ("data", "indices", "indptr"):
            del file[f"X/{part}"]
            file[f"X/{part}"] = getattr(matrix, part).astype(dtype if part == "data" else np.int64)
        notes = find_counts(file, "c", counts_layer="auto").notes
    assert any(note in text for text in notes) if note else notes == ()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_cells_are_read_from_every_layout(layout, tmp_path):
    path = write_cohort(small_cohort(donors=8, cells_per_type=30), tmp_path / "c.h5ad")
    cohort = small_cohort(donors=8, cells_per_type=30)
    cohort.X = layout(cohort.X)
    other = write_cohort(cohort, tmp_path / "other.h5ad")
    blocks = []
    for one in (path, other):
        with h5py.File(one) as file:
            blocks.append(read_cells(file, cohort_file.candidates(file)["X"], cells=60, places=7).toarray())
    np.testing.assert_array_equal(*blocks)
    assert len(blocks[0]) == 56


def test_a_large_matrix_by_genes_is_sampled_by_genes(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort_file, "WHOLE_VALUES", 100)
    monkeypatch.setattr(cohort_file, "SAMPLE_VALUES", 2_000)
    assert found(tmp_path, COUNTS, layout=sparse.csc_matrix).layer == "X"
    with pytest.raises(BadInput, match="fractions"):
        found(tmp_path, NORMALISED, layout=sparse.csc_matrix)


def test_a_beginning_that_32_bits_wrapped_is_unwrapped_where_it_ends_right():
    true = np.array([0, 2**31 - 5, 2**31 + 7, 2**32 + 1, 2**32 + 1, 2**32 + 9])
    wrapped = true.astype(np.int32)
    np.testing.assert_array_equal(unwrapped(wrapped, true[-1]), true)
    assert (np.diff(unwrapped(wrapped, true[-1] + 1)) < 0).any()
    np.testing.assert_array_equal(unwrapped(true.astype(np.int64), true[-1]), true)


def test_normalised_sums_of_samples_are_refused(tmp_path):
    with pytest.raises(BadInput, match="nearly the same total in all samples"):
        found(tmp_path, rounded(1e6), of_cells=False)
    assert found(tmp_path, COUNTS, of_cells=False).notes == ()


def sums_of_samples(n=24, genes=400):
    """Sums of a few hundred to a few thousand cells a sample, genes as unequal as in blood."""
    rng = np.random.default_rng(0)
    depth = rng.lognormal(11.5, 0.7, n)
    shares = rng.lognormal(0, 4, genes)
    return rng.poisson(np.outer(depth, shares / shares.sum()) * rng.lognormal(0, 0.3, (n, genes))).astype(float)


@pytest.mark.parametrize(
    ("made", "note"),
    [
        (lambda x: x, ""),
        (lambda x: x[:, x.min(axis=0) > 20], ""),
        (lambda x: x[:6], ""),
        (lambda x: np.rint(np.log1p(x)), "vary less between samples than by chance"),
        (lambda x: np.rint(np.log2(x + 1)), "vary less between samples than by chance"),
        (lambda x: np.rint(np.log1p(x / x.sum(1, keepdims=True) * 1e6)), "vary less between samples than by chance"),
        (lambda x: np.rint(100 * np.log2(x + 1)), "hold zeros but no 1"),
        (lambda x: np.rint(x / x.sum(1, keepdims=True) * np.median(x.sum(1)) * 50 * np.linspace(0.9, 1.1, len(x))[:, None]),
         "hold zeros but no 1"),
        (lambda x: np.rint(np.arcsinh(x)), "vary less between samples than by chance"),
    ],
)  # fmt: skip
def test_sums_that_were_logged_or_scaled_and_rounded_are_noted(made, note, tmp_path):
    values = made(sums_of_samples())
    adata = anndata.AnnData(sparse.csr_matrix(values.astype(np.float32)))
    adata.write_h5ad(tmp_path / "sums.h5ad")
    with h5py.File(tmp_path / "sums.h5ad") as file:
        notes = find_counts(file, "sums", counts_layer="auto", of_cells=False).notes
    assert note in " ".join(notes) and bool(note) == bool(notes)


FEW = slice(0, 60)  # selected genes


def selected(tmp_path, x, *, raw=None, layer="auto", **layers):
    """What is found in a file whose raw may have other genes than X: each matrix has as many as it has columns."""
    cohort = small_cohort(donors=3, cells_per_type=20, genes=300)
    if raw is not None:
        whole = cohort[:, : raw.shape[1]].copy()
        whole.X = raw
        cohort.raw = whole
    cohort = cohort[:, : x.shape[1]].copy()
    cohort.X = x
    for name, matrix in layers.items():
        cohort.layers[name] = matrix
    path = write_cohort(cohort, tmp_path / "c.h5ad")
    with h5py.File(path) as file:
        return find_counts(file, "c", counts_layer=layer)


SELECTED = {
    "raw of all genes beside X of some": ({"x": COUNTS[:, FEW], "raw": COUNTS}, "raw.X", ""),
    "X of all genes beside raw of some": ({"x": COUNTS, "raw": COUNTS[:, FEW]}, "X", ""),
    "a layer of all genes beside raw of some": ({"x": NORMALISED, "raw": COUNTS[:, FEW], "umi": COUNTS}, "umi", ""),
    "a layer of no name for counts": ({"x": NORMALISED, "raw": COUNTS[:, FEW], "mine": COUNTS}, "mine", ""),
    "counts of some genes beside logarithms of all": (
        {"x": NORMALISED[:, FEW], "raw": NORMALISED, "counts": COUNTS[:, FEW]},
        "counts",
        "counts in counts are of 60 genes, and raw.X has 300 (no raw counts: it holds fractions",
    ),
    "a layer of some genes by name": (
        {"x": NORMALISED[:, FEW], "raw": COUNTS, "counts": COUNTS[:, FEW], "layer": "counts"},
        "counts",
        "counts in counts are of 60 genes, and raw.X has 300: totals",
    ),
    "raw of a few more genes": ({"x": COUNTS[:, :290], "raw": NORMALISED}, "X", ""),
}


@pytest.mark.parametrize("name", SELECTED)
def test_counts_are_those_of_most_genes_and_of_a_selection_a_note_says_so(name, tmp_path):
    matrices, layer, said = SELECTED[name]
    matrix = selected(tmp_path, **matrices)
    assert matrix.layer == layer
    notes = [note for note in matrix.notes if "selection" in note]
    assert len(notes) == bool(said) and said in "".join(notes)


def test_the_run_asks_where_selected_genes_have_other_counts_than_raw(tmp_path):
    with pytest.raises(BadInput, match=r"raw\.X, X hold whole numbers, and other ones"):
        selected(tmp_path, PART[:, FEW], raw=COUNTS)
