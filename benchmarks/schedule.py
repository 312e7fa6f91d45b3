#!/usr/bin/env python3
"""How long a run would take on other numbers of cores: its tasks, as measured, scheduled anew.

In: the trace and the work folder of a run. Each task's inputs are links into the folders of the tasks that made them,
so that the graph of tasks is read off the disk. Tasks start when their inputs are there and cores are free, those with
the longest way to the end first. Durations stay as measured: a task that could use more cores only improves on them.
"""

import argparse
import heapq
import sys
from pathlib import Path

import pandas as pd

from measure import read_trace

# FETCH_COHORT hands on a checksum, not a file.
BY_VALUE = {"CHECK_COHORT": ["FETCH_COHORT"]}
CORES = (1, 2, 4, 16, 64)


def dependencies(tasks: pd.DataFrame, work: Path) -> dict[str, set[str]]:
    """Hash of each task -> hashes of the tasks whose files it links to."""
    folders = {name: next((work / name.split("/")[0]).glob(name.split("/")[1] + "*")) for name in tasks["hash"]}
    owner = {str(folder.resolve()): name for name, folder in folders.items()}
    needs = {}
    for name, folder in folders.items():
        found = set()
        for link in folder.rglob("*"):
            if link.is_symlink():
                parts = link.readlink().parts
                at = next((i for i, part in enumerate(parts) if part == work.name), None)
                if at is not None and (owned := owner.get(str(Path(*parts[: at + 3]).resolve()))):
                    found.add(owned)
        needs[name] = found - {name}
    by_process = tasks.groupby("process")["hash"].agg(list)
    for process, earlier in BY_VALUE.items():
        for name in by_process.get(process, []):
            needs[name] |= {one for other in earlier for one in by_process.get(other, [])}
    return needs


def way_to_end(seconds: dict[str, float], needs: dict[str, set[str]]) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds from the start of each task to the end of all that waits for it, and the next task on that way."""
    waiting = {name: [] for name in needs}
    for name, earlier in needs.items():
        for one in earlier:
            waiting[one].append(name)
    way, following = {}, {}

    def visit(name: str) -> float:
        if name not in way:
            after = max(waiting[name], key=visit, default="")
            way[name], following[name] = seconds[name] + (way[after] if after else 0.0), after
        return way[name]

    for name in needs:
        visit(name)
    return way, following


def makespan(
    seconds: dict[str, float], cores: dict[str, int], needs: dict[str, set[str]], way: dict[str, float], n_cores: int
) -> float:
    """Seconds until the last task ends on `n_cores`, by list scheduling."""
    left = {name: set(earlier) for name, earlier in needs.items()}
    ready = [(-way[name], name) for name, earlier in left.items() if not earlier]
    heapq.heapify(ready)
    running, free, now = [], n_cores, 0.0
    while ready or running:
        later = []
        while ready:
            priority, name = heapq.heappop(ready)
            wanted = min(cores[name], n_cores)
            if wanted <= free:
                free -= wanted
                heapq.heappush(running, (now + seconds[name], name))
            else:
                later.append((priority, name))
        ready = later
        heapq.heapify(ready)
        now, ended = heapq.heappop(running)
        free += min(cores[ended], n_cores)
        for name, earlier in left.items():
            if ended in earlier:
                earlier.discard(ended)
                if not earlier:
                    heapq.heappush(ready, (-way[name], name))
    return now


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args(argv)
    tasks = read_trace(args.trace)
    tasks = tasks[tasks["status"] == "COMPLETED"].reset_index(drop=True)
    needs = dependencies(tasks, args.work)
    seconds = dict(zip(tasks["hash"], tasks["seconds"], strict=True))
    cores = dict(zip(tasks["hash"], tasks["cpus"], strict=True))
    way, following = way_to_end(seconds, needs)
    print("| cores | minutes | speed-up |\n| --- | --- | --- |")
    alone = makespan(seconds, cores, needs, way, 1)
    for n_cores in CORES:
        time = makespan(seconds, cores, needs, way, n_cores)
        print(f"| {n_cores} | {time / 60:.1f} | {alone / time:.1f} |")
    name = max(way, key=way.get)
    print(f"\nThe critical path, {way[name] / 60:.1f} minutes:\n\n| task | seconds |\n| --- | --- |")
    label = {row.hash: f"{row.process} ({row.tag})" for row in tasks.itertuples()}
    while name:
        print(f"| {label[name]} | {seconds[name]:.0f} |")
        name = following[name]


if __name__ == "__main__":
    main(sys.argv[1:])
