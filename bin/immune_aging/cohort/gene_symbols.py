"""Symbols of genes that a file names by id alone, from a table of ids and symbols."""

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import ENSEMBL_ID, NO_SYMBOL
from immune_aging.cohort.features import feature_kinds, feature_notes
from immune_aging.cohort.gene_groups import PARTLY, measured_everywhere
from immune_aging.cohort.hostile_names import clean_genes
from immune_aging.cohort.symbol_doubts import symbol_doubts, symbols_found
from immune_aging.task.command_line import BadInput

WITHOUT_SYMBOLS = "steps that need them leave out what they cannot do"
NO_SYMBOLS = f"the file gives no gene symbols: {WITHOUT_SYMBOLS}"
HEADER = "gene_id"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class SymbolTable:
    """Symbols by gene id, an Ensembl id without its version; `name` is what notes call the table."""

    name: str
    symbols: Mapping[str, str]


NO_TABLE = SymbolTable("", {})


@dataclass(frozen=True)
class GeneNames:
    """How the genes of a file are called.

    Attributes
    ----------
    ids, symbols
        One text per gene, without hidden characters; a symbol is '' where unknown.
    n_from_table
        How many of the symbols come from the table of symbols and not from the file.
    notes
        What a person should know of it.
    kinds
        What each feature is that is no human gene, or `PARTLY` for a gene that not all files measure; '' for genes.
    """

    ids: np.ndarray
    symbols: np.ndarray
    n_from_table: int
    notes: tuple[str, ...]
    kinds: np.ndarray

    @property
    def n_symbols(self) -> int:
        """How many genes have a symbol."""
        return int((self.symbols != "").sum())


def without_version(gene_id: str) -> str:
    """An Ensembl id without its version and without the mark of a second copy on Y; any other id as it is.

    >>> without_version("ENSG00000182378.15_PAR_Y")
    'ENSG00000182378'
    """
    return re.split(r"[._]", gene_id, maxsplit=1)[0] if re.fullmatch(ENSEMBL_ID, gene_id) else gene_id


def parse_symbol_table(text: str, source: str) -> dict[str, str]:
    """Symbols by gene id from text: one gene per line, its id and its symbol separated by a tab.

    A first line that begins with `gene_id` is a header. A gene may stand there twice with one symbol.

    Raises
    ------
    BadInput
        A line has another number of columns, a gene has two symbols, or there is no gene at all.
    """
    symbols: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [re.sub(r'^"(.*)"$', r"\1", field.strip()) for field in line.split("\t")]
        if not line.strip() or (number == 1 and fields[0] == HEADER):
            continue
        if len(fields) != 2 or not fields[0]:
            raise BadInput(
                f"{source}: line {number}: {len(fields)} tab-separated fields ('{line[:40]}'); "
                "a line is: gene id, symbol"
            )
        gene, symbol = without_version(fields[0]), "" if fields[1] in NO_SYMBOL else fields[1]
        if symbol and symbols.setdefault(gene, symbol) != symbol:
            raise BadInput(
                f"{source}: line {number}: gene '{gene}' has two symbols, '{symbols[gene]}' and '{symbol}'; keep one"
            )
    turned = sum(bool(re.fullmatch(ENSEMBL_ID, symbol)) for symbol in symbols.values())
    if turned > len(symbols) / 2 and not any(re.fullmatch(ENSEMBL_ID, gene) for gene in symbols):
        raise BadInput(
            f"{source}: its second column holds the gene ids ('{next(iter(symbols.values()))}'); a line is: gene id, "
            "symbol"
        )
    if not symbols:
        raise BadInput(f"{source}: holds no gene with a symbol; give one line per gene: gene id, tab, symbol")
    return symbols


def read_symbol_table(path: Path | None) -> SymbolTable:
    """Read a table of gene symbols, plain or compressed with gzip; an empty one where there is no file.

    Raises
    ------
    BadInput
        It cannot be read or is no such table.
    """
    if path is None:
        return NO_TABLE
    source = f"--gene_symbols {path.name}"
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{source}: is no text (byte {error.start}); give a plain table or one in gzip") from error
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{source}: cannot be read ({error}); give a plain table or one in gzip") from error
    return SymbolTable(path.name, parse_symbol_table(text, source))


def gene_names(var: pd.DataFrame, table: SymbolTable, beside: pd.DataFrame | None = None) -> GeneNames:
    """Ids and symbols of a cohort's genes, as of `names_in_file`; those that not all of its files measure stand apart.

    These change no name of the others, and notes are on the others.
    """
    everywhere = measured_everywhere(var)
    if everywhere.all():
        return names_in_file(var, table, beside)
    whose = {True: names_in_file(var[everywhere], table, beside), False: names_in_file(var[~everywhere], table)}
    ids, symbols, kinds = np.full((3, len(var)), "", dtype=object)
    for common, names in whose.items():
        here = everywhere == common
        ids[here], symbols[here] = names.ids, names.symbols
        kinds[here] = names.kinds if common else np.where(names.kinds == "", PARTLY, names.kinds)
    return GeneNames(ids, symbols, whose[True].n_from_table, whose[True].notes, kinds)


def names_in_file(var: pd.DataFrame, table: SymbolTable, beside: pd.DataFrame | None = None) -> GeneNames:
    """Ids and symbols of a file's genes; those that the file does not name are named by a table.

    What the file says stands. A symbol that it gives to another gene is not given a second time: HGNC has moved some
    symbols from one id to another.

    Parameters
    ----------
    var
        The file's table of genes, one row per gene; its index holds their ids.
    beside
        The table of genes of the file's other matrix, if it has one: it may know symbols that `var` lacks.
    """
    raw_ids, official = var.index.astype(str), frozenset(table.symbols.values())
    in_file, notes = symbols_found(var, official, beside)
    kinds = feature_kinds(var, in_file, beside)
    ids, own = clean_genes(raw_ids, in_file)
    given = set(own)
    known = (table.symbols.get(without_version(gene), "") for gene in raw_ids)
    found = np.array(["" if name or new in given else new for name, new in zip(own, known, strict=True)], dtype=object)
    symbols = np.where(found != "", found, own)
    n_from_table = int((found != "").sum())
    genes = kinds == ""
    notes += [*feature_notes(kinds, ids), *symbol_doubts(symbols[genes], official)]
    if n_from_table:
        notes.append(f"the symbols of {n_from_table} of {len(ids)} genes come from {table.name} (--gene_symbols)")
    elif not (own != "").any():
        notes.append(_why_no_symbols(ids, table))
    return GeneNames(ids, symbols, n_from_table, tuple(notes), kinds)


def _why_no_symbols(ids: np.ndarray, table: SymbolTable) -> str:
    if not table.symbols or not len(ids):
        return NO_SYMBOLS
    return (
        f"the file gives no gene symbols, and {table.name} (--gene_symbols) knows none of its genes "
        f"('{ids[0]}', ...): {WITHOUT_SYMBOLS}"
    )
