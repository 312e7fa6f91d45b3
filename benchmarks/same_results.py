#!/usr/bin/env python3
"""Compare two results folders file by file: the same bytes, the same content in other bytes, or different.

    python benchmarks/same_results.py BEFORE AFTER

For a change that must not change results: run the pipeline before and after it on the same input, and compare. What
was measured (`pipeline_info/`, the report's table of time and memory) and what names the run's own folder is left out.
Prints a line per file that is not the same to the byte, then a count; ends with 1 where a content differs.
"""

import argparse
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

MEASURED = re.compile(rb'<section id="resources">.*?</section>', re.DOTALL)
PLACE = re.compile(
    rb'<tr[^>]*><th scope="row"><code>(?:outdir|input)</code>.*?</tr>| \\\n *--(?:outdir|input) \S+', re.DOTALL
)


def files_of(folder: Path) -> dict[str, Path]:
    """Published files by their path in the folder, without what was measured of the run."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in files.items() if not name.startswith("pipeline_info")}


def content_of(path: Path) -> bytes:
    """The bytes of a file; of the report without what was measured and where the run was."""
    data = path.read_bytes()
    return PLACE.sub(b"", MEASURED.sub(b"", data)) if path.name == "report.html" else data


def same_arrays(one: Path, other: Path) -> bool:
    """Whether two HDF5 files hold the same groups, attributes and numbers."""

    def parts(path: Path) -> dict[str, tuple]:
        found = {}

        def note(name: str, part: h5py.Group | h5py.Dataset) -> None:
            found[name] = (part[()] if isinstance(part, h5py.Dataset) else None, repr(sorted(part.attrs.items())))

        with h5py.File(path) as file:
            file.visititems(note)
        return found

    left, right = parts(one), parts(other)
    return left.keys() == right.keys() and all(
        np.array_equal(np.asarray(values), np.asarray(right[name][0])) and attributes == right[name][1]
        for name, (values, attributes) in left.items()
    )


def judge(one: Path, other: Path) -> str:
    """`same bytes`, `same content` or `different`."""
    if content_of(one) == content_of(other):
        return "same bytes"
    if one.suffix == ".parquet":
        return "same content" if pd.read_parquet(one).equals(pd.read_parquet(other)) else "different"
    if one.suffix in (".h5ad", ".h5"):
        return "same content" if same_arrays(one, other) else "different"
    return "different"


def compare(before: Path, after: Path) -> dict[str, str]:
    """What each file of either folder is: the same, different, or only in one of them."""
    left, right = files_of(before), files_of(after)
    alone = dict.fromkeys(left.keys() - right.keys(), "only before") | dict.fromkeys(
        right.keys() - left.keys(), "only after"
    )
    both = {name: judge(left[name], right[name]) for name in left.keys() & right.keys()}
    return dict(sorted((alone | both).items()))


def main(argv: list[str]) -> int:
    """Compare two folders and print what is not the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    args = parser.parse_args(argv)
    verdicts = compare(args.before, args.after)
    for name, verdict in verdicts.items():
        if verdict != "same bytes":
            print(f"{verdict}: {name}")
    counts = pd.Series(verdicts, dtype=object).value_counts()
    print(f"{len(verdicts)} files: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    return 0 if set(verdicts.values()) <= {"same bytes", "same content"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
