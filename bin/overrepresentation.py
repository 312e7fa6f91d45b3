#!/usr/bin/env python3
"""Which gene sets hold more of the called genes of one cell type than chance, rising and falling genes apart.

In: `de.tsv` and a GMT file. Out: `ora_up.tsv` and `ora_down.tsv`, one row a set with at least one called
gene, and `ora_summary.json`. The background is the genes that were tested: against all genes, every set that
the cell type expresses at all would look enriched.
"""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from checkpoints import read_tsv, require_columns, write_json, write_tsv, write_versions
from command_line import BadInput, run
from gene_sets import MAX_SIZE, MIN_SIZE, GeneSets, by_symbol, measured_sets, read_gmt, why_no_sets
from skipped import write_skipped

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


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--de", required=True, help="de.tsv of the cell type")
    parser.add_argument("--gene-sets", required=True, help="GMT file")
    parser.add_argument(
        "--backend", default="local", choices=["local", "enrichr"], help="who tests (default: %(default)s)"
    )
    parser.add_argument("--enrichr-library", default="MSigDB_Hallmark_2020", help="for enrichr (default: %(default)s)")
    parser.add_argument("--enrichr-url", default=ENRICHR_URL, help="of the service (default: %(default)s)")
    parser.add_argument(
        "--min-size", type=int, default=MIN_SIZE, help="fewest tested genes of a set (default: %(default)s)"
    )
    parser.add_argument(
        "--max-size", type=int, default=MAX_SIZE, help="most tested genes of a set (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="a cell type without a result is an error")
    parser.add_argument("--output-up", type=Path, required=True, help="ora_up.tsv")
    parser.add_argument("--output-down", type=Path, required=True, help="ora_down.tsv")
    parser.add_argument("--summary", type=Path, required=True, help="ora_summary.json")
    parser.add_argument("--versions", type=Path, default=Path("versions.json"))
    args = parser.parse_args(argv)
    if not 1 <= args.min_size <= args.max_size:
        raise BadInput(f"--min-size {args.min_size} --max-size {args.max_size}: must be 1 <= min <= max")

    table = read_tsv(args.de, dtype={"gene_id": str, "symbol": str})
    require_columns(table, ["gene_id", "symbol", "log2_fold_change", "stat", "p_value", "padj"], args.de)
    symbols, counts = by_symbol(table)
    background = list(symbols["symbol"])
    sets = read_gmt(args.gene_sets)
    tested = measured_sets(sets, background, min_size=args.min_size, max_size=args.max_size)
    called = called_genes(table, background)
    facts = {
        "backend": args.backend,
        **counts,
        "n_called_up": len(called["up"]),
        "n_called_down": len(called["down"]),
    }
    outputs = {"up": args.output_up, "down": args.output_down}
    if args.backend == "local":
        facts |= {"n_sets_in": len(sets), "n_sets_tested": len(tested)}
    else:
        facts |= {"library": args.enrichr_library}

    nothing_to_test = not background or (args.backend == "local" and not tested)
    if nothing_to_test or not any(called.values()):
        found_none = f"no gene with padj <= {ALPHA} among {len(background)} tested symbols"
        reason = why_no_sets(counts) if nothing_to_test else found_none
        # That no gene changes is a finding, not a failure: it is no error under --strict.
        strict = args.strict and nothing_to_test
        write_skipped(
            reason,
            tables=dict.fromkeys(outputs.values(), COLUMNS),
            summary=args.summary,
            strict=strict,
            facts=facts,
        )
    else:
        for direction, genes in called.items():
            if not genes:
                result = pd.DataFrame(columns=list(COLUMNS))
            elif args.backend == "local":
                result = enrich(genes, tested, background)
            else:
                try:
                    result = enrich_by_service(genes, args.enrichr_library, background, url=args.enrichr_url)
                except ConnectionError as error:
                    sys.exit(f"ERROR: {error}")
            facts[f"n_sets_{direction}"] = int((result["padj"] <= ALPHA).sum())
            write_tsv(result, outputs[direction])
        write_json({"status": "done", "reason": "", **facts}, args.summary)
    write_versions("overrepresentation", ["gseapy", "numpy", "pandas", "scipy"], args.versions)


if __name__ == "__main__":
    run(main)
