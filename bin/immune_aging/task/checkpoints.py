"""How checkpoints and tables are read and written: whole or not at all, and the same bytes for the same content."""

import contextlib
import hashlib
import json
import os
import platform
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from immune_aging.task.command_line import BadInput, Progress

if TYPE_CHECKING:
    import anndata

MISSING = "NA"
FLOAT_FORMAT = "%.6g"
BLOCK_BYTES = 4 * 1024 * 1024
# What ends a line for some reader of tables, and the tab. Other blanks (no-break, thin) tell names apart and stay.
LINE_ENDS = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")

# Column of donors.parquet and of pseudobulk samples: which of the cohort's columns vary within the donor, a JSON list.
VARYING = "varies_within_donor"
# Column that tells a donor's samples apart, as text. It is there if and only if --sample_column was given: then a row
# of such a table is a sample of a donor, and `varies_within_donor` lists what varies within the sample.
SAMPLE_OF_DONOR = "sample_of_donor"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` on success, remove it on failure.

    A reader, or a run resumed after a kill, sees the whole file or none. Parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_given(path: str | Path) -> bool:
    """True for a file that the engine laid into the task's folder as a link, itself or with the folder it is in."""
    path = Path(path).absolute()
    inside = [path, *(folder for folder in path.parents if folder.is_relative_to(Path.cwd()))]
    return any(one.is_symlink() for one in inside)


def remedy(path: str | Path) -> str:
    """What to do about a damaged file: if a task of this run wrote it, delete the task's folder, so it runs again.

    Tasks get each other's files as links, so that a link tells them from what the user gave.
    """
    if not is_given(path):
        return ""
    folders = Path(path).resolve().parents
    task = next((folder for folder in folders if (folder / ".command.sh").exists()), folders[0])
    return f"; delete the folder {task} and run again with -resume"


def task_folder() -> Path | None:
    """The folder in `work/` of the task that this process is; None where no engine started it."""
    folder = os.environ.get("NXF_TASK_WORKDIR", "")
    return Path(folder) if folder and Path(folder).is_dir() else None


def note_digest(path: Path) -> None:
    """Keep the digest of a text file that a task has written in `.sha256/` of the task's folder.

    A flipped bit in text is another number that nothing tells from the right one, while HDF5 and Parquet carry
    checksums of their own. Beside the task's outputs, because a table that people open holds nothing but the table.
    """
    folder = task_folder()
    inside = Path(path).absolute()
    if folder is None or not inside.is_relative_to(Path.cwd()):
        return
    with atomic_path(folder / ".sha256" / inside.relative_to(Path.cwd())) as temporary:
        temporary.write_text(hashlib.sha256(inside.read_bytes()).hexdigest() + "\n")


def check_digest(path: str | Path) -> None:
    """Raise `BadInput` if another task's text file, which this task was given as a link, is not as it was written."""
    if not is_given(path):
        return
    target = Path(path).resolve()
    for folder in target.parents:
        noted = folder / ".sha256" / target.relative_to(folder)
        if noted.is_file():
            if hashlib.sha256(target.read_bytes()).hexdigest() != noted.read_text().strip():
                raise BadInput(f"{path}: is damaged: it is not what the step before wrote{remedy(path)}")
            return


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, as hex, read in blocks."""
    digest = hashlib.sha256()
    progress = Progress(path.stat().st_size, unit="bytes", label=f"checksum of {path.name}")
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            progress.advance(len(block))
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def digest_of(path: Path) -> str:
    """sha256 of a file's content; of a folder, of the names and contents of all files in it."""
    if not path.is_dir():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        digest.update(f"{file.relative_to(path)}\0{sha256_of(file)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_parquet(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as Parquet (zstd), without its index, each page with a checksum."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, engine="pyarrow", compression="zstd", index=False, write_page_checksum=True)


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table; `BadInput` if it is none, is damaged or lacks one of `columns`."""
    import pyarrow

    columns = list(columns) if columns is not None else None
    try:
        return pd.read_parquet(path, columns=columns, engine="pyarrow", page_checksum_verification=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path}: cannot be read as a Parquet table: {error}{remedy(path)}") from error


def parquet_blocks(
    path: str | Path, columns: Sequence[str] | None = None, *, optional: Sequence[str] = (), rows: int = 1 << 17
) -> Iterator[pd.DataFrame]:
    """Read a Parquet table block by block: memory does not follow its length.

    Parameters
    ----------
    columns
        To read; `BadInput` names the first that is missing, unless it is among `optional`. None reads all.
    rows
        Of a block, at most.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            wanted = names if columns is None else columns
            for column in wanted:
                if column not in names and column not in optional:
                    raise BadInput(f"{path}: column '{column}' is missing; it has: {', '.join(names)}")
            for batch in file.iter_batches(batch_size=rows, columns=[name for name in wanted if name in names]):
                yield batch.to_pandas()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path}: cannot be read as a Parquet table: {error}{remedy(path)}") from error


def write_parquet_blocks(blocks: Iterable[pd.DataFrame], path: str | Path) -> None:
    """Write blocks of one table, at least one, as `write_parquet` would the whole: a group of rows per block."""
    import pyarrow
    from pyarrow import parquet

    with atomic_path(path) as temporary, contextlib.ExitStack() as stack:
        writer = None
        for block in blocks:
            table = pyarrow.Table.from_pandas(block, preserve_index=False)
            if writer is None:
                writer = stack.enter_context(
                    parquet.ParquetWriter(temporary, table.schema, compression="zstd", write_page_checksum=True)
                )
            writer.write_table(table)


def write_tsv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table that a person opens: tab-separated, header, `NA` for missing, floats to 6 digits.

    The caller sorts. Tabs and line ends inside text become spaces, so that one row stays one line.
    """
    clean = table.copy()
    for column in clean.columns:
        if isinstance(clean[column].dtype, pd.CategoricalDtype):
            clean[column] = clean[column].astype(object)
        if clean[column].dtype == object or pd.api.types.is_string_dtype(clean[column].dtype):
            clean[column] = clean[column].map(lambda x: LINE_ENDS.sub(" ", x) if isinstance(x, str) else x)
    with atomic_path(path) as temporary:
        clean.to_csv(
            temporary, sep="\t", index=False, na_rep=MISSING, float_format=FLOAT_FORMAT, lineterminator="\n", quoting=3,
            escapechar=None, quotechar='"',
        )  # fmt: skip
    note_digest(Path(path))


def read_tsv(path: str | Path, **kwargs: object) -> pd.DataFrame:
    """Read a table written by `write_tsv`. Only `NA` is missing: a gene may be called `NaN` or `null`.

    Raises `BadInput` if it is another task's and has been damaged since.
    """
    check_digest(path)
    return pd.read_csv(path, sep="\t", na_values=[MISSING], keep_default_na=False, quoting=3, **kwargs)


def _plain(value: object) -> object:
    """Turn numpy values into what JSON knows; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray | pd.Series | pd.Index):
        return [_plain(item) for item in (sorted(value) if isinstance(value, set) else value)]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def write_json(content: object, path: str | Path) -> None:
    """Write numbers about a step; keys keep their order, NaN becomes null."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    note_digest(Path(path))


def read_json(path: str | Path) -> dict:
    """Read a JSON file; `BadInput` if it is none, or another task's that has been damaged since."""
    check_digest(path)
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read as JSON: {error}{remedy(path)}") from error


def fast_filters() -> dict:
    """How checkpoints are compressed inside HDF5, as options of h5py's `create_dataset`.

    zstd after shuffling: of lzf, gzip, zstd, lz4 and bit shuffling the smallest on counts (1.6 bytes a value; gzip
    2.2), a fifth of gzip's time to write and to read (docs/architecture.md).
    """
    import hdf5plugin

    return {"compression": hdf5plugin.FILTERS["zstd"], "compression_opts": (1,), "shuffle": True}


def checked_filters() -> dict:
    """`fast_filters` and a checksum per chunk, so that a damaged file is an error and never another number.

    Not for text, which HDF5 keeps apart from the chunks.
    """
    return fast_filters() | {"fletcher32": True}


def gaps_as_categories(table: pd.DataFrame) -> pd.DataFrame:
    """A copy in which text with missing values is categorical, the one form in which an h5ad can hold it."""
    gaps = [name for name in table if table[name].dtype == object and table[name].isna().any()]
    return table.assign(**{name: pd.Categorical(table[name]) for name in gaps}) if gaps else table.copy()


def write_h5ad(adata: "anndata.AnnData", path: str | Path, *, portable: bool = False) -> None:
    """Write an AnnData whole. The same content gives the same bytes (there are no time stamps in HDF5).

    Parameters
    ----------
    portable
        Compress with gzip, which every reader of HDF5 knows, instead of `fast_filters`: for files that people open.
    """
    import anndata
    import h5py

    # anndata turns text into categories in the object that it writes: that shall not be the caller's.
    parts = {name: dict(getattr(adata, name)) for name in ("obsm", "varm", "layers")}
    own = anndata.AnnData(obs=gaps_as_categories(adata.obs), var=gaps_as_categories(adata.var), **parts)
    filters = {"compression": "gzip"} if portable else fast_filters()
    with atomic_path(path) as temporary:
        # Sorting the names of all genes into categories takes as long as writing a shard's counts.
        anndata.io.write_h5ad(temporary, own, convert_strings_to_categoricals=portable, dataset_kwargs=filters)
        with h5py.File(temporary, "a") as file:
            if adata.X is not None:
                anndata.io.write_elem(file, "X", adata.X, dataset_kwargs=filters | {"fletcher32": True})
            if adata.uns:  # HDF5 takes no filter for the single values that it holds
                anndata.io.write_elem(file, "uns", dict(adata.uns))


def read_h5ad(path: str | Path) -> "anndata.AnnData":
    """Read an AnnData that a step of ours wrote, into memory."""
    import anndata
    import hdf5plugin  # noqa: F401  registers the zstd filter

    try:
        return anndata.read_h5ad(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read as an h5ad file: {error}{remedy(path)}") from error


def write_file_table(files: Mapping[str, str | Path], path: str | Path) -> None:
    """Write which of a step's files has which id, so that the workflow that fans out over them reads no file names.

    Parameters
    ----------
    files
        The file of each id. The table has one row per file, in this order: id, file (its name).
    """
    rows = [(identifier, Path(file).name) for identifier, file in files.items()]
    write_tsv(pd.DataFrame(rows, columns=["id", "file"]), path)


def write_versions(step: str, packages: Iterable[str], path: str | Path = "versions.json") -> None:
    """Write which Python and which versions of `packages` (distribution names) the step ran with."""
    versions = {name: metadata.version(name) for name in sorted(packages)}
    write_json({"step": step, "python": platform.python_version(), "packages": versions}, path)


def require_columns(table: pd.DataFrame, columns: Iterable[str], path: str | Path) -> None:
    """Raise `BadInput` naming the first of `columns` that `table`, read from `path`, lacks."""
    for column in columns:
        if column not in table.columns:
            have = ", ".join(map(str, table.columns))
            raise BadInput(f"{path}: column '{column}' is missing; it has: {have}")


def check_same_cells(
    left: Sequence[str] | np.ndarray, right: Sequence[str] | np.ndarray, left_path: str | Path, right_path: str | Path
) -> None:
    """Raise `BadInput` unless both files hold the same cells in the same order (joins are by row)."""
    left, right = np.asarray(left, dtype=object), np.asarray(right, dtype=object)
    if len(left) != len(right):
        raise BadInput(
            f"{right_path}: {len(right)} cells, but {left_path} has {len(left)}; run both on the same cohort"
        )
    differ = np.flatnonzero(left != right)
    if len(differ):
        row = differ[0]
        raise BadInput(f"{right_path}: cell {row} is '{right[row]}', but '{left[row]}' in {left_path}; run both anew")


SLUG_LENGTH = 60


def slug(name: str) -> str:
    """A name safe in a path and a shell: lower-case ASCII letters, digits and single underscores, never empty."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:SLUG_LENGTH].strip("_") or "unnamed"


def unique_slugs(names: Iterable[str]) -> dict[str, str]:
    """Map each distinct name to its own slug.

    Names whose slugs collide (`T/B` and `T B`) all get a digest of the raw name, so that the id of a name does
    not depend on which of them came first.
    """
    slugs = {name: slug(name) for name in sorted(set(names))}
    while len(taken := set(slugs.values())) < len(slugs):
        shared = {value for value in taken if list(slugs.values()).count(value) > 1}
        for name, value in slugs.items():
            if value in shared:
                digest = hashlib.sha256(name.encode()).hexdigest()
                # A second round is needed only where a name imitates another's digest: then more of it is used.
                slugs[name] = f"{slug(name)}_{digest[: 8 if value == slug(name) else 32]}"
    return slugs
