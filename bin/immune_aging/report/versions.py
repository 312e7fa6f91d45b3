"""The versions of the packages that the steps ran with."""

from collections.abc import Mapping, Sequence
from typing import Any


def version_rows(steps: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Every package with its version and the steps that use it; Python first.

    Parameters
    ----------
    steps
        Of each step: step (its name), python (a version), packages (version by name); empty where it told nothing.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for said in filter(None, steps):
        packages = {"Python": said["python"]} | said["packages"]
        for package in packages.items():
            found.setdefault(package, set()).add(said["step"])
    order = sorted(found, key=lambda package: (package[0] != "Python", package[0].lower(), package[1]))
    return [{"package": name, "version": version, "steps": sorted(found[name, version])} for name, version in order]
