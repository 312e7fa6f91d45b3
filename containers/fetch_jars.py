"""Fetches the engine's jars by the lock, or writes the lock. Runs in the `launcher` environment, with jgo.

    fetch_jars.py fetch LOCK FOLDER    downloads into FOLDER/jars; a jar with another sha256 is refused
    fetch_jars.py lock SPEC LOCK       resolves the Maven coordinates of SPEC into LOCK

Locks have jgo's own format. Repositories named in the user's jgo settings are asked first; one
named `central` takes the place of Maven Central.
"""

import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.env import EnvironmentBuilder, EnvironmentSpec, LockFile
from jgo.maven import MavenContext

DOWNLOADS_AT_ONCE = 6
TIMEOUT_SECONDS = 60


class RefusedError(Exception):
    """A jar that is not the one in the lock."""


def maven(repository: Path) -> MavenContext:
    """Maven with its local repository in the given folder."""
    mirrors = dict(GlobalSettings.load().repositories)
    mirrors.setdefault("central", MAVEN_CENTRAL_URL)
    return MavenContext(repo_cache=repository, local_repos=[], remote_repos=mirrors, timeout=TIMEOUT_SECONDS)


def fetch_jar(context: MavenContext, locked, folder: Path) -> Path:
    """Download one jar and move it into the folder once its sum is right."""
    component = context.project(locked.groupId, locked.artifactId).at_version(locked.version)
    downloaded = component.artifact(locked.classifier or "", locked.packaging).resolve()
    if hashlib.sha256(downloaded.read_bytes()).hexdigest() != locked.sha256:
        raise RefusedError(f"{downloaded.name}: its sha256 is not the one in the lock")
    target = folder / downloaded.name
    if target.exists():
        raise RefusedError(f"{downloaded.name}: named twice in the lock")
    downloaded.replace(target)
    return target


def fetch(lock: Path, folder: Path) -> None:
    """Download all jars of the lock into folder/jars."""
    jars = folder / "jars"
    jars.mkdir()
    locked = LockFile.load(lock).dependencies
    with tempfile.TemporaryDirectory(dir=folder) as repository, ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        context = maven(Path(repository))
        tasks = [pool.submit(fetch_jar, context, jar, jars) for jar in locked]
        try:
            for done, task in enumerate(as_completed(tasks), 1):
                task.result()
                if sys.stdout.isatty():
                    print(f"\r  {done}/{len(tasks)} jars", end="", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if sys.stdout.isatty():
        print()


def resolve(spec: Path, lock: Path) -> None:
    """Write the lock of a spec, without what changes from day to day."""
    with tempfile.TemporaryDirectory() as repository:
        builder = EnvironmentBuilder(context=maven(Path(repository)))
        locked = builder.resolve_lockfile(EnvironmentSpec.load(spec))
    locked.dependencies.sort(key=lambda jar: (jar.groupId, jar.artifactId, jar.classifier or ""))
    locked.save(lock)
    lines = lock.read_text().splitlines(keepends=True)
    lock.write_text("".join(line for line in lines if not line.startswith("generated")))


def main(arguments: list[str]) -> int:
    """Run one command; errors as one line, for bootstrap.py to pass on."""
    command, first, second = arguments
    try:
        {"fetch": fetch, "lock": resolve}[command](Path(first), Path(second))
    except RefusedError as error:
        print(f"refused: {error}; nothing was kept", file=sys.stderr)
        return 1
    except Exception as error:  # requests, urllib3 and jgo raise many kinds; the kind is part of the line
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
