"""The report as one page."""

from collections.abc import Mapping
from pathlib import Path

import jinja2

from immune_aging.report.formats import number
from immune_aging.report.interactive import scripts

TEMPLATE_FILES = ("report.html.j2", "report.css", "report.js")  # of the folder with the template


def render(content: Mapping[str, object], template: Path) -> str:
    """The template filled in; whatever comes from data is escaped.

    Parameters
    ----------
    content
        As `content_of` gives it.
    template
        Folder that holds `TEMPLATE_FILES`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    # The style is ours, not data: in it an escaped quote would be wrong.
    style = jinja2.utils.markupsafe.Markup((template / "report.css").read_text())
    return environment.get_template("report.html.j2").render(style=style, scripts=scripts(template), **content)
