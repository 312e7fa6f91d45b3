"""Which column of a table of genes holds their symbols, and what is wrong with symbols.

Gene lists and gene sets know a gene by its official symbol alone: what spreadsheets, R and converters make of a symbol
is in none of them.
"""

import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import ENSEMBL_ID, SYMBOL_COLUMNS, symbols_of
from immune_aging.cohort.features import genome_prefix
from immune_aging.cohort.hostile_names import visible

# Symbols that every table of human genes has some of, in any case and with any separator.
_TELLING = re.compile(
    r"(MT[-._]?(ND|CO|ATP|CY)\w+|RP[SL]P?\d+\w*|CD\d+\w*|HLA[-._]\w+|B2M|ACTB|GAPDH|PTPRC|MALAT1)", re.IGNORECASE
)
_MITOCHONDRIAL = re.compile(r"MT[-._ ]?(ND[1-6]L?|CO[1-3]|ATP[68]|CYB|RNR[12])", re.IGNORECASE)
# March1 and Sept2 as spreadsheets write them, also as a number of days (Ziemann, Eren & El-Osta 2016,
# doi:10.1186/s13059-016-1044-7).
_DATE = re.compile(
    r"\d{1,2}[-./ ](mar|sep|sept|dec|oct|apr)\w*|(mar|sep|sept|dec|oct|apr)\w*[-./ ]\d{1,2}"
    r"|\d{4}-\d\d-\d\d( 00:00:00)?|[34]\d{4}",
    re.IGNORECASE,
)
# Aligners and people join id and symbol; Seurat makes - of _, and R's make.names makes . of anything. More may follow
# after a bar, as a biotype does. CEL-Seq joins symbol and chromosome: MT-ND1__chrM.
_JOINED = re.compile(
    rf"{ENSEMBL_ID}(?:[_|:;,. ]+|-)(?P<after>[^|;]+?)(?:[|;].*)?"
    rf"|(?P<before>[^|;]+?)[_|:;,. -]+{ENSEMBL_ID}(?:[|;].*)?"
    r"|(?P<symbol>.+?)__chr(?:\d\d?|[XYM]|MT|[A-Z]{2}\d{6}\S*|ERCC\S*)"
)
_ID = re.compile(ENSEMBL_ID)
MIN_SYMBOLS = 100  # of fewer genes none may be mitochondrial
MAX_LISTED = 3


def _texts(column: pd.Series | pd.Index) -> pd.Series:
    texts = pd.Series(np.asarray(column.astype(object)), dtype=object)
    return texts.where(texts.notna(), "").astype(str)


def _tells_symbols(texts: pd.Series, known: Collection[str]) -> bool:
    """Whether a column holds symbols: a fifth of its values is known, or some of those that every table has."""
    values = {text for text in texts if text}
    if len(values) < len(texts) / 2:
        return False
    return sum(text in known for text in values) >= max(3, 0.2 * len(values)) or (
        sum(bool(_TELLING.fullmatch(text)) for text in values) >= max(3, 0.005 * len(values))
    )


def column_of_symbols(var: pd.DataFrame, known: Collection[str]) -> str:
    """A column of symbols that has none of the usual names; '' for none.

    Parameters
    ----------
    known
        Official symbols.
    """
    for name in var.columns:
        is_number = pd.api.types.is_numeric_dtype(var[name]) or pd.api.types.is_bool_dtype(var[name])
        if name not in SYMBOL_COLUMNS and not is_number and _tells_symbols(_texts(var[name]), known):
            return str(name)
    return ""


def joined_symbols(names: Iterable[str]) -> np.ndarray:
    """Symbols from names that join an Ensembl id, or a chromosome, and a symbol; '' elsewhere.

    >>> joined_symbols(pd.Index(["ENSG00000243485_MIR1302-2HG", "CD3E", "MT-ND1__chrM"])).tolist()
    ['MIR1302-2HG', '', 'MT-ND1']
    """
    bare = (str(name).removeprefix(genome_prefix(str(name))) for name in names)
    found = (None if _ID.fullmatch(name) else _JOINED.fullmatch(name) for name in bare)
    return np.array(
        [(match["after"] or match["before"] or match["symbol"]) if match else "" for match in found], dtype=object
    )


def without_ids(symbols: np.ndarray) -> np.ndarray:
    """Symbols without the id that CELLxGENE joins to them, where no other gene has the symbol.

    >>> without_ids(np.array(["HLA-A_ENSG00000206503", "TBCE", "TBCE_ENSG00000284770"], dtype=object)).tolist()
    ['HLA-A', 'TBCE', 'TBCE_ENSG00000284770']
    """
    joined = joined_symbols(symbols)
    bare = np.where(joined != "", joined, symbols)
    once = ~pd.Series(bare, dtype=object).duplicated(keep=False).to_numpy()
    return np.where(once, bare, symbols)


def by_id(table: pd.DataFrame, symbols: np.ndarray) -> dict[str, str]:
    """Symbols of a table of genes by each gene's id, in its index or in any column of Ensembl ids."""
    found = dict(zip(table.index.astype(str), symbols, strict=True))
    for name in table.columns:
        texts = _texts(table[name])
        if len(texts) and texts.head(100).map(lambda text: bool(_ID.fullmatch(text))).mean() > 0.5:
            found |= dict(zip(texts, symbols, strict=True))
    return {gene: symbol for gene, symbol in found.items() if symbol}


def symbols_found(
    var: pd.DataFrame, known: Collection[str], beside: pd.DataFrame | None = None
) -> tuple[np.ndarray, list[str]]:
    """Symbols of a file's genes, from wherever it holds them; and notes on where that is unusual.

    Parameters
    ----------
    var
        One row per gene; its index holds ids or symbols.
    known
        Official symbols.
    beside
        The table of genes of the file's other matrix, which may know more.
    """
    symbols, notes = symbols_of(var), []
    whole_numbers = pd.Series(symbols, dtype=object).str.fullmatch(r"\d*").astype(bool)
    if whole_numbers.all():  # Entrez ids, or rows of a table without names
        symbols = np.full(len(var), "", dtype=object)
    joined = joined_symbols(var.index)
    own = any(name in var for name in SYMBOL_COLUMNS) and not np.array_equal(symbols, symbols_of(var[[]]))
    if not own and (joined != "").sum() > len(var) / 2:
        told = np.where(joined != "", joined, symbols)
        return told, [f"the names of genes join ids and symbols ('{var.index[0]}'); the symbols are taken from them"]
    symbols = without_ids(symbols)
    if not (symbols != "").any() and (column := column_of_symbols(var, known)):
        texts = _texts(var[column])
        symbols = texts.where(~texts.str.fullmatch(ENSEMBL_ID), "").to_numpy(dtype=object)
        notes.append(f"symbols of genes are taken from the column '{visible(column)}' of the genes' table")
    if beside is not None and (symbols == "").any():
        others, _ = symbols_found(beside, known)
        there = by_id(beside, others)
        given = np.array([there.get(str(gene), "") for gene in var.index], dtype=object)
        filled = (symbols == "") & (given != "")
        if filled.any():
            symbols = np.where(filled, given, symbols)
            notes.append(
                f"the symbols of {filled.sum()} of {len(var)} genes are taken from the table of the other matrix"
            )
    prefixes = {prefix for name in symbols if (prefix := genome_prefix(name))}
    if prefixes:
        bare = np.array([name.removeprefix(genome_prefix(name)) for name in symbols], dtype=object)
        n = int((bare != symbols).sum())
        listed = ", ".join(f"'{prefix}'" for prefix in sorted(prefixes))
        notes.append(f"{n} symbols begin with the name of a genome ({listed}), which is left off")
        symbols = np.where(pd.Series(bare).str.fullmatch(ENSEMBL_ID), "", bare)
    return symbols, notes


def made_names(symbols: Collection[str]) -> Mapping[str, str]:
    """Symbols by what R's make.names makes of them, where that is another name and that of one symbol."""
    made: dict[str, list[str]] = {}
    for symbol in symbols:
        name = re.sub(r"[^A-Za-z0-9_.]", ".", symbol)
        made.setdefault(f"X{name}" if name[:1].isdigit() else name, []).append(symbol)
    return {name: own[0] for name, own in made.items() if len(own) == 1 and name != own[0]}


def _note(names: list[str], n_all: int, text: str) -> list[str]:
    return [f"{len(names)} of {n_all} symbols {text} ({', '.join(map(repr, names[:MAX_LISTED]))})"] if names else []


def symbol_doubts(symbols: np.ndarray, known: Collection[str]) -> list[str]:
    """Notes on symbols that no gene list and no gene set knows, by what became of them.

    Parameters
    ----------
    symbols
        One per gene, '' where unknown.
    known
        Official symbols; empty where no table is given.
    """
    given = [symbol for symbol in dict.fromkeys(symbols) if symbol]
    other = [symbol for symbol in given if symbol not in known]
    made = made_names(known)
    notes = _note(
        [symbol for symbol in other if symbol in made],
        len(given),
        "are names that R's make.names has changed, as MT.ND1 for MT-ND1; they are in no gene list and no gene set",
    )
    notes += _note(
        [symbol for symbol in other if symbol not in made and symbol != symbol.upper() and symbol.upper() in known],
        len(given),
        "are names of human genes only in upper case; as they are they are in no gene list and no gene set",
    )
    notes += _note(
        [symbol for symbol in other if _DATE.fullmatch(symbol)],
        len(given),
        "are dates, as spreadsheets write MARCH1 and SEPT2; the file does not tell their genes",
    )
    if len(given) >= MIN_SYMBOLS and not any(symbol.startswith("MT-") for symbol in given):
        alike = [symbol for symbol in given if _MITOCHONDRIAL.fullmatch(symbol)]
        why = f"; {len(alike)} have other names for them, like {alike[0]!r}" if alike else ""
        notes.append(
            f"no gene is called as mitochondrial ones are (MT-ND1){why}: the mitochondrial share of every cell is 0, "
            "and no cell is left out for it"
        )
    return notes
