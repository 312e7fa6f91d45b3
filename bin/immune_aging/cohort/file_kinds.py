"""What people give instead of an h5ad, by how the file begins, and what to do about it."""

import bz2
import lzma
import zlib

START = 64  # bytes that tell
_WEB = ("is a web page or a server's error message", "download the file again by its own address")
_R = ("is an R data file", "write an h5ad from R")
_PACKED_ELSEWHERE = ("is an archive of a kind that is not read here", "unpack it, or pack it as .zip or .tar.gz")
_TABLE = ("is a text, perhaps a table of counts", "read it with pandas, and write an h5ad of it with anndata")
_PICKLE = ("is a pickle of Python", "load it where it was made and write an h5ad with adata.write_h5ad")
# The first that fits counts.
KINDS = (
    (
        b"PK",
        ("is a zip archive, perhaps a zarr store", "unpack it; from zarr write an h5ad with adata.write_h5ad"),
    ),
    (b"RDX", _R), (b"RDA", _R), (b"X\n", _R), (b"A\n", _R), (b"B\n", _R),
    (b"%%MatrixMarket", ("is a MatrixMarket file", "give the folder that it is in, with barcodes and features")),
    (b"<", _WEB), (b"{", ("is text in JSON, perhaps a server's error message", _WEB[1])),
    (b"version https://git-lfs", ("is a pointer of Git LFS and not the file itself", "get that with 'git lfs pull'")),
    (b"7z\xbc\xaf", _PACKED_ELSEWHERE), (b"Rar!", _PACKED_ELSEWHERE), (b"\x28\xb5\x2f\xfd", _PACKED_ELSEWHERE),
    (b"PAR1", ("is a Parquet file", "read it with pandas, and write an h5ad with anndata")),
    (b"\x93NUMPY", ("is an array of NumPy", "write an h5ad of it with anndata")),
    (b"BAM\1", ("is a BAM file of reads", "give counts: cells x genes")),
    (b"@SQ", ("is a SAM file of reads", "give counts: cells x genes")),
    (b"@HD", ("is a SAM file of reads", "give counts: cells x genes")),
    (b"\x80\x02", _PICKLE), (b"\x80\x03", _PICKLE), (b"\x80\x04", _PICKLE), (b"\x80\x05", _PICKLE),
)  # fmt: skip
# Compressions: how they begin, their name, what unpacks them, and what reads their beginning.
COMPRESSIONS = (
    (b"\x1f\x8b", "gzip", "gunzip", lambda: zlib.decompressobj(31)),
    (b"BZh", "bzip2", "bunzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", "xz", "unxz", lzma.LZMADecompressor),
)


def other_kind(start: bytes, *, n_bytes: int) -> tuple[str, str] | None:
    """What a file is that is no HDF5, and the remedy; None where its beginning does not tell.

    Parameters
    ----------
    start
        Some of its first bytes; of a compressed file at least `START`.
    n_bytes
        Of the whole file.

    >>> other_kind(b"<!DOCTYPE html>", n_bytes=2000)
    ("is a web page or a server's error message", 'download the file again by its own address')
    """
    if not n_bytes:
        return "is empty (0 bytes)", "copy or download it again"
    for magic, name, tool, decompressor in COMPRESSIONS:
        if start.startswith(magic):
            try:
                inside = decompressor().decompress(start, START)
            except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError):
                inside = b""
            packed = (f"is compressed with {name}", f"unpack it with {tool}")
            known = None if inside.startswith(b"\x89HDF") or not inside else other_kind(inside, n_bytes=n_bytes)
            return packed if known is None else known
    known = next((what for magic, what in KINDS if start.lstrip(b"\xef\xbb\xbf \r\n").startswith(magic)), None)
    if known is not None:
        return known
    return _TABLE if _is_table(start[:START]) else None


def _is_table(start: bytes) -> bool:
    """Whether bytes begin a text of lines with delimiters; the last letter may be cut off."""
    text = start.decode("utf-8-sig", "replace").rstrip("\ufffd")
    in_lines = "\n" in text and any(delimiter in text for delimiter in ",;\t")
    return in_lines and all((one.isprintable() and one != "\ufffd") or one in "\t\r\n" for one in text)
