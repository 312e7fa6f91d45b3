#!/usr/bin/env python3
"""Take published results of an earlier run, so that this one goes on from them.

In: the results folder of the earlier run, and which of its files to take, each with the sha256 that it was published
with. Out: the same files, and what the steps that made them said of their versions. A file that is missing or is
another by now ends the run.
"""

import argparse
from pathlib import Path

from immune_aging.task.checkpoints import write_versions
from immune_aging.task.command_line import run
from immune_aging.task.earlier_results import hand_on_versions, take_files, taken_file


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--earlier", type=Path, required=True, help="results folder of the earlier run")
    parser.add_argument("--shown", required=True, help="the same as the user named it, for messages")
    parser.add_argument("--take", type=taken_file, nargs="+", required=True, help="'SHA256 PATH' of each file")
    parser.add_argument("--steps", nargs="*", default=[], help="that made the files")
    parser.add_argument("--output", type=Path, required=True, help="folder for the files")
    parser.add_argument("--step-versions", type=Path, required=True, help="folder for versions of the steps")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    take_files(args.earlier, args.take, args.output, shown=args.shown)
    hand_on_versions(args.earlier, args.steps, args.step_versions)
    write_versions("take_results", [], args.versions)


if __name__ == "__main__":
    run(main)
