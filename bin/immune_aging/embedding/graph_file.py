"""How the graph of neighbours is stored: an HDF5 file that NEIGHBORS writes, UMAP and CLUSTER read."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from immune_aging.task.checkpoints import atomic_path, checked_filters
from immune_aging.task.command_line import BadInput


@dataclass(frozen=True)
class Graph:
    """Cells and their neighbours.

    `distances` has each cell's nearest other cells by Euclidean distance, in that order (CSR, cells x cells);
    `connectivities` the symmetric weights in (0, 1] that UMAP and Leiden work on (CSR, sorted); `about`
    numbers on how it was made.
    """

    cell_ids: np.ndarray
    distances: sparse.csr_matrix
    connectivities: sparse.csr_matrix
    about: dict[str, float | str]


def write_graph(graph: Graph, path: str | Path) -> None:
    """Write a graph, zstd-compressed; the same graph gives the same bytes."""
    compression = {"chunks": True, **checked_filters()}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("cell_id", data=np.char.encode(graph.cell_ids.astype(str), "utf-8"), **compression)
        for name in ("distances", "connectivities"):
            matrix = getattr(graph, name)
            for part in ("data", "indices", "indptr"):
                file.create_dataset(f"{name}/{part}", data=getattr(matrix, part), **compression)
        for name, value in sorted(graph.about.items()):
            file.attrs[name] = value


def _read_matrix(file: h5py.File, name: str, n_cells: int) -> sparse.csr_matrix:
    return sparse.csr_matrix(
        tuple(file[f"{name}/{part}"][:] for part in ("data", "indices", "indptr")), shape=(n_cells, n_cells)
    )


def read_graph(path: str | Path, *, distances: bool = False) -> Graph:
    """Read a graph; the distances only if asked for, else none of them."""
    import hdf5plugin  # noqa: F401  registers the zstd filter

    try:
        with h5py.File(path, "r") as file:
            cell_ids = np.char.decode(file["cell_id"][:], "utf-8").astype(object)
            n_cells = len(cell_ids)
            empty = sparse.csr_matrix((n_cells, n_cells), dtype=np.float32)
            return Graph(
                cell_ids,
                _read_matrix(file, "distances", n_cells) if distances else empty,
                _read_matrix(file, "connectivities", n_cells),
                {name: getattr(value, "item", lambda value=value: value)() for name, value in file.attrs.items()},
            )
    except (OSError, KeyError) as error:
        raise BadInput(
            f"{path}: cannot be read as a graph of neighbours: {error}; make it anew with NEIGHBORS"
        ) from error


def graph_summary(weights: sparse.csr_matrix, about: dict, *, n_neighbors: int, min_recall: float) -> dict:
    """What is said of a graph: how it was made, its cells, edges and connected components, and notes.

    Parameters
    ----------
    weights
        Connectivities, cells x cells.
    about
        How it was made; `n_neighbors` and `recall` among it.
    n_neighbors, min_recall
        What was asked for.
    """
    n_cells, notes = weights.shape[0], []
    if about["n_neighbors"] < n_neighbors:
        notes.append(f"{about['n_neighbors']} neighbours, not {n_neighbors}: there are {n_cells} cells")
    if about["recall"] < min_recall:
        notes.append(f"recall {about['recall']:.3f} is below {min_recall}")
    return about | {
        "n_cells": n_cells,
        "n_edges": weights.nnz // 2,
        "connected_components": int(csgraph.connected_components(weights, directed=False)[0]),
        "notes": notes,
    }
