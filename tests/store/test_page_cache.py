"""Hashing leaves the page cache as it was: what was cached stays, what was not is dropped again."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from hashlib import sha1
from pathlib import Path

import pytest

from swarm._native import Disk, hash_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is cached")

MIB = 1 << 20
PAGE = mmap.PAGESIZE


def cached(path: Path) -> list[bool]:
    """For each page of the file: is it in the page cache?"""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as view:
        pages = (ctypes.c_ubyte * -(-len(view) // PAGE))()
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(view)), pages) == 0
    return [bool(page & 1) for page in pages]


def write(path: Path, size: int) -> bytes:
    data = os.urandom(size)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if any(cached(path)):
        pytest.skip("this file system keeps its files in memory")
    return data


def warm(path: Path, start: int, end: int) -> None:
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for at in range(start, end, PAGE):
            os.pread(file.fileno(), PAGE, at)


def test_of_a_large_file_only_the_pages_that_were_cached_stay(tmp_path):
    path = tmp_path / "data"
    data = write(path, 9 * MIB + 1000)
    warm(path, 2 * MIB, 5 * MIB)
    warm(path, 6 * MIB + 64 * PAGE, 6 * MIB + 65 * PAGE)
    before = cached(path)
    assert sum(before) == 3 * MIB // PAGE + 1
    found = hash_files([(path, len(data))], MIB, 2)
    expected = [sha1(data[at : at + MIB]).digest() for at in range(0, len(data), MIB)]
    assert found.pieces == b"".join(expected)
    assert cached(path) == before
    disk = Disk(0, 1)
    storage = disk.open(tmp_path, [(["data"], len(data))], MIB, False)
    storage.check(1, found.pieces, b"\xff\xc0")
    assert disk.drain() == [(1, "checked", 0, b"\xff\xc0", 10), (1, "check-done")]
    assert cached(path) == before


def test_so_do_small_files(tmp_path):
    paths = [tmp_path / str(index) for index in range(8)]
    datas = [write(path, 5 * PAGE) for path in paths]
    for path in paths[::2]:
        warm(path, 0, 5 * PAGE)
    found = hash_files([(path, 5 * PAGE) for path in paths], 16 << 10, 1)
    stream = b"".join(datas)
    pieces = (stream[at : at + (16 << 10)] for at in range(0, len(stream), 16 << 10))
    assert found.pieces == b"".join(sha1(piece).digest() for piece in pieces)
    assert [any(cached(path)) for path in paths] == [True, False] * 4
    assert all(all(cached(path)) for path in paths[::2])
