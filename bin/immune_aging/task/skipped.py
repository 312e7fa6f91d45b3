"""What a statistic that cannot be computed for a cell type leaves behind: headers and the reason."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from immune_aging.task.checkpoints import write_json, write_tsv
from immune_aging.task.command_line import BadInput


class CannotFit(Exception):
    """The data of this cell type do not carry the statistic. The message is the reason in the report."""


def write_skipped(
    reason: str,
    *,
    tables: Mapping[str | Path, Sequence[str]],
    summary: str | Path,
    strict: bool,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write every table with its header only and the summary with the reason, so that the run goes on.

    Parameters
    ----------
    reason
        Why there is no result, for a person.
    tables
        Path of each table and its columns.
    summary
        Path of the step's summary: `{"status": "skipped", "reason": reason}` and `facts`.
    strict
        Raise instead of writing.

    Raises
    ------
    BadInput
        Under `strict`, in which a missing result ends the run.
    """
    if strict:
        raise BadInput(f"{summary}: {reason} (a skipped statistic is an error under --strict)")
    for path, columns in tables.items():
        write_tsv(pd.DataFrame(columns=list(columns)), path)
    write_json({"status": "skipped", "reason": reason, **(facts or {})}, summary)
