"""The launcher sets up whole environments or none, whatever happens, and starts the engine as it should."""

import base64
import hashlib
import http.server
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

import bootstrap
import refresh_locks

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = ROOT / "containers"
LAUNCHER = ROOT / "nextflow"
CLOSED_PORT = "127.0.0.1:9"  # discard: nothing listens on a test machine
DEADLINE_SECONDS = 900  # of a machine that is busy, too: a set-up that hangs fails all the same

# What a child process runs: sets up one part whose only package is the tiny wheel. With HOLD the set-up stands still
# before or after its command of this name: it makes the file `held`, and goes on once there is a file `go`.
SET_UP_TINY = """
import os
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bootstrap
home, lock = Path(sys.argv[2]), Path(sys.argv[3])
place, _, word = os.environ.get("HOLD", "").partition(" ")
real_run = bootstrap.run
def run(command, *more):
    wait = ': > "$0/held"; while [ ! -e "$0/go" ]; do sleep 0.05; done'
    script = {"before": wait + '; exec "$@"', "after": '"$@"; ' + wait}
    if word in command:
        command = ["sh", "-c", script[place], lock.parent, *command]
    return real_run(command, *more)
bootstrap.run = run
try:
    print(bootstrap.ensure(bootstrap.Part("tiny", "tiny", [lock], bootstrap.build_venv(lock), home)))
except bootstrap.SetupError as error:
    bootstrap.say(str(error))
    sys.exit(1)
"""


def make_wheel(folder: Path, version: str = "1.0") -> Path:
    """A wheel of one small module, `tiny`."""
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    sums = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for name, text in files.items()}
    record = "".join(f"{name},sha256={value.decode().rstrip('=')},\n" for name, value in sums.items())
    wheel = folder / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return wheel


@pytest.fixture
def tiny(tmp_path):
    """A lock of the tiny wheel, a cache folder, and an environment in which pip sees that wheel only."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = make_wheel(wheels)
    lock = tmp_path / "tiny.lock"
    lock.write_text(f"tiny==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_NO_CACHE_DIR": "1"}
    return Tiny(lock=lock, home=tmp_path / "home", environ=environ)


class Tiny:
    """One small part, set up by child processes."""

    def __init__(self, *, lock, home, environ):
        self.lock, self.home, self.environ = lock, home, environ

    @property
    def part(self):
        return bootstrap.Part("tiny", "tiny", [self.lock], bootstrap.build_venv(self.lock), self.home)

    def start(self, **options):
        # Who starts the tests in the background has them, and all that they start, ignore SIGINT.
        command = ["env", "--default-signal=INT", sys.executable, "-c", SET_UP_TINY, CONTAINERS, self.home, self.lock]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, **{"env": self.environ, **pipes, **options})

    def held(self, place):
        """A set-up that stands still before or after one of its commands, in a group of processes of its own."""
        process = self.start(start_new_session=True, env={**self.environ, "HOLD": place})
        wait_for((self.lock.parent / "held").exists, process)
        return process

    def go_on(self):
        """Let the held set-up, or what is left of it, go on."""
        (self.lock.parent / "go").touch()

    def run(self, **options):
        process = self.start(**options)
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, output, errors

    def imported_version(self):
        python = self.part.folder / "bin" / "python"
        return subprocess.check_output([python, "-c", "import tiny; print(tiny.version)"], text=True).strip()


def one_line(errors: str) -> str:
    """The single line that says why a set-up failed; what comes before are the stages."""
    lines = errors.strip().splitlines()
    assert "Traceback" not in errors
    assert all(line.startswith("immune-aging: ") for line in lines), errors
    assert [line for line in lines[:-1] if not line.endswith("...")] == []
    return lines[-1]


def wait_for(condition, process):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


# ---- set-up ------------------------------------------------------------------------------------------------


def test_an_environment_holds_the_locked_packages_and_nothing_else(tiny):
    code, output, errors = tiny.run()
    assert code == 0, errors
    folder = Path(output.strip())
    assert tiny.imported_version() == "1.0"
    names = "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()))"
    assert subprocess.check_output([folder / "bin/python", "-c", names], text=True).strip() == "['tiny']"
    assert list(folder.rglob("tiny*.pyc")), "byte code is compiled when the environment is made"
    assert not (folder / ".tmp").exists()


@pytest.mark.long
def test_a_second_set_up_does_nothing(tiny):
    assert tiny.run()[0] == 0
    before = (tiny.part.folder / bootstrap.MARKER).stat().st_mtime_ns
    code, output, errors = tiny.run()
    assert (code, output.strip(), errors) == (0, str(tiny.part.folder), "")
    assert (tiny.part.folder / bootstrap.MARKER).stat().st_mtime_ns == before


@pytest.mark.long
@pytest.mark.parametrize(
    ("place", "moment", "children_too"),
    [
        ("after venv", "bin/python", True),
        ("before install", ".tmp", False),
        ("after install", "lib/python3.11/site-packages/tiny.py", True),
    ],
)
def test_a_killed_set_up_leaves_nothing_that_looks_ready(tiny, place, moment, children_too):
    """Where its command outlives it (`children_too` is false), the next set-up waits for that."""
    process = tiny.held(place)
    assert (tiny.part.folder / moment).exists()
    (os.killpg if children_too else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    assert tiny.part.folder.exists()
    assert not tiny.part.is_ready()
    tiny.go_on()
    code, _, errors = tiny.run()
    assert code == 0, errors
    assert tiny.part.is_ready()
    assert tiny.imported_version() == "1.0"


@pytest.mark.long
def test_an_interrupted_set_up_cleans_up(tiny):
    process = tiny.held("before install")
    assert (tiny.part.folder / ".tmp").exists()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode != 0
    assert not tiny.part.folder.exists()


@pytest.mark.long
def test_no_network_is_one_line(tiny):
    tiny.environ = {k: v for k, v in tiny.environ.items() if k not in ("PIP_NO_INDEX", "PIP_FIND_LINKS")}
    tiny.environ |= {
        "PIP_INDEX_URL": f"http://{CLOSED_PORT}/simple",
        "PIP_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
    }
    code, _, errors = tiny.run()
    assert code == 1
    assert "no network" in one_line(errors)
    assert not tiny.part.folder.exists()


@pytest.mark.parametrize("limit_bytes", [20_000, 1_000_000], ids=["while making it", "while installing pip"])
def test_a_full_disk_is_one_line(tiny, limit_bytes):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    code, _, errors = tiny.run(preexec_fn=small_files_only)
    assert code == 1
    assert "the disk is full" in one_line(errors)
    assert "IMMUNE_AGING_HOME" in errors
    assert not tiny.part.folder.exists()


def test_a_full_disk_in_a_build_step_is_one_line(tmp_path):
    def build(folder, _home):
        (folder / "some").write_text("content")
        Path("/dev/full").write_text("x")

    lock = tmp_path / "x.lock"
    lock.write_text("")
    part = bootstrap.Part("x", "x", [lock], build, tmp_path / "home")
    with pytest.raises(bootstrap.SetupError, match="disk is full"):
        bootstrap.ensure(part)
    assert not part.folder.exists()


@pytest.mark.long
def test_a_package_with_another_hash_is_refused(tiny):
    tiny.lock.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    code, _, errors = tiny.run()
    assert code == 1
    assert "hash differs" in one_line(errors)
    assert not tiny.part.folder.exists()


@pytest.mark.long
def test_a_package_without_hash_is_refused(tiny):
    tiny.lock.write_text("tiny==1.0\n")
    code, _, errors = tiny.run()
    assert code == 1
    assert "hash" in one_line(errors).lower()


def test_a_changed_lock_makes_another_folder(tiny):
    before = tiny.part.folder
    tiny.lock.write_text(tiny.lock.read_text() + "# changed\n")
    assert tiny.part.folder != before
    assert tiny.part.folder.parent == before.parent


def test_two_set_ups_at_once_build_once(tmp_path):
    code = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bootstrap
home, log = Path(sys.argv[2]), Path(sys.argv[3])
def build(folder, home):
    with open(log, "a") as file: file.write("built\\n")
    while not log.with_name("go").exists(): time.sleep(0.01)
    (folder / "done").touch()
part = bootstrap.Part("slow", "slow", [Path(sys.argv[4])], build, home)
assert (bootstrap.ensure(part) / "done").exists()
"""
    lock = tmp_path / "slow.lock"
    lock.write_text("")
    command = [sys.executable, "-c", code, CONTAINERS, tmp_path / "home", tmp_path / "log", lock]
    said = [tmp_path / f"{number}.txt" for number in range(3)]
    processes = []
    for path in said:
        with path.open("w") as file:
            processes.append(subprocess.Popen(command, stderr=file))
    waits = "another set-up is at work"
    wait_for(lambda: sum(waits in path.read_text() for path in said) == 2, processes[0])
    (tmp_path / "go").touch()
    errors = [process.wait(timeout=DEADLINE_SECONDS) and path.read_text() for process, path in zip(processes, said)]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert (tmp_path / "log").read_text() == "built\n"
    assert sum(waits in path.read_text() for path in said) == 2


def test_an_environment_whose_python_is_gone_is_built_anew(tmp_path):
    built = []

    def build(folder, _home):
        built.append(folder)
        (folder / "bin").mkdir()
        (folder / "bin" / "python").symlink_to(sys.executable)

    lock = tmp_path / "x.lock"
    lock.write_text("")
    part = bootstrap.Part("x", "x", [lock], build, tmp_path / "home")
    python = bootstrap.ensure(part) / "bin" / "python"
    bootstrap.ensure(part)
    assert len(built) == 1
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    bootstrap.ensure(part)
    assert len(built) == 2


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    lock = tmp_path / "x.lock"
    lock.write_text("")
    part = bootstrap.Part("x", "x", [lock], lambda folder, home: None, tmp_path / "file" / "home")
    with pytest.raises(bootstrap.SetupError, match="IMMUNE_AGING_HOME"):
        bootstrap.ensure(part)
    with pytest.raises(bootstrap.SetupError, match="IMMUNE_AGING_HOME"), bootstrap.disk_errors(tmp_path):
        raise PermissionError(13, "Permission denied", "/some/folder")


# ---- engine ------------------------------------------------------------------------------------------------


@pytest.fixture
def maven(tmp_path):
    """A Maven repository on this machine with one jar, and a lock of it."""
    jar = tmp_path / "repository/org/example/thing/1.0/thing-1.0.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"a jar")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path / "repository")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield jar, server
    server.shutdown()
    server.server_close()


def jar_part(tmp_path, monkeypatch, *, sha256, address):
    """An engine part that knows one repository only."""
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\ncentral = http://{address}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    lock = tmp_path / "thing.lock"
    lock.write_text(
        '[metadata]\njgo_version = "2.0.0"\n\n[[dependencies]]\n'
        'groupId = "org.example"\nartifactId = "thing"\n'
        f'version = "1.0"\npackaging = "jar"\nsha256 = "{sha256}"\n'
    )
    launcher = bootstrap.parts(bootstrap.cache_home())["launcher"]
    build = bootstrap.build_engine(lock, launcher)
    return bootstrap.Part("thing", "thing", [lock], build, tmp_path / "home", [launcher])


def test_a_jar_with_the_right_sum_is_taken(tmp_path, monkeypatch, maven):
    jar, server = maven
    sha256 = hashlib.sha256(jar.read_bytes()).hexdigest()
    part = jar_part(tmp_path, monkeypatch, sha256=sha256, address=f"127.0.0.1:{server.server_port}")
    folder = bootstrap.ensure(part)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["jars"]
    assert (folder / "jars/thing-1.0.jar").read_bytes() == b"a jar"


def test_a_tampered_jar_is_refused(tmp_path, monkeypatch, maven):
    jar, server = maven
    sha256 = hashlib.sha256(jar.read_bytes()).hexdigest()
    jar.write_bytes(b"another")
    part = jar_part(tmp_path, monkeypatch, sha256=sha256, address=f"127.0.0.1:{server.server_port}")
    with pytest.raises(bootstrap.SetupError, match=r"refused: thing-1\.0\.jar: its sha256 is not the one"):
        bootstrap.ensure(part)
    assert not part.folder.exists()


def test_jars_without_network_are_one_line(tmp_path, monkeypatch):
    part = jar_part(tmp_path, monkeypatch, sha256="0" * 64, address=CLOSED_PORT)
    with pytest.raises(bootstrap.SetupError, match="no network"):
        bootstrap.ensure(part)
    assert not part.folder.exists()


def test_every_locked_jar_has_a_sum():
    for name in ("engine.lock", "engine-lint.lock"):
        jars = (CONTAINERS / name).read_text().split("[[dependencies]]")[1:]
        assert len(jars) > 50
        assert all(re.search(r'^sha256 = "[0-9a-f]{64}"$', jar, re.MULTILINE) for jar in jars)


def test_every_locked_package_has_hashes_and_no_lock_names_a_host():
    for lock in CONTAINERS.glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text
        if not lock.name.startswith("engine"):
            entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
            assert entries
            assert all(re.match(r"[\w.-]+==\S+ \\\n    --hash=sha256:", entry) for entry in entries), lock.name


def test_no_package_is_locked_for_both_runtime_and_tools():
    def names(lock):
        return set(re.findall(r"^([\w.-]+)==", (CONTAINERS / lock).read_text(), re.MULTILINE))

    assert {"anndata", "pydeseq2"} <= names("requirements.lock")
    assert {"pytest", "nf-core", "scanpy"} <= names("requirements-dev.lock")
    assert not names("requirements.lock") & names("requirements-dev.lock")


def test_a_refresh_of_the_locks_shows_versions_not_hashes():
    before = {"a.lock": "one==1.0 \\\n    --hash=sha256:00\ntwo==2.0 \\\n    --hash=sha256:01\n"}
    after = {"a.lock": "one==1.1 \\\n    --hash=sha256:02\ntwo==2.0 \\\n    --hash=sha256:03\n"}
    shown = refresh_locks.changes(before, after)
    assert [line for line in shown if line[0] in "+-" and line[1] not in "+-"] == ["-one==1.0", "+one==1.1"]
    assert refresh_locks.changes(before, before) == []


def test_tools_are_locked_without_the_packages_of_the_runtime():
    lock = "numpy==2.0 \\\n    --hash=sha256:00\npytest==9.0 \\\n    --hash=sha256:01\n"
    assert refresh_locks.without(lock, "numpy==2.0 \\\n") == "pytest==9.0 \\\n    --hash=sha256:01\n"


# ---- Java and Python ---------------------------------------------------------------------------------------


def fake_java(folder: Path, version: str, *, script: str = "exit 0") -> Path:
    """A Java installation that says it is of some version and runs a script."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="nobody"\nJAVA_VERSION="{version}"\n')
    return java


@pytest.mark.parametrize(
    ("version", "suitable"), [("1.8.0_402", False), ("17.0.1", True), ("21", True), ("25.0.1", False)]
)
def test_only_java_17_to_21_is_used(tmp_path, version, suitable):
    java = fake_java(tmp_path / "jdk", version)
    found = bootstrap.find_java({"JAVA_CMD": str(java), "PATH": ""})
    assert (found == str(java)) == suitable
    assert (bootstrap.find_java({"JAVA_HOME": str(tmp_path / "jdk")}) == str(java)) == suitable


def test_java_without_a_release_file_is_asked(tmp_path):
    java = fake_java(tmp_path / "jdk", "0", script="""echo 'openjdk version "17.0.9" 2023-10-17' >&2""")
    (tmp_path / "jdk/release").unlink()
    assert bootstrap.java_version(java) == 17


def test_no_java_is_no_java(tmp_path):
    assert bootstrap.java_version(tmp_path / "java") == 0


def fake_uv(folder: Path, script: str) -> None:
    (folder / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "uv").chmod(0o755)


def test_another_python_without_uv_is_one_line(tmp_path, monkeypatch):
    fake_uv(tmp_path, "exit 2")
    monkeypatch.setattr(bootstrap, "PYTHON_VERSION", (3, 99))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bootstrap.SetupError, match=r"^Python 3\.99 is needed.*uv could not bring one[^\n]*$"):
        bootstrap.find_python(tmp_path / "home")


def test_another_python_is_brought_by_uv(tmp_path, monkeypatch):
    marker = tmp_path / "installed"
    fake_uv(
        tmp_path,
        f'case "$2" in install) : > {marker} ;;\n'
        f'find) [ -e {marker} ] && echo "$UV_PYTHON_INSTALL_DIR/python3.99" ;; esac',
    )
    monkeypatch.setattr(bootstrap, "PYTHON_VERSION", (3, 99))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bootstrap.find_python(tmp_path / "home") == str(tmp_path / "home/python/python3.99")


def test_a_machine_without_python_gets_one_line(tmp_path):
    for tool in ("sh", "dirname", "readlink"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what a Python before 3.8 answers to the probe
    old.chmod(0o755)
    done = subprocess.run([LAUNCHER, "-version"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert one_line(done.stderr) == (
        "immune-aging: no Python 3.8 or later on PATH; install Python 3.11 with pip and venv"
    )


# ---- start -------------------------------------------------------------------------------------------------

SHOW = """python3 -c 'import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))' "$@" """


@pytest.fixture(scope="module")
def showing_java(tmp_path_factory):
    """A Java that prints its arguments and environment instead of running."""
    return fake_java(tmp_path_factory.mktemp("java") / "jdk", "17.0.1", script=SHOW)


def start(showing_java, *arguments, command=LAUNCHER, cwd=None, **environ):
    """What the engine would get: its arguments and its environment."""
    environ = {**os.environ, "JAVA_CMD": str(showing_java), **environ}
    done = subprocess.run([command, *arguments], capture_output=True, text=True, cwd=cwd, env=environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_arguments_reach_the_engine_unchanged(showing_java):
    words = ["run", "main.nf", "--design", "~ sex + age", "--x", "a'b\"c $(d) `e`", "", "-with-dag"]
    arguments, _ = start(showing_java, *words)
    assert arguments[-len(words) :] == words
    assert arguments[-len(words) - 1] == "nextflow.cli.Launcher"


def test_the_engine_can_resume(showing_java):
    arguments, _ = start(showing_java, "run", "main.nf")
    opened = [word for word in arguments if word.startswith("--add-opens=java.base/")]
    assert len(opened) == 16
    assert all(word.endswith("=ALL-UNNAMED") for word in opened)


def test_tasks_find_the_locked_environment(showing_java):
    _, environ = start(showing_java, "run", "main.nf", PYTHONPATH="/elsewhere", PYTHONHOME="")
    home = bootstrap.cache_home()
    runtime = bootstrap.parts(home)["runtime"].folder
    assert environ["PATH"].split(":")[0] == str(runtime / "bin")
    assert environ["IMMUNE_AGING_ENVIRONMENT"] == str(runtime)
    assert environ["PYTHONNOUSERSITE"] == "1"
    assert environ["NXF_OFFLINE"] == "true"
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(environ)
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        assert Path(environ[name]).is_dir()
        assert runtime.name in environ[name]
        assert Path(environ[name]).is_relative_to(home)


def test_options_of_the_user_win(showing_java):
    arguments, environ = start(
        showing_java,
        "run",
        "x",
        NXF_OFFLINE="false",
        NXF_OPTS="-Xms1g -Xmx2g",
        NXF_JVM_ARGS="-XX:TieredStopAtLevel=4",
    )
    assert environ["NXF_OFFLINE"] == "false"
    ours, users = (arguments.index(f"-XX:TieredStopAtLevel={level}") for level in (1, 4))
    assert ours < users < arguments.index("-cp")
    assert {"-Xms1g", "-Xmx2g"} <= set(arguments)


def test_the_launcher_works_by_path_by_symlink_and_from_elsewhere(showing_java, tmp_path):
    (tmp_path / "folder with spaces").mkdir()
    link = tmp_path / "folder with spaces" / "nextflow"
    link.symlink_to(os.path.relpath(LAUNCHER, link.parent.resolve()))
    second = tmp_path / "again"
    second.symlink_to(link)
    expected, _ = start(showing_java, "run", "x")
    assert start(showing_java, "run", "x", command=link, cwd=tmp_path)[0] == expected
    assert start(showing_java, "run", "x", command=second, cwd="/")[0] == expected
    path = f"{ROOT}:{os.environ['PATH']}"
    assert start(showing_java, "run", "x", command="nextflow", cwd=tmp_path, PATH=path)[0] == expected


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("run main.nf", True),
        ("-log x run main.nf -profile test", True),
        ("run main.nf -profile podman", False),
        ("run main.nf -profile test,singularity -resume", False),
        ("log last", False),
        ("-version", False),
    ],
)
def test_only_runs_without_container_need_the_environment(arguments, needed):
    assert bootstrap.needs_runtime(arguments.split()) == needed


def test_the_launcher_costs_little(showing_java):
    """Under 0.15 s of CPU; the bound leaves room for a slow machine. The fake Java is not counted."""

    def seconds(command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "JAVA_CMD": str(showing_java)})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    launcher = min(seconds([LAUNCHER, "run", "x"]) for _ in range(7))
    java_alone = min(seconds([showing_java, "run", "x"]) for _ in range(7))
    assert launcher - java_alone < 0.3


def test_the_pinned_engine_starts():
    done = subprocess.run([LAUNCHER, "-version"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "version 24.10.0" in done.stdout


def test_an_unknown_command_shows_the_usage():
    done = subprocess.run(["sh", CONTAINERS / "bootstrap.sh", "setup", "everything"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "bootstrap.py setup PART" in done.stderr


def test_the_image_is_named_as_the_configuration_names_it():
    text = (CONTAINERS / "Containerfile").read_text() + (CONTAINERS / "requirements.lock").read_text()
    tag = hashlib.sha256(text.encode()).hexdigest()[:12]
    line = next(x for x in (CONTAINERS / "build_image.sh").read_text().splitlines() if x.startswith("tag="))
    shown = subprocess.check_output(["sh", "-c", f'{line}\necho "$tag"'], cwd=CONTAINERS, text=True).strip()
    assert shown == f"localhost/immune-aging:{tag}"
