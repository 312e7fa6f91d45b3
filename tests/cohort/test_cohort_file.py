"""Reading a cohort's file: compressed chunks inflated without HDF5 are what HDF5 reads."""

import zlib

import h5py
import numpy as np
import pytest

from immune_aging.cohort import cohort_file
from immune_aging.task.command_line import BadInput

VALUES = np.random.default_rng(0).integers(0, 50, 10_007)


def chunked(file, dtype=np.float32, chunk=1_000, **filters):
    filters = filters or {"compression": "gzip"}
    return file.create_dataset("data", data=VALUES.astype(dtype), chunks=(chunk,), **filters)


def unwritten(file):
    data = file.create_dataset("data", (10_007,), dtype="i4", chunks=(1_000,), compression="gzip", fillvalue=7)
    data[3_000:5_000] = 1
    return data


def one_chunk_as_it_is(file):
    data = chunked(file)
    data.id.write_direct_chunk((2_000,), VALUES[:1_000].astype(np.float32).tobytes(), filter_mask=1)
    return data


KINDS = {  # how the values lie in the file, and whether HDF5 is needed to read them
    "gzip": (chunked, False),
    "gzip, hardest": (lambda file: chunked(file, compression="gzip", compression_opts=9), False),
    "64 bits": (lambda file: chunked(file, np.float64), False),
    "8 bits": (lambda file: chunked(file, np.uint8), False),
    "big-endian": (lambda file: chunked(file, ">i4"), False),
    "a chunk as it is": (one_chunk_as_it_is, False),
    "one chunk": (lambda file: chunked(file, chunk=10_007), False),
    "unwritten chunks": (unwritten, True),
    "shuffled": (lambda file: chunked(file, compression="gzip", shuffle=True), True),
    "checksums": (lambda file: chunked(file, compression="gzip", fletcher32=True), True),
    "lzf": (lambda file: chunked(file, compression="lzf"), True),
    "not compressed": (lambda file: file.create_dataset("data", data=VALUES), True),
    "text": (lambda file: file.create_dataset("data", data=VALUES.astype(str).tolist(), compression="gzip"), True),
    "large chunks": (lambda file: file.create_dataset("data", data=np.zeros(500_000), chunks=(400_000,), compression="gzip"), True),
    "a table": (lambda file: file.create_dataset("data", data=VALUES[:9_000].reshape(90, 100), compression="gzip"), True),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_any_part_is_what_hdf5_reads(kind, tmp_path):
    make, needs_hdf5 = KINDS[kind]
    with h5py.File(tmp_path / "c.h5", "w") as file:
        make(file)
    with h5py.File(tmp_path / "c.h5") as file:
        data = file["data"]
        assert cohort_file._plain_gzip(data) == (not needs_hdf5)
        parts = [slice(None), slice(0, 0), slice(5, 5), slice(0, 1_000), slice(999, 1_001), slice(1_500, 8_500), slice(9_999, 99_999)]  # fmt: skip
        for part in parts:
            found, expected = cohort_file._read(data, part), data[part]
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def stored_instead(path, content):
    with h5py.File(path, "w") as file:
        data = chunked(file)
        data.id.write_direct_chunk((4_000,), content)


WHOLE = zlib.compress(VALUES[:1_000].astype(np.float32).tobytes())
DAMAGES = {
    "noise": b"\xff" * 500,
    "cut off": WHOLE[:-20],
    "a bit flipped": WHOLE[:300] + bytes([WHOLE[300] ^ 4]) + WHOLE[301:],
    "too short": zlib.compress(bytes(3_999)),
    "too long": zlib.compress(bytes(4_001)),
    "a gigabyte": zlib.compress(bytes(1 << 30), 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_chunk_is_one_clear_line(damage, tmp_path):
    stored_instead(tmp_path / "c.h5", DAMAGES[damage])
    with h5py.File(tmp_path / "c.h5") as file:
        np.testing.assert_array_equal(cohort_file._read(file["data"], slice(0, 4_000)), VALUES[:4_000])
        with pytest.raises(BadInput, match=r"c\.h5: /data: cannot be read \(.+\); copy or download the file again"):
            cohort_file._read(file["data"], slice(3_000, 6_000))
