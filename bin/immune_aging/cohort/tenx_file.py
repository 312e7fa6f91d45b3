"""What Cell Ranger writes: matrices in HDF5 (`filtered_feature_bc_matrix.h5`) and folders with matrix.mtx.

Reference: https://www.10xgenomics.com/support/software/cell-ranger/latest/analysis/outputs/cr-outputs-h5-matrices
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from immune_aging.cohort.archives import left_by_macos
from immune_aging.cohort.cell_tables import write_table
from immune_aging.cohort.cohort_file import ANEW, CohortFile, Counts, open_cohort, refuse_references
from immune_aging.cohort.table_encodings import decoded
from immune_aging.task.checkpoints import atomic_path, fast_filters
from immune_aging.task.command_line import BadInput
from immune_aging.task.h5ad_stream import append, encode, growing

ENTRIES = 4_000_000  # of a matrix.mtx that are read at a time
# Parts of a folder, by how the names of their files end; the first that is there counts.
PARTS: dict[str, tuple[str, ...]] = {
    "matrix": ("matrix.mtx.gz", "matrix.mtx"),
    "features": ("features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv"),
    "barcodes": ("barcodes.tsv.gz", "barcodes.tsv"),
}
# The same of other tools, whose names have the same beginning: kb-python, the Single Cell Expression Atlas, alevin-fry.
OTHER_PARTS: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "matrix": ("cells_x_genes.mtx.gz", "cells_x_genes.mtx"),
        "features": ("cells_x_genes.genes.txt",),
        "barcodes": ("cells_x_genes.barcodes.txt",),
    },
    {
        "matrix": ("quants_mat.mtx.gz", "quants_mat.mtx"),
        "features": ("quants_mat_cols.txt",),
        "barcodes": ("quants_mat_rows.txt",),
    },
    {
        "matrix": ("counts.mtx.gz", "counts.mtx"),
        "features": ("counts.mtx_rows.gz", "counts.mtx_rows"),
        "barcodes": ("counts.mtx_cols.gz", "counts.mtx_cols"),
    },
)
MAX_UNSORTED = 40_000_000  # entries that are sorted in memory, some 20 bytes each
_PART_OF_READS = re.compile(r".+-[UA]")  # alevin-fry's unspliced and ambiguous counts of a gene
_BANNER = re.compile(
    r"%%MatrixMarket\s+matrix\s+coordinate\s+(integer|real|unsigned-integer)\s+general\s*", re.IGNORECASE
)


def tenx_group(file: h5py.File) -> str:
    """The group of an HDF5 file in which Cell Ranger keeps a matrix; '' for none.

    `matrix` since Cell Ranger 3; before, a group per genome.

    Raises
    ------
    BadInput
        There are matrices of several genomes.
    """
    if "obs" in file:
        return ""
    if {"barcodes", "data", "indices", "indptr", "shape", "features"} <= _names(file, "matrix"):
        return "matrix"
    groups = [name for name in file if {"barcodes", "data", "indices", "indptr", "genes"} <= _names(file, name)]
    if len(groups) > 1:
        raise BadInput(
            f"{file.filename}: holds matrices of several genomes ({', '.join(groups)}); give the one of human genes"
        )
    return groups[0] if groups else ""


def _names(file: h5py.File, name: str) -> set[str]:
    node = file.get(name, getlink=False)
    return set(node) if isinstance(node, h5py.Group) else set()


def tenx_tables(file: h5py.File, group: str) -> tuple[pd.DataFrame, pd.DataFrame, Counts]:
    """Cells, features and the place of the counts in a file of Cell Ranger; `BadInput` where its parts do not fit."""
    node = file[group]
    features = node.get("features", node)
    columns = {
        "feature_name": ("name", "gene_names"), "feature_types": ("feature_type",), "genome": ("genome",),
    }  # fmt: skip
    ids = features["id"] if "id" in features else features["genes"]
    var = pd.DataFrame(index=pd.Index(decoded(ids[:])).astype(str))
    for column, names in columns.items():
        found = next((name for name in names if name in features), None)
        if found and features[found].shape == ids.shape:
            var[column] = decoded(features[found][:])
    obs = pd.DataFrame(index=pd.Index(decoded(node["barcodes"][:])).astype(str))
    if node["indptr"].size != len(obs) + 1:
        raise BadInput(f"{file.filename}: {group}: is damaged: indptr does not fit its {len(obs)} barcodes; {ANEW}")
    # Features x barcodes by columns is barcodes x features by rows.
    return obs, var, Counts(group, "csr", len(obs), len(var), f"{group}/features")


def is_tenx(path: Path) -> bool:
    """Whether a file is one of Cell Ranger's; `BadInput` where it holds several genomes."""
    try:
        with h5py.File(path, "r") as file:
            return tenx_group(file) != ""
    except OSError:
        return False


def opened(path: Path) -> h5py.File:
    """Open a file of Cell Ranger, or an h5ad, for reading.

    Raises
    ------
    BadInput
        It is neither, or anything in it lies elsewhere.
    """
    if not is_tenx(path):
        return open_cohort(path)
    file = CohortFile(path, "r")
    try:
        refuse_references(file, path)
    except BaseException:
        file.close()
        raise
    return file


def parts_of_folder(folder: Path, where: str) -> dict[str, Path] | None:
    """The files of a matrix in a folder or anywhere below it, by part; None where there is no matrix.

    Names may have anything before, as GEO writes them (`GSM123_pool1_matrix.mtx.gz`).

    Raises
    ------
    BadInput
        There are several matrices, or a part is missing.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not left_by_macos(path.relative_to(folder)))
    parts, matrices = PARTS, list[Path]()
    for parts in (PARTS, *OTHER_PARTS):
        matrices = [path for path in files if path.name.endswith(parts["matrix"])]
        if matrices:
            break
    if not matrices:
        return None
    if len(matrices) > 1:
        listed = ", ".join(f"'{path.relative_to(folder)}'" for path in matrices[:3])
        cells = [path.parent for path in matrices if "filtered" in str(path.relative_to(folder)).casefold()]
        one = f"give '{cells[0].relative_to(folder)}', the one of cells" if len(cells) == 1 else ""
        raise BadInput(
            f"{where}: holds {len(matrices)} matrices ({listed}, ...); {one or 'give each its own row and folder'}"
        )
    found = {"matrix": matrices[0]}
    before = next(matrices[0].name[: -len(end)] for end in parts["matrix"] if matrices[0].name.endswith(end))
    for part in ("features", "barcodes"):
        names = [matrices[0].with_name(before + end) for end in parts[part]]
        there = next((path for path in names if path.is_file()), None)
        if there is None:
            raise BadInput(f"{where}: has no {' or '.join(parts[part])} beside '{matrices[0].name}'; add it")
        found[part] = there
    return found


def _opened_text(path: Path) -> io.TextIOBase:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")


def _lines(path: Path, where: str) -> list[list[str]]:
    """The fields of each line of a table without a header."""
    try:
        with _opened_text(path) as file:
            return [
                [field.strip().strip('"') for field in line.rstrip("\r\n").split("\t")] for line in file if line.strip()
            ]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadInput(f"{where}: {path.name}: cannot be read ({error}); {ANEW}") from error


def _tables(parts: dict[str, Path], shape: tuple[int, int], where: str) -> tuple[pd.DataFrame, pd.DataFrame, bool]:
    """Cells and features of a matrix of `shape`, and whether its rows are the cells.

    A header is left off where the number of lines tells that it is one.
    """
    barcodes, features = _lines(parts["barcodes"], where), _lines(parts["features"], where)
    for by_cells in (False, True):
        n_features, n_cells = shape[::-1] if by_cells else shape
        own = [rows[1:] if len(rows) == n + 1 else rows for rows, n in ((features, n_features), (barcodes, n_cells))]
        if (len(own[0]), len(own[1])) == (n_features, n_cells):
            break
    else:
        raise BadInput(
            f"{where}: matrix.mtx is {shape[0]} x {shape[1]}, but there are {len(features)} features and "
            f"{len(barcodes)} barcodes; give the files of one matrix"
        )
    parted = sum(bool(_PART_OF_READS.fullmatch(row[0])) for row in own[0])
    if parted > len(own[0]) / 2:
        raise BadInput(
            f"{where}: holds spliced, unspliced and ambiguous counts of each gene apart ('{own[0][-1][0]}'); add them "
            "up with pyroe.load_fry and write an h5ad"
        )
    var = pd.DataFrame(index=pd.Index([row[0] for row in own[0]]).astype(str))
    for place, column in ((1, "feature_name"), (2, "feature_types")):
        if all(len(row) > place for row in own[0]):
            var[column] = pd.Categorical([row[place] for row in own[0]])
    return pd.DataFrame(index=pd.Index([row[0] for row in own[1]]).astype(str)), var, by_cells


def _header(file: io.TextIOBase, where: str) -> tuple[tuple[int, int], int]:
    """Rows and columns of a MatrixMarket file, and its number of entries; the file is then at its first entry."""
    banner = file.readline(1000)
    if not _BANNER.fullmatch(banner):
        raise BadInput(
            f"{where}: matrix.mtx begins with '{banner.strip()[:60]}' and is no sparse matrix of numbers in "
            "MatrixMarket's form (%%MatrixMarket matrix coordinate integer general); write it with Cell Ranger, R's "
            "writeMM or scipy"
        )
    line = file.readline()
    while line.startswith("%") or (line and not line.strip()):
        line = file.readline()
    sizes = line.split()
    if len(sizes) != 3 or not all(size.isdigit() for size in sizes):
        raise BadInput(f"{where}: matrix.mtx does not tell its size ('{line.strip()[:60]}'); {ANEW}")
    return (int(sizes[0]), int(sizes[1])), int(sizes[2])


def _entries(
    file: io.TextIOBase, shape: tuple[int, int], n_entries: int, where: str
) -> Iterator[tuple[np.ndarray, ...]]:
    """Row, column (from 0) and value of the entries of a matrix, some at a time."""
    n_read = 0
    try:
        blocks = pd.read_csv(
            file, sep=r"\s+", header=None, names=["row", "column", "value"], chunksize=ENTRIES, engine="c", comment="%",
            dtype={"row": np.int64, "column": np.int64},
        )  # fmt: skip
        for block in blocks:
            rows, columns = (block[name].to_numpy() - 1 for name in ("row", "column"))
            if len(rows) and (
                min(rows.min(), columns.min()) < 0 or rows.max() >= shape[0] or columns.max() >= shape[1]
            ):
                if min(rows.min(), columns.min()) < 0:
                    raise BadInput(
                        f"{where}: matrix.mtx: its entries count from 0, and MatrixMarket's from 1; write it with R's "
                        "writeMM or scipy.io.mmwrite"
                    )
                raise BadInput(
                    f"{where}: matrix.mtx is damaged: an entry lies outside of {shape[0]} x {shape[1]}; {ANEW}"
                )
            if block["value"].dtype.kind not in "iuf" or block["value"].isna().any():
                raise BadInput(f"{where}: matrix.mtx is damaged: a value is no number; {ANEW}")
            n_read += len(rows)
            yield rows, columns, block["value"].to_numpy()
    except pd.errors.EmptyDataError:
        pass
    except (OSError, EOFError, ValueError, zlib.error, pd.errors.ParserError) as error:
        raise BadInput(f"{where}: matrix.mtx cannot be read ({str(error).splitlines()[0][:120]}); {ANEW}") from error
    if n_read != n_entries:
        raise BadInput(f"{where}: matrix.mtx is cut off: {n_read:,} of {n_entries:,} entries; {ANEW}")


class _UnsortedError(Exception):
    """Entries of a matrix.mtx are sorted neither by row nor by column."""


def _in_order(
    entries: Iterator[tuple[np.ndarray, ...]], n_entries: int, where: str
) -> Iterator[tuple[np.ndarray, ...]]:
    """All entries of a matrix at once, sorted by column and row; `BadInput` where they are too many for that."""
    if n_entries > MAX_UNSORTED:
        raise BadInput(
            f"{where}: the entries of matrix.mtx are sorted neither by cell nor by feature, and too many "
            f"({n_entries:,}) to sort them here; write it again with R's writeMM or scipy.io.mmwrite"
        )
    blocks = [(rows.astype(np.int32), columns.astype(np.int32), values) for rows, columns, values in entries]
    rows, columns, values = (np.concatenate(part) for part in zip(*blocks, strict=True))
    order = np.lexsort((rows, columns))
    yield rows[order], columns[order], values[order]


def _append_sorted(
    matrix: h5py.Group, entries: Iterator[tuple[np.ndarray, ...]], shape: tuple[int, int]
) -> tuple[int, np.ndarray]:
    """Append entries to a sparse matrix.

    Returns
    -------
    What they are sorted by, 0 for rows and 1 for columns, and how many there are of each.

    Raises
    ------
    _UnsortedError
        By neither.
    """
    side, last, lengths = -1, 0, np.zeros(0, dtype=np.int64)
    for rows, columns, values in entries:
        places = (rows, columns)
        if side < 0:
            side = next((one for one in (1, 0) if not (np.diff(places[one]) < 0).any()), -1)
            lengths = np.zeros(shape[side], dtype=np.int64)
        if side < 0 or (np.diff(places[side], prepend=last) < 0).any():
            raise _UnsortedError
        last = int(places[side][-1]) if len(rows) else last
        lengths += np.bincount(places[side], minlength=shape[side])
        append(matrix["data"], values.astype(np.float64))
        append(matrix["indices"], places[1 - side])
    return (side, lengths) if side >= 0 else (1, np.zeros(shape[1], dtype=np.int64))


def write_from_folder(parts: dict[str, Path], path: Path, where: str) -> None:
    """Write the matrix of a folder as h5ad, by rows or by columns as its entries are sorted; values as they are.

    Entries that are sorted by neither are sorted in memory.

    Raises
    ------
    BadInput
        A part cannot be read or does not fit the others, or entries are too many to sort them.
    """
    try:
        _write_matrix(parts, path, where, in_order=False)
    except _UnsortedError:
        _write_matrix(parts, path, where, in_order=True)


def _write_matrix(parts: dict[str, Path], path: Path, where: str, *, in_order: bool) -> None:
    """As `write_from_folder`; `in_order`: read all entries first, and sort them."""
    with _opened_text(parts["matrix"]) as text, atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        try:
            shape, n_entries = _header(text, where)
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise BadInput(f"{where}: matrix.mtx cannot be read ({error}); {ANEW}") from error
        obs, var, by_cells = _tables(parts, shape, where)
        encode(file, "anndata", "0.1.0")
        write_table(file, "obs", obs, filters=fast_filters())
        write_table(file, "var", var, filters=fast_filters())
        matrix = file.create_group("X")
        for name, dtype in (("data", np.float64), ("indices", np.int64)):
            growing(matrix, name, dtype, filters=fast_filters())
        entries = _entries(text, shape, n_entries, where)
        entries = _in_order(entries, n_entries, where) if in_order else entries
        side, lengths = _append_sorted(matrix, entries, shape)
        matrix.create_dataset("indptr", data=np.append(0, np.cumsum(lengths)))
        # Side 1 are the columns of the file, which are cells unless its rows are.
        encode(matrix, "csr_matrix" if (side == 1) != by_cells else "csc_matrix", "0.1.0")
        matrix.attrs["shape"] = np.array([len(obs), len(var)], dtype=np.int64)
