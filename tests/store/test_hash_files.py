"""Hashing what is to become a torrent."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import merkle as reference

from swarm._native import Progress, hash_files


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 100_000), min_size=1, max_size=6),
    piece_length=st.sampled_from([1 << 14, 1 << 15, 10_001]),
    threads=st.integers(1, 4),
)
def test_it_is_sha1_of_the_stream(tmp_path_factory, sizes, piece_length, threads):
    folder = tmp_path_factory.mktemp("f")
    files, stream = [], b""
    for index, size in enumerate(sizes):
        path = folder / str(index)
        path.write_bytes(data := os.urandom(size))
        files.append((path, size))
        stream += data
    pieces = (stream[at : at + piece_length] for at in range(0, len(stream), piece_length))
    expected = b"".join(sha1(piece).digest() for piece in pieces)
    progress = Progress()
    assert hash_files(files, piece_length, threads, progress).pieces == expected
    assert progress.done == len(stream)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(100_000))
    return path


@pytest.mark.parametrize("length", [99_999, 100_001])
def test_a_file_of_another_size_is_named(path, length):
    with pytest.raises(OSError, match="changed") as caught:
        hash_files([(path, length)], 1 << 14, 2)
    assert caught.value.filename == str(path)


def test_missing_files_are_named_even_empty_ones(path):
    gone = path.with_name("gone")
    for length in (0, 5):
        with pytest.raises(FileNotFoundError) as caught:
            hash_files([(path, 100_000), (gone, length)], 1 << 14, 2)
        assert caught.value.filename == str(gone)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX names")
def test_fs12_a_fifo_or_folder_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="fifo") as caught:
        hash_files([(tmp_path / "fifo", 5)], 1 << 14, 1)
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(IsADirectoryError):
        hash_files([(tmp_path, 5)], 1 << 14, 1)


def test_it_can_be_cancelled(path):
    progress = Progress()
    progress.cancel()
    with pytest.raises(OSError, match="ancel") as caught:
        hash_files([(path, 100_000)], 1 << 14, 2, progress)
    assert caught.value.errno == errno.ECANCELED


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    """It shrinks as soon as its first bytes have been read, and there are many more to come."""
    path = tmp_path / "data"
    size = 256 << 20
    with path.open("wb") as file:
        for _ in range(256):  # no holes, which would not be read
            file.write(b"x" * (1 << 20))
    progress = Progress()

    def shrink() -> None:
        while not progress.done:
            pass
        os.truncate(path, 1000)

    thread = threading.Thread(target=shrink)
    thread.start()
    try:
        with pytest.raises(OSError, match="changed") as caught:
            hash_files([(path, size)], 1 << 20, 2, progress)
    finally:
        progress.cancel()
        thread.join()
    assert caught.value.filename == str(path)


def sparse(path: Path, length: int, data: dict[int, bytes]) -> bytes:
    """Writes a file with holes around `data` (by offset). Returns what it reads as."""
    with path.open("wb") as file:
        for offset, part in data.items():
            file.seek(offset)
            file.write(part)
        file.truncate(length)
    return path.read_bytes()


@pytest.mark.parametrize("v2", [False, True])
def test_holes_have_the_hash_of_zeros(tmp_path, v2):
    """Of files with holes of all kinds: around data, at the start, at the end, all of it."""
    piece = 64 << 10
    contents = [
        sparse(tmp_path / "0", 40 * piece, {}),
        sparse(tmp_path / "1", 40 * piece + 5, {3 * piece: b"x", 20 * piece - 1: b"y" * 2 * piece}),
        sparse(tmp_path / "2", 7 * piece, {0: b"x", 7 * piece - 1: b"z"}),
        sparse(tmp_path / "3", 10, {}),
        sparse(tmp_path / "4", 100 * piece + 100, {99 * piece: b"x"}),
    ]
    files: list[tuple[Path | str, int]] = []
    for at, content in enumerate(contents):
        files.append((tmp_path / str(at), len(content)))
        if v2 and (gap := -len(content) % piece):
            files.append(("", gap))
    stream = b"".join(Path(path).read_bytes() if path else bytes(gap) for path, gap in files)
    progress = Progress()
    found = hash_files(files, piece, 2, progress, v2=v2)
    cut = range(0, len(stream), piece)
    assert found.pieces == b"".join(sha1(stream[at : at + piece]).digest() for at in cut)
    assert progress.done == sum(map(len, contents))
    if v2:
        roots = [reference.root(content) for content in contents]
        assert [root for root, (path, _) in zip(found.roots, files, strict=True) if path] == roots


def test_a_terabyte_of_holes_takes_a_moment(tmp_path):
    path = tmp_path / "data"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE):
            pytest.skip("this file system does not tell of holes")
    begun = time.monotonic()
    found = hash_files([(path, 1 << 40)], 16 << 20, 2)
    assert time.monotonic() - begun < 30  # less than one; reading it takes a quarter of an hour
    assert found.pieces == sha1(bytes(16 << 20)).digest() * (1 << 16)


@pytest.mark.parametrize("piece_length", [0, -1, 1 << 32])
def test_absurd_piece_lengths(path, piece_length):
    with pytest.raises((ValueError, OverflowError)):
        hash_files([(path, 100_000)], piece_length, 1)
