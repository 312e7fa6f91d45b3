#!/usr/bin/env python3
"""Get the gene sets that the enrichment steps use: a GMT file, or a library of Enrichr by its name.

In: a path or a library's name. Out: one checked GMT file. A library is downloaded once into a folder outside
the run's work folder and read from there afterwards, so that every later run uses the same version of it.
"""

import argparse
import sys
from pathlib import Path

from immune_aging.statistics.enrichr import cached_library, is_library_name
from immune_aging.statistics.gene_sets import read_gmt, write_gmt
from immune_aging.task.checkpoints import write_json, write_versions
from immune_aging.task.command_line import BadInput, run


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--gmt", type=Path, help="GMT file")
    source.add_argument("--library", help="name of an Enrichr library")
    parser.add_argument("--cache-dir", type=Path, default=Path("cache"), help="where downloads are kept between runs")
    parser.add_argument("--enrichr-url", help="of the service; needed for a library")
    parser.add_argument("--allow-http", action="store_true", help="download over an unprotected connection too")
    parser.add_argument("--output", type=Path, required=True, help="GMT file")
    parser.add_argument("--summary", type=Path, required=True, help="gene_sets.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)

    if args.gmt is not None:
        sets = read_gmt(args.gmt)
    else:
        if not args.enrichr_url:
            raise BadInput("--enrichr-url: is missing; give the address of the service for --library")
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
