"""Enrichr, a service of gene sets: its libraries, and over-representation of genes in one of them."""

import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import requests

from immune_aging.statistics.gene_sets import GeneSets, parse_gmt, read_gmt, write_gmt
from immune_aging.task.command_line import BadInput
from immune_aging.task.web import open_url

if TYPE_CHECKING:
    from gseapy.enrichr import EnrichrAPI

LIBRARY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
TRIES = 4
TIMEOUT_SECONDS = (10, 60)  # of an enrichment: to connect; between two bytes
BUSY = (429, 500, 502, 503, 504)  # what a service answers that may do better when asked again


def is_library_name(text: str) -> bool:
    """Whether `text` can be a library's name and is not meant as a path."""
    return bool(LIBRARY_NAME.fullmatch(text)) and not text.lower().endswith(".gmt")


def download_library(name: str, *, url: str, allow_http: bool = False, wait_seconds: float = 1.0) -> GeneSets:
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


def cached_library(name: str, folder: Path, *, url: str, allow_http: bool = False) -> GeneSets:
    """A library from the download folder, or from the service and then kept there."""
    file = folder / f"enrichr-{name}.gmt"
    if file.exists():
        return read_gmt(file)
    sets = download_library(name, url=url, allow_http=allow_http)
    write_gmt(sets, file)
    return sets


def enrich_by_service(genes: Collection[str], library: str, background: Collection[str], *, url: str) -> pd.DataFrame:
    """Over-representation of genes in each set of a library, against a background (`speedrichr`).

    Parameters
    ----------
    genes, background
        Symbols; the first are among the second.
    library
        Name of an Enrichr library.
    url
        Of the service, without path.

    Returns
    -------
    The columns of ora_*.tsv; the service does not tell the size of a set (NaN).

    Raises
    ------
    ConnectionError
        No usable answer in `TRIES` tries.

    References
    ----------
    Chen et al. (2013), BMC Bioinformatics 14:128.
    """
    service = _patient_service(url)
    try:
        list_id = service.add_list_speedrichr(sorted(genes))["userListId"]
        background_id = service.add_background(sorted(background))["backgroundid"]
        answer = service.get_background_enrichment(list_id, background_id, library)
    except (requests.RequestException, KeyError, ValueError, TypeError) as error:
        raise ConnectionError(
            f"Enrichr at {url} gave no usable answer for library '{library}' in {TRIES} tries "
            f"({type(error).__name__}: {error}); run again with -resume, check the library's "
            "name, or use --ora_backend local"
        ) from error
    return service_table(answer)


def _patient_service(url: str) -> "EnrichrAPI":
    """The client of gseapy, every request of which has a timeout and a few tries; alone it would wait for ever."""
    from gseapy.enrichr import EnrichrAPI
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    class Patient(HTTPAdapter):
        def send(self, request, **options):
            return super().send(request, **{**options, "timeout": TIMEOUT_SECONDS})

    retry = Retry(total=TRIES - 1, backoff_factor=0.5, status_forcelist=BUSY, allowed_methods=None)
    service = EnrichrAPI("human")
    service.speedrichr_url = f"{url.rstrip('/')}/speedrichr/api"
    for scheme in ("http://", "https://"):
        service._session.mount(scheme, Patient(max_retries=retry))
    return service


def service_table(answer: pd.DataFrame) -> pd.DataFrame:
    """The columns of ora_*.tsv from an answer of the service."""
    table = pd.DataFrame(
        {
            "gene_set": answer["Term"].astype(str),
            "overlap": answer["Genes"].map(lambda text: len(text.split(";"))),
            "size": np.nan,
            "odds_ratio": answer["Odds Ratio"].astype(float),
            "p_value": answer["P-value"].astype(float),
            "padj": answer["Adjusted P-value"].astype(float),
            "genes": answer["Genes"].map(lambda text: ";".join(sorted(text.split(";")))),
        }
    )
    return table.sort_values(["p_value", "gene_set"], kind="stable", ignore_index=True)
