#!/usr/bin/env python3
"""What the baselines share: arguments, and CPU seconds by step. Plain Python: brisc has an environment of its own."""

import argparse
import json
import sys
import time
from pathlib import Path


def parser_of(description: str) -> argparse.ArgumentParser:
    """The arguments of every baseline: --cohort (an h5ad) and --output (a folder, made where it is not there)."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--output", type=made_folder, required=True)
    return parser


def made_folder(path: str) -> Path:
    """The folder at `path`, made where it is not there."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Stopwatch:
    """CPU seconds of this process, step by step; what was used before the first step is `start`."""

    def __init__(self):
        self._last = time.process_time()
        self._seconds = {"start": round(self._last, 1)}

    def done(self, step: str) -> None:
        """End a step: its seconds are those since the last one ended."""
        now = time.process_time()
        self._seconds[step], self._last = round(now - self._last, 1), now
        print(f"{step}: {self._seconds[step]} CPU s", file=sys.stderr, flush=True)

    def write(self, path: Path) -> None:
        """Write the seconds of all steps as JSON."""
        path.write_text(json.dumps(self._seconds, indent=2) + "\n")
