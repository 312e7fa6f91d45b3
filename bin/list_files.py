#!/usr/bin/env python3
"""List the files that a cohort consists of: those of a samplesheet, or the one that the user names.

In: a samplesheet (CSV or TSV; column `file`, `sha256` if there is one, and columns of facts about all cells of a file)
and the folder that its paths start from, or the path or URL of one file. Out: `files.json`: for each file its id, its
name as the user wrote it, its whole path or URL, its checksum if one is given, and what the sheet says of its cells.
Everything that is wrong with the sheet is said at once; the files themselves are not looked at.
"""

import argparse
from pathlib import Path

from immune_aging.cohort.samplesheet import Listed, read_samplesheet
from immune_aging.task.checkpoints import sha256_of, write_json, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="folder that paths of the sheet start from, or one file")
    parser.add_argument("--sheet", type=Path, help="samplesheet; without it --source is the one file")
    parser.add_argument("--sha256", default="", help="of the sheet, or of the one file")
    parser.add_argument("--output", type=Path, required=True, help="files.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    notes: list[str] = []
    if args.sheet is None:
        files, where = [Listed(args.source, args.source, args.sha256, 0, {})], f"--input {Path(args.source).name}"
    else:
        files, notes = read_samplesheet(args.sheet, folder=args.source)
        where = f"--input {args.sheet.name}"
        if args.sha256 and (digest := sha256_of(args.sheet)) != args.sha256.lower():
            raise BadInput(
                f"{where}: its sha256 is {digest}, but --sha256 says {args.sha256}; it is damaged or another"
            )
    listed = [{"id": f"file-{number:04d}", **vars(file)} for number, file in enumerate(files)]
    write_json({"where": where, "notes": notes, "files": listed}, args.output)
    write_versions("list_files", ["pandas"], args.versions)


if __name__ == "__main__":
    run(main)
