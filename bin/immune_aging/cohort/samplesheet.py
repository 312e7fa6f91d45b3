"""A cohort of several files: a table with one row per file, whose other columns are facts about all cells of a file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from immune_aging.cohort.cohort_file import nearest
from immune_aging.cohort.hostile_names import visible
from immune_aging.cohort.plain_table import read_plain_table
from immune_aging.task.command_line import BadInput

FILE, SHA256 = "file", "sha256"
# What people call the column of files.
NEAR_FILE = frozenset(
    ("files", "path", "filepath", "file path", "filename", "file name", "h5ad", "h5", "input", "url", "matrix")
)
# Ends of names that a label does without.
SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip", ".zarr", ".h5ad", ".h5")
MAX_LISTED = 5


@dataclass(frozen=True)
class Listed:
    """A file of a cohort.

    Attributes
    ----------
    name
        As the user wrote it.
    source
        Its whole path, or its address.
    sha256
        What its content must be; '' for anything.
    line
        Where it stands in the sheet; 0 for a file that is no sheet's.
    facts
        What the sheet says of all its cells, by column; None where a cell of the sheet is empty.
    """

    name: str
    source: str
    sha256: str
    line: int
    facts: dict[str, str | None]


def is_address(name: str) -> bool:
    """Whether a name is a URL and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name) is not None


def whole_path(name: str, folder: str) -> str:
    """The path of a file whose name is relative to a folder; an address as it is, but for one of a local file."""
    if name.startswith("file://"):
        return unquote(urlsplit(name).path)
    if is_address(name):
        return name
    path = PurePosixPath(folder) / PurePosixPath(name)
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." and len(parts) > 1 else [*parts, part]
    return str(PurePosixPath(*parts))


def label_of(name: str) -> str:
    """The last part of a path or an address, without the end that tells the format."""
    last = (unquote(urlsplit(name).path) if is_address(name) else name).rstrip("/").rsplit("/", 1)[-1]
    end = next((suffix for suffix in SUFFIXES if last.lower().endswith(suffix) and len(last) > len(suffix)), "")
    return last[: len(last) - len(end)]


def labels_of(names: Sequence[str]) -> list[str]:
    """A short name for each file: the last part of its path where these differ, else the whole path."""
    short = [label_of(name) for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _header_problem(columns: Sequence[str]) -> str:
    """What is wrong with a header that does not name the files; '' where nothing is."""
    if FILE in columns:
        return ""
    near = [name for name in columns if name.strip().casefold().rstrip(":") in NEAR_FILE | {FILE}]
    hint = f"'{near[0]}' must be called 'file'" if near else nearest(FILE, list(columns))
    return f"has no column 'file' that names the files of the cohort; {hint}"


def read_samplesheet(path: Path, *, folder: str) -> tuple[list[Listed], list[str]]:
    """The files of a samplesheet, sorted by their names, so that their order in it does not matter; and notes.

    Parameters
    ----------
    folder
        Where paths in the sheet start from.

    Raises
    ------
    BadInput
        With everything that is wrong with the sheet.
    """
    where = f"--input {path.name}"
    table = read_plain_table(path, where=where)
    if problem := _header_problem(list(table.rows.columns)):
        raise BadInput(f"{where}: {problem}")
    facts = table.rows.drop(columns=[name for name in (FILE, SHA256) if name in table.rows])
    problems = []
    listed: dict[str, Listed] = {}
    for row, line in enumerate(table.lines):
        name = table.rows[FILE].iloc[row]
        if name is None:
            problems.append(f"line {line}: names no file")
            continue
        digest = (table.rows[SHA256].iloc[row] or "") if SHA256 in table.rows else ""
        if digest and not re.fullmatch(r"[0-9A-Fa-f]{64}", digest):
            problems.append(f"line {line}: sha256 '{visible(digest[:70])}' is not 64 hexadecimal digits")
        if re.search(r"[\r\n\0]", name):
            problems.append(f"line {line}: '{visible(name)}' has a line break in its name; rename the file")
        if is_address(name) and not re.match(r"(https?|file)://", name):
            problems.append(f"line {line}: '{visible(name)}': addresses must begin with https://; or give a path")
        source = whole_path(name, folder)
        if source in listed:
            problems.append(
                f"line {line}: '{visible(name)}' is in line {listed[source].line}, too; a file may be named once"
            )
            continue
        told = {str(column): facts[column].iloc[row] for column in facts}
        listed[source] = Listed(name, source, digest.lower(), int(line), told)
    if problems:
        more = f" | and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        raise BadInput(f"{where}: " + " | ".join(problems[:MAX_LISTED]) + more)
    return sorted(listed.values(), key=lambda one: one.source), list(table.notes)


def listed_files(listing: Mapping) -> list[Listed]:
    """The files of `files.json`, as LIST_FILES writes it."""
    return [Listed(**{name: value for name, value in one.items() if name != "id"}) for one in listing["files"]]
