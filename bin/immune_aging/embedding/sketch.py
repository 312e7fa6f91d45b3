"""The sketch: a sample of a large cohort's cells, by donor and cell type, that its embedding is computed on."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from immune_aging.cohort.donors import sample_key
from immune_aging.task.command_line import BadInput

FEWEST_OF_TYPE = 1000  # cells of each cell type, so that a rare one has neighbourhoods of its own
FEWEST_OF_SAMPLE = 100  # cells of each donor (sample), so that Harmony sees what its batch differs in
SHARE_OF_FEWEST = 4  # these two may take a quarter of the sketch each


def labels_of(blocks: Iterable[pd.DataFrame], *, seed: int) -> pd.DataFrame:
    """What a cell is drawn by, of the kept cells only: 16 bytes per cell.

    Parameters
    ----------
    blocks
        Of cells.parquet: cell_id, donor_id, sample_of_donor where donors have samples, cell_type, kept.
    seed
        Of the draw.

    Returns
    -------
    One row per kept cell, in order: `type`, `sample` (numbers), `draw` (a number that looks random and depends on
    nothing but the seed and the cell's id, so that neither shards nor the order of cells change what is drawn).
    """
    types: dict[str, int] = {}
    samples: dict[str, int] = {}
    parts = []
    for block in blocks:
        kept = block[block["kept"]]
        key = pd.util.hash_array(
            kept["cell_id"].to_numpy(dtype=object), hash_key=f"{seed % 10**16:016d}", categorize=False
        )
        donor, *sample = (kept[column].astype(str) for column in sample_key(kept))
        owner = donor.str.cat(sample, sep="\t") if sample else donor
        kind = _numbered(kept["cell_type"].astype(str), types)
        parts.append(pd.DataFrame({"type": kind, "sample": _numbered(owner, samples), "draw": key}))
    labels = pd.concat(parts, ignore_index=True)
    # Numbers in the order of the names, not of their first cells, so that the order of cells changes nothing.
    ranks = {name: pd.Series(list(known)).rank().to_numpy() for name, known in (("type", types), ("sample", samples))}
    return labels.assign(**{name: rank.astype(np.int32)[labels[name]] for name, rank in ranks.items()})


def _numbered(values: pd.Series, known: dict[str, int]) -> np.ndarray:
    """The number of each value; those not yet among `known` are added to it."""
    codes, found = pd.factorize(values)
    return np.array([known.setdefault(value, len(known)) for value in found], dtype=np.int32)[codes]


def _place_within(labels: pd.DataFrame, by: str) -> np.ndarray:
    """Place of each cell among those of its type or sample, by its draw."""
    return labels.groupby(by, sort=False)["draw"].rank(method="first").to_numpy() - 1


def drawn_rows(labels: pd.DataFrame, n_cells: int) -> np.ndarray:
    """Rows of the cells of the sketch, ascending.

    Of each cell type the first `FEWEST_OF_TYPE` by draw and of each sample the first `FEWEST_OF_SAMPLE`, or fewer where
    there are so many types or samples that these would fill a quarter of the sketch. What is left is spread evenly
    over all other cells in the order of cell type, sample and draw: in proportion in each sample of each type.

    Parameters
    ----------
    labels
        Of `labels_of`.
    n_cells
        Cells of the sketch; fewer than there are rows.

    Raises
    ------
    BadInput
        There are more cell types, or more samples, than a quarter of the sketch.
    """
    first = np.zeros(len(labels), dtype=bool)
    for by, fewest, what in (("type", FEWEST_OF_TYPE, "cell types"), ("sample", FEWEST_OF_SAMPLE, "donors or samples")):
        n_groups = labels[by].nunique()
        of_each = min(fewest, n_cells // SHARE_OF_FEWEST // n_groups)
        if not of_each:
            raise BadInput(
                f"--embedding_cells {n_cells}: too few for {n_groups} {what}, each of which must be in the sketch; "
                f"give at least {SHARE_OF_FEWEST * n_groups}"
            )
        first |= _place_within(labels, by) < of_each
    others = np.flatnonzero(~first)
    ordered = others[np.lexsort([labels[name].to_numpy()[others] for name in ("draw", "sample", "type")])]
    n_left = n_cells - int(first.sum())
    spread = ((np.arange(n_left) + 0.5) * len(ordered) / max(n_left, 1)).astype(np.int64)
    return np.sort(np.concatenate([np.flatnonzero(first), ordered[spread]]))


def sketch_summary(labels: pd.DataFrame, rows: np.ndarray) -> dict:
    """What is said of a sketch: its cells and all, the fewest of it in any cell type and sample, and a note."""
    drawn = labels.iloc[rows]
    return {
        "n_cells": len(labels),
        "n_sketch": len(rows),
        "fewest_of_a_cell_type": int(drawn["type"].value_counts().min()),
        "fewest_of_a_sample": int(drawn["sample"].value_counts().min()),
        "notes": [
            f"the embedding rests on a sketch of {len(rows):,} of {len(labels):,} cells (--embedding_cells), by which "
            "the others were placed"
        ],
    }
