"""What is no h5ad is named for what it is, also inside of what compresses it (file_kinds)."""

import bz2
import gzip
import lzma

import pytest

from immune_aging.cohort.file_kinds import other_kind

KINDS = {
    "R data file": (b"X\n\0\0\0\3\0", b"RDX3\nX\n", b"RDA3\nA\n"),
    "web page": (b"<!DOCTYPE html><html>", b"\r\n<html>", b"<?xml version='1.0'?><Error><Code>AccessDenied"),
    "JSON": (b'{"detail": "Not found"}',),
    "pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n",),
    "Parquet": (b"PAR1\x15\x04",),
    "pickle": (b"\x80\x04\x95\x10",),
    "BAM": (b"BAM\1",),
    "table of counts": (b"gene,a,b\nMT-ND1,1,2\n", b"\xef\xbb\xbfgene;a\nx;1\n", b"gene\tcell\nx\t1\n"),
    "MatrixMarket": (b"%%MatrixMarket matrix coordinate integer general\n",),
    "archive of a kind": (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd\0"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("what", KINDS)
def test_a_file_is_known_by_its_beginning(what, pack):
    """mojaveazure/seurat-disk#53 (.rds), lmw123/DISCOtoolkit#8 (a server's page), MaayanLab/archs4#18"""
    for start in KINDS[what]:
        found = other_kind(pack(start), n_bytes=1000)
        assert found and what in found[0], (what, found)


@pytest.mark.parametrize(
    ("pack", "tool"), [(gzip.compress, "gunzip"), (bz2.compress, "bunzip2"), (lzma.compress, "unxz")]
)
def test_a_compressed_h5ad_is_to_be_unpacked(pack, tool):
    assert tool in other_kind(pack(b"\x89HDF\r\n\x1a\n" + bytes(100)), n_bytes=1000)[1]
    assert tool in other_kind(pack(b"\0\1\2\3")[:12], n_bytes=1000)[1], "also where it is cut off"


def test_what_nothing_tells_is_not_named():
    assert other_kind(b"\0\1\2\xff" * 20, n_bytes=80) is None
    assert other_kind(b"hello", n_bytes=5) is None
    assert other_kind(b"", n_bytes=0)[0] == "is empty (0 bytes)"
