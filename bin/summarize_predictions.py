#!/usr/bin/env python3
"""Put the age predictions of all cell types, models and penalties into one table.

In: a folder with the summaries of PREDICT_AGE at any depth. Out: `prediction_summary.tsv`, one row each,
those that were skipped with their reason.
"""

import argparse
from pathlib import Path

from immune_aging.prediction.summary import summarize
from immune_aging.task.checkpoints import read_json, write_tsv, write_versions
from immune_aging.task.command_line import run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--summaries", type=Path, required=True, help="folder that holds predict_age_summary.json files"
    )
    parser.add_argument("--output", type=Path, required=True, help="prediction_summary.tsv")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    # Staged inputs are links, which rglob does not follow into folders but does list as files.
    files = sorted(args.summaries.rglob("*.json"))
    write_tsv(summarize([read_json(file) for file in files]), args.output)
    write_versions("summarize_predictions", ["pandas"], args.versions)


if __name__ == "__main__":
    run(main)
