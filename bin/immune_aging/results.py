"""The results of many tasks as one tree: files by their path in the results folder, read as what they are."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from immune_aging.task.checkpoints import read_json, read_tsv, require_columns
from immune_aging.task.command_line import BadInput

# Names that look like numbers (cluster 0, donor 001, gene 1) stay names.
TEXT = dict.fromkeys(
    (
        "id",
        "cell_type",
        "donor_id",
        "sample_id",
        "gene_id",
        "symbol",
        "gene_set",
        "sex",
        "reason",
        "status",
        "leading_edge",
        "alpha",  # of a prediction: a number or nested
        "genes",
    ),
    str,
)


def merge_trees(trees: Sequence[Path]) -> dict[str, Path]:
    """Files of several trees by their path relative to the tree they are in, sorted.

    Raises
    ------
    BadInput
        Two trees hold the same path.
    """
    files: dict[str, Path] = {}
    for tree in trees:
        for path in tree.rglob("*"):
            name = path.relative_to(tree).as_posix()
            if not path.is_file():
                continue
            if name in files:
                raise BadInput(f"{name}: published twice, by {files[name]} and {path}; give each result once")
            files[name] = path
    return dict(sorted(files.items()))


def table_of(files: dict[str, Path], name: str, columns: Sequence[str] = ()) -> pd.DataFrame | None:
    """A result table, or None where it is not there or has only a header."""
    if name not in files:
        return None
    table = read_tsv(files[name], dtype=TEXT)
    require_columns(table, columns, files[name])
    return table if len(table) else None


def summary_of(files: dict[str, Path], name: str) -> dict:
    """A step's summary; empty where it is not there."""
    return read_json(files[name]) if name in files else {}
