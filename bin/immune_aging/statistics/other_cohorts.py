"""The results folders of other cohorts that a run is compared with: what is read of them, and what they are called."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from immune_aging.results import Results
from immune_aging.task.checkpoints import read_tsv, require_columns, sha256_of, slug
from immune_aging.task.command_line import BadInput

THIS = "this"  # label of the run's own cohort
OPTION = "--compare_with"
FILES = "pipeline_info/files.tsv"
# What is compared: a run of another version, or of part of the pipeline, may have published anything beside it.
READ = re.compile(r"cell_types/[^/]+/(?:de\.tsv|de_contrasts\.tsv|de_summary\.json)|pseudobulk/samples\.tsv")


def published_by(folder: Path, *, shown: str) -> Results:
    """What an earlier run published of its cohort's differential expression and samples, each file as it was then.

    Parameters
    ----------
    folder
        The results folder.
    shown
        The same, as the user named it.

    Raises
    ------
    BadInput
        It has no effects, or a file is missing or is not what the run published.
    """
    listed = folder / FILES
    if not listed.is_file():
        raise BadInput(f"{OPTION} {shown}: has no {FILES}; give the results of a whole run")
    table = read_tsv(listed, dtype={"file": str, "sha256": str})
    require_columns(table, ["file", "sha256"], listed)
    wanted = {file: digest for file, digest in zip(table["file"], table["sha256"], strict=True) if READ.fullmatch(file)}
    if not any(file.endswith("/de.tsv") for file in wanted):
        raise BadInput(f"{OPTION} {shown}: its run published no differential expression; give that of a whole run")
    for file, digest in wanted.items():
        if not (folder / file).is_file():
            raise BadInput(f"{OPTION} {shown}: {file} is not there; restore it, or leave these results out")
        if sha256_of(folder / file) != digest:
            raise BadInput(
                f"{OPTION} {shown}: {file} is not as it was published; restore it, or leave these results out"
            )
    return Results({file: folder / file for file in wanted})


def labels_of(folders: Sequence[str]) -> list[str]:
    """Short names of results folders, safe in a column's name: as much of the end of each path as tells them apart.

    >>> labels_of(["/data/OneK1K/results", "../AIDA/results"])
    ['onek1k', 'aida']
    >>> labels_of(["a/b", "c/b"])
    ['a_b', 'c_b']
    """
    parts = [[slug(part) for part in PurePath(folder).parts if re.search("[A-Za-z0-9]", part)] for folder in folders]
    parts = [one[:-1] if one[-1:] == ["results"] and len(one) > 1 else one or ["other"] for one in parts]
    for n in range(1, max(map(len, parts)) + 1):
        labels = ["_".join(one[-n:]) for one in parts]
        if len({*labels, THIS}) > len(labels):
            return labels
    return [f"{'_'.join(one)}_{number}" for number, one in enumerate(parts, 1)]
