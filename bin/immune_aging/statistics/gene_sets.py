"""Gene sets: reading and writing GMT files, matching sets to measured genes, one ranking value per symbol."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.task.checkpoints import atomic_path
from immune_aging.task.command_line import BadInput

GeneSets = dict[str, tuple[str, ...]]
MIN_SIZE, MAX_SIZE = 10, 1000


_WEIGHT = re.compile(r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?")
_PLAIN_NAME = re.compile(r"[\w.@/-]+")


def unquoted(text: str) -> str:
    """A text without blanks at its ends and without the quotation marks round it."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def genes_of_field(field: str, *, alone: bool) -> list[str]:
    """The genes of a field of a GMT file: one, or several that are parted by commas instead of tabs.

    Parameters
    ----------
    alone
        It is the only field of its set: then semicolons and blanks part genes as well, which a symbol may hold.

    >>> genes_of_field("CD3E,1.0", alone=False), genes_of_field("CD3E, CD4;LYZ", alone=True)
    (['CD3E'], ['CD3E', 'CD4', 'LYZ'])
    """
    parts = [unquoted(part) for part in re.split(r"[,;\s]+" if alone else r"\s*,\s*", field)]
    parts = [part for part in parts if part]
    weighted = len(parts) == 2 and _WEIGHT.fullmatch(parts[1]) and not parts[0].isdigit()
    if weighted or not all(_PLAIN_NAME.fullmatch(part) for part in parts):
        first = unquoted(field.split(",")[0])
        return [first] if first else []
    return parts


def genes_for_descriptions(lines: list[list[str]]) -> bool:
    """Whether a file of several sets has a gene where each description should be: then that gene would be lost."""
    genes = {gene for fields in lines for gene in fields[2:]}
    return len(lines) > 1 and all(fields[1] in genes and fields[1] not in ("", fields[0]) for fields in lines)


def parse_gmt(text: str, source: str) -> GeneSets:
    """Parse GMT text: one line per set, tab-separated: name, description, genes.

    A gene listed twice in a set counts once. Enrichr's form `SYMBOL,weight` is read as `SYMBOL`, and genes that commas
    part are several. A set that has no gene at all is not an error where others have: Enrichr's libraries
    hold a few.

    Raises
    ------
    BadInput
        A line has no description or gene column, genes stand in the column of descriptions, a name comes twice, or no
        set has a gene.
    """
    sets: GeneSets = {}
    read: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = [unquoted(field) for field in line.rstrip("\r\n").split("\t")]
        if len(fields) < 3:
            raise BadInput(
                f"{source}: line {number}: {len(fields)} tab-separated fields ('{line[:40]}'); a GMT "
                "line is: name, description, genes"
            )
        name = fields[0].strip()
        if not name or name in sets:
            problem = f"set '{name}' comes twice" if name else "the set has no name"
            raise BadInput(f"{source}: line {number}: {problem}; give each set its own name")
        alone = len(fields) == 3
        sets[name] = tuple(dict.fromkeys(gene for field in fields[2:] for gene in genes_of_field(field, alone=alone)))
        read.append([name, fields[1], *sets[name]])
    if genes_for_descriptions(read):
        raise BadInput(
            f"{source}: line 1: '{read[0][1]}' stands where a description should be, and is a gene, as in all lines; a "
            "GMT line is: name, description (it may be empty), genes"
        )
    if not any(sets.values()):
        raise BadInput(f"{source}: holds no gene set; give a GMT file (a line per set: name, description, genes; tabs)")
    return {name: genes for name, genes in sets.items() if genes}


def read_gmt(path: str | Path) -> GeneSets:
    """Read a GMT file; `BadInput` if it is not there, no text, malformed or empty."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is no text (byte {error.start}); give a plain GMT file, not compressed") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give the path of a GMT file") from error
    return parse_gmt(text, str(path))


def write_gmt(sets: Mapping[str, Iterable[str]], path: str | Path) -> None:
    """Write gene sets in their order, whole or not at all."""
    lines = ("\t".join([name, "", *genes]) + "\n" for name, genes in sets.items())
    with atomic_path(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def measured_sets(
    sets: Mapping[str, Iterable[str]],
    symbols: Iterable[str],
    *,
    min_size: int = MIN_SIZE,
    max_size: int = MAX_SIZE,
) -> GeneSets:
    """Each set's genes among `symbols` (exact match), for sets that keep `min_size` to `max_size` of them.

    A set that holds every symbol is left out: nothing is outside it to compare with.
    """
    known = set(symbols)
    inside = {name: tuple(gene for gene in genes if gene in known) for name, genes in sets.items()}
    return {n: genes for n, genes in inside.items() if min_size <= len(genes) <= max_size and len(genes) < len(known)}


def by_symbol(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row per symbol of a differential expression table, and how many rows each rule left out.

    Genes whose statistic or p value is missing were not tested; genes without a symbol can be in no set; of
    several genes with one symbol the one with the largest |stat| stays (the first gene id where equal).

    Parameters
    ----------
    table
        With gene_id, symbol, stat, p_value.
    """
    tested = table["stat"].notna() & table["p_value"].notna() & np.isfinite(table["stat"].astype(float))
    named = table["symbol"].notna() & (table["symbol"] != "")
    rows = table[tested & named].assign(strength=lambda t: -t["stat"].astype(float).abs())
    kept = rows.sort_values(["strength", "gene_id"], kind="stable").drop_duplicates("symbol").drop(columns="strength")
    counts = {
        "n_genes_in": len(table),
        "n_not_tested": int((~tested).sum()),
        "n_without_symbol": int((tested & ~named).sum()),
        "n_duplicate_symbol": len(rows) - len(kept),
        "n_symbols": len(kept),
    }
    return kept.sort_values("symbol", ignore_index=True), counts


def why_no_sets(counts: Mapping[str, int]) -> str:
    """The reason why no set can be tested, from the counts of `by_symbol`."""
    if counts["n_genes_in"] == counts["n_not_tested"]:
        return "no gene was tested (see de_summary.json)"
    if counts["n_symbols"] == 0:
        return f"none of the {counts['n_without_symbol']} tested genes has a symbol, which gene sets go by"
    return f"no gene set has enough genes among the {counts['n_symbols']} tested symbols"


def checked_sizes(min_size: int, max_size: int) -> dict[str, int]:
    """The sizes of the sets to test, as `measured_sets` takes them; `BadInput` where no set could have one."""
    if not 1 <= min_size <= max_size:
        raise BadInput(f"--min-size {min_size} --max-size {max_size}: must be 1 <= min <= max")
    return {"min_size": min_size, "max_size": max_size}
