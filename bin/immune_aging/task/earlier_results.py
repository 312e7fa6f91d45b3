"""Published results of an earlier run that a later one goes on from: each file is taken whole, or the run ends."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from immune_aging.task.checkpoints import atomic_path, note_digest, read_json, sha256_of, write_json
from immune_aging.task.command_line import BadInput

TEXT_FILES = (".tsv", ".json")  # their digests are noted beside them, as those of every text file that a task writes


@dataclass(frozen=True)
class Taken:
    """One published file to take: its path in the results folder, and the sha256 that it was published with."""

    name: str
    sha256: str


def taken_file(text: str) -> Taken:
    """A file to take, from 'SHA256 PATH'; a path may hold blanks."""
    digest, _, name = text.partition(" ")
    return Taken(name, digest)


def take_files(earlier: Path, files: Iterable[Taken], folder: Path, *, shown: str) -> None:
    """Copy published files into `folder`, each whole and as it was published.

    Parameters
    ----------
    earlier
        The results folder.
    files
        What to take of it.
    folder
        Where the copies go, at the same paths. They keep their dates, so that publishing them to where they came from
        writes nothing.
    shown
        The results folder, as the user named it.

    Raises
    ------
    BadInput
        A file is missing, or is not what the earlier run published.
    """
    remedy = "restore it, or leave out --start_from"
    for file in files:
        source, target = earlier / file.name, folder / file.name
        if not source.is_file():
            raise BadInput(f"--start_from {shown}: {file.name} is not there; {remedy}")
        with atomic_path(target) as temporary:
            shutil.copy2(source, temporary)
            if (digest := sha256_of(temporary)) != file.sha256:
                raise BadInput(
                    f"--start_from {shown}: {file.name} is not as it was published (its sha256 is {digest[:12]}, was "
                    f"{file.sha256[:12]}); {remedy}"
                )
        if target.suffix in TEXT_FILES:
            note_digest(target)


def hand_on_versions(earlier: Path, steps: Iterable[str], folder: Path) -> None:
    """Write what the earlier run's steps said of their versions, a file STEP.json for each of `steps` that it ran."""
    said = read_json(earlier / "pipeline_info/versions.json")
    for step in sorted(set(steps) & set(said)):
        write_json(said[step], folder / f"{step}.json")
