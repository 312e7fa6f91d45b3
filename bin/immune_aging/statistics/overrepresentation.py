"""Over-representation of gene sets among called genes."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from immune_aging.statistics.gene_sets import GeneSets

COLUMNS = ("gene_set", "overlap", "size", "odds_ratio", "p_value", "padj", "genes")
ALPHA = 0.05
ENRICHR_URL = "https://maayanlab.cloud"
ENRICHR_TRIES = 4
ENRICHR_TIMEOUT_SECONDS = (10, 60)  # to connect; between two bytes


def called_genes(table: pd.DataFrame, background: Collection[str], *, alpha: float = ALPHA) -> dict[str, list[str]]:
    """Symbols of the called genes (padj <= alpha), sorted: `up` with age and `down`.

    Two genes with one symbol may be called in both directions; then the symbol stands in both lists.
    """
    called = table[(table["padj"] <= alpha) & table["symbol"].isin(set(background))]
    lfc = called["log2_fold_change"]
    return {"up": sorted(set(called["symbol"][lfc > 0])), "down": sorted(set(called["symbol"][lfc < 0]))}


def enrich(genes: Collection[str], sets: GeneSets, background: Collection[str]) -> pd.DataFrame:
    """One-sided Fisher test of each set, with Benjamini-Hochberg over all sets tested.

    Parameters
    ----------
    genes
        Called symbols, all in `background`.
    sets
        Symbols of each set, all in `background`.

    Returns
    -------
    The columns of ora_*.tsv for the sets with at least one called gene. The odds ratio has 0.5 added to each
    cell (Haldane-Anscombe), so that it is finite where a set is called whole.
    """
    from scipy.stats import false_discovery_control, hypergeom

    query, total, drawn = set(genes), len(set(background)), len(set(genes))
    rows = []
    for name, members in sets.items():
        hits = sorted(query.intersection(members))
        both, size = len(hits), len(members)
        odds = (both + 0.5) * (total - size - drawn + both + 0.5) / ((size - both + 0.5) * (drawn - both + 0.5))
        p_value = hypergeom.sf(both - 1, total, size, drawn)
        rows.append((name, both, size, odds, p_value, np.nan, ";".join(hits)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["padj"] = false_discovery_control(np.minimum(table["p_value"], 1.0), method="bh")
    return table[table["overlap"] > 0].sort_values(["p_value", "gene_set"], kind="stable", ignore_index=True)


def enrich_by_service(
    genes: Collection[str], library: str, background: Collection[str], *, url: str = ENRICHR_URL
) -> pd.DataFrame:
    """The same by the Enrichr service, which takes a background too (`speedrichr`).

    Parameters
    ----------
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
        No usable answer in `ENRICHR_TRIES` tries.

    References
    ----------
    Chen et al. (2013), BMC Bioinformatics 14:128.
    """
    import requests
    from gseapy.enrichr import EnrichrAPI
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    class Patient(HTTPAdapter):
        """Gives every request a timeout and a few tries; gseapy gives none and would wait for ever."""

        def send(self, request, **options):
            return super().send(request, **{**options, "timeout": ENRICHR_TIMEOUT_SECONDS})

    retry = Retry(
        total=ENRICHR_TRIES - 1,
        backoff_factor=0.5,
        status_forcelist=[429, 500, 502, 503, 504],
        allowed_methods=None,
    )
    service = EnrichrAPI("human")
    service.speedrichr_url = f"{url.rstrip('/')}/speedrichr/api"
    for scheme in ("http://", "https://"):
        service._session.mount(scheme, Patient(max_retries=retry))
    try:
        list_id = service.add_list_speedrichr(sorted(genes))["userListId"]
        background_id = service.add_background(sorted(background))["backgroundid"]
        answer = service.get_background_enrichment(list_id, background_id, library)
    except (requests.RequestException, KeyError, ValueError, TypeError) as error:
        raise ConnectionError(
            f"Enrichr at {url} gave no usable answer for library '{library}' in {ENRICHR_TRIES} tries "
            f"({type(error).__name__}: {error}); run again with -resume, check the library's "
            "name, or use --ora_backend local"
        ) from error
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
