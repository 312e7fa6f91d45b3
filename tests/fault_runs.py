"""A cohort whose every name is hostile, and one undisturbed run of it that the tests of faults compare with."""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from engine import MEASURED, copy_project, engine_call, nextflow, tree
from immune_aging.results import TEXT
from immune_aging.task.checkpoints import read_tsv
from small_cohorts import small_cohort, write_cohort

ATTACK = "; touch pwned & $(touch pwned) `touch pwned` '\"| ../../../pwned"
LOOK_ALIKE = "\u0422"  # a Cyrillic letter that looks like T
CELL_TYPES = (
    f"T\ncell{ATTACK}",
    f"{LOOK_ALIKE}\ncell{ATTACK}",
    f"-rf <script>alert('cell type')</script> {'long ' * 60}",
)
DONORS = (
    "1", "01", "1.0", "-rf", "../../../pwned", f"donor{ATTACK}", "<script>alert('donor')</script>", "d\n1", "d\\n1",
    "d 1", "d\u00a01", "\u202e1d", "long " * 60, "NA",
)  # fmt: skip
GENES = (
    "1",
    "01",
    "-rf",
    "../../../pwned",
    f"gene{ATTACK}",
    "<script>alert('gene')</script>",
    "g\t\n1",
    "NA",
    "g" * 300,
)
FILE = f"-my cohort;\u00e9 $(touch pwned) `touch pwned` & '\"|{'o' * 150}.h5ad"
GENE_SETS = "-sets; $(touch pwned) `touch pwned` '\".gmt"
OUTDIR = "results; $(touch pwned) `touch pwned` '\""
# Small enough for a run in a minute, with every step in it.
PARAMETERS = {
    "dataset": "hostile", "cells_per_shard": 350, "n_top_genes": 60, "n_pcs": 10, "n_neighbors": 10, "n_neighbors_components": 8,
    "leiden_resolutions": [1], "ridge_alphas": [1], "gsea_permutations": 50, "umap_epochs": 20, "min_genes": 10,
    "min_counts": 20, "min_donor_fraction": 0.8, "nested_alphas": False, "gene_set_min_size": 5, "donor_percentile": 0,
}  # fmt: skip


def hostile_cohort(seed: int = 0) -> anndata.AnnData:
    """14 donors, 3 cell types and 120 genes, with names that are code, paths, markup, or each other's look-alikes."""
    cohort = small_cohort(donors=len(DONORS), cells_per_type=20, types=CELL_TYPES, genes=120, seed=seed)
    rng = np.random.default_rng(seed)
    cohort = cohort[rng.random(cohort.n_obs) < 0.9].copy()  # donors differ in how many cells they have
    number = cohort.obs["donor_id"].astype(str).str.removeprefix("D").astype(int)
    cohort.obs["donor_id"] = pd.Categorical([DONORS[i] for i in number])
    symbols = cohort.var["feature_name"].tolist()
    symbols[20 : 20 + len(GENES)] = GENES
    ids = cohort.var_names.tolist()
    ids[30 : 30 + len(GENES)] = GENES
    cohort.var = pd.DataFrame({"feature_name": symbols}, index=ids)
    return cohort


def hostile_gene_sets(cohort: anndata.AnnData) -> str:
    """Three gene sets of the cohort's symbols as GMT text, their names hostile."""
    symbols = [name for name in cohort.var["feature_name"] if "\t" not in name]
    names = ("<script>alert('set')</script>", f"set{ATTACK}", "-rf")
    return "".join("\t".join([name, "", *symbols[12 + i : 50 + i : 2]]) + "\n" for i, name in enumerate(names))


# The report's rows and its command's lines of where the run is and what it asks a cluster for; its version of Python,
# which is that of the image or of the machine.
_PLACE = rb"(?:outdir|slurm_\w+|max_(?:cpus|memory|time))"
OF_THE_PLACE = re.compile(
    rb'<tr[^>]*><th scope="row"><code>' + _PLACE + rb"</code>.*?</tr>"
    rb"| \\\n *--" + _PLACE + rb" (?:(?! \\\n|</code>).)*"
    rb"|(?<=<th scope=\"row\">Python</th><td>)[\d.]+",
    re.DOTALL,
)
# A network of its own, without a way out, for the command after it: `OutNoRoutes` of $SNMP counts what tried to leave,
# before and after a probe that does try.
NO_NETWORK = (
    "unshare", "--net", "bash", "-c",
    'ip link set lo up; "$@"; code=$?; cat /proc/net/snmp; (echo > /dev/tcp/192.0.2.1/9) 2> /dev/null; cat /proc/net/snmp; exit $code',
    "bash",
)  # fmt: skip


def packets_refused(snmp: str) -> list[int]:
    """`OutNoRoutes` of each copy of /proc/net/snmp in a text: packets for which there was no way out."""
    lines = [line.split() for line in snmp.splitlines() if line.startswith("Ip:")]
    return [
        int(dict(zip(names, values, strict=True))["OutNoRoutes"])
        for names, values in zip(lines[::2], lines[1::2], strict=True)
    ]


def published(folder: Path) -> dict[str, str]:
    """Digests of what is published so far and must be the same in each run; without what is still on its way."""
    files = tree(folder, without=("pipeline_info",)) if folder.exists() else {}
    found = {name: data for name, data in files.items() if not name.endswith(".part")}
    if "report.html" in found:
        found["report.html"] = OF_THE_PLACE.sub(b"", MEASURED.sub(b"", found["report.html"]))
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


class Reference:
    """The hostile cohort, and what an undisturbed run of it published."""

    def __init__(self, folder: Path):
        self.folder, self.project, self.cohort = folder, folder / "project", folder / FILE
        self.outdir, found = folder / OUTDIR, folder / "found.json"
        if not found.exists():
            found.write_text(json.dumps(self.make()))
        self.packets_of_run, self.packets_of_probe, self.results = json.loads(found.read_text())

    def make(self) -> tuple[int, int, dict[str, str]]:
        """Run the cohort; packets that the run and a probe sent to nowhere, and digests of what is published."""
        copy_project(self.project)
        cohort = hostile_cohort()
        write_cohort(cohort, self.cohort)
        (self.folder / GENE_SETS).write_text(hostile_gene_sets(cohort))
        done = self.run(self.folder, "--outdir", OUTDIR, prefix=NO_NETWORK)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        packets_of_run, with_probe = packets_refused(done.stdout)
        return packets_of_run, with_probe - packets_of_run, published(self.outdir)

    def options(self, folder: Path, **changes: object) -> list[str]:
        """A parameters file in `folder` with `changes`, as arguments."""
        given = PARAMETERS | {"input": str(self.cohort), "gene_sets": str(self.folder / GENE_SETS)} | changes
        (folder / "params.json").write_text(json.dumps(given))
        return ["-params-file", str(folder / "params.json")]

    def run(self, folder: Path, *arguments: str, prefix: Sequence[str] = (), **changes: object):
        """Run the cohort in `folder`, to the end."""
        return nextflow(folder, *arguments, *self.options(folder, **changes), project=self.project, prefix=prefix)

    def start(self, folder: Path, *arguments: str, prefix: Sequence[str] = (), **changes: object) -> subprocess.Popen:
        """Start a run of the cohort in `folder` and return once the engine has a session."""
        return start(folder, *arguments, *self.options(folder, **changes), project=self.project, prefix=prefix)

    def table(self, name: str) -> pd.DataFrame:
        """A published table, every name as text."""
        return read_tsv(self.outdir / name, dtype=TEXT)


def start(folder: Path, *arguments: str, **kwargs) -> subprocess.Popen:
    """Start a run in `folder`, its output in `output.txt`, and return once the engine has a session.

    `kwargs` as of `engine_call`.
    """
    log = folder / ".nextflow.log"
    log.unlink(missing_ok=True)
    with (folder / "output.txt").open("w") as file:
        process = subprocess.Popen(**engine_call(folder, *arguments, **kwargs), stdout=file, stderr=subprocess.STDOUT)
    wait_until(lambda: process.poll() is not None or (log.exists() and "Session start" in log.read_text()))
    return process


def wait_until(happened: Callable[[], object], *, seconds: float = 300) -> object:
    """Wait until `happened` gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


def scripts_running(folder: Path) -> Iterator[tuple[int, str]]:
    """The steps that run somewhere below `folder`: process id and name of the script."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if (place / "cwd").readlink().is_relative_to(folder) and "python" in words[0]:
                yield from ((int(place.name), Path(word).stem) for word in words[1:3] if word.endswith(".py"))


@contextmanager
def memory_group(name: str, limit_bytes: int) -> Iterator[Path]:
    """A group of processes that the kernel gives no more than this much memory; yields the file that takes their ids."""
    first = Path("/sys/fs/cgroup/memory")
    folder = (first if first.exists() else first.parent) / f"immune-aging-{os.getpid()}-{name}"
    folder.mkdir()
    try:
        (folder / ("memory.limit_in_bytes" if first.exists() else "memory.max")).write_text(str(limit_bytes))
        yield folder / "cgroup.procs"
    finally:
        wait_until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


@contextmanager
def small_disk(folder: Path, *, size: str) -> Iterator[Path]:
    """A file system of this size, for as long as the body runs."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "immune-aging", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def grow(disk: Path, *, size: str) -> None:
    """Make a small disk larger."""
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> Reference:
    """The undisturbed run that every test of faults shares; of two workers one makes it and the other waits."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Reference(folder)
