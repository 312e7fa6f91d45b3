"""Container images for tests: a base made of Debian packages, and on it the project's image, each made once.

No public image registry is asked. The base lies in the cache folder, the image in the engine's own store; both are
named by what goes into them, so that a second test run, and every test of one, shares them.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bootstrap

ROOT = Path(__file__).resolve().parent.parent
CONTAINERS, IMAGES = ROOT / "containers", ROOT / "build" / "images"
BOOTSTRAP_BASE = (
    "mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,procps,ca-certificates"
    " --dpkgopt=path-exclude=/usr/share/man/* --dpkgopt=path-exclude=/usr/share/locale/*"
    " --dpkgopt=path-exclude=/usr/share/doc/* --dpkgopt=path-include=/usr/share/doc/*/copyright bookworm"
).split()
# Enough for every machine on which containers can run at all, those included where limits cannot be raised.
SETTINGS = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
runtime = "runc"
"""
TOOLS = ("podman", "runc", "mmdebstrap")


@functools.cache
def environment() -> dict[str, str]:
    """The environment in which podman, and an engine that starts it, works in tests.

    Raises AssertionError, in one line, on a machine that cannot run containers.
    """
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    assert not missing, f"tests of containers need {', '.join(missing)}: install the Debian packages of these names"
    settings = bootstrap.cache_home() / "containers" / "containers.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(SETTINGS)
    environ = {**os.environ, "CONTAINERS_CONF": str(settings), "USER": os.environ.get("USER", "nobody")}
    done = subprocess.run(["podman", "info"], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"this machine cannot run containers: {done.stderr.strip().splitlines()[-1:]}"
    return environ


def call(*command: str | Path, **more: str) -> str:
    """What a command writes to standard output; AssertionError with what it said when it fails."""
    done = subprocess.run(command, env={**environment(), **more}, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[:3]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()


def exists(name: str) -> bool:
    """True if podman has an image of this name."""
    return subprocess.run(["podman", "image", "exists", name], env=environment()).returncode == 0


@functools.cache
def base() -> str:
    """The name of an image of plain Debian 12 with its Python, as the Containerfile's ARG BASE wants it."""
    digest = hashlib.sha256(" ".join(BOOTSTRAP_BASE).encode()).hexdigest()[:12]
    name = f"localhost/immune-aging-base:{digest}"
    if not exists(name):
        archive = bootstrap.cache_home() / "containers" / f"base-{digest}.tar"
        if not archive.exists():
            part = archive.with_suffix(f".{os.getpid()}.part.tar")
            call(*BOOTSTRAP_BASE, part)
            part.rename(archive)
        call("podman", "import", "--quiet", archive, name)
    return name


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of the processes that want to make the same thing, the first makes it, while the others wait and then find it."""
    environment()
    with (bootstrap.cache_home() / "containers" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@functools.cache
def image() -> str:
    """The name of the project's image, which the profiles `podman` and `docker` ask for; built if it is not there."""
    name = f"localhost/immune-aging:{digest()}"
    with one_at_a_time():
        if not (exists(name) and sbom().exists()):
            build()
    return name


@functools.cache
def charliecloud() -> Path:
    """The folder that the profile `charliecloud` runs, made from the image if it is not there."""
    image()
    folder = IMAGES / f"immune-aging-{digest()}"
    with one_at_a_time():
        if not folder.exists():
            call("sh", CONTAINERS / "build_image.sh", "export")
    return folder


@contextmanager
def docker() -> Iterator[str]:
    """A docker engine of its own that has the project's image, without networks; yields its address (DOCKER_HOST)."""
    server = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert server, "tests of docker need dockerd: install the Debian package docker.io"
    folder = Path(tempfile.mkdtemp(prefix="docker-"))  # not below pytest's: a socket's path has at most 107 letters
    address = f"unix://{folder}/socket"
    command = [server, "--host", address, "--data-root", folder / "data", "--exec-root", folder / "exec"]
    command += ["--pidfile", folder / "pid", "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (folder / "log.txt").open("w") as log:
        engine = subprocess.Popen(command, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    try:
        asks = {"env": {**environment(), "DOCKER_HOST": address}, "capture_output": True}
        for _ in range(300):
            if engine.poll() is not None or subprocess.run(["docker", "info"], **asks).returncode == 0:
                break
            time.sleep(0.1)
        assert engine.poll() is None, f"this machine cannot run docker: {(folder / 'log.txt').read_text()[-500:]}"
        call("podman", "save", "--quiet", "--format", "docker-archive", "--output", folder / "image.tar", image())
        call("docker", "load", "--input", folder / "image.tar", DOCKER_HOST=address)
        yield address
    finally:
        engine.terminate()
        engine.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def digest() -> str:
    """What ends the name of the image: of all that goes into it."""
    text = (CONTAINERS / "Containerfile").read_bytes() + (CONTAINERS / "requirements.lock").read_bytes()
    return hashlib.sha256(text).hexdigest()[:12]


def build() -> str:
    """Build the image, whether it is there or not; what `make image` says of it."""
    return call("sh", CONTAINERS / "build_image.sh", "build", BASE=base())


def sbom() -> Path:
    """The list of the image's packages, which the build writes."""
    return IMAGES / f"immune-aging-{digest()}.cdx.json"
