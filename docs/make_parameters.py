#!/usr/bin/env python3
"""Write the defaults of nextflow.config into nextflow_schema.json, and both into docs/parameters.md.

The schema is what --help and the check of parameters read. Defaults stand in nextflow.config alone, where the engine
needs them (docs/decisions/0002-one-source-for-what-shapes-the-run.md).
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG, SCHEMA, PAGE = ROOT / "nextflow.config", ROOT / "nextflow_schema.json", ROOT / "docs" / "parameters.md"
INTRODUCTION = """# Parameters

Written by `docs/make_parameters.py` from `nextflow_schema.json` and the defaults in `nextflow.config`: change those
files, not this page. Give a parameter as `--name value` or in a JSON file with `-params-file`; the command line wins.
Lists are comma-separated on the command line and JSON lists in a file. An unknown name or an impossible value stops the
run before any task, with one line that says what is wrong. The profile `test` changes some of the defaults.
"""


def defaults_of(config: str) -> dict[str, object]:
    """The default of each parameter, from the text of nextflow.config.

    None for a parameter that has none, and for one whose default is found out when a run starts (a double-quoted text).
    """
    block = re.search(r"^params \{\n(.*?)^\}", config, re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^    (\w+)\s*= (.+)$", block, re.MULTILINE)
    return {name: None if value.startswith('"') else json.loads(value.replace("'", '"')) for name, value in found}


def with_defaults(schema: dict, defaults: dict[str, object]) -> dict:
    """The schema with these defaults, and no others.

    Raises
    ------
    ValueError
        The schema and the configuration do not have the same parameters.
    """
    named = [name for group in schema["$defs"].values() for name in group["properties"]]
    if differ := sorted(set(named) ^ set(defaults)):
        raise ValueError(f"{', '.join(differ)}: in one of nextflow.config and nextflow_schema.json; name it in both")
    groups = {}
    for key, group in schema["$defs"].items():
        properties = {}
        for name, entry in group["properties"].items():
            own = {} if defaults[name] is None else {"default": defaults[name]}
            # Where a default stood, it stays, so that the file changes no more than it must.
            kept = {k: own.get(k, v) for k, v in entry.items() if k != "default" or own}
            properties[name] = kept | own
        groups[key] = group | {"properties": properties}
    return schema | {"$defs": groups}


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
    complete = with_defaults(json.loads(SCHEMA.read_text()), defaults_of(CONFIG.read_text()))
    SCHEMA.write_text(json.dumps(complete, indent=2, ensure_ascii=False) + "\n")
    PAGE.write_text(page(complete))
