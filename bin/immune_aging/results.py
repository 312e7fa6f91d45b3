"""The published results as one tree: each table and summary by its path, read when it is first asked for, and once.

The report and the figures are made from it, and so can people work in Python:

    from immune_aging import results

    run = results.open("results")
    run.cell_type_ids
    run.table("cell_types/b_cell/de.tsv")
    run.summary("cell_types/b_cell/de_summary.json")
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from immune_aging.task.checkpoints import SAMPLE_OF_DONOR, read_json, read_parquet, read_tsv, require_columns, sha256_of
from immune_aging.task.command_line import BadInput

# Names that look like numbers (cluster 0, donor 001, gene 1) stay names.
TEXT = dict.fromkeys(
    (
        "id",
        "cell_type",
        "donor_id",
        SAMPLE_OF_DONOR,
        "sample_id",
        "gene_id",
        "symbol",
        "gene_set",
        "direction",
        "sex",
        "reason",
        "status",
        "leading_edge",
        "alpha",  # of a prediction: a number or nested
        "genes",
    ),
    str,
)


class Results:
    """The files of one or several published folders, by their path in the results folder.

    What its methods return belongs to the caller: changing it does not change what the next caller gets.

    Parameters
    ----------
    files
        Where each file lies, by its path in the results folder with forward slashes: `cohort/donors.tsv`.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(sorted(files.items()))
        self._tables: dict[str, pd.DataFrame] = {}
        self._summaries: dict[str, dict[str, Any]] = {}

    def __contains__(self, name: object) -> bool:
        """Whether a file of this path was published."""
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        """The paths of all files, sorted."""
        return iter(self._files)

    def __len__(self) -> int:
        """How many files were published."""
        return len(self._files)

    def path(self, name: str) -> Path:
        """Where a published file lies on this machine.

        Raises
        ------
        KeyError
            No file of this path was published.
        """
        return self._files[name]

    def under(self, folder: str) -> list[str]:
        """The paths of all files in a folder and the folders below it, sorted."""
        return [name for name in self if name.startswith(f"{folder}/")]

    @property
    def cell_type_ids(self) -> list[str]:
        """Ids of the cell types that have results of their own, sorted."""
        return sorted({name.split("/")[1] for name in self.under("cell_types")})

    @property
    def resolutions(self) -> list[str]:
        """The resolutions at which cells were clustered, in numerical order."""
        start = "clusters/resolution-"
        found = {name.split("/")[1].removeprefix("resolution-") for name in self if name.startswith(start)}
        return sorted(found, key=lambda text: (float(text), text))

    def table(self, name: str, columns: Sequence[str] = ()) -> pd.DataFrame | None:
        """A published table (`.tsv` or `.parquet`), or None where it was not published or has no rows.

        Parameters
        ----------
        name
            Path in the results folder.
        columns
            Columns that the caller needs.

        Raises
        ------
        BadInput
            The table cannot be read, or lacks one of `columns`.
        """
        if name not in self:
            return None
        if name not in self._tables:
            path = self.path(name)
            self._tables[name] = read_parquet(path) if name.endswith(".parquet") else read_tsv(path, dtype=TEXT)
        table = self._tables[name]
        require_columns(table, columns, self.path(name))
        return table.copy() if len(table) else None

    def summary(self, name: str) -> dict[str, Any]:
        """What a step said of its work (`.json`); empty where it was not published.

        Raises
        ------
        BadInput
            The file cannot be read.
        """
        if name not in self:
            return {}
        if name not in self._summaries:
            self._summaries[name] = read_json(self.path(name))
        return copy.deepcopy(self._summaries[name])


def open(*folders: str | Path) -> Results:  # noqa: A001  as in gzip.open: `results.open("results")`
    """The results in one or several published folders, taken together.

    Raises
    ------
    BadInput
        Two folders hold a file of the same path.
    """
    return Results(merge_trees([Path(folder) for folder in folders]))


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


def file_table(results: Results) -> pd.DataFrame:
    """Every published file: its path in the results folder, its size in bytes and its sha256, sorted by path."""
    rows = [(name, results.path(name).stat().st_size, sha256_of(results.path(name))) for name in results]
    return pd.DataFrame(rows, columns=["file", "bytes", "sha256"])
