#!/usr/bin/env python3
"""Get the cohort onto this machine and take its fingerprint.

A local file, or a folder such as a zarr store, is only read, for its sha256. A URL is downloaded once into a folder
outside the run's work folder: a broken download goes on where it stopped, a finished one is not fetched again.

In: a path or URL. Out: `fetched.json` (source, location, size, sha256), on which every later step depends
instead of on the file's date, so that a touched but equal input re-runs nothing else.
"""

import argparse
import sys
from pathlib import Path

from immune_aging.task.checkpoints import digest_of, size_of, write_json, write_versions
from immune_aging.task.command_line import BadInput, run
from immune_aging.task.downloads import download, local_path, verify


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="path or URL of the cohort's h5ad")
    parser.add_argument("--sha256", default="", help="expected checksum, in hex")
    parser.add_argument("--allow-http", action="store_true", help="download over an unprotected connection too")
    parser.add_argument("--download-dir", type=Path, required=True, help="where downloads are kept between runs")
    parser.add_argument("--output", type=Path, required=True, help="fetched.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    path = local_path(args.source)
    if path is None:
        try:
            path, digest = download(args.source, args.download_dir, sha256=args.sha256, allow_http=args.allow_http)
        except ConnectionError as error:
            sys.exit(f"ERROR: {error}")
    else:
        if not path.exists():
            raise BadInput(f"--input {path.resolve()}: there is no such file; give the path or URL of an h5ad file")
        digest = digest_of(path)
        verify(digest, args.sha256, str(path.resolve()))
    summary = {"location": str(path.resolve()), "size": size_of(path), "sha256": digest}
    write_json(summary, args.output)
    write_versions("fetch_cohort", ["requests"], args.versions)


if __name__ == "__main__":
    run(main)
