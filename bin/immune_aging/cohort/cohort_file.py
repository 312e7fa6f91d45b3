"""Reads the user's h5ad where it lies: which matrix holds the counts, and that matrix block by block.

Only the parts asked for are read, through h5py, so that memory follows the block and never the cohort.
Reference for the layout: the AnnData on-disk format, https://anndata.readthedocs.io/en/stable/fileformat-prose.html
"""

# Own code: inflating gzip by isa-l takes 1.2 CPU s for what HDF5's zlib takes 2.3 (100,000 cells).

import contextlib
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  registers the filters that h5ad files use
import numpy as np
import pandas as pd
from isal import isal_zlib
from scipy import sparse

from immune_aging.cohort.file_kinds import other_kind
from immune_aging.cohort.table_encodings import (
    as_text,
    column_names,
    compound_table,
    holds_bytes,
    index_name,
    known_to_anndata,
    table_by_columns,
)
from immune_aging.task.checkpoints import digest_of
from immune_aging.task.command_line import BadInput

SAMPLE_VALUES = 200_000  # of a larger one
WHOLE_VALUES = 8_000_000  # a matrix by genes of no more is read whole to look at cells
BLOCK_VALUES = 6_000_000
MAX_LISTED = 30  # names in a message
LONGEST_TEXT = 1000  # characters of what a file says of itself; CELLxGENE's citations have some 300
ANEW = "copy or download the file again"
LARGEST_CHUNK = BLOCK_VALUES // 16  # a larger one is left to HDF5, which keeps it for the next block that begins in it
# Columns in which files name their genes; the first that holds a symbol counts.
SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "symbol", "gene_name", "gene_names")
# What R, pandas and people write where there is no symbol; no gene is called so (GENCODE 48).
NO_SYMBOL = ("NA", "NaN", "nan", "<NA>", "#N/A", "None", "-", ".")
# Of any species; GENCODE marks by _PAR_Y what lies on both X and Y.
ENSEMBL_ID = r"ENS[A-Z]*G\d+(?:\.\d+)?(?:_PAR_Y)?"
CHUNK_CACHE = 64 << 20  # bytes a dataset: a chunk that two blocks share is decompressed once


@dataclass(frozen=True)
class Counts:
    """Where the counts are: HDF5 path, layout ('csr', 'csc' or 'dense'), cells x genes, the genes' table.

    `rounded`: they are fractions, which become whole numbers when they are read.
    """

    path: str
    layout: str
    n_cells: int
    n_genes: int
    var_path: str
    rounded: bool = False


# Groups of HDF5 files that are no h5ad.
OTHER_LAYOUTS = {
    "col_attrs": ("is a loom file", "read it with anndata.io.read_loom and write it with write_h5ad"),
    "barcode_idx": ("is Cell Ranger's molecule_info.h5, without counts", "give filtered_feature_bc_matrix.h5"),
    "matrix": ("is a file of Cell Ranger", "read it with scanpy.read_10x_h5 and write it with write_h5ad"),
    "mod": ("is a MuData file of several modalities", "read it with mudata.read and write it with write_h5ad"),
    "assays": (
        "is an h5Seurat file",
        "read it with SeuratDisk's LoadH5Seurat in R and write it with anndataR's write_h5ad",
    ),
}


# What HDF5 says of a file that a program has open for writing, or left so.
OPEN_ELSEWHERE = {
    "unable to lock file": (
        "another program has it open for writing, such as a notebook with backed='r+'; close it there, or set "
        "HDF5_USE_FILE_LOCKING=FALSE if nothing is written to it any more"
    ),
    "already open for write": (
        "another program has it open for writing, or ended without closing it; close it there, write the file again, "
        "or repair it with 'h5clear -s'"
    ),
}


def comes_from_hdf5(error: BaseException) -> bool:
    """Whether an error was raised within HDF5, and not by what was done with its values."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and "h5py" in trace.tb_frame.f_code.co_filename


class CohortFile(h5py.File):
    """A cohort's file, for `with`: what HDF5 stumbles over in a damaged file leaves it as a `BadInput`."""

    def __exit__(self, *args: object) -> None:
        name = self.filename if self.id else ""
        super().__exit__(*args)
        error = args[1]
        if isinstance(error, Exception) and not isinstance(error, BadInput) and comes_from_hdf5(error):
            raise BadInput(_damaged(name, error)) from error


def _damaged(path: str | Path, error: Exception) -> str:
    text = str(error).splitlines()[0][:120] if str(error) else ""
    return f"{path}: is damaged ({type(error).__name__}: {text}); {ANEW}"


def _opened(path: Path) -> CohortFile:
    """The file for reading; without a lock where the file system knows none."""
    try:
        return CohortFile(path, "r", rdcc_nbytes=CHUNK_CACHE)
    except BlockingIOError:
        raise
    except OSError as error:
        if "unable to lock file" not in str(error):
            raise
        return CohortFile(path, "r", rdcc_nbytes=CHUNK_CACHE, locking=False)


def open_cohort(path: str | Path) -> h5py.File:
    """Open an h5ad read-only; `BadInput` for anything that is none."""
    path = Path(path)
    if path.is_dir():
        zarr = any((path / name).exists() for name in (".zgroup", ".zattrs", "zarr.json"))
        what, how = ("a zarr store", "anndata.read_zarr(...).write_h5ad(...)") if zarr else ("a folder", "write_h5ad")
        raise BadInput(f"{path}: is {what}, but an .h5ad file is needed; write one with {how}")
    try:
        file = _opened(path)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file; check the path") from error
    except PermissionError as error:
        raise BadInput(f"{path}: may not be read; change its permissions") from error
    except OSError as error:
        for text, problem in OPEN_ELSEWHERE.items():
            if text in str(error):
                raise BadInput(f"{path}: {problem}") from error
        with path.open("rb") as raw:
            start = raw.read(1 << 16)
        if kind := other_kind(start, n_bytes=path.stat().st_size):
            raise BadInput(f"{path}: {kind[0]}, but an .h5ad file is needed; {kind[1]}") from error
        raise BadInput(
            f"{path}: is not an HDF5 file or is cut off ({path.stat().st_size:,} bytes: {error}); copy or download it "
            "again"
        ) from error
    try:
        missing = [part for part in ("obs", "var") if part not in file]
        if missing:
            what, remedy = next((kind for group, kind in OTHER_LAYOUTS.items() if group in file), ("", ""))
            raise BadInput(
                f"{path}: {what}, but an .h5ad file is needed; {remedy}"
                if what
                else f"{path}: has no '{missing[0]}' table; write it with anndata's write_h5ad"
            )
        refuse_references(file, path)
    except BaseException as error:
        file.close()
        if isinstance(error, Exception) and not isinstance(error, BadInput) and comes_from_hdf5(error):
            raise BadInput(_damaged(path, error)) from error
        raise
    return file


def _refers(dtype: np.dtype) -> bool:
    """Whether values of an HDF5 type are references, or hold any."""
    if h5py.check_ref_dtype(dtype) is not None:
        return True
    inner = h5py.check_vlen_dtype(dtype)
    parts = [field[0] for field in (dtype.fields or {}).values()] + [dtype.base] * (dtype.subdtype is not None)
    return any(_refers(part) for part in parts + [inner] * isinstance(inner, np.dtype))


def refuse_references(file: h5py.File, path: str | Path) -> None:
    """Raise `BadInput` if anything in the file lies elsewhere: a link, an external or virtual dataset, a reference.

    Whoever made the file could name any file of this machine in it, which would then be read as data. anndata writes
    none of these but references to the categories of a column (before its version 0.8), which stay in the table.
    """
    remedy = "write the file anew with anndata's write_h5ad"
    groups, seen = [file["/"]], set()
    while groups:
        group = groups.pop()
        for name in group:
            where = f"{path}: {group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                target = getattr(link, "filename", "") or link.path
                raise BadInput(f"{where}: is a link to {target}; {remedy}")
            node = group[name]
            if isinstance(node, h5py.Group):
                address = h5py.h5o.get_info(node.id).addr
                groups += [] if address in seen else [node]
                seen.add(address)
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise BadInput(f"{where}: keeps its values in another file or dataset; {remedy}")
                if _refers(node.dtype):
                    raise BadInput(f"{where}: holds object references; {remedy}")
            for attribute in node.attrs:
                if _refers(node.attrs.get_id(attribute).dtype) and not (
                    attribute == "categories"
                    and file[node.attrs[attribute]].name.startswith(f"{group.name}/__categories/")
                ):
                    raise BadInput(f"{where}: its attribute '{attribute}' holds object references; {remedy}")


@contextlib.contextmanager
def unchanged(path: Path, sha256: str) -> Iterator[None]:
    """Raise `BadInput` if the file's content, once the body has read it, is not what `sha256` says ('' for anything).

    A file that is replaced or edited in the middle of a run gives parts of two cohorts, or any error of HDF5.
    """

    def refuse(cause: Exception | None) -> None:
        if sha256 and digest_of(path) != sha256:
            raise BadInput(f"{path}: was changed while the run read it; run again with -resume") from cause

    try:
        yield
    except Exception as error:
        refuse(error)
        raise
    refuse(None)


def read_table(file: h5py.File, path: str) -> pd.DataFrame:
    """Read obs, var or raw/var as a DataFrame; `BadInput` if that is damaged.

    Columns that nothing can read are left out; `attrs['unreadable']` says which, and why.
    """
    from anndata.io import read_elem

    node = file[path]
    try:
        if isinstance(node, h5py.Dataset):
            return compound_table(file, node)
        try:
            table = read_elem(node) if known_to_anndata(node) else pd.DataFrame()
            if list(table.columns) == column_names(file, path) and not holds_bytes(table):
                return table
        except Exception:  # of what anndata does not know its readers raise whatever they stumble over
            pass
        return table_by_columns(file, path)
    except Exception as error:
        raise BadInput(
            f"{file.filename}: {path}: cannot be read ({type(error).__name__}: {str(error).splitlines()[0][:120]}); "
            f"{ANEW}, or write it anew with anndata"
        ) from error


def source_texts(file: h5py.File) -> dict[str, str]:
    """What a file says of itself: the single texts of its uns by name, such as CELLxGENE's title and citation, sorted.

    Texts longer than `LONGEST_TEXT` characters are cut; other values, lists and groups are left out.
    """
    texts = {}
    for name in sorted(file["uns"]) if isinstance(file.get("uns"), h5py.Group) else []:
        node = file["uns"][name]
        if isinstance(node, h5py.Dataset) and node.shape == () and h5py.check_string_dtype(node.dtype):
            texts[name] = node[()].decode("utf-8", "replace")[:LONGEST_TEXT]
    return texts


def nearest(name: str, choices: Sequence[str]) -> str:
    """A hint that names the choice nearest to `name`, or lists what there is."""
    close = difflib.get_close_matches(name.lower(), [choice.lower() for choice in choices], n=1, cutoff=0.5)
    if close:
        return f"did you mean '{next(c for c in choices if c.lower() == close[0])}'?"
    some = sorted(choices)[:MAX_LISTED]
    more = f" and {len(choices) - len(some)} more" if len(choices) > len(some) else ""
    return f"there are: {', '.join(some) or 'none'}{more}"


def _layout(node: h5py.Group | h5py.Dataset) -> str | None:
    if isinstance(node, h5py.Dataset):
        return "dense" if node.ndim == 2 else None
    encoding = as_text(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
    for layout in ("csr", "csc"):
        if encoding.startswith(layout):
            return layout
    return None


def _rows(file: h5py.File, path: str) -> int:
    """How many rows obs or var has."""
    table = file[path]
    return table.size if isinstance(table, h5py.Dataset) else table[index_name(table)].size


def _describe(file: h5py.File, path: str, var_path: str) -> Counts | None:
    if path not in file or var_path not in file:
        return None
    node = file[path]
    layout = _layout(node)
    shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    if (
        isinstance(node, h5py.Group)
        and {"data", "indices", "indptr"} <= set(node)
        and (layout is None or shape is None)
    ):
        # Writers outside of anndata leave out what the length of indptr tells.
        shape = (_rows(file, "obs"), _rows(file, var_path))
        lines = node["indptr"].size - 1
        layout = layout or ("csr" if lines == shape[0] else "csc" if lines == shape[1] else None)
    if layout is None:
        return None
    shape = node.shape if layout == "dense" else shape
    return Counts(path, layout, int(shape[0]), int(shape[1]), var_path)


def candidates(file: h5py.File) -> dict[str, Counts]:
    """The matrices that may hold counts, by the name `counts_layer` gives them, the likeliest first.

    CELLxGENE keeps counts in raw.X where X is normalised, else in X.
    """
    raw = _describe(file, "raw/X", "raw/var") or _describe(file, "raw.X", "raw.var")  # the second before anndata 0.7
    found = {"raw.X": raw, "X": _describe(file, "X", "var")}
    layers = sorted(file["layers"]) if "layers" in file else []
    for name in sorted(layers, key=lambda name: "count" not in name.lower() and "raw" not in name.lower()):
        found[name] = _describe(file, f"layers/{name}", "var")
    return {name: counts for name, counts in found.items() if counts is not None}


def values_of(file: h5py.File, counts: Counts) -> h5py.Dataset:
    """The dataset of stored values of a matrix."""
    node = file[counts.path]
    return node if counts.layout == "dense" else node["data"]


def damage(file: h5py.File, counts: Counts) -> str:
    """How the parts of a sparse matrix contradict each other, as far as their sizes tell; empty where they do not."""
    if counts.layout == "dense":
        return ""
    node = file[counts.path]
    lacking = [name for name in ("data", "indices", "indptr") if name not in node]
    if lacking:
        return f"is damaged: it has no '{lacking[0]}'"
    lines = counts.n_cells if counts.layout == "csr" else counts.n_genes
    if node["indptr"].shape != (lines + 1,):
        return f"is damaged: indptr has {node['indptr'].size} values instead of {lines + 1}"
    stored = _read(node["indptr"], slice(None))
    indptr = unwrapped(stored, node["data"].size)
    falls = np.flatnonzero(np.diff(indptr) < 0)
    if len(falls) and stored.dtype.itemsize <= 4:
        return (
            f"is damaged: indptr falls from {stored[falls[0]]} to {stored[falls[0] + 1]}, perhaps because 32-bit "
            "numbers were too small for it: write the matrix again with a 64-bit indptr"
        )
    sizes = {node["data"].size, node["indices"].size, int(indptr[-1])}
    return "" if len(sizes) == 1 else f"is damaged: data, indices and indptr tell of {sorted(sizes)} values"


def numbers(values: np.ndarray) -> np.ndarray:
    """Values in a type that scipy computes with: 16-bit floats as 32-bit ones, the machine's order of bytes."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def unwrapped(indptr: np.ndarray, n_values: int) -> np.ndarray:
    """Where lines begin, as 64-bit integers: in a matrix of more values than 32 bits count they begin anew.

    What was written so can be read if it ends at the number of values (ncborcherding/utility#23, scverse/anndata#1470).
    """
    indptr = indptr.astype(np.int64)
    steps = np.diff(indptr)
    if (steps < 0).any():
        grown = np.append(indptr[:1], indptr[0] + np.cumsum(steps % 2**32))
        if grown[-1] == n_values:
            return grown
    return indptr


def _indptr(node: h5py.Group) -> np.ndarray:
    """Where each line of a sparse matrix begins among its values; `BadInput` where that cannot be."""
    indptr = unwrapped(_read(node["indptr"], slice(None)), node["data"].size)
    if (np.diff(indptr) < 0).any():
        raise BadInput(f"{node.file.filename}: {node['indptr'].name}: is damaged: it does not grow; {ANEW}")
    return indptr


def _lines(node: h5py.Group, indptr: np.ndarray, lines: slice, *, width: int) -> tuple[np.ndarray, ...]:
    """Values, indices and beginnings of some lines of a sparse matrix; `BadInput` where an index cannot be."""
    stored = slice(indptr[lines.start], indptr[lines.stop])
    indices = _read(node["indices"], stored)
    # scipy's conversions trust what a file says, and crash.
    if len(indices) and not 0 <= indices.min() <= indices.max() < width:
        raise BadInput(f"{node.file.filename}: {node['indices'].name}: is damaged: values beyond 0-{width - 1}; {ANEW}")
    indices = indices.astype(np.int32 if width <= np.iinfo(np.int32).max else np.int64, copy=False)
    return numbers(_read(node["data"], stored)), indices, indptr[lines.start : lines.stop + 1] - indptr[lines.start]


def _runs(rows: np.ndarray) -> list[slice]:
    """Rising numbers as slices of consecutive ones."""
    ends = np.flatnonzero(np.diff(rows) != 1)
    return [
        slice(int(rows[first]), int(rows[last]) + 1)
        for first, last in zip([0, *(ends + 1)], [*ends, len(rows) - 1], strict=True)
    ]


def sampled_rows(n_cells: int, *, cells: int, places: int) -> np.ndarray:
    """The rows that `read_cells` takes of a matrix of so many cells, in order."""
    take = max(1, cells // places)
    starts = np.unique(np.linspace(0, max(n_cells - take, 0), places).astype(int))
    return np.unique(np.concatenate([np.arange(start, min(start + take, n_cells)) for start in starts]))


def indptr_of(file: h5py.File, counts: Counts) -> np.ndarray:
    """Where each line of a sparse matrix begins among its values; `BadInput` where that cannot be."""
    return _indptr(file[counts.path])


def read_cells(file: h5py.File, counts: Counts, *, cells: int, places: int) -> sparse.csr_matrix:
    """Whole cells from places spread over a matrix, the same ones in every matrix of a file: cells x genes.

    Of a matrix by genes that is too large to be read whole, the cells of which some genes tell most, with these genes'
    values alone.
    """
    rows = sampled_rows(counts.n_cells, cells=cells, places=places)
    node = file[counts.path]
    if counts.layout == "dense":
        return sparse.csr_matrix(numbers(np.concatenate([_read(node, run) for run in _runs(rows)])))
    indptr = _indptr(node)
    if counts.layout == "csr":
        parts = [
            sparse.csr_matrix(
                _lines(node, indptr, run, width=counts.n_genes), shape=(run.stop - run.start, counts.n_genes)
            )
            for run in _runs(rows)
        ]
        return sparse.vstack(parts, format="csr")
    if indptr[-1] <= WHOLE_VALUES:
        genes = [slice(0, counts.n_genes)]
    else:
        begins = np.unique(np.linspace(0, counts.n_genes - 1, places).astype(int))
        ends = np.searchsorted(indptr, indptr[begins] + SAMPLE_VALUES // places, side="right")
        ends = np.minimum(np.maximum(ends - 1, begins + 1), np.append(begins[1:], counts.n_genes))
        genes = [slice(int(first), int(last)) for first, last in zip(begins, ends, strict=True)]
    blocks = []
    for lines in genes:
        values, cell, begin = _lines(node, indptr, lines, width=counts.n_cells)
        gene = np.repeat(np.arange(lines.start, lines.stop), np.diff(begin)).astype(np.int32)
        blocks.append((values, cell, gene))
    values, cell, gene = (np.concatenate(part) for part in zip(*blocks, strict=True))
    if len(genes) > 1:
        told = np.bincount(cell, minlength=counts.n_cells)
        rows = np.sort(np.argsort(-told, kind="stable")[:cells])
    place = np.full(counts.n_cells, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    here = place[cell] >= 0
    return sparse.coo_matrix((values[here], (place[cell[here]], gene[here])), shape=(len(rows), counts.n_genes)).tocsr()


def not_counts(values: np.ndarray) -> str:
    """Why values cannot be raw counts; empty where they can."""
    if values.dtype.kind not in "biuf":
        return f"holds no numbers ({values.dtype})"
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return "holds NaN or infinite values"
    if values.size and values.min() < 0:
        return f"holds negative values ({values.min():g})"
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        return f"holds fractions ({values[values != np.rint(values)][0]:g}), so it is normalised"
    return ""


def prove_counts(block: sparse.csr_matrix, *, where: str, rounded: bool = False) -> sparse.csr_matrix:
    """The block as unsigned integers, genes sorted, entries given twice added up, no stored zeros.

    `BadInput` unless each value is a count; with `rounded` a fraction is rounded to one.
    """
    if rounded and block.data.dtype.kind == "f":
        block = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=block.shape, copy=True)
        block.sum_duplicates()
        block.data = np.rint(block.data)
    if reason := not_counts(block.data):
        raise BadInput(f"{where} {reason}; give raw counts with --counts_layer")
    if block.nnz and block.data.max() > np.iinfo(np.uint32).max:
        raise BadInput(
            f"{where} holds {block.data.max():g}, too large for a count; give raw counts with --counts_layer"
        )
    counts = sparse.csr_matrix((block.data.astype(np.uint32), block.indices, block.indptr), shape=block.shape)
    if not (counts.has_canonical_format and counts.data.all()):
        counts = counts.copy()  # the indices are still the caller's
        counts.sum_duplicates()
        counts.eliminate_zeros()
    return counts


def symbols_of(table: pd.DataFrame) -> np.ndarray:
    """Gene symbols from the first of `SYMBOL_COLUMNS` that holds any, else from the index; '' if unknown.

    An Ensembl id is no symbol: CELLxGENE repeats the gene's id where it has none. Nor is text for a missing value.
    """
    none = "|".join([ENSEMBL_ID, *map(re.escape, NO_SYMBOL)])
    given = [table[name].astype(object).where(table[name].notna(), "") for name in SYMBOL_COLUMNS if name in table]
    for names in (*given, table.index):
        texts = pd.Series(names.astype(str).to_numpy(dtype=object))
        symbols = texts.where(~texts.str.fullmatch(rf"\s*(?:{none})?\s*").astype(bool), "").to_numpy(dtype=object)
        if (symbols != "").any():
            break
    return symbols


def _read(dataset: h5py.Dataset, part: slice) -> np.ndarray:
    try:
        return _inflate(dataset, part) if _plain_gzip(dataset) else dataset[part]
    except (OSError, isal_zlib.error) as error:  # type: ignore[misc]  # a chunk that is cut off or cannot be decompressed
        raise BadInput(f"{dataset.file.filename}: {dataset.name}: cannot be read ({error}); {ANEW}") from error


def _plain_gzip(dataset: h5py.Dataset) -> bool:
    """Whether an array of numbers lies in small chunks, none left out, each compressed by gzip and nothing else."""
    if dataset.ndim != 1 or dataset.chunks is None or dataset.dtype.kind not in "iuf":
        return False
    filters = dataset.id.get_create_plist()
    return (
        dataset.chunks[0] <= LARGEST_CHUNK
        and filters.get_nfilters() == 1
        and filters.get_filter(0)[0] == h5py.h5z.FILTER_DEFLATE
        and dataset.id.get_num_chunks() == -(-dataset.size // dataset.chunks[0])
    )


def _inflate(dataset: h5py.Dataset, part: slice) -> np.ndarray:
    """What `dataset[part]` gives, in half the CPU time: isa-l inflates faster than the zlib of HDF5."""
    start, stop, _ = part.indices(dataset.size)
    size = dataset.chunks[0]
    values = np.empty(max(stop - start, 0), dtype=dataset.dtype)
    for first in range(start - start % size, stop, size):
        unfiltered, stored = dataset.id.read_direct_chunk((first,))
        if not unfiltered:  # HDF5 keeps a chunk as it is where its filter failed
            stream, n_bytes = isal_zlib.decompressobj(), size * dataset.dtype.itemsize
            stored = stream.decompress(stored, n_bytes + 1)  # no more, whatever a damaged file holds
            if len(stored) != n_bytes or not stream.eof:
                raise OSError(f"a chunk does not hold {size:,} values")
        chunk = np.frombuffer(stored, dtype=dataset.dtype)
        here = slice(max(start, first), min(stop, first + size))
        values[here.start - start : here.stop - start] = chunk[here.start - first : here.stop - first]
    return values


def read_blocks(
    file: h5py.File, counts: Counts, *, block_values: int = BLOCK_VALUES
) -> Iterator[tuple[slice, slice, sparse.csr_matrix]]:
    """Read the matrix once, block by block; `BadInput` where a part of it cannot be read.

    Yields
    ------
    The rows and the columns that the block covers, and the block as CSR (its own rows x its own columns). CSR and
    dense input yield whole rows; CSC yields whole columns, because nothing else can be read in one pass.
    """
    node = file[counts.path]
    if counts.layout == "dense":
        step = max(1, block_values // max(counts.n_genes, 1))
        for start in range(0, counts.n_cells, step):
            rows = slice(start, min(start + step, counts.n_cells))
            yield rows, slice(0, counts.n_genes), sparse.csr_matrix(numbers(_read(node, rows)))
        return
    width = counts.n_genes if counts.layout == "csr" else counts.n_cells
    indptr = _indptr(node)
    start, end = 0, len(indptr) - 1
    while start < end:
        stop = max(start + 1, int(np.searchsorted(indptr, indptr[start] + block_values, side="right")) - 1)
        major = slice(start, stop)
        arrays = _lines(node, indptr, major, width=width)
        if counts.layout == "csr":
            yield major, slice(0, counts.n_genes), sparse.csr_matrix(arrays, shape=(stop - start, counts.n_genes))
        else:
            block = sparse.csc_matrix(arrays, shape=(counts.n_cells, stop - start)).tocsr()
            yield slice(0, counts.n_cells), major, block
        start = stop
