"""A cohort's file may be Cell Ranger's, a zarr store, or a folder with a matrix.mtx, packed or not: the counts are the same.

Named here: `archives`, `input_formats`, `tenx_file`, `zarr_store`.
"""

import gzip
import io
import json
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import io as scipy_io
from scipy import sparse

from cohort.test_gathering import gather, notes_of
from edits import edited
from immune_aging.task.command_line import BadInput
from small_cohorts import small_cohort


def cohort_of(**size):
    """A cohort whose cells have no columns and whose features are genes, but for two antibodies."""
    cohort = small_cohort(donors=2, cells_per_type=20, genes=40, **size)
    cohort.var["feature_types"] = ["Gene Expression"] * 38 + ["Antibody Capture"] * 2
    return cohort


def write_tenx(cohort, path, *, group="matrix"):
    by_cells = sparse.csr_matrix(cohort.X.astype(np.int32))
    with h5py.File(path, "w") as file:
        matrix = file.create_group(group)
        for name in ("data", "indices", "indptr"):
            matrix[name] = getattr(by_cells, name)
        matrix["shape"] = np.array(cohort.shape[::-1], dtype=np.int32)
        matrix["barcodes"] = cohort.obs_names.to_numpy().astype("S")
        if group != "matrix":  # Cell Ranger 2
            matrix["genes"], matrix["gene_names"] = (
                cohort.var_names.to_numpy().astype("S"),
                cohort.var["feature_name"].to_numpy().astype("S"),
            )
            return path
        features = matrix.create_group("features")
        features["id"], features["name"] = (
            cohort.var_names.to_numpy().astype("S"),
            cohort.var["feature_name"].to_numpy().astype("S"),
        )
        features["feature_type"] = cohort.var["feature_types"].to_numpy().astype("S")
        features["genome"] = np.array(["GRCh38"] * 38 + [""] * 2).astype("S")
    return path


def write_folder(
    cohort,
    folder,
    *,
    packed=True,
    before="",
    features="features",
    columns=3,
    turned=False,
    by_gene=False,
    header=False,
    field="integer",
):
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, text):
        data = text.encode()
        (folder / f"{before}{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)

    entries = sparse.coo_matrix(cohort.X.T if not turned else cohort.X)
    order = np.lexsort((entries.col, entries.row)) if by_gene != turned else np.lexsort((entries.row, entries.col))
    lines = [f"{entries.row[i] + 1} {entries.col[i] + 1} {entries.data[i]:g}" for i in order]
    banner = f"%%MatrixMarket matrix coordinate {field} general\n" + "%metadata_json: {}\n"
    write("matrix.mtx", banner + f"{entries.shape[0]} {entries.shape[1]} {entries.nnz}\n" + "\n".join(lines) + "\n")
    rows = zip(cohort.var_names, cohort.var["feature_name"], cohort.var["feature_types"], strict=True)
    write(
        f"{features}.tsv",
        ("gene\tname\ttype\n" if header else "") + "".join("\t".join(row[:columns]) + "\n" for row in rows),
    )
    write("barcodes.tsv", ("barcode\n" if header else "") + "\n".join(cohort.obs_names) + "\n")
    return folder


def zipped(folder, path):
    shutil.make_archive(str(path.with_suffix("")), "zip", folder.parent, folder.name)
    return path


def tarred(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return path


def write_zarr(cohort, path, *, version=2):
    before = anndata.settings.zarr_write_format
    anndata.settings.zarr_write_format = version
    try:
        cohort.write_zarr(path)
    finally:
        anndata.settings.zarr_write_format = before
    return path


def left_by_a_mac(folder):
    """The folder with what macOS lays beside each file, and an empty store in the folder that its archives have."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX/.zgroup").write_text('{"zarr_format": 2}')
    return folder


def shuffled(folder):
    lines = (folder / "matrix.mtx").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(lines) - 3) + 3
    (folder / "matrix.mtx").write_text("\n".join([*lines[:3], *(lines[i] for i in order)]) + "\n")
    return folder


def renamed(folder, **names):
    for part, name in names.items():
        (folder / f"{part}.{'mtx' if part == 'matrix' else 'tsv'}").rename(folder / name)
    return folder


def plain(cohort, folder, **layout):
    return write_folder(cohort, folder, packed=False, **layout)


def with_macos_files(folder):
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        (folder / "__MACOSX").mkdir(exist_ok=True)
        for place in (path.with_name(f"._{path.name}"), folder / "__MACOSX" / path.name):
            place.write_bytes(b"\0\5\x16\7")
    return folder


def packed_with(compression, suffix):
    def write(cohort, folder):
        plain(cohort, folder / "m")
        with zipfile.ZipFile(folder / f"m{suffix}", "w", compression) as archive:
            for path in sorted((folder / "m").iterdir()):
                archive.write(path, f"m/{path.name}")
        return folder / f"m{suffix}"

    return write


def tarred_by(compression):
    def write(cohort, folder):
        path = folder / f"m.tar.{compression}"
        with tarfile.open(path, f"w:{compression}") as archive:
            archive.add(plain(cohort, folder / "m"), arcname="m")
        return path

    return write


# Names that tools give to the parts of a folder; genes alone, for they have no column of feature types.
OTHER_NAMES = {
    "kb-python": {"matrix": "cells_x_genes.mtx", "features": "cells_x_genes.genes.txt", "barcodes": "cells_x_genes.barcodes.txt"},
    "alevin-fry": {"matrix": "quants_mat.mtx", "features": "quants_mat_cols.txt", "barcodes": "quants_mat_rows.txt"},
    "Single Cell Expression Atlas (scverse/scanpy#1761)": {
        "matrix": "E-HCAD-4.aggregated_filtered_counts.mtx", "features": "E-HCAD-4.aggregated_filtered_counts.mtx_rows",
        "barcodes": "E-HCAD-4.aggregated_filtered_counts.mtx_cols",
    },
}  # fmt: skip
COMPRESSED = {
    "lzma in zip": packed_with(zipfile.ZIP_LZMA, ".zip"), "bzip2 in zip": packed_with(zipfile.ZIP_BZIP2, ".zip"),
    "deflate in zip": packed_with(zipfile.ZIP_DEFLATED, ".zip"), "xz": tarred_by("xz"), "bz2": tarred_by("bz2"), "gz": tarred_by("gz"),
}  # fmt: skip
FORMATS = {
    "cell ranger": lambda c, f: write_tenx(c, f / "filtered_feature_bc_matrix.h5"),
    "cell ranger 2": lambda c, f: write_tenx(c[:, :38], f / "filtered_gene_bc_matrices_h5.h5", group="GRCh38"),
    "folder": lambda c, f: write_folder(c, f / "filtered_feature_bc_matrix"),
    "plain folder of genes": lambda c, f: write_folder(c[:, :38], f / "m", packed=False, features="genes", columns=2),
    "GEO": lambda c, f: write_folder(c, f / "m", before="GSM123_pool 1_"),
    "turned": lambda c, f: write_folder(c, f / "m", turned=True),
    "turned by gene": lambda c, f: write_folder(c, f / "m", turned=True, by_gene=True),
    "by gene": lambda c, f: write_folder(c, f / "m", by_gene=True),
    "header": lambda c, f: write_folder(c, f / "m", header=True),
    "macOS": lambda c, f: with_macos_files(plain(c, f / "m")),
    "h5ad and macOS": lambda c, f: ((f / "m").mkdir(), c.write_h5ad(f / "m/c.h5ad"), with_macos_files(f / "m"))[2],
    "real": lambda c, f: write_folder(c, f / "m", field="real"),
    "shuffled": lambda c, f: shuffled(plain(c, f / "m")),
    "shuffled and turned": lambda c, f: shuffled(plain(c, f / "m", turned=True)),
    **{tool: lambda c, f, names=names: renamed(plain(c, f / "m"), **names) for tool, names in OTHER_NAMES.items()},
    **COMPRESSED,
    "folder in zip": lambda c, f: zipped(write_folder(c, f / "m"), f / "m.zip"),
    "folder in tar": lambda c, f: tarred(write_folder(c, f / "m"), f / "m.tar.gz"),
    "zarr 2": lambda c, f: write_zarr(c, f / "c.zarr"),
    "zarr 3": lambda c, f: write_zarr(c, f / "c.zarr", version=3),
    "zarr 2 of a Mac": lambda c, f: left_by_a_mac(write_zarr(c, f / "box/c.zarr").parent),
    "zarr 3 of a Mac": lambda c, f: left_by_a_mac(write_zarr(c, f / "box/c.zarr", version=3).parent),
    "zarr in zip": lambda c, f: zipped(write_zarr(c, f / "c.zarr"), f / "c.zip"),
    "zarr in tar": lambda c, f: tarred(write_zarr(c, f / "c.zarr", version=3), f / "c.zarr.tar.gz"),
    "h5ad in zip": lambda c, f: (c.write_h5ad(f / "c.h5ad"), zipfile.ZipFile(f / "c.zip", "w").write(f / "c.h5ad", "c.h5ad"), f / "c.zip")[2],
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_counts_are_the_same_in_every_format(kind, tmp_path):
    cohort = cohort_of()
    source = FORMATS[kind](cohort, tmp_path)
    path = gather(source)
    found = anndata.read_h5ad(path)
    assert found.obs_names.tolist() == cohort.obs_names.tolist()
    assert found.var_names.tolist() == cohort.var_names[:38].tolist(), "antibodies are set apart"
    assert found.var["feature_name"].tolist() == cohort.var["feature_name"].tolist()[:38]
    np.testing.assert_array_equal(found.X.toarray(), cohort.X.toarray()[:, :38])
    if "h5ad" in kind or "zarr" in kind:
        pd.testing.assert_series_equal(found.obs["donor_id"], cohort.obs["donor_id"], check_names=False)
        assert found.obs["barcode_number"].tolist() == cohort.obs["barcode_number"].tolist()
    assert not list(path.parent.glob("made-*")), "nothing is left of what was unpacked"
    has_antibodies = kind not in ("cell ranger 2", "plain folder of genes")
    assert any("2 antibodies" in note for note in notes_of(path)) == has_antibodies


def test_files_of_all_formats_are_one_cohort(tmp_path):
    cohort = cohort_of()
    names = []
    for number, kind in enumerate(("cell ranger", "folder", "zarr 2", "folder in tar")):
        (tmp_path / f"{number}").mkdir()
        part = cohort[np.arange(cohort.n_obs) % 4 == number].copy()
        names.append(str(FORMATS[kind](part, tmp_path / f"{number}").relative_to(tmp_path)))
    sheet = pd.DataFrame({"file": names, "donor": ["a", "a", "b", "c"], "age": [30, 30, 44, 58]})
    sheet.to_csv(tmp_path / "cohort.csv", index=False)
    found = anndata.read_h5ad(gather(tmp_path / "cohort.csv"))
    np.testing.assert_array_equal(found.X.toarray(), cohort[found.obs_names, found.var_names].X.toarray())
    assert found.obs["donor"].value_counts().to_dict() == {"a": 40, "b": 20, "c": 20}
    assert found.obs.groupby("donor", observed=True)["age"].first().tolist() == [30, 44, 58]


def test_the_raw_matrix_of_all_droplets_is_noted(tmp_path):
    cohort = cohort_of()
    empty = np.arange(cohort.n_obs) % 4 > 0
    cohort.X = sparse.csr_matrix(cohort.X.multiply(~empty[:, None]))
    path = gather(write_tenx(cohort, tmp_path / "raw.h5"))
    assert any("60 of 80 cells have fewer than 10 counts: it may be the raw matrix" in note for note in notes_of(path))


def broken_folder(change):
    def write(folder):
        made = write_folder(cohort_of(), folder / "m", packed=False)
        change(made)
        return made

    return write


def edit(name, change):
    return broken_folder(lambda folder: (folder / name).write_text(change((folder / name).read_text())))


def archive_with(name, *, link=False):
    def write(folder):
        with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
            info = tarfile.TarInfo(name)
            data = b"x"
            info.size = 0 if link else len(data)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info, None if link else io.BytesIO(data))
        return folder / "a.tar.gz"

    return write


def bomb(folder):
    with (
        zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("matrix.mtx", "w") as file,
    ):
        for _ in range(400):
            file.write(bytes(4 << 20))
    return folder / "a.zip"


def with_pickles(folder):
    store = write_zarr(cohort_of(), folder / "c.zarr")
    path = store / "obs/donor_id/categories/.zarray"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps(meta | {"filters": [{"id": "pickle", "protocol": 5}]}))
    return store


def zip_with_link(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("matrix.mtx")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return folder / "a.zip"


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def two_genomes(folder):
    write_tenx(cohort_of(), folder / "a.h5", group="hg19")
    with h5py.File(folder / "a.h5", "a") as file:
        file.copy("hg19", "mm10")
    return folder / "a.h5"


def normalised_tenx(folder):
    cohort = cohort_of()
    path = write_tenx(cohort, folder / "a.h5")
    with h5py.File(path, "a") as file:
        values = np.log1p(file["matrix/data"][:] / 3)
        del file["matrix/data"]
        file["matrix/data"] = values
    return path


def linked_tenx(folder):
    path = write_tenx(cohort_of(), folder / "a.h5")
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "x")
    return path


BROKEN = {
    "no barcodes": (broken_folder(lambda f: (f / "barcodes.tsv").unlink()), "m: has no barcodes.tsv.gz or barcodes.tsv beside 'matrix.mtx'"),
    "two matrices": (broken_folder(lambda f: shutil.copytree(f, f / "raw")), r"m: holds 2 matrices \('matrix.mtx', 'raw/matrix.mtx'"),
    "a barcode less": (edit("barcodes.tsv", lambda text: "\n".join(text.splitlines()[2:])), "matrix.mtx is 40 x 80, but there are 40 features and 78 barcodes"),
    "cut off": (edit("matrix.mtx", lambda text: "\n".join(text.splitlines()[:-7])), r"matrix.mtx is cut off: [\d,]+ of [\d,]+ entries"),
    "cut off in a line": (edit("matrix.mtx", lambda text: text.rstrip()[:-2]), "matrix.mtx (is damaged|cannot be read)"),
    "outside": (edit("matrix.mtx", lambda text: text + "41 1 1\n"), "an entry lies outside of 40 x 80"),
    "words": (edit("matrix.mtx", lambda text: text + "4 80 many\n"), "a value is no number"),
    "another form": (edit("matrix.mtx", lambda text: edited(text, {"coordinate": "array"})), "is no sparse matrix of numbers"),
    "fractions": (edit("matrix.mtx", lambda text: edited(text, {" 1\n": " 0.693\n", "integer": "real"})), "no raw counts found"),
    "a matrix without its folder": (lambda f: write_folder(cohort_of(), f / "m") / "matrix.mtx.gz", "is one file of a matrix: give the folder"),
    "no folder of a cohort": (lambda f: (f / "x").mkdir() or f / "x", "holds neither a zarr store nor a matrix.mtx"),
    "outside of the archive": (archive_with("../../evil"), "holds a file '../../evil' that would lie outside of it"),
    "absolute": (archive_with("/tmp/evil"), "that would lie outside of it"),
    "a link": (archive_with("matrix.mtx", link=True), "holds neither a zarr store nor a matrix.mtx"),
    "a link in a zip": (zip_with_link, "holds neither a zarr store nor a matrix.mtx"),
    "a bomb": (bomb, "unpacks to more than 100 times its size"),
    "a cut zip": (lambda f: truncated(zipped(write_folder(cohort_of(), f / "m"), f / "m.zip")), "is a zip archive|cannot be unpacked"),
    "a cut tar": (lambda f: truncated(tarred(write_folder(cohort_of(), f / "m"), f / "m.tar.gz")), "cannot be unpacked"),
    "pickles": (with_pickles, "c.zarr: obs/donor_id/categories: holds pickles"),
    "no AnnData": (lambda f: zarr.open_group(str(f / "c.zarr"), mode="w").attrs.asdict() or f / "c.zarr", "the zarr store has no 'obs' table"),
    "several genomes": (two_genomes, r"a.h5: holds matrices of several genomes \(hg19, mm10\)"),
    "normalised": (normalised_tenx, r"a.h5: no raw counts found \(matrix holds fractions"),
    "a link in HDF5": (linked_tenx, "is a link to /etc/passwd"),
    "a cut h5": (lambda f: truncated(write_tenx(cohort_of(), f / "a.h5")), "a.h5: is not an HDF5 file or is cut off"),
    "several h5ad": (lambda f: [cohort_of().write_h5ad(f / f"{name}.h5ad") for name in "ab"] and f, "holds 2 files in HDF5: list them in a samplesheet"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_refused_in_one_line(kind, tmp_path):
    write, said = BROKEN[kind]
    folder = tmp_path / "in"
    folder.mkdir()
    source = write(folder)
    with pytest.raises(BadInput, match=said) as caught:
        gather(source)
    assert "\n" not in str(caught.value) and "part_" not in str(caught.value)
    assert not (tmp_path / "evil").exists() and not Path("/tmp/evil").exists()


def test_a_matrix_that_r_and_scipy_write_is_read(tmp_path):
    cohort = cohort_of()
    folder = write_folder(cohort, tmp_path / "m", packed=False)
    for turned in (sparse.csc_matrix(cohort.X.T), sparse.csr_matrix(cohort.X.T)):
        scipy_io.mmwrite(folder / "matrix.mtx", turned.astype(np.int64))
        found = anndata.read_h5ad(gather(folder))
        np.testing.assert_array_equal(found.X.toarray(), cohort.X.toarray()[:, :38])


def test_a_shuffled_matrix_that_is_too_large_to_be_sorted_is_refused(tmp_path, monkeypatch):
    folder = shuffled(plain(cohort_of(), tmp_path / "m"))
    monkeypatch.setattr("immune_aging.cohort.tenx_file.MAX_UNSORTED", 10)
    with pytest.raises(BadInput, match="sorted neither by cell nor by feature, and too many"):
        gather(folder)


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_damaged_archive_is_refused_or_none_of_its_counts_differs(kind, place, tmp_path):
    """python/cpython#103861 and siblings: what damage raises depends on the compression (`LZMAError`, `zlib.error`, ...)"""
    cohort = cohort_of()
    path = COMPRESSED[kind](cohort, tmp_path)
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    data[start : start + 40] = bytes(255 - byte for byte in data[start : start + 40])
    path.write_bytes(data)
    try:
        found = anndata.read_h5ad(gather(path))
    except BadInput as error:
        assert "\n" not in str(error)
    else:  # what lay there was none of its files
        np.testing.assert_array_equal(found.X.toarray(), cohort.X.toarray()[:, :38])


def raw_beside_filtered(folder):
    for name in ("raw_feature_bc_matrix", "filtered_feature_bc_matrix"):
        shutil.copytree(folder, folder.parent / "outs" / name)
    shutil.rmtree(folder)
    (folder.parent / "outs").rename(folder)


def counted_from_nought(folder):
    with (folder / "matrix.mtx").open("a") as file:
        file.write("0 1 3\n")


def parts_of_reads(folder):
    names = [f"ENSG{i}{end}" for end in ("-U", "-A") for i in range(20)]
    (folder / "features.tsv").write_text("\n".join(names) + "\n")


MISLEADING = {
    "raw and filtered": (raw_beside_filtered, "give 'filtered_feature_bc_matrix', the one of cells"),
    "counted from 0": (counted_from_nought, "entries count from 0"),
    "alevin-fry's parts": (parts_of_reads, "spliced, unspliced and ambiguous counts of each gene apart"),
}


@pytest.mark.parametrize("kind", MISLEADING)
def test_messages_lead_the_right_way(kind, tmp_path):
    change, said = MISLEADING[kind]
    folder = plain(cohort_of(), tmp_path / "m")
    change(folder)
    with pytest.raises(BadInput, match=said):
        gather(folder)
