"""The parameters of the run, which of them were changed, and the command that runs it again."""

import shlex
from collections.abc import Mapping

from immune_aging.report.formats import shown

# Of each parameter by name: value, default, group, description.
Parameters = Mapping[str, Mapping[str, object]]


def changed(value: object, default: object) -> bool:
    """Whether a parameter differs from its default; 1 and 1.0, '0.1,1' and [0.1, 1], None and '' do not."""

    def plain(x: object) -> list[float] | list[str]:
        parts = x if isinstance(x, list) else [] if x is None else str(x).split(",")
        words = [str(part).strip() for part in parts if str(part).strip()]
        try:
            return [float(word) for word in words]
        except ValueError:
            return words

    return plain(value) != plain(default)


def parameter_groups(parameters: Parameters) -> dict[str, list[dict]]:
    """Parameters by group, each with its value, its default and whether they differ."""
    groups: dict[str, list[dict]] = {}
    for name, entry in parameters.items():
        row = {
            "name": name,
            "value": shown(entry.get("value")),
            "default": shown(entry.get("default")),
            "changed": changed(entry.get("value"), entry.get("default")),
            "description": entry.get("description") or "",
        }
        groups.setdefault(str(entry.get("group") or "Parameters"), []).append(row)
    return groups


def reproduce(parameters: Parameters) -> str:
    """The command that runs this analysis again: the launcher with every parameter that is not at its default."""
    options = []
    for name, entry in parameters.items():
        value = entry.get("value")
        if not changed(value, entry.get("default")):
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        options.append(f"--{name} {shlex.quote(str(value).lower() if isinstance(value, bool) else text)}")
    return " \\\n    ".join(["./nextflow run main.nf -resume", *options])
