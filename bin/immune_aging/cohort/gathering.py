"""One h5ad from the files of a cohort: their cells one after another, genes that all files or any have, counts alone.

Files are read block by block, so that memory follows the block and the table of cells, never the counts.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from immune_aging.cohort.added_facts import Facts, joined
from immune_aging.cohort.cell_tables import one_table, unique_names, write_table
from immune_aging.cohort.cohort_file import (
    Counts,
    prove_counts,
    read_blocks,
    read_table,
    source_texts,
    unchanged,
    values_of,
)
from immune_aging.cohort.count_evidence import find_counts, judge_counts
from immune_aging.cohort.donors import repeated
from immune_aging.cohort.donors_of_files import PREFIX, names_in_several_files, with_prefix
from immune_aging.cohort.file_genes import FileGenes, GeneSpace, file_genes, gene_space
from immune_aging.cohort.gene_groups import IN_ALL_FILES, gene_groups, write_groups
from immune_aging.cohort.gene_symbols import SymbolTable
from immune_aging.cohort.input_formats import as_hdf5
from immune_aging.cohort.samplesheet import Listed, labels_of
from immune_aging.cohort.spool import of_genes, spool_counts
from immune_aging.cohort.table_encodings import UNREADABLE, as_text
from immune_aging.cohort.tenx_file import opened, tenx_group, tenx_tables
from immune_aging.task.checkpoints import atomic_path, checked_filters, fast_filters
from immune_aging.task.command_line import BadInput, Progress
from immune_aging.task.h5ad_stream import append, encode, growing, text
from immune_aging.task.listing import first_of

SPOOLED_CELLS = 50_000  # cells of a file by genes that are in memory at a time
NOTES = "immune_aging_notes"  # of uns: what was noted while files were put together; its presence tells such a file
CHUNK = 131_072  # values
EMPTY_BELOW, MOST = 10, 0.5  # counts of a cell; of a file's cells: then it holds the droplets that no cell was in
MAX_FILES = 3
UNFILTERED = 0.01  # of the genes of a file, at least, have no count in any cell unless it was filtered by expression


@dataclass(frozen=True)
class Part:
    """A file of the cohort, without its counts.

    Attributes
    ----------
    listed
        Where it is and what the sheet says of it.
    given, sha256
        The file for this task, and what its content must be ('' for anything).
    path
        The file with its counts: that one, or what was made of it.
    counts
        Where in it they are.
    layer
        What messages call that matrix.
    obs
        Its table of cells.
    genes
        Its features.
    source
        What it says of itself.
    notes
        What is doubtful about it.
    """

    listed: Listed
    given: Path
    sha256: str
    path: Path
    counts: Counts
    layer: str
    obs: pd.DataFrame
    genes: FileGenes
    source: dict[str, str]
    notes: tuple[str, ...]


def read_part(
    listed: Listed,
    path: Path,
    *,
    sha256: str,
    counts_layer: str,
    round_counts: bool,
    table: SymbolTable,
    folder: Path,
) -> Part:
    """Everything of a file but its counts.

    Parameters
    ----------
    path
        Where the file is for this task.
    folder
        For what is made of a file of another format.
    counts_layer, round_counts
        As of `find_counts`.
    table
        Known symbols of genes.

    Raises
    ------
    BadInput
        It cannot be read, holds no counts, or names a cell twice.
    """
    source: dict[str, str] = {}
    beside, made = None, as_hdf5(path, folder, listed.name)
    with opened(made.path) as file:
        if group := tenx_group(file):
            obs, var, counts = tenx_tables(file, group)
            found = judge_counts(file, counts, var, listed.name, round_counts=round_counts)
        else:
            layer = counts_layer if made.layered else "auto"
            obs = read_table(file, "obs")
            found = find_counts(file, listed.name, counts_layer=layer, round_counts=round_counts)
            var = read_table(file, found.counts.var_path)
            beside = None if found.counts.var_path == "var" else read_table(file, "var")
            source = source_texts(file)
    shape = (found.counts.n_cells, found.counts.n_genes)
    if (len(obs), len(var)) != shape:
        raise BadInput(
            f"{listed.name}: {found.layer} is {shape[0]} x {shape[1]}, but obs and var name {len(obs)} cells and "
            f"{len(var)} genes; write the file anew with anndata"
        )
    obs = obs.set_axis(obs.index.astype(str))
    if not len(obs) or not len(var):
        raise BadInput(f"{listed.name}: holds {len(obs)} cells and {len(var)} genes; leave it out")
    if name := repeated(obs.index.to_numpy(dtype=object)):
        raise BadInput(
            f"{listed.name}: obs names: '{name}' occurs twice; make the cells unique with adata.obs_names_make_unique()"
        )
    notes = list(found.notes)
    if broken := obs.attrs.get(UNREADABLE, {}):
        notes.append(f"columns of cells that cannot be read are left out: {', '.join(map(repr, broken))}")
    genes = file_genes(listed.name, var, table, beside)
    return Part(listed, path, sha256, made.path, found.counts, found.layer, obs, genes, source, (*notes, *genes.notes))


def same_content(files: Sequence[Listed], digests: Sequence[str]) -> list[str]:
    """What is wrong where two files hold the same: their cells would count twice."""
    first: dict[str, str] = {}
    problems = []
    for listed, digest in zip(files, digests, strict=False):
        if (other := first.setdefault(digest, listed.name)) != listed.name:
            problems.append(f"{listed.name}: holds the same as {other}, so its cells would count twice; leave one out")
    return problems


def read_parts(
    files: Sequence[Listed],
    paths: Sequence[Path],
    digests: Sequence[str],
    *,
    counts_layer: str,
    round_counts: bool,
    table: SymbolTable,
    folder: Path,
) -> list[Part]:
    """Everything of the files of a cohort but their counts.

    Parameters
    ----------
    paths
        Where each file is for this task.
    digests
        The sha256 of each; none where they are not known.
    folder
        For what is made of files of other formats.

    Raises
    ------
    BadInput
        With everything that is wrong with any of them.
    """
    parts, problems = [], same_content(files, digests)
    for number, listed in enumerate(files):
        path, digest = paths[number], digests[number] if digests else ""
        try:
            parts.append(
                read_part(
                    listed,
                    path,
                    sha256=digest,
                    counts_layer=counts_layer,
                    round_counts=round_counts,
                    table=table,
                    folder=folder / str(number),
                )
            )
        except BadInput as error:
            text = str(error).replace(str(path), listed.name)
            problems.append(text if text.startswith(listed.name) else f"{listed.name}: {text}")
    if problems:
        raise BadInput(" | ".join(problems))
    return parts


def with_sheet(parts: Sequence[Part], columns: Mapping[str, str], *, where: str) -> tuple[list[Part], list[str]]:
    """The files with what the sheet says of their cells, and notes.

    Raises
    ------
    BadInput
        The sheet contradicts files; with all of the places.
    """
    facts = Facts(
        where,
        pd.DataFrame([part.listed.facts for part in parts], dtype=object).drop(columns=PREFIX, errors="ignore"),
        np.array([f"file '{part.listed.name}'" for part in parts], dtype=object),
        np.array([f"line {part.listed.line}" for part in parts], dtype=object),
    )
    found, problems, notes = [], [], []
    for number, part in enumerate(parts):
        obs, wrong, changes = joined(part.obs, facts, np.full(len(part.obs), number), columns)
        prefix, donor = part.listed.facts.get(PREFIX), columns["donor"]
        if prefix and donor in obs:
            obs = obs.assign(**{donor: with_prefix(obs[donor], prefix)})
        found.append(Part(**{**vars(part), "obs": obs}))
        problems += wrong
        notes += changes
    if problems:
        raise BadInput(" | ".join(problems))
    return found, list(dict.fromkeys(notes))


def grouped(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Notes on files, each said once with the files that it is about."""
    files: dict[str, list[str]] = {}
    for name, note in notes:
        files.setdefault(note, []).append(name)
    return [f"{first_of(names, MAX_FILES, what='files')}: {note}" for note, names in files.items()]


def in_space(block: sparse.csr_matrix, column_of: np.ndarray, n_genes: int) -> sparse.csr_matrix:
    """A block of cells x features of a file as cells x genes of all files, genes sorted."""
    places = column_of[block.indices]
    kept = places >= 0
    ends = np.append(0, np.cumsum(kept))[block.indptr]
    found = sparse.csr_matrix((block.data[kept], places[kept].astype(np.int32), ends), shape=(block.shape[0], n_genes))
    found.sum_duplicates()  # sorts, too
    return found


def blocks_of(part: Part, folder: Path) -> Iterator[sparse.csr_matrix]:
    """The counts of a file, cells x features in order, every value proved to be a count; features alone that are genes.

    Parameters
    ----------
    folder
        For what a file by genes is turned round in.
    """
    genes, where = part.genes.kinds == "", f"{part.listed.name}: {part.layer}"
    with unchanged(part.given, part.sha256), opened(part.path) as file:
        if part.counts.layout != "csc":
            for _, columns, block in read_blocks(file, part.counts):
                yield prove_counts(of_genes(block, genes, columns), where=where, rounded=part.counts.rounded)
            return
        place = np.arange(part.counts.n_cells)
        cells = pd.DataFrame({"row": place, "shard": place // SPOOLED_CELLS, "position": place % SPOOLED_CELLS})
        with tempfile.TemporaryDirectory(prefix="spool-", dir=folder) as scratch:
            spools, _ = spool_counts(file, part.counts, cells, Path(scratch), genes=genes, where=where)
            for spool, n_cells in zip(spools, cells["shard"].value_counts(sort=False), strict=True):
                yield from spool.take_blocks(n_cells, np.arange(part.counts.n_genes, dtype=np.int32))


@dataclass(frozen=True)
class Gathered:
    """A cohort of several files, without its counts.

    Attributes
    ----------
    parts
        Its files in order.
    space
        Its genes.
    obs
        Its cells.
    notes
        What a person should know of how they were put together.
    """

    parts: list[Part]
    space: GeneSpace
    obs: pd.DataFrame
    notes: tuple[str, ...]


def put_together(
    parts: Sequence[Part], *, columns: Mapping[str, str], table: SymbolTable, where: str, union: bool = False
) -> Gathered:
    """The cells and genes of several files as one cohort.

    Parameters
    ----------
    columns
        Name of the obs column of each role.
    table
        Ids and symbols of genes.
    where
        How messages call the sheet.
    union
        Keep genes that are not in all files.

    Raises
    ------
    BadInput
        The sheet contradicts the files, or these have no gene in common.
    """
    labels = labels_of([part.listed.name for part in parts])
    parts, notes = with_sheet(parts, columns, where=where)
    space = gene_space([part.genes for part in parts], table, union=union)
    donors = [part.obs.get(columns["donor"]) for part in parts]
    people = names_in_several_files([part.obs for part in parts], columns, labels)
    names, changes = unique_names([part.obs.index for part in parts], donors, labels)
    if repeated(np.concatenate([name.to_numpy(dtype=object) for name in names])):
        raise BadInput(
            f"{where}: names of cells are the same in several files even with the files' names; rename cells"
        )
    obs, differences = one_table([part.obs for part in parts], names, labels)
    said = grouped([(part.listed.name, note) for part in parts for note in part.notes])
    return Gathered(parts, space, obs, (*notes, *people, *changes, *differences, *space.notes, *said))


def _write_counts(matrix: h5py.Group, cohort: Gathered, folder: Path) -> list[str]:
    """Write the counts of all files as CSR, block by block; and notes on files that hold droplets without cells."""
    n_genes = len(cohort.space.ids)
    for name, dtype in (("data", np.uint32), ("indices", np.int32)):
        growing(matrix, name, dtype, filters=checked_filters())
    lengths, notes, filtered = [np.zeros(1, dtype=np.int64)], [], []
    progress = Progress(len(cohort.obs), unit="cells", label="reading counts")
    for part, column_of in zip(cohort.parts, cohort.space.columns, strict=True):
        n_few, seen = 0, part.genes.kinds != ""
        for found in blocks_of(part, folder):
            block = in_space(found, column_of, n_genes)
            append(matrix["data"], block.data)
            append(matrix["indices"], block.indices)
            lengths.append(np.diff(block.indptr).astype(np.int64))
            seen[found.indices] = True
            n_few += int((np.asarray(found.sum(axis=1)).ravel() < EMPTY_BELOW).sum())
            progress.advance(block.shape[0])
        if n_few > MOST * part.counts.n_cells:
            notes.append(
                f"{part.listed.name}: {n_few} of {part.counts.n_cells} cells have fewer than {EMPTY_BELOW} counts: "
                "it may be the raw matrix of all droplets; give the filtered one"
            )
        if n_genes > (column_of >= 0).sum() and (~seen).sum() < UNFILTERED * len(seen):
            filtered.append(part.listed.name)
    progress.close()
    if filtered:
        notes.append(
            f"{first_of(filtered, MAX_FILES, what='files')}: nearly every gene has a count, as after a filter by "
            "expression: genes that are not in such a file may be ones that nobody expressed there. They are tested "
            "without its samples (--genes union), and where a file is one donor, only among donors who express them; "
            "give unfiltered files, or --genes intersection"
        )
    matrix.create_dataset("indptr", data=np.cumsum(np.concatenate(lengths)), **checked_filters())
    return notes


def _leave_out_counts(matrix: h5py.Group, cohort: Gathered) -> None:
    """Tell how many values the counts have, and write none: HDF5 keeps no space for what is not written."""
    n_values = 0
    for part in cohort.parts:
        with opened(part.path) as file:
            n_values += values_of(file, part.counts).size
    matrix.create_dataset("data", (n_values,), dtype=np.uint32, chunks=(CHUNK,), maxshape=(None,))


def write_gathered(path: Path, cohort: Gathered, *, where: str, files: Sequence[str], with_counts: bool = True) -> None:
    """Write the cohort as h5ad: counts as CSR in X, `feature_name` in var, all columns of the files in obs.

    Where genes are not in all files, var says of which, and uns which cells are of files that measure them.

    Parameters
    ----------
    where
        How messages call the cohort.
    files
        A note on each file.
    with_counts
        False for a file that is only to be checked: X has no values.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        encode(file, "anndata", "0.1.0")
        write_table(file, "obs", cohort.obs, filters=fast_filters())
        genes = pd.DataFrame({"feature_name": pd.Categorical(cohort.space.symbols)}, index=cohort.space.ids)
        in_all = cohort.space.measured.all(axis=0)
        write_table(
            file, "var", genes if in_all.all() else genes.assign(**{IN_ALL_FILES: in_all}), filters=fast_filters()
        )
        for empty in ("layers", "obsm", "obsp", "varm", "varp", "uns"):
            encode(file.create_group(empty), "dict", "0.1.0")
        matrix = encode(file.create_group("X"), "csr_matrix", "0.1.0")
        matrix.attrs["shape"] = np.array([len(cohort.obs), len(cohort.space.ids)], dtype=np.int64)
        notes = []
        if with_counts:
            notes = _write_counts(matrix, cohort, path.parent)
        else:
            _leave_out_counts(matrix, cohort)
        if not in_all.all():
            groups = gene_groups(cohort.space.measured, [len(part.obs) for part in cohort.parts])
            write_groups(file, groups, filters=fast_filters())
        for name, said in _common_texts(cohort.parts).items():
            encode(file["uns"].create_dataset(name, data=said), "string", "0.2.0")
        text(file["uns"], NOTES, [*files, *cohort.notes, *notes])
        file["uns"][NOTES].attrs["input"] = where


def _common_texts(parts: Sequence[Part]) -> dict[str, str]:
    """What all files say of themselves in the same words."""
    first = parts[0].source
    return {
        name: said for name, said in first.items() if "/" not in name and all(p.source.get(name) == said for p in parts)
    }


def summary_of(cohort: Gathered, *, where: str) -> list[str]:
    """A note on what the cohort was put together from."""
    n_files = len(cohort.parts)
    files = [f"{part.listed.name} ({part.counts.n_cells:,} cells, counts in {part.layer})" for part in cohort.parts]
    return [
        f"{where}: {len(cohort.obs):,} cells and {len(cohort.space.ids):,} genes of {n_files} "
        f"file{'s' if n_files > 1 else ''}: {first_of(files, MAX_FILES)}"
    ]


def called(file: h5py.File, source: Path) -> str:
    """How messages call a cohort: by what the user gave, and not by the file that was made of it."""
    made = notes_of_gathering(file) is not None
    return as_text(file["uns"][NOTES].attrs.get("input", source)) if made else str(source)


def notes_of_gathering(file: h5py.File) -> list[str] | None:
    """What was noted when files were put together into this one; None for a file that is no such."""
    if "uns" not in file or not isinstance(file["uns"], h5py.Group) or NOTES not in file["uns"]:
        return None
    found = file["uns"][NOTES]
    return [str(text) for text in found.asstr()[:]] if isinstance(found, h5py.Dataset) and found.ndim == 1 else None


def gathered_counts(file: h5py.File) -> Counts:
    """Where the counts of such a file are; each of its values was proved to be one."""
    n_cells, n_genes = file["X"].attrs["shape"]
    return Counts("X", "csr", int(n_cells), int(n_genes), "var")
