"""What the report's interactive figures are drawn from: genes and donors of each cell type, a sample of the UMAP.

The page holds each cell type's numbers once, as columns, compressed; its script draws the volcano, the MA plot and
one gene against age from them with plotly.js, and fills the table. The sample's columns are what the map of cells can
be coloured by. The whole tables stay beside the report.
"""

import base64
import functools
import gzip
import hashlib
import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2.utils import markupsafe

from immune_aging.embedding.map_sample import CLUSTER, FEWEST, GENE
from immune_aging.embedding.map_sample import COLUMNS as UMAP_COLUMNS
from immune_aging.figures.genes_by_age import TERM_VALUE
from immune_aging.figures.style import PALETTE, colour_limits, colours_for, shorten
from immune_aging.results import Results

ROWS = 90_000  # genes of all cell types together: 40 bytes each in the page, so 3.6 MB
VALUES = 300_000  # donors x genes of the expression of all cell types together: 3 bytes each, so 1 MB
MAP_VALUES = 60_000  # cells x genes of the map of cells: 2 bytes each in the page, so 120 kB
DIGITS = 3
MAP_DECIMALS = 2  # of positions and log-normalised expression: finer than a dot and a shade
LONGEST = 60  # letters of a name in a list to choose from
COLUMNS = ("gene_id", "symbol", "base_mean", "log2_fold_change", "lfc_se", "p_value", "padj", "robust")
DONOR_COLUMNS = ("donor_id", "age_years", "sex")


@functools.cache
def packed(content: str) -> str:
    """Text as base64 of gzip: the same for the same text, and without a character that HTML knows."""
    return base64.b64encode(gzip.compress(content.encode(), 9, mtime=0)).decode()


def rounded(values: pd.Series) -> list[float | None]:
    """Numbers to `DIGITS` significant digits; missing ones and infinity become None."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values.astype(float)]


def thinned(n: int, called: int, most: int) -> np.ndarray:
    """Rows to keep of `n` in order of p: all of the first `called`, and of the others as many as fit, evenly spread.

    Where the called genes alone are more than `most`, the first of them.
    """
    if n <= most:
        return np.arange(n)
    first = min(called, most)
    return np.concatenate([np.arange(first), np.linspace(first, n - 1, most - first).round().astype(int)])


def gene_columns(table: pd.DataFrame, *, alpha: float, most: int) -> dict:
    """Columns of the genes to embed, in order of p, and how many were tested and called.

    Parameters
    ----------
    table
        de.tsv.
    alpha
        Adjusted p under which a gene is called.
    most
        Genes to keep, at most.
    """
    tested = table[table["p_value"].notna()].sort_values(["p_value", "gene_id"], kind="stable", ignore_index=True)
    # In order of p the called are not quite the first ones: genes without an adjusted p lie between them.
    called = tested["padj"] < alpha
    tested = pd.concat([tested[called], tested[~called]], ignore_index=True)
    rows = tested.iloc[thinned(len(tested), int(called.sum()), most)]
    columns = {name: rounded(rows[name]) for name in COLUMNS[2:7]}
    return {
        "n_tested": len(tested),
        "n_called": int(called.sum()),
        "gene_id": rows["gene_id"].tolist(),
        "symbol": rows["symbol"].fillna("").tolist(),
        **columns,
        "robust": rows["robust"].astype(int).tolist(),
    }


def expression_columns(table: pd.DataFrame | None, *, most: int) -> dict | None:
    """Donors, and log2 counts per million of the genes in `table`, the first `most` of them; None without a table.

    Parameters
    ----------
    table
        expression_by_age.tsv: `DONOR_COLUMNS`, `TERM_VALUE` where the tested term is not age, then one column per gene,
        named by its id.
    """
    if table is None:
        return None
    genes = [name for name in table.columns if name not in (*DONOR_COLUMNS, TERM_VALUE)][:most]
    own = {"term_value": term_values(table[TERM_VALUE])} if TERM_VALUE in table else {}
    return {
        **own,
        "donor_id": table["donor_id"].tolist(),
        "age_years": rounded(table["age_years"]),
        "sex": table["sex"].fillna("unknown").tolist(),
        "genes": {gene: rounded(table[gene]) for gene in genes},
    }


def term_values(values: pd.Series) -> list[float | None] | list[str | None]:
    """What the tested term says of each sample: numbers, or levels as text; None where missing."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return rounded(values)
    return [None if pd.isna(value) else str(value) for value in values]


def explorers(results: Results, identifiers: list[str], *, alpha: float) -> dict[str, dict]:
    """For each cell type with tested genes: `data` to embed, and how many genes it holds of how many tested."""
    found = {}
    for identifier in identifiers:
        folder = f"cell_types/{identifier}"
        table = results.table(f"{folder}/de.tsv", COLUMNS)
        if table is None or table["p_value"].isna().all():
            continue
        genes = gene_columns(table, alpha=alpha, most=ROWS // len(identifiers))
        expression = results.table(f"{folder}/expression_by_age.tsv", DONOR_COLUMNS)
        n_donors = 1 if expression is None else len(expression)
        genes["expression"] = expression_columns(expression, most=VALUES // len(identifiers) // n_donors)
        found[identifier] = {
            "data": packed(json.dumps(genes, separators=(",", ":"), ensure_ascii=False, allow_nan=False)),
            "n_shown": len(genes["gene_id"]),
            "n_tested": genes["n_tested"],
            "n_expression": len(genes["expression"]["genes"]) if genes["expression"] else 0,
        }
    return found


def by_kind(label: str, kinds: pd.Series, *, clusters: bool = False) -> dict:
    """A colouring by kind: names, a colour of each as in the still figures, and each cell's place among the names.

    Parameters
    ----------
    clusters
        The kinds are numbers, whose colour is their place in the palette: the sample may lack a small cluster.
    """
    names = kinds.astype(str)
    order = sorted(set(names), key=int if clusters else None)
    colours = [PALETTE[int(name) % len(PALETTE)] for name in order] if clusters else list(colours_for(order).values())
    codes = pd.Categorical(names, categories=order).codes
    return {"label": label, "names": order, "colours": colours, "codes": codes.tolist()}


def by_number(label: str, values: pd.Series) -> dict:
    """A colouring by a number: values, None where missing, and the limits of the colours, as in the still figures."""
    values = values.astype(float).round(MAP_DECIMALS)
    known = values[np.isfinite(values)].to_numpy()
    limits = colour_limits(known) if len(known) else (0.0, 1.0)
    listed = [value if np.isfinite(value) else None for value in values.tolist()]
    return {"label": label, "limits": list(limits), "values": listed}


def cell_map(results: Results, *, left_out: Collection[str] = ()) -> dict | None:
    """The map of cells: `data` to embed, how many cells and genes it holds, what it can be coloured by; or None.

    Of many genes, the first as fit are in it.

    Parameters
    ----------
    left_out
        'sex' and 'age_years' where the cohort is without them.
    """
    table = results.table("embedding/umap_sample.tsv", UMAP_COLUMNS)
    if table is None:
        return None
    genes = [name for name in table.columns if name.startswith(GENE)]
    shown = genes[: MAP_VALUES // len(table)]
    cell_types, donors = table["cell_type"].astype(str), table["donor_id"].astype(str)
    colourings = {"cell_type": by_kind("Cell type", cell_types)}
    for name in table.columns:
        if name.startswith(CLUSTER):
            colourings[name] = by_kind(f"Cluster, resolution {name.removeprefix(CLUSTER)}", table[name], clusters=True)
    colourings["donor_id"] = by_kind("Donor", donors)
    if "sex" not in left_out:
        colourings["sex"] = by_kind("Sex", table["sex"].fillna("unknown"))
    if "age_years" not in left_out:
        colourings["age_years"] = by_number("Age (years)", table["age_years"])
    for name in shown:
        label = f"Expression of {shorten(name.removeprefix(GENE), LONGEST)}"
        colourings[name] = by_number(label, table[name])
    places = {axis: table[axis].astype(float).round(MAP_DECIMALS).tolist() for axis in UMAP_COLUMNS[:2]}
    content = {**places, "colourings": colourings}
    return {
        "data": packed(json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)),
        "n_cells": len(table),
        "fewest": FEWEST,
        "n_genes": len(shown),
        "n_genes_asked": len(genes),
        "labels": {name: colouring["label"] for name, colouring in colourings.items()},
    }


def scripts(folder: Path) -> dict:
    """The page's own script, plotly.js packed, and the policy that lets these two run, nothing else, and no network.

    Parameters
    ----------
    folder
        Holds report.js.
    """
    from plotly.offline import get_plotlyjs

    own, plotly = (folder / "report.js").read_text(), get_plotlyjs()
    # What a browser hashes of an inline script is the text between its tags.
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in (own, plotly)
    )
    return {
        "own": markupsafe.Markup(own),
        "plotly": packed(plotly),
        "policy": f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {hashes}",
    }
