#!/usr/bin/env python3
"""Write docs/parameters.md from nextflow_schema.json, which is what --help and the check of parameters read."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCHEMA, PAGE = ROOT / "nextflow_schema.json", ROOT / "docs" / "parameters.md"
INTRODUCTION = """# Parameters

Written by `docs/make_parameters.py` from `nextflow_schema.json`: change that file, not this page. Give a parameter as
`--name value` or in a JSON file with `-params-file`; the command line wins. Lists are comma-separated on the command
line and JSON lists in a file. An unknown name or an impossible value stops the run before any task, with one line that
says what is wrong. Defaults are those of `nextflow.config`; the profile `test` changes some of them.
"""


def rule(entry: dict) -> str:
    """Type and allowed values of a parameter, as text."""
    one = entry.get("items", entry)
    parts = [f"list of {one['type']}s" if "items" in entry else one["type"]]
    if "enum" in one:
        parts.append(", ".join(f"`{value}`" for value in one["enum"]))
    for key, words in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
    ):
        if key in one:
            parts.append(f"{words} {one[key]}")
    return "; ".join(parts)


def shown(value: object) -> str:
    """A default as it is typed on the command line; a dash where there is none."""
    if value is None:
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def page(schema: dict) -> str:
    """The whole page: a table a group, in the order of the schema."""
    lines = [INTRODUCTION]
    for group in schema["$defs"].values():
        lines += [f"## {group['title']}", "", group["description"], ""]
        lines += ["| parameter | meaning | type and range | default |", "|---|---|---|---|"]
        for name, entry in group["properties"].items():
            meaning = " ".join(filter(None, [entry["description"], entry.get("help_text")])).replace("|", "\\|")
            lines.append(f"| `{name}` | {meaning} | {rule(entry)} | {shown(entry.get('default'))} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(SCHEMA.read_text())))
