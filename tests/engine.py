"""Drives the real engine in tests: runs of the pipeline in a folder of their own, and what their traces say."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
PROJECT = (
    "main.nf",
    "nextflow.config",
    "nextflow_schema.json",
    "conf",
    "bin",
    "functions",
    "modules",
    "subworkflows",
    "assets",
    "containers",
)
MEASURED = re.compile(rb'<section id="resources">.*?</section>', re.DOTALL)


def copy_project(folder: Path) -> Path:
    """A copy of the pipeline that a test may edit."""
    folder.mkdir(parents=True)
    for name in PROJECT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def engine_call(folder: Path, *arguments: str, project: Path = ROOT, prefix: Sequence[str] = ()) -> dict:
    """How `./nextflow run main.nf ARGUMENTS` is run in `folder`, as keywords of subprocess.

    The launcher is always this checkout's, so that a copy whose lock was edited needs no second environment.

    Parameters
    ----------
    prefix
        A command that runs the launcher, such as one that takes memory or the network away from it.
    """
    command = [*prefix, str(ROOT / "nextflow"), "-q", "run", str(project / "main.nf"), *arguments]
    return {"args": command, "cwd": folder, "env": {**os.environ, "NXF_ANSI_LOG": "false"}}


def nextflow(folder: Path, *arguments: str, timeout: int = 3600, **kwargs) -> subprocess.CompletedProcess:
    """Run the pipeline in `folder`, where its work and results go; `kwargs` as of `engine_call`."""
    call = engine_call(folder, *arguments, **kwargs)
    return subprocess.run(**call, capture_output=True, text=True, timeout=timeout, check=False)


def succeed(folder: Path, *arguments: str, **kwargs) -> None:
    """Run the pipeline and fail the test with its output if it fails."""
    done = nextflow(folder, *arguments, **kwargs)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def trace(folder: Path, outdir: str = "results") -> pd.DataFrame:
    """The tasks of the last run: process (its own name), tag, status."""
    table = pd.read_csv(folder / outdir / "pipeline_info/trace.tsv", sep="\t")
    return table.assign(process=table["process"].str.split(":").str[-1])


def executed(folder: Path, outdir: str = "results") -> set[str]:
    """Processes of which the last run executed a task instead of taking it from the cache."""
    table = trace(folder, outdir)
    return set(table.loc[table["status"] != "CACHED", "process"])


def tree(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Content of every file below `folder` by relative path, without paths that begin with one of `without`."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(without)}


def results(folder: Path) -> dict[str, bytes]:
    """Content of every published file that is the same in each run of the same input.

    Left out are `pipeline_info` and, in the report, the table of time and memory: they were measured.
    """
    files = tree(folder, without=("pipeline_info",))
    report, n_tables = MEASURED.subn(b"", files["report.html"])
    assert n_tables == 1, "the report's table of time and memory"
    return files | {"report.html": report}


def parameters(path: Path) -> dict:
    """A parameters file."""
    return json.loads(path.read_text())
