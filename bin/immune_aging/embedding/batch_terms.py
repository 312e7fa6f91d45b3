"""What Harmony learned of a sketch's batches, by which all cells of the cohort are corrected.

Harmony ends with soft clusters and, in each, a shift per batch: a ridge regression of the components on the batches.
Any cell of a known batch is a member of the clusters by their centroids, as in Symphony (Kang et al. 2021,
doi:10.1038/s41467-021-25957-x), and by the penalty on clusters that its batch fills already. With all cells'
memberships the regression is done again, since a batch may have a hundred cells in the sketch, a few per cluster, and
the noise of their mean would be added to all its others.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
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


@dataclass(frozen=True)
class BatchSums:
    """What the regression needs of cells, by batch: their number, their memberships (batches x clusters) and components
    times memberships (batches x clusters x components), added up.
    """

    batches: np.ndarray
    n_cells: np.ndarray
    memberships: np.ndarray
    components: np.ndarray


def fitted_terms(sums: BatchSums, centroids: np.ndarray) -> BatchTerms:
    """Shifts and penalties of all batches: ridge regression on an intercept, free, and on each batch, with a penalty of
    `ALPHA` times the cells expected.
    """
    observed = sums.memberships
    in_all = observed.sum(axis=0)
    expected = np.outer(sums.n_cells / sums.n_cells.sum(), in_all)
    damped = observed + ALPHA * expected
    weight = observed / damped
    own_share = (sums.components - weight[:, :, None] * sums.components).sum(axis=0)
    intercept = own_share / (in_all - (observed * weight).sum(axis=0))[:, None]
    shifts = (sums.components - observed[:, :, None] * intercept) / damped[:, :, None]
    return BatchTerms(sums.batches, centroids, (expected / (observed + expected)) ** THETA, shifts)


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
    members = [memberships[codes == batch] for batch in range(len(names))]
    sums = [of_batch.T @ components[codes == batch].astype(np.float64) for batch, of_batch in enumerate(members)]
    observed = np.stack([of_batch.sum(axis=0) for of_batch in members])
    terms = fitted_terms(BatchSums(names.astype(object), np.bincount(codes), observed, np.stack(sums)), centroids)
    for batch, of_batch in enumerate(members):
        here = codes == batch
        left = components[here] - of_batch @ terms.shifts[batch] - corrected[here]
        if np.abs(left).max() > TOLERANCE * np.abs(components).max():
            raise ValueError(f"batch {names[batch]}: the shifts are not what Harmony took off")
    return terms


def _write(record: BatchTerms | BatchSums, path: str | Path) -> None:
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for field in fields(record):
            values = getattr(record, field.name)
            values = np.char.encode(values.astype(str), "utf-8") if field.name == "batches" else values
            filters = {"chunks": True, **checked_filters()} if values.size else {}
            file.create_dataset(field.name, data=values, **filters)


def _read(path: str | Path, names: list[str]) -> list[np.ndarray]:
    import hdf5plugin  # noqa: F401  registers the zstd filter

    try:
        with h5py.File(path, "r") as file:
            batches, *others = (file[name][:] for name in names)
            return [np.char.decode(batches, "utf-8").astype(object), *others]
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be read as the terms of Harmony's batches: {error}{remedy(path)}") from error


def write_terms(terms: BatchTerms, path: str | Path) -> None:
    """Write terms to HDF5; the same terms give the same bytes."""
    _write(terms, path)


def read_terms(path: str | Path) -> BatchTerms:
    """Read terms; `BadInput` if the file holds none."""
    return BatchTerms(*_read(path, [field.name for field in fields(BatchTerms)]))


def write_sums(sums: BatchSums, path: str | Path) -> None:
    """Write sums to HDF5; the same sums give the same bytes."""
    _write(sums, path)


def read_sums(path: str | Path) -> BatchSums:
    """Read sums; `BadInput` if the file holds none."""
    return BatchSums(*_read(path, [field.name for field in fields(BatchSums)]))


def added_up(parts: Iterable[BatchSums], terms: BatchTerms) -> BatchSums:
    """The sums of all shards as one, of all batches of the terms in their order."""
    n_cells = np.zeros(len(terms.batches), dtype=np.int64)
    memberships, components = np.zeros(terms.penalties.shape), np.zeros(terms.shifts.shape)
    for part in parts:
        here = np.searchsorted(terms.batches.astype(str), part.batches.astype(str))
        n_cells[here] += part.n_cells
        memberships[here] += part.memberships
        components[here] += part.components
    return BatchSums(terms.batches, n_cells, memberships, components)


@numba.njit(cache=True, nogil=True)
def _members_inplace(place: np.ndarray, centroids: np.ndarray, penalty: np.ndarray, members: np.ndarray) -> None:
    """How much a cell at a place belongs to each cluster."""
    length = np.sqrt(np.sum(place * place))
    for k in range(len(centroids)):
        cosine = 0.0
        for j in range(len(place)):
            cosine += place[j] * centroids[k, j]
        members[k] = 2 * (cosine / length if length > 0 else 0.0) / SIGMA
    top = members.max()
    total = 0.0
    for k in range(len(centroids)):
        members[k] = np.exp(members[k] - top) * penalty[k]
        total += members[k]
    for k in range(len(centroids)):
        members[k] /= total


@numba.njit(cache=True, nogil=True)
def _correct_cell(
    cell: np.ndarray, centroids: np.ndarray, penalty: np.ndarray, shift: np.ndarray, members: np.ndarray
) -> np.ndarray:
    """One cell's components less its batch's shifts, each cluster's by the cell's membership."""
    place = cell.copy()
    for _ in range(ROUNDS):
        _members_inplace(place, centroids, penalty, members)
        place[:] = cell
        for k in range(len(centroids)):
            for j in range(len(cell)):
                place[j] -= members[k] * shift[k, j]
    return place


@numba.njit(cache=True, nogil=True)
def _correct_cells(
    components: np.ndarray, codes: np.ndarray, centroids: np.ndarray, penalties: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    corrected, members = np.empty(components.shape, dtype=np.float32), np.empty(len(centroids))
    for i in range(len(components)):
        batch = codes[i]
        corrected[i] = _correct_cell(
            components[i].astype(np.float64), centroids, penalties[batch], shifts[batch], members
        )
    return corrected


@numba.njit(cache=True, nogil=True)
def _add_cells_inplace(
    components: np.ndarray,
    codes: np.ndarray,
    centroids: np.ndarray,
    penalties: np.ndarray,
    shifts: np.ndarray,
    memberships: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add each cell's memberships, and its components times these, to the sums of its batch."""
    members = np.empty(len(centroids))
    for i in range(len(components)):
        batch, cell = codes[i], components[i].astype(np.float64)
        place = _correct_cell(cell, centroids, penalties[batch], shifts[batch], members)
        _members_inplace(place, centroids, penalties[batch], members)
        for k in range(len(centroids)):
            memberships[batch, k] += members[k]
            for j in range(len(cell)):
                sums[batch, k, j] += members[k] * cell[j]


def _places(batches: np.ndarray, terms: BatchTerms) -> np.ndarray:
    """Which of the terms' batches each cell's is; `BadInput` where one is none of them."""
    names, codes = np.unique(batches.astype(str), return_inverse=True)
    known = {name: place for place, name in enumerate(terms.batches)}
    missing = [name for name in names if name not in known]
    if missing:
        raise BadInput(
            f"--batch_column: '{missing[0]}' ({len(missing)} such batches) has no cell in the sketch; "
            "raise --embedding_cells"
        )
    return np.array([known[name] for name in names], dtype=np.int64)[codes]


def summed_cells(components: np.ndarray, batches: np.ndarray, terms: BatchTerms) -> BatchSums:
    """What the regression needs of cells, of those batches that they have.

    Parameters
    ----------
    components
        Cells x components, 32 bits.
    batches
        Of each cell; `BadInput` where one has no terms.
    terms
        By which the cells' memberships are found.
    """
    places = _places(batches, terms)
    here, codes = np.unique(places, return_inverse=True)
    memberships, sums = np.zeros(terms.penalties[here].shape), np.zeros(terms.shifts[here].shape)
    if len(terms.centroids):
        of_batches = (terms.penalties[here], terms.shifts[here])
        _add_cells_inplace(components, codes, terms.centroids, *of_batches, memberships, sums)
    return BatchSums(terms.batches[here], np.bincount(codes, minlength=len(here)), memberships, sums)


def corrected_cells(components: np.ndarray, batches: np.ndarray, terms: BatchTerms) -> np.ndarray:
    """Components corrected as the cells of the terms were; each cell by itself, in whatever company.

    Parameters
    ----------
    components
        Cells x components, 32 bits.
    batches
        Of each cell; `BadInput` where one has no terms.
    """
    places = _places(batches, terms)
    if not len(terms.centroids):
        return components.copy()
    return _correct_cells(components, places, terms.centroids, terms.penalties, terms.shifts)
