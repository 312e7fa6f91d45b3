"""What Harmony learned of a sketch's batches, by which cells that it has not seen are corrected.

Harmony ends with soft clusters and, in each, a shift per batch: a ridge regression of the components on the batches.
With the clusters' centroids and these shifts any other cell of a known batch is corrected in the same way, as Symphony
(Kang et al. 2021, doi:10.1038/s41467-021-25957-x) maps cells into a reference; but the batches are the sketch's own,
so that the shifts and the penalty on clusters that a batch fills already are known, and none is estimated anew.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numba
import numpy as np

from immune_aging.task.checkpoints import atomic_path, checked_filters, remedy
from immune_aging.task.command_line import BadInput

# harmonypy's defaults, with which `harmonize` calls it
SIGMA, THETA, ALPHA = 0.1, 2.0, 0.2
# A cell's cluster depends on its corrected place, and that on its cluster. From the third round on cells come no
# nearer to where Harmony put them (.07 of a component's unit, 2 % of its shifts, in 7,811 and 15,751 cells).
ROUNDS = 3
TOLERANCE = 1e-3  # of the largest component: how far shifts may be from what Harmony itself took off


@dataclass(frozen=True)
class BatchTerms:
    """Clusters and batches of a fit of Harmony.

    `batches`, sorted; `centroids` (clusters x components, of unit length); `penalties` (batches x clusters), by which
    a cell of the batch is the likelier in a cluster, the fewer of its batch that has; `shifts` (batches x clusters x
    components), what is taken off. No clusters where there was one batch, and nothing to take off.
    """

    batches: np.ndarray
    centroids: np.ndarray
    penalties: np.ndarray
    shifts: np.ndarray


def no_terms(batch: str, n_components: int) -> BatchTerms:
    """Of the only batch."""
    return BatchTerms(
        np.array([batch], dtype=object), np.zeros((0, n_components)), np.zeros((1, 0)), np.zeros((1, 0, n_components))
    )


def batch_terms(
    components: np.ndarray, corrected: np.ndarray, memberships: np.ndarray, centroids: np.ndarray, batches: np.ndarray
) -> BatchTerms:
    """The shifts that Harmony has taken off.

    Parameters
    ----------
    components, corrected
        Cells x components, before and after.
    memberships
        Cells x clusters, adding up to 1 in each cell.
    centroids
        Clusters x components.
    batches
        Of each cell.

    Raises
    ------
    ValueError
        The shifts are not what was taken off: another harmonypy, which computes otherwise.
    """
    names, codes = np.unique(batches.astype(str), return_inverse=True)
    n_clusters, n_components = centroids.shape
    observed = np.zeros((len(names), n_clusters))
    sums = np.zeros((len(names), n_clusters, n_components))
    for batch in range(len(names)):
        here = codes == batch
        observed[batch] = memberships[here].sum(axis=0)
        sums[batch] = memberships[here].T @ components[here].astype(np.float64)
    in_all = observed.sum(axis=0)
    expected = np.outer(np.bincount(codes) / len(codes), in_all)
    # Ridge regression on an intercept, free, and on each batch, with a penalty of ALPHA times the cells expected.
    damped = observed + ALPHA * expected
    weight = observed / damped
    own_share = (sums - weight[:, :, None] * sums).sum(axis=0)
    intercept = own_share / (in_all - (observed * weight).sum(axis=0))[:, None]
    shifts = (sums - observed[:, :, None] * intercept) / damped[:, :, None]
    for batch in range(len(names)):
        here = codes == batch
        left = components[here] - memberships[here] @ shifts[batch] - corrected[here]
        if np.abs(left).max() > TOLERANCE * np.abs(components).max():
            raise ValueError(f"batch {names[batch]}: the shifts are not what Harmony took off")
    penalties = (expected / (observed + expected)) ** THETA
    return BatchTerms(names.astype(object), centroids, penalties, shifts)


def write_terms(terms: BatchTerms, path: str | Path) -> None:
    """Write terms to HDF5; the same terms give the same bytes."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("batches", data=np.char.encode(terms.batches.astype(str), "utf-8"))
        for name in ("centroids", "penalties", "shifts"):
            values = getattr(terms, name)
            filters = {"chunks": True, **checked_filters()} if values.size else {}
            file.create_dataset(name, data=values, **filters)


def read_terms(path: str | Path) -> BatchTerms:
    """Read terms; `BadInput` if the file holds none."""
    import hdf5plugin  # noqa: F401  registers the zstd filter

    try:
        with h5py.File(path, "r") as file:
            batches = np.char.decode(file["batches"][:], "utf-8").astype(object)
            return BatchTerms(batches, *(file[name][:] for name in ("centroids", "penalties", "shifts")))
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read as the terms of Harmony's batches: {error}{remedy(path)}") from error


@numba.njit(cache=True, nogil=True)
def _correct_cell(cell: np.ndarray, centroids: np.ndarray, penalty: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """One cell's components less its batch's shifts, each cluster's by the cell's membership."""
    n_clusters, n_components = centroids.shape
    place, likely = cell.copy(), np.empty(n_clusters)
    for _ in range(ROUNDS):
        length = np.sqrt(np.sum(place * place))
        for k in range(n_clusters):
            cosine = 0.0
            for j in range(n_components):
                cosine += place[j] * centroids[k, j]
            likely[k] = 2 * (cosine / length if length > 0 else 0.0) / SIGMA
        top = likely.max()
        for k in range(n_clusters):
            likely[k] = np.exp(likely[k] - top) * penalty[k]
        total = likely.sum()
        place[:] = cell
        for k in range(n_clusters):
            share = likely[k] / total
            for j in range(n_components):
                place[j] -= share * shift[k, j]
    return place


@numba.njit(cache=True, nogil=True)
def _correct_cells(
    components: np.ndarray, codes: np.ndarray, centroids: np.ndarray, penalties: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    corrected = np.empty(components.shape, dtype=np.float32)
    for i in range(len(components)):
        cell = components[i].astype(np.float64)
        corrected[i] = _correct_cell(cell, centroids, penalties[codes[i]], shifts[codes[i]])
    return corrected


def corrected_cells(components: np.ndarray, batches: np.ndarray, terms: BatchTerms) -> np.ndarray:
    """Components corrected as the cells of the terms were; each cell by itself, in whatever company.

    Parameters
    ----------
    components
        Cells x components, 32 bits.
    batches
        Of each cell.

    Raises
    ------
    BadInput
        A batch has no terms.
    """
    names, codes = np.unique(batches.astype(str), return_inverse=True)
    known = {name: place for place, name in enumerate(terms.batches)}
    missing = [name for name in names if name not in known]
    if missing:
        raise BadInput(
            f"--batch_column: '{missing[0]}' ({len(missing)} such batches) has no cell in the sketch; "
            "raise --embedding_cells"
        )
    if not len(terms.centroids):
        return components.copy()
    places = np.array([known[name] for name in names], dtype=np.int64)[codes]
    return _correct_cells(components, places, terms.centroids, terms.penalties, terms.shifts)
