"""What the steps of a run asked for and used, for the report."""

from pathlib import Path

import pandas as pd

from immune_aging.task.checkpoints import read_tsv, require_columns

COLUMNS = ("process", "tag", "cpus", "asked_bytes", "peak_kib", "milliseconds", "cpu_percent")
GIB = 2**30


def read_tasks(path: Path) -> pd.DataFrame:
    """What each task asked for and used: `COLUMNS`, one row per task.

    Raises
    ------
    BadInput
        The table lacks one of `COLUMNS`.
    """
    tasks = read_tsv(path)
    require_columns(tasks, COLUMNS, path)
    return tasks


def resource_rows(tasks: pd.DataFrame) -> list[dict]:
    """One row per step, the step of most CPU time first.

    Parameters
    ----------
    tasks
        As `read_tasks` gives it; sizes and times are those of the engine's records of a task.

    Returns
    -------
    step, tasks, cpu_minutes (of all its tasks), longest_minutes (of one), used_gib (the largest task's peak),
    asked_gib (that task's request) and share (used of asked, per cent).
    """
    rows = []
    for process, group in tasks.groupby("process"):
        largest = group.loc[group["peak_kib"].idxmax()]
        used, asked = largest["peak_kib"] * 1024 / GIB, largest["asked_bytes"] / GIB
        rows.append(
            {
                "step": process,
                "tasks": len(group),
                "cpu_minutes": (group["milliseconds"] * group["cpu_percent"]).sum() / 100 / 60_000,
                "longest_minutes": group["milliseconds"].max() / 60_000,
                "used_gib": used,
                "asked_gib": asked,
                "share": 100 * used / asked if asked else float("nan"),
            }
        )
    return sorted(rows, key=lambda row: (-row["cpu_minutes"], row["step"]))
