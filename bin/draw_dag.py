#!/usr/bin/env python3
"""Draw the run's graph of processes as a picture, and write it as Mermaid text.

In: the engine's own graph, one edge per line (from id, kind, name, to id, kind, name). Out: `dag.png`, `.pdf`, `.mmd`.
Channel operators are left out: a process points at each process that its results reach through them.
"""

import argparse
from pathlib import Path

from immune_aging.figures.dag import draw, mermaid, process_edges, without_shortcuts
from immune_aging.figures.style import save_drawing
from immune_aging.task.checkpoints import atomic_path, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="path of the files without their ending")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    names, edges = process_edges(args.graph.read_text().splitlines())
    shown = without_shortcuts(names, edges)
    save_drawing(draw(names, shown), args.output)
    with atomic_path(args.output.with_suffix(".mmd")) as temporary:
        temporary.write_text(mermaid(names, shown))
    write_versions("draw_dag", ["igraph", "matplotlib"], args.versions)


if __name__ == "__main__":
    run(main)
