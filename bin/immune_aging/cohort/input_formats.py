"""A cohort's file of any format as one HDF5 file that is read block by block."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from immune_aging.cohort.archives import ENDS, is_archive, left_by_macos, unpack
from immune_aging.cohort.tenx_file import is_tenx, parts_of_folder, write_from_folder
from immune_aging.cohort.zarr_store import store_in, write_from_zarr
from immune_aging.task.command_line import BadInput

HDF5_ENDS = (".h5ad", ".h5")


@dataclass(frozen=True)
class AsHdf5:
    """The HDF5 file of a cohort's file; `layered`: it is an AnnData's, which may have several matrices."""

    path: Path
    layered: bool


def _from_folder(folder: Path, target: Path, where: str) -> AsHdf5:
    """The HDF5 file made of what a folder holds, at `target`; or the one HDF5 file in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    store = store_in(folder)
    if store is None and (parts := parts_of_folder(folder, where)):
        write_from_folder(parts, target, where)
        return AsHdf5(target, layered=False)
    if store is not None:
        write_from_zarr(store, target, where)
        return AsHdf5(target, layered=True)
    files = sorted(path for path in folder.rglob("*") if path.suffix in HDF5_ENDS and path.is_file())
    files = [path for path in files if not left_by_macos(path.relative_to(folder))]
    if len(files) == 1:
        return AsHdf5(files[0], layered=not is_tenx(files[0]))
    many = (
        f"holds {len(files)} files in HDF5: list them in a samplesheet"
        if files
        else ("holds neither a zarr store nor a matrix.mtx with barcodes and features: give one of these, or an h5ad")
    )
    raise BadInput(f"{where}: {many}")


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def as_hdf5(path: Path, folder: Path, where: str) -> AsHdf5:
    """The HDF5 file that holds a cohort's file: itself, or one made of a folder or an archive.

    Zarr stores and folders with a matrix.mtx are written anew as h5ad.

    Parameters
    ----------
    folder
        For what is made.
    where
        How messages call the file.

    Raises
    ------
    BadInput
        It is a folder or an archive that holds no cohort.
    """
    if where.lower().endswith((".mtx", ".mtx.gz")):
        raise BadInput(f"{where}: is one file of a matrix: give the folder that it is in, with barcodes and features")
    if path.is_dir():
        return _from_folder(path, folder / "made.h5ad", where)
    if not is_archive(path):
        zipped = path.is_file() and _begins_as_zip(path)
        if zipped or (path.is_file() and where.lower().endswith(ENDS)):
            kind = "a zip archive" if zipped else "an archive"
            raise BadInput(f"{where}: is {kind} that is damaged or cut off; copy or download it again")
        return AsHdf5(path, layered=not is_tenx(path))
    unpacked = folder / "unpacked"
    unpack(path, unpacked, where)
    found = _from_folder(unpacked, folder / "made.h5ad", where)
    if not found.path.is_relative_to(unpacked):
        shutil.rmtree(unpacked)
    return found
