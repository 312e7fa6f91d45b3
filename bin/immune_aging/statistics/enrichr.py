"""Gene set libraries of Enrichr."""

import re
import time
from pathlib import Path

import requests

from immune_aging.statistics.gene_sets import GeneSets, parse_gmt, read_gmt, write_gmt
from immune_aging.task.command_line import BadInput
from immune_aging.task.web import open_url

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
