#!/usr/bin/env python3
"""What a command cost (CPU seconds, wall seconds, peak memory), and what the tasks of a run of the pipeline did."""

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a command and all its descendants, wall seconds, the peak memory (GB) of the largest of them.

    The kernel counts from the fork on, so that the peak is never below that of the process that measures. `disk_gb`:
    by how much a folder that was watched grew at most.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_gb: float
    disk_gb: float = float("nan")


def folder_gb(folder: Path) -> float:
    """Size of what lies in a folder, links not followed."""
    total = 0
    for path in folder.rglob("*") if folder.exists() else ():
        try:
            total += path.lstat().st_blocks * 512
        except OSError:  # a temporary file that is gone
            continue
    return total / 2**30


def run(command: list[str], *, cwd: Path, log: Path, scratch: Path | None = None) -> Cost:
    """Run a command, its output to `log`, and say what it cost.

    Parameters
    ----------
    scratch
        A folder whose growth during the run is wanted too (looked at every 10 s), beyond what lies there already.

    Raises
    ------
    subprocess.CalledProcessError
        The command failed.
    """
    before = 0.0 if scratch is None else folder_gb(scratch)
    largest, ended = before, threading.Event()

    def watch() -> None:
        nonlocal largest
        while not ended.wait(10):
            largest = max(largest, folder_gb(scratch))

    watcher = threading.Thread(target=watch, daemon=True)
    if scratch is not None:
        watcher.start()
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=cwd, stdout=file, stderr=file)
        _, status, used = os.wait4(process.pid, 0)  # of this child and of all that it waited for
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    ended.set()
    if scratch is not None:
        watcher.join()
        largest = max(largest, folder_gb(scratch))
    if process.returncode:
        print(log.read_text()[-3000:], file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    disk = largest - before if scratch is not None else float("nan")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 2**20, disk)


def to_bytes(text: str) -> float:
    """Bytes of '1.5 GB' as a trace writes memory; NaN for '-'."""
    match = re.fullmatch(r"([\d.]+) ([KMGT]?B)", str(text))
    return float(match[1]) * UNITS[match[2]] if match else float("nan")


def to_seconds(text: str) -> float:
    """Seconds of '2m 12s' as a trace writes durations; NaN for '-'."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h|d)", str(text))
    return sum(float(number) * SECONDS[unit] for number, unit in parts) if parts else float("nan")


def read_trace(path: Path) -> pd.DataFrame:
    """Tasks of a run: process, tag, hash, status, seconds, cpu_seconds, peak_gb, asked_gb, cpus."""
    trace = pd.read_csv(path, sep="\t", dtype=str)
    seconds = trace["realtime"].map(to_seconds)
    return pd.DataFrame(
        {
            "process": trace["process"].str.split(":").str[-1],
            "tag": trace["tag"],
            "hash": trace["hash"],
            "status": trace["status"],
            "seconds": seconds,
            "cpu_seconds": seconds * pd.to_numeric(trace["%cpu"].str.rstrip("%"), errors="coerce") / 100,
            "peak_gb": trace["peak_rss"].map(to_bytes) / 2**30,
            "asked_gb": trace["memory"].map(to_bytes) / 2**30,
            "cpus": trace["cpus"].astype(int),
        }
    )


def by_process(tasks: pd.DataFrame) -> pd.DataFrame:
    """One row a process, in the order of the first task: tasks, CPU seconds, longest task, memory used and asked."""
    return tasks.groupby("process", sort=False).agg(
        tasks=("tag", "size"), cpu_seconds=("cpu_seconds", "sum"), longest_seconds=("seconds", "max"),
        peak_gb=("peak_gb", "max"), asked_gb=("asked_gb", "max"),
    )  # fmt: skip
