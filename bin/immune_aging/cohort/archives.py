"""Folders packed as `.zip` or `.tar.gz`: unpacked within bounds, and into the folder that is meant for them alone."""

import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import IO

from immune_aging.task.command_line import BadInput

BLOCK_BYTES = 4 << 20
MOST_GROWTH, AT_LEAST = 100, 1 << 30  # times the archive's own size, and bytes that any archive may unpack to
MAX_FILES = 2_000_000
ENDS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".txz", ".tbz2")
# What the readers of archives and of what compresses them raise where one is damaged. RuntimeError: what zipfile says
# of a password, or of a compression that it does not know. ValueError and struct.error: of fields that cannot be.
DAMAGES = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, RuntimeError, ValueError,
    struct.error, OverflowError, LookupError,
)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, or a tar archive packed by anything that Python knows."""
    if not path.is_file():
        return False
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except DAMAGES:  # what is damaged in its first block is read as what it is called
        return path.name.lower().endswith(ENDS)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each file of an archive in its order; links and devices are passed over."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
                if not info.is_dir() and not is_link:
                    with archive.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(path, "r:*") as packed:
        for member in packed:
            if member.isfile() and (inside := packed.extractfile(member)):
                with inside:
                    yield member.name, inside


def _place(name: str, where: str) -> PurePosixPath:
    """Where in its folder a file of an archive belongs; `BadInput` if that is outside."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or any("\0" in part for part in parts) or ":" in parts[0]:
        raise BadInput(f"{where}: holds a file {name[:80]!a} that would lie outside of it; pack the folder anew")
    return PurePosixPath(*parts)


def left_by_macos(path: PurePath) -> bool:
    """Whether a file, by its path in a folder or an archive, is one that macOS adds beside each: no data."""
    return "__MACOSX" in path.parts or path.name.startswith("._")


def unpack(path: Path, folder: Path, where: str) -> None:
    """Unpack the files of an archive into a folder.

    Raises
    ------
    BadInput
        It is damaged, protected by a password, unpacks to more than 100 times its size, or names files outside of it.
    """
    left, n_files = max(AT_LEAST, MOST_GROWTH * path.stat().st_size), 0
    try:
        for name, content in _members(path):
            target = folder / _place(name, where)
            if left_by_macos(target.relative_to(folder)):
                continue
            n_files += 1
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while block := content.read(BLOCK_BYTES):
                    left -= len(block)
                    if left < 0 or n_files > MAX_FILES:
                        raise BadInput(
                            f"{where}: unpacks to more than {MOST_GROWTH} times its size; give the folder itself"
                        )
                    file.write(block)
    except DAMAGES as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BadInput(
            f"{where}: cannot be unpacked ({error}); copy or download it again, or give the folder"
        ) from error
