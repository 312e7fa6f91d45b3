#!/usr/bin/env python3
"""Write the report: one HTML file that needs nothing else, from all that the run published.

In: published trees, the parameters in effect, the versions of every step, the template. Out: `report.html`.
Parts that were not run or could not be computed are absent from the trees, and the report says so. Beside it goes what
a later run needs to go on from these results (`made_from.json`, `files.tsv`).
"""

import argparse
from pathlib import Path

from immune_aging import results
from immune_aging.report.content import content_of
from immune_aging.report.page import TEMPLATE_FILES, render
from immune_aging.report.resources import read_tasks, resource_rows
from immune_aging.task.checkpoints import atomic_path, read_json, write_json, write_tsv, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="*", default=[], help="published trees")
    parser.add_argument("--parameters", type=Path, required=True, help="params.json: value, default, group of each")
    parser.add_argument("--step-versions", type=Path, nargs="*", default=[], help="versions.json of each step")
    parser.add_argument("--made-from", type=Path, help="made_from.json: code, inputs, and what an earlier run gave")
    parser.add_argument("--tasks", type=Path, help="what each task asked for and used, .tsv")
    parser.add_argument("--template", type=Path, required=True, help="the pipeline's assets/report")
    parser.add_argument("--output", type=Path, required=True, help="report.html")
    parser.add_argument(
        "--pipeline-info",
        type=Path,
        required=True,
        help="folder for params.json, versions.json, made_from.json and files.tsv",
    )
    parser.add_argument("--threads", type=int, default=1, help="for the pictures")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    for name in TEMPLATE_FILES:
        if not (args.template / name).is_file():
            raise BadInput(f"--template {args.template}: has no {name}; give the pipeline's assets/report")
    parameters = read_json(args.parameters)
    steps = [read_json(path) for path in args.step_versions]
    resources = resource_rows(read_tasks(args.tasks)) if args.tasks else []
    made_from = read_json(args.made_from) if args.made_from else {}
    published = results.open(*args.published)
    content = content_of(
        published, parameters, steps, resources, taken=made_from.get("taken", []), threads=args.threads
    )
    html = render(content, args.template)
    write_json(parameters, args.pipeline_info / "params.json")
    write_json({step["step"]: step for step in sorted(steps, key=str) if step}, args.pipeline_info / "versions.json")
    if made_from:
        write_json(made_from, args.pipeline_info / "made_from.json")
        write_tsv(results.file_table(published), args.pipeline_info / "files.tsv")
    with atomic_path(args.output) as temporary:
        temporary.write_text(html)
    write_versions("report", ["jinja2", "pandas", "pillow", "plotly"], args.versions)


if __name__ == "__main__":
    run(main)
