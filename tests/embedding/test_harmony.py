"""Harmony: batches taken out, types kept, one batch passed through, the same bytes for any threads."""

import harmonypy
import numpy as np
import pandas as pd
import pytest

import harmony
from immune_aging.embedding import harmony as embedding_harmony
from immune_aging.task.checkpoints import read_json, read_parquet, write_parquet
from immune_aging.task.command_line import BadInput
from inputs.step_options import default_options


def shifted_batches(cells=900, batches=3, seed=0):
    """Three types far apart; each batch is the same cells moved off to one side."""
    random = np.random.default_rng(seed)
    kind, batch = random.integers(0, 3, cells), random.integers(0, batches, cells)
    centres = 10 * np.eye(3, 8)
    shift = 3 * np.eye(batches, 8, k=3)
    points = centres[kind] + shift[batch] + random.normal(0, 0.7, (cells, 8))
    return points.astype(np.float32), kind, np.array([f"D{b}" for b in batch], dtype=object)


POINTS, KIND, DONOR = shifted_batches()


def gap(points, labels, within):
    """Largest distance between the means of two labels, within groups of cells."""
    gaps = []
    for group in np.unique(within):
        here = within == group
        centres = [points[here & (labels == label)].mean(axis=0) for label in np.unique(labels)]
        gaps += [np.linalg.norm(a - b) for i, a in enumerate(centres) for b in centres[:i]]
    return max(gaps)


def test_batches_come_together_and_types_stay_apart():
    fit = embedding_harmony.harmonize(POINTS, DONOR, max_iterations=10, seed=0, threads=1)
    assert fit.embedding.shape == POINTS.shape and fit.embedding.dtype == np.float32
    assert gap(POINTS, DONOR, KIND) > 4
    assert gap(fit.embedding, DONOR, KIND) < 1
    assert gap(fit.embedding, KIND, np.zeros(len(KIND))) > 12
    assert fit.converged and fit.objective[-1] < fit.objective[0]


def test_values_are_harmonypys():
    expected = harmonypy.run_harmony(POINTS, pd.DataFrame({"d": DONOR}), "d", random_state=5, verbose=False).Z_corr
    fit = embedding_harmony.harmonize(POINTS, DONOR, max_iterations=10, seed=5, threads=1)
    np.testing.assert_array_equal(fit.embedding, np.asarray(expected).astype(np.float32))


def test_as_many_cells_as_components_are_not_taken_for_their_transpose():
    points, batch = POINTS[:8], np.array(["a", "b"] * 4, dtype=object)
    fit = embedding_harmony.harmonize(points, batch, max_iterations=3, seed=0, threads=1)
    swapped = embedding_harmony.harmonize(points[::-1], batch[::-1], max_iterations=3, seed=0, threads=1)
    assert fit.embedding.shape == (8, 8)
    assert np.corrcoef(fit.embedding[:, 0], points[:, 0])[0, 1] > 0.5
    assert np.corrcoef(swapped.embedding[:, 0], points[::-1, 0])[0, 1] > 0.5


def test_too_few_iterations_are_reported_as_not_converged():
    fit = embedding_harmony.harmonize(POINTS, DONOR, max_iterations=1, seed=0, threads=1)
    assert not fit.converged and len(fit.objective) == 2


def write_inputs(folder, donors=None, pca_rows=slice(None)):
    ids = [f"CELL{i}" for i in range(len(POINTS))]
    pca = pd.DataFrame(POINTS, columns=[f"PC{i + 1}" for i in range(8)])
    pca.insert(0, "cell_id", ids)
    write_parquet(pca[pca_rows], folder / "pca.parquet")
    cells = pd.DataFrame({"cell_id": ids, "donor_id": DONOR, "cell_type": "T", "kept": True})
    lost = cells[:40].assign(cell_id=[f"LOST{i}" for i in range(40)], kept=False)
    write_parquet(pd.concat([lost, cells]), folder / "cells.parquet")
    if donors is None:
        donors = pd.DataFrame({"donor_id": ["D0", "D1", "D2"], "pool": ["p", "q", "q"], "site": "one"})
    write_parquet(donors, folder / "donors.parquet")


def run(folder, **options):
    flags = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    harmony.main(
        [*default_options("harmony"), "--pca", str(folder / "pca.parquet"), "--cells", str(folder / "cells.parquet"), "--donors",
         str(folder / "donors.parquet"), "--output", str(folder / "out.parquet"),
         "--output-summary", str(folder / "out.json"),
         "--versions", str(folder / "versions.json"), *flags]
    )  # fmt: skip
    return read_parquet(folder / "out.parquet"), read_json(folder / "out.json")


def test_cells_that_were_not_kept_are_left_aside(tmp_path):
    write_inputs(tmp_path)
    table, summary = run(tmp_path)
    assert list(table.columns) == ["cell_id", *(f"H{i}" for i in range(1, 9))]
    assert list(table["cell_id"]) == [f"CELL{i}" for i in range(len(POINTS))]
    fit = embedding_harmony.harmonize(POINTS, DONOR, max_iterations=10, seed=0, threads=1)
    np.testing.assert_array_equal(table.drop(columns="cell_id").to_numpy(), fit.embedding)
    assert (summary["batch_column"], summary["n_batches"], summary["converged"], summary["notes"]) == (
        "donor_id",
        3,
        True,
        [],
    )


def test_another_batch_column_comes_from_the_donors(tmp_path):
    write_inputs(tmp_path)
    table, summary = run(tmp_path, batch_column="pool")
    assert summary["n_batches"] == 2
    pool = np.where(DONOR == "D0", "p", "q").astype(object)
    fit = embedding_harmony.harmonize(POINTS, pool, max_iterations=10, seed=0, threads=1)
    np.testing.assert_array_equal(table.drop(columns="cell_id").to_numpy(), fit.embedding)


def test_one_batch_passes_the_components_through_and_says_so(tmp_path):
    write_inputs(tmp_path)
    table, summary = run(tmp_path, batch_column="site")
    np.testing.assert_array_equal(table.drop(columns="cell_id").to_numpy(), POINTS)
    assert summary["n_batches"] == 1 and "passed on as they are" in summary["notes"][0]
    assert "converged" not in summary


def test_same_bytes_for_any_number_of_threads(tmp_path):
    write_inputs(tmp_path)
    outputs = []
    for threads in (1, 2, 2):
        run(tmp_path, threads=threads)
        outputs.append(((tmp_path / "out.parquet").read_bytes(), (tmp_path / "out.json").read_bytes()))
    assert outputs[0] == outputs[1] == outputs[2]


def test_an_unknown_batch_column_names_those_there_are(tmp_path):
    write_inputs(tmp_path)
    with pytest.raises(BadInput, match="no column 'pol' for --batch_column; it has: donor_id, pool, site"):
        run(tmp_path, batch_column="pol")


def test_a_donor_without_a_batch_is_named(tmp_path):
    write_inputs(tmp_path, pd.DataFrame({"donor_id": ["D0", "D1", "D2"], "pool": ["p", None, "q"]}))
    with pytest.raises(BadInput, match=r"column 'pool': no value for donor 'D1' \(1 such donors"):
        run(tmp_path, batch_column="pool")


def test_components_of_other_cells_are_refused(tmp_path):
    write_inputs(tmp_path, pca_rows=slice(1, None))
    with pytest.raises(BadInput, match=r"900 cells, but .*pca\.parquet has 899"):
        run(tmp_path)


def test_arguments_stay_as_they_are():
    points, donor = POINTS.copy(), DONOR.copy()
    embedding_harmony.harmonize(points, donor, max_iterations=3, seed=0, threads=1)
    np.testing.assert_array_equal(points, POINTS)
    np.testing.assert_array_equal(donor, DONOR)
