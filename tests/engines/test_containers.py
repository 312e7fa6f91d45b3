"""The image holds the locked environment and little else, can be rebuilt, and every engine is told to run it."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import containers
from edits import edited
from engine import ROOT, copy_project, nextflow
from small_cohorts import small_cohort, write_cohort

MAXIMAL_BYTES = 1_200_000_000
LOCKED = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "containers/requirements.lock").read_text(), re.MULTILINE))
# What a task does with the file system: imports everything, compiles with a cache, draws.
USES_CACHES = """
import os, pathlib, re, sys
import faiss, gseapy, harmonypy, hdf5plugin, igraph, numba, pydeseq2.dds, pylimma, sklearn, statsmodels.api
from matplotlib import pyplot
sys.path.insert(0, "/tmp/scripts")
pathlib.Path("/tmp/scripts").mkdir()
pathlib.Path("/tmp/scripts/twice.py").write_text(
    "import numba\\n@numba.njit(cache=True)\\ndef twice(x):\\n    return 2 * x\\n"
)
import twice
assert twice.twice(21) == 42
assert list(pathlib.Path("/tmp/numba").rglob("*.nbc")), "numba kept what it compiled"
pyplot.plot([1, 2])
pyplot.savefig("/tmp/figure.png")
assert list(pathlib.Path("/tmp/matplotlib").glob("fontlist-*")), "matplotlib kept its fonts"
try:
    pathlib.Path("/opt/environment/new").touch()
except OSError as error:
    print(os.getuid(), os.getgid(), error.strerror)
"""


def in_image(*command: str, options: tuple[str, ...] = ()) -> str:
    """What a command writes in a fresh container of the image."""
    return containers.call("podman", "run", "--rm", "--network", "none", *options, containers.image(), *command)


# --- the image -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_any_user_can_run_it_on_a_read_only_root_without_network():
    nobody = ("--user", "12345:54321", "--read-only", "--cap-drop", "all")
    assert in_image("python", "-c", USES_CACHES, options=nobody) == "12345 54321 Read-only file system"


@pytest.mark.long
def test_its_own_user_is_not_root():
    assert in_image("id", "-u") == "1000"


@pytest.mark.long
def test_it_is_small_and_without_tools_that_build(record_property):
    n_bytes = int(containers.call("podman", "image", "inspect", "--format", "{{.Size}}", containers.image()))
    record_property("image_bytes", n_bytes)
    assert n_bytes < MAXIMAL_BYTES
    found = in_image("sh", "-c", "for tool in cc gcc g++ make ld strip pip pip3; do command -v $tool || true; done")
    assert found == ""


@pytest.mark.long
def test_byte_code_is_ready_and_no_process_compiles_it_again():
    """A container's own byte code would be lost at its end, and paid for by each task (scanpy: 10 s instead of 3)."""
    count = "find /opt/environment/lib -name '*.{}' | wc -l"
    sources, compiled = (int(in_image("sh", "-c", count.format(kind))) for kind in ("py", "pyc"))
    assert compiled > 0.99 * sources
    loud = in_image("python", "-v", "-c", "import pandas", options=("--env", "PYTHONVERBOSE=1"))
    assert "wrote" not in loud


@pytest.mark.long
def test_two_builds_hold_the_same_packages():
    containers.image()
    first, before = (
        containers.sbom().read_text(),
        containers.call("podman", "image", "inspect", "--format", "{{.Id}}", containers.image()),
    )
    said = containers.build()
    assert re.search(rf"^{containers.image()}: \d+ bytes, built in \d+ s$", said, re.MULTILINE)
    assert containers.sbom().read_text() == first
    after = containers.call("podman", "image", "inspect", "--format", "{{.Id}}", containers.image())
    assert after != before, "it was really built a second time"
    containers.call("podman", "rmi", "--force", before)


@pytest.mark.long
def test_a_list_of_packages_lies_beside_it():
    containers.image()
    text = containers.sbom().read_text()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    components = json.loads(text)["components"]
    by_kind = {
        kind: {c["name"]: c for c in components if c["purl"].startswith(f"pkg:{kind}/")} for kind in ("pypi", "deb")
    }
    assert {name: c["version"] for name, c in by_kind["pypi"].items()} == LOCKED
    assert all(c["externalReferences"] for c in by_kind["pypi"].values())
    dpkg = in_image("dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
    assert sorted(f"{name} {c['version']}" for name, c in by_kind["deb"].items()) == sorted(dpkg)
    assert {"libc6", "python3.11"} <= set(by_kind["deb"])


@pytest.mark.long
def test_a_list_of_other_packages_is_refused():
    """The list is read from the lock: where the image holds something else, none is written."""
    lock = edited((ROOT / "containers/requirements.lock").read_text(), {"anndata==": "anndata==0."})
    sbom = (ROOT / "containers/sbom.py").read_text()
    command = ["podman", "run", "--rm", "-i", containers.image(), "python", "-c", sbom]
    done = subprocess.run(command, input=lock, env=containers.environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert "not those of requirements.lock" in done.stderr and "anndata" in done.stderr
    assert done.stdout == ""


@pytest.mark.long
def test_it_is_written_out_for_other_engines():
    folder = containers.charliecloud()
    archive = folder.parent / f"{folder.name}.tar"
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        assert "oci-layout" in names
        index = json.load(tar.extractfile("index.json"))
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].endswith(containers.digest())
    assert "/opt/environment/bin" in (folder / "ch/environment").read_text()


# --- names and locks -------------------------------------------------------------------------------------------


def test_scripts_import_only_what_is_locked_for_them():
    """The tools of tests lie in the same environment here, so a script could use one of them and pass its tests."""
    packages = importlib.metadata.packages_distributions()
    own = {"immune_aging"}
    for path in sorted((ROOT / "bin").rglob("*.py")):
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {
            n
            for node in nodes
            for n in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module])
        }
        for name in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
            assert {one.lower() for one in packages[name]} & set(LOCKED), f"{path.name} imports {name}"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(small_cohort(), tmp_path_factory.mktemp("cohort") / "cohort.h5ad")


@pytest.mark.long
def test_a_changed_environment_is_refused_where_its_image_was_not_built(tmp_path, cohort, monkeypatch):
    """The name changes with the lock, so no engine can run the image that was built before."""
    for variable, value in containers.environment().items():
        monkeypatch.setenv(variable, value)
    containers.image()
    project = copy_project(tmp_path / "project")
    with (project / "containers/requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    done = nextflow(tmp_path, "-profile", "podman", "--check_only", "--input", str(cohort), project=project)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert re.search(
        r"^ERROR ~ .*localhost/immune-aging:[0-9a-f]{12} is not there: build it with `make image`", said, re.MULTILINE
    ), said
    assert containers.digest() not in said


# --- what the engines are told -----------------------------------------------------------------------------------

STARTS = {
    "docker": r"docker run .*-u \$\(id -u\):\$\(id -g\) --pull=never .*localhost/immune-aging:{digest} /bin/bash",
    "podman": r"podman run .*--user 0:0 --pull=never .*localhost/immune-aging:{digest} /bin/bash",
    "singularity": r"singularity exec .*{images}/immune-aging-{digest}\.sif /bin/bash",
    "apptainer": r"apptainer exec .*{images}/immune-aging-{digest}\.sif /bin/bash",
    "charliecloud": r"ch-run .*{images}/immune-aging-{digest} -- /bin/bash",
}


# One step in place of all: the engine compiles one module instead of sixty, and the configuration is the project's.
ONE_STEP = """\
include { FILTER_COHORT } from './modules/local/filter_cohort'
workflow {
    FILTER_COHORT([[id: 'all'], file("${projectDir}/functions/shell.nf"), file("${projectDir}/functions/start.nf")])
}
"""


@pytest.fixture(scope="module")
def one_step(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("one_step") / "project")
    (project / "main.nf").write_text(ONE_STEP)
    return project


@pytest.mark.long
@pytest.mark.parametrize("engine", STARTS)
def test_a_profile_with_slurm_starts_tasks_in_the_image(tmp_path, one_step, engine, monkeypatch):
    """What would be submitted; here the scheduler refuses every job, so that nothing of it is run."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (stubs / name).write_text("#!/bin/sh\necho 'no cluster here' >&2\nexit 1\n")
        (stubs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{stubs}:{os.environ['PATH']}")
    nextflow(tmp_path, "-profile", f"{engine},slurm", project=one_step)
    written = next((tmp_path / "work").glob("*/*/.command.run")).read_text()
    expected = STARTS[engine].format(digest=containers.digest(), images=re.escape(str(one_step / "build/images")))
    assert re.search(rf"^\s+.*{expected}", written, re.MULTILINE), written
    assert "#SBATCH --mem 1024M" in written
    shares_tmp = engine in ("singularity", "apptainer", "charliecloud")
    assert bool(re.search(r'export NUMBA_CACHE_DIR="/tmp/immune-aging-\w+/numba"', written)) == shares_tmp


# --- known holes -------------------------------------------------------------------------------------------------


def audit(folder: Path, script: str) -> subprocess.CompletedProcess:
    """The audit with a stand-in for pip-audit, which needs a network."""
    (folder / "pip-audit").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "pip-audit").chmod(0o755)
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["sh", ROOT / "containers/audit.sh"], env=environ, capture_output=True, text=True)


def test_an_audit_without_network_is_one_line_and_no_failure(tmp_path):
    """The real pip-audit, which is told of a proxy that is not there."""
    environ = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": ""}
    command = ["sh", ROOT / "containers/audit.sh"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"immune-aging: the packages were not audited: .+\n", done.stdout)


def test_an_audit_that_finds_holes_fails_and_shows_them(tmp_path):
    finds = 'while [ "$1" != --output ]; do shift; done; echo "numpy 2.4.6 CVE-1" > "$2"; exit 1'
    done = audit(tmp_path, finds)
    assert done.returncode == 1
    assert done.stdout == "numpy 2.4.6 CVE-1\n"
    assert "known holes" in done.stderr
