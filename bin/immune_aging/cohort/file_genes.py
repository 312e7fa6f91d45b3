"""One space of genes for several files: by Ensembl id without version, or by symbol where no file has ids."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immune_aging.cohort.cohort_file import ENSEMBL_ID
from immune_aging.cohort.features import feature_kinds, feature_notes, genome_prefix
from immune_aging.cohort.gene_symbols import SymbolTable, without_version
from immune_aging.cohort.symbol_doubts import symbols_found
from immune_aging.task.command_line import BadInput

# Columns in which files that name their genes by symbol keep the ids: scanpy, Seurat's converters, CELLxGENE, bioMart.
ID_COLUMNS = (
    "gene_ids",
    "gene_id",
    "feature_id",
    "ensembl_id",
    "ensembl_ids",
    "ensembl",
    "ensembl_gene_id",
    "ENSEMBL",
    "id",
)
ENOUGH = 0.5  # of the genes of a file with an Ensembl id: then it names genes by id
SMALL = 0.5  # of the genes of the smallest file: fewer in common are doubtful
MAX_OTHER = 0.05  # of the genes of several files, whose symbols may differ, as between versions of a reference
MAX_LISTED = 3
MAX_FILES = 20
_MADE_UNIQUE = re.compile(r"(.+)[-._]\d{1,2}")
_AN_ID = re.compile(rf"({ENSEMBL_ID})(?:[|:;, _.-].*)?|[^|;]+?[_|:;,. -]+({ENSEMBL_ID})(?:[|;].*)?")


@dataclass(frozen=True)
class FileGenes:
    """The features of a file.

    Attributes
    ----------
    name
        How messages call the file.
    ids
        Names of its features, as it has them.
    ensembl
        Their Ensembl ids without version; '' where unknown.
    symbols
        Their symbols; '' where unknown.
    kinds
        What each is that is no human gene; '' for genes.
    notes
        What a person should know of them.
    """

    name: str
    ids: np.ndarray
    ensembl: np.ndarray
    symbols: np.ndarray
    kinds: np.ndarray
    notes: tuple[str, ...]

    @property
    def by_id(self) -> bool:
        """Whether most of its genes have an Ensembl id."""
        genes = self.kinds == ""
        return bool(genes.any()) and float((self.ensembl[genes] != "").mean()) > ENOUGH


@dataclass(frozen=True)
class GeneSpace:
    """The genes that all files have, or any.

    Attributes
    ----------
    ids, symbols
        One text per gene; a symbol is '' where unknown.
    columns
        For each file the gene of each of its features, -1 for one that is left out.
    measured
        Files x genes: whether the file has the gene.
    notes
        What was lost, and why.
    """

    ids: np.ndarray
    symbols: np.ndarray
    columns: list[np.ndarray]
    measured: np.ndarray
    notes: tuple[str, ...]


def ensembl_ids(names: Sequence[str]) -> np.ndarray:
    """The Ensembl id in each name, without version and genome; '' for none.

    >>> ensembl_ids(["ENSG00000010610.10", "GRCh38_ENSG00000010610", "CD4"]).tolist()
    ['ENSG00000010610', 'ENSG00000010610', '']
    """
    found = (_AN_ID.fullmatch(name.removeprefix(genome_prefix(name))) for name in names)
    return np.array([without_version(match[1] or match[2]) if match else "" for match in found], dtype=object)


def file_genes(name: str, var: pd.DataFrame, table: SymbolTable, beside: pd.DataFrame | None = None) -> FileGenes:
    """The features of a file, by its table of genes.

    Parameters
    ----------
    table
        Known symbols, by which doubtful ones of the file are told.
    beside
        The table of genes of the file's other matrix, if it has one.
    """
    ids = var.index.astype(str).to_numpy(dtype=object)
    symbols, notes = symbols_found(var, frozenset(table.symbols.values()), beside)
    kinds = feature_kinds(var, symbols, beside)
    ensembl = ensembl_ids(ids)
    for column in ID_COLUMNS:
        if (ensembl != "").mean() > ENOUGH:
            break
        if column in var:
            told = ensembl_ids(var[column].astype(object).where(var[column].notna(), "").astype(str))
            ensembl = told if (told != "").sum() > (ensembl != "").sum() else ensembl
    return FileGenes(name, ids, ensembl, symbols, kinds, (*notes, *feature_notes(kinds, ids)))


def _ids_by_symbol(table: SymbolTable) -> dict[str, str]:
    """The id of each symbol that the table gives to one gene alone."""
    n_ids = Counter(table.symbols.values())
    return {symbol: gene for gene, symbol in table.symbols.items() if n_ids[symbol] == 1}


def numbers_rows(file: FileGenes) -> bool:
    """Whether a file names its features by the numbers of their rows, and has symbols."""
    return all(name.isdecimal() for name in file.ids) and bool((file.symbols != "").all())


def _keys_by_name(files: Sequence[FileGenes], table: SymbolTable) -> tuple[list[np.ndarray], list[str]]:
    """Keys of files without Ensembl ids: names of genes, or symbols where these are numbers of rows; and notes.

    `X` and `X-1` are two genes of one symbol, told apart by their order in a file (`var_names_make_unique`): where
    files differ in their order nobody knows which is which, and both are left out.
    """
    official = frozenset(table.symbols.values())
    found, notes, doubtful = [], [], set[str]()
    for file in files:
        names = file.symbols if numbers_rows(file) else file.ids
        here = set(names)
        for name in here:
            match = _MADE_UNIQUE.fullmatch(name)
            if match and match[1] in here and name not in official:
                doubtful |= {name, match[1]}
        doubtful |= {name for name, n in Counter(names).items() if n > 1}
        found.append(np.where(file.kinds == "", names, ""))
    if doubtful:
        listed = ", ".join(map(repr, sorted(doubtful)[:MAX_LISTED]))
        notes.append(
            f"{len(doubtful)} names stand for several genes of one symbol ({listed}), and the files list them in "
            "another order: which is which is not known, and they are left out; give files with Ensembl ids"
        )
    return [np.where(np.isin(key.astype(str), sorted(doubtful)), "", key) for key in found], notes


def _keys(files: Sequence[FileGenes], table: SymbolTable) -> tuple[list[np.ndarray], list[str]]:
    """What each feature is compared by, '' for one that is left out; and notes.

    Raises
    ------
    BadInput
        Some files name genes by id and others by symbol, and there is no table that tells which is which.
    """
    genes = [np.where(file.kinds == "", file.ids, "") for file in files]
    by_id = [file.by_id for file in files]
    if not any(by_id):
        return _keys_by_name(files, table)
    found, notes = [], []
    of_symbol = {} if all(by_id) else _ids_by_symbol(table)
    for file, own, has_ids in zip(files, genes, by_id, strict=True):
        if has_ids:
            found.append(np.where(own == "", "", np.where(file.ensembl != "", file.ensembl, own)))
            continue
        if not of_symbol:
            other = files[by_id.index(True)].name
            raise BadInput(
                f"{file.name}: names its genes by symbol and {other} by Ensembl id; give --gene_symbols, a table of "
                "ids and symbols, or files of one kind of names"
            )
        symbols = np.where(file.symbols != "", file.symbols, own)
        known = np.array([of_symbol.get(symbol, "") for symbol in symbols], dtype=object)
        found.append(np.where(own == "", "", known))
        lost = own[(own != "") & (known == "")]
        shown = ", ".join(map(repr, lost[:MAX_LISTED]))
        notes.append(
            f"{file.name}: names its genes by symbol; {int((found[-1] != '').sum())} of {int((own != '').sum())} get "
            f"an Ensembl id from {table.name}"
            + (f", {len(lost)} have none there or several and are left out ({shown})" if len(lost) else "")
        )
    return found, notes


def gene_space(files: Sequence[FileGenes], table: SymbolTable, *, union: bool = False) -> GeneSpace:
    """The genes that all files measure, or those that any does.

    Files that list the same genes in the same order keep names and order. Else genes are those of equal Ensembl ids
    without version (of equal names where no file has ids), sorted.

    Parameters
    ----------
    table
        Ids and symbols, for files of which some name genes by id and others by symbol.
    union
        Keep genes that are not in all files.

    Raises
    ------
    BadInput
        No gene is in all files, or a file names a gene twice.
    """
    own = [file.ids[file.kinds == ""] for file in files]
    same = all(np.array_equal(own[0], other) for other in own[1:])
    if same and len(files) > 1 and any(map(numbers_rows, files)):
        said = [file.symbols[file.kinds == ""] for file in files]
        same = all(np.array_equal(said[0], other) for other in said[1:])
    keys, notes = ([np.where(f.kinds == "", f.ids, "") for f in files], []) if same else _keys(files, table)
    problems = [
        f"{file.name}: var names: '{names[names.duplicated()][0]}' occurs twice; make the genes unique with "
        "adata.var_names_make_unique()"
        for file, names in ((file, pd.Index(file.ids)) for file in files)
        if not names.is_unique
    ]
    if problems:
        raise BadInput(" | ".join(problems))
    sets = [set(key[key != ""]) for key in keys]
    common = set.intersection(*sets)
    if not common:
        examples = "; ".join(f"{f.name}: {', '.join(map(repr, f.ids[:2]))}" for f in files[:MAX_LISTED])
        raise BadInput(
            f"the {len(files)} files have no gene in common ({examples}); give files whose genes are named alike"
        )
    ids = own[0] if same else np.array(sorted(set.union(*sets) if union else common), dtype=object)
    place = {gene: number for number, gene in enumerate(ids)}
    columns = [np.array([place.get(gene, -1) for gene in key], dtype=np.int64) for key in keys]
    for file, found in zip(files, columns, strict=True):
        twice = int((found >= 0).sum()) - len(set(found[found >= 0]))
        if twice:
            notes.append(
                f"{file.name}: {twice} features have the Ensembl id of another one; the counts of both are added up"
            )
    notes += _not_in_all(files, keys, sets, common, union=union)
    smallest = min(len(mine) for mine in sets)
    if len(common) < SMALL * smallest:
        notes.append(
            f"the {len(files)} files have only {len(common)} genes in common, of {smallest} in the smallest: check "
            "that their genes are named alike"
        )
    symbols, differ = _symbols(files, columns, len(ids))
    if differ > MAX_OTHER * len(ids) and not any(file.by_id for file in files):
        raise BadInput(
            f"{differ} of {len(ids)} genes have another symbol in another file under the same name ('{ids[0]}'): the "
            "names of genes do not mean the same in all files; give files whose genes are named by Ensembl id or symbol"
        )
    if differ:
        notes.append(f"{differ} genes have another symbol in another file; the first one stands")
    notes += _symbols_of_several(ids, symbols, [gene not in common for gene in ids])
    measured = np.array([[gene in mine for gene in ids] for mine in sets])
    return GeneSpace(ids, symbols, columns, measured, tuple(notes))


def _not_in_all(
    files: Sequence[FileGenes],
    keys: Sequence[np.ndarray],
    sets: Sequence[set[str]],
    common: set[str],
    *,
    union: bool,
) -> list[str]:
    """A note on the genes that each file has and others have not, and what becomes of them."""
    lost = [(file, key, len(mine) - len(common), len(mine)) for file, key, mine in zip(files, keys, sets, strict=True)]
    lost = [one for one in lost if one[2]]
    if not lost:
        return []
    listed = ", ".join(f"{n} of {n_all} of {file.name}" for file, _, n, n_all in lost[:MAX_FILES])
    rest = [n for _, _, n, _ in lost[MAX_FILES:]]
    more = f" and {min(rest)} to {max(rest)} of each of {len(rest)} more files" if rest else ""
    example = next(gene for gene in lost[0][1] if gene and gene not in common)
    if not union:
        return [f"genes that are not in all files are left out: {listed}{more} ('{example}', ...)"]
    n_more = len(set.union(*sets)) - len(common)
    return [
        f"{n_more} genes are not in all files: {listed}{more} ('{example}', ...). Each is tested only among the "
        "samples of files that measure it (--genes union); all else rests on the "
        f"{len(common)} genes that all files measure"
    ]


def _symbols_of_several(ids: np.ndarray, symbols: np.ndarray, partly: Sequence[bool]) -> list[str]:
    """A note on genes of some files whose symbol a gene of another id has, too.

    Parameters
    ----------
    partly
        Whether the gene is not in all files.
    """
    n_ids = Counter(symbol for symbol in symbols if symbol)
    names = sorted({symbol for symbol, one in zip(symbols, partly, strict=True) if one and n_ids[symbol] > 1})
    if not names:
        return []
    whose = ", ".join(ids[symbols == names[0]][:MAX_LISTED])
    return [
        f"{len(names)} symbols stand for genes of different ids ('{names[0]}': {whose}), as in files of different "
        "versions of a reference: each id is a gene of its own, tested among the samples of files that have it"
    ]


def _symbols(files: Sequence[FileGenes], columns: Sequence[np.ndarray], n_genes: int) -> tuple[np.ndarray, int]:
    """The first symbol that any file gives to each gene, and how many genes get another one elsewhere."""
    symbols = np.full(n_genes, "", dtype=object)
    differ = np.zeros(n_genes, dtype=bool)
    for file, column in zip(files, columns, strict=True):
        here = np.flatnonzero((column >= 0) & (file.symbols != ""))
        places, told = column[here], file.symbols[here]
        differ[places] |= (symbols[places] != "") & (symbols[places] != told)
        symbols[places] = np.where(symbols[places] == "", told, symbols[places])
    return symbols, int(differ.sum())
