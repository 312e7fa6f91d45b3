#!/usr/bin/env python3
"""Get the gene sets that the enrichment steps use: a GMT file, or a library of Enrichr by its name.

In: a path or a library's name. Out: one checked GMT file. A library is downloaded once into a folder outside
the run's work folder and read from there afterwards, so that every later run uses the same version of it.
"""

import argparse
import re
import sys
import time
from pathlib import Path

import requests

from checkpoints import write_json, write_versions
from command_line import BadInput, run
from gene_sets import GeneSets, parse_gmt, read_gmt, write_gmt
from web import open_url

ENRICHR_URL = "https://maayanlab.cloud"
LIBRARY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
TRIES = 4


def is_library_name(text: str) -> bool:
    """Whether `text` can be a library's name and is not meant as a path."""
    return bool(LIBRARY_NAME.fullmatch(text)) and not text.lower().endswith(".gmt")


def download_library(
    name: str, *, url: str = ENRICHR_URL, allow_http: bool = False, wait_seconds: float = 1.0
) -> GeneSets:
    """Download a library of Enrichr.

    Raises
    ------
    BadInput
        The service does not know the library, or answers with something that is no GMT.
    ConnectionError
        The service could not be reached, or failed, in each of `TRIES` tries.
    """
    address = f"{url.rstrip('/')}/Enrichr/geneSetLibrary"
    for attempt in range(TRIES):
        try:
            answer = open_url(
                address,
                named=f"--enrichr_url {url}",
                allow_http=allow_http,
                params={"mode": "text", "libraryName": name},
            )
            if 400 <= answer.status_code < 500 and answer.status_code not in (408, 425, 429):
                raise BadInput(
                    f"--gene_sets {name}: {url} answers {answer.status_code} {answer.reason}; "
                    "give the path of a GMT file or a library's name as listed at https://maayanlab.cloud/Enrichr/#libraries"
                )
            answer.raise_for_status()
        except requests.RequestException as error:
            if attempt == TRIES - 1:
                raise ConnectionError(
                    f"library '{name}' could not be downloaded from {url} in {TRIES} tries ({error}); run "
                    "again with -resume, or give --gene_sets the path of a GMT file"
                ) from error
            time.sleep(wait_seconds * 2**attempt)
        else:
            break
    answer.encoding = "utf-8"
    return parse_gmt(answer.text, f"--gene_sets {name} (from {url})")


def cached_library(name: str, folder: Path, *, url: str = ENRICHR_URL, allow_http: bool = False) -> GeneSets:
    """A library from the download folder, or from the service and then kept there."""
    file = folder / f"enrichr-{name}.gmt"
    if file.exists():
        return read_gmt(file)
    sets = download_library(name, url=url, allow_http=allow_http)
    write_gmt(sets, file)
    return sets


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--gmt", type=Path, help="GMT file")
    source.add_argument("--library", help="name of an Enrichr library")
    parser.add_argument("--cache-dir", type=Path, default=Path("cache"), help="where downloads are kept between runs")
    parser.add_argument("--enrichr-url", default=ENRICHR_URL, help="of the service (default: %(default)s)")
    parser.add_argument("--allow-http", action="store_true", help="download over an unprotected connection too")
    parser.add_argument("--output", type=Path, required=True, help="GMT file")
    parser.add_argument("--summary", type=Path, required=True, help="gene_sets.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    if args.gmt is not None:
        sets = read_gmt(args.gmt)
    else:
        if not is_library_name(args.library):
            raise BadInput(
                f"--gene_sets {args.library}: is neither a GMT file that is there nor a library's name; check it"
            )
        try:
            sets = cached_library(args.library, args.cache_dir, url=args.enrichr_url, allow_http=args.allow_http)
        except ConnectionError as error:
            sys.exit(f"ERROR: {error}")
    write_gmt(sets, args.output)
    genes = {gene for members in sets.values() for gene in members}
    source_name = args.library or args.gmt.name
    write_json({"source": source_name, "n_sets": len(sets), "n_genes": len(genes)}, args.summary)
    write_versions("fetch_gene_sets", ["requests"], args.versions)


if __name__ == "__main__":
    run(main)
