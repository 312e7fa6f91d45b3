"""Writes every lock anew from its direct requirements and shows what changed: `make lock`. Needs the network.

Runs in the environment that holds jgo, with uv on PATH.

X.in -> X.lock         Python packages, by uv, with the hashes of all their wheels
X.toml -> X.lock       jars, by jgo, with their sha256 sums
"""

import difflib
import re
import subprocess
import sys
from pathlib import Path

CONTAINERS = Path(__file__).resolve().parent
UV_COMPILE = (
    "uv pip compile --quiet --upgrade --generate-hashes --only-binary :all: --python-version 3.11"
    " --python-platform x86_64-manylinux_2_36 --no-header --no-annotate"
    " --no-emit-index-url --no-emit-find-links"
).split()


def lock_packages(name: str, *options: str) -> None:
    """Write name.lock from name.in."""
    command = [*UV_COMPILE, f"{name}.in", *options, "--output-file", f"{name}.lock"]
    subprocess.run(command, cwd=CONTAINERS, check=True, stdout=subprocess.DEVNULL)


def without(lock: str, other: str) -> str:
    """The entries of one lock whose packages another one does not have."""
    have = set(re.findall(r"^([\w.-]+)==", other, re.MULTILINE))
    entries = re.split(r"^(?=[\w])", lock, flags=re.MULTILINE)
    return "".join(entry for entry in entries if entry.split("==")[0] not in have)


def lock_jars(name: str) -> None:
    """Write name.lock from name.toml."""
    command = [sys.executable, "-I", "fetch_jars.py", "lock", f"{name}.toml", f"{name}.lock"]
    subprocess.run(command, cwd=CONTAINERS, check=True)


def locks() -> dict[str, str]:
    """The text of every lock by its name."""
    return {path.name: path.read_text() for path in sorted(CONTAINERS.glob("*.lock"))}


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What changed, without the hashes: one line a package or version."""
    lines = []
    for name in sorted(after):
        old, new = (
            [line.rstrip(" \\") for line in text.splitlines() if re.match(r"[\w.-]+==|version|artifactId", line)]
            for text in (before.get(name, ""), after[name])
        )
        lines += difflib.unified_diff(old, new, f"before/{name}", f"after/{name}", n=1, lineterm="")
    return lines


def main() -> int:
    """Refresh all locks."""
    before = locks()
    lock_packages("requirements", "--override", "overrides.txt")
    lock_packages("requirements-dev", "--constraint", "requirements.lock", "--override", "overrides.txt")
    dev, runtime = CONTAINERS / "requirements-dev.lock", CONTAINERS / "requirements.lock"
    dev.write_text(without(dev.read_text(), runtime.read_text()))
    lock_packages("cellxgene", "--override", "cellxgene-overrides.txt")
    for name in ("launcher", "java", "python"):
        lock_packages(name)
    for name in ("engine", "engine-lint"):
        lock_jars(name)
    after = locks()
    print("\n".join(changes(before, after)) or "no version changed")
    if before != after:
        print("the environments of the changed locks are set up at the next start")
    return 0


if __name__ == "__main__":
    sys.exit(main())
