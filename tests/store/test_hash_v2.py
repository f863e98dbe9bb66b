"""Version 2 hashes (BEP 52): made and checked as a plain reference says."""

from __future__ import annotations

import importlib.util
import os
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm._native import Disk, hash_files

_spec = importlib.util.spec_from_file_location(
    "reference_merkle", Path(__file__).parents[1] / "reference" / "merkle.py"
)
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

KIB = 1024
SIZES = st.one_of(
    st.integers(0, 300 * KIB),
    st.builds(
        lambda leaves, more: max(0, leaves * 16 * KIB + more),
        st.integers(0, 20),
        st.integers(-1, 1),
    ),
)


def layout(folder: Path, sizes: list[int], piece_length: int) -> tuple[list, list[bytes]]:
    """Files of random bytes, and the pads between them: (path, length), and their bytes."""
    files, contents = [], []
    for index, size in enumerate(sizes):
        path = folder / str(index)
        path.write_bytes(data := os.urandom(size))
        files.append((path, size))
        contents.append(data)
        if pad := -size % piece_length:
            files.append(("", pad))
            contents.append(bytes(pad))
    return files, contents


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(SIZES, min_size=1, max_size=6),
    piece_length=st.sampled_from([16 * KIB, 32 * KIB, 256 * KIB]),
    threads=st.integers(1, 3),
    v1=st.booleans(),
)
def test_roots_and_layers_are_those_of_the_reference(
    tmp_path_factory, sizes, piece_length, threads, v1
):
    files, contents = layout(tmp_path_factory.mktemp("f"), sizes, piece_length)
    found = hash_files(files, piece_length, threads, v1=v1, v2=True)
    expected = [
        b"" if not path else reference.root(data)
        for (path, _), data in zip(files, contents, strict=True)
    ]
    assert found.roots == expected
    expected = [
        b"" if not path else reference.layer(data, piece_length)
        for (path, _), data in zip(files, contents, strict=True)
    ]
    assert found.layers == expected
    stream = b"".join(contents)
    pieces = [stream[at : at + piece_length] for at in range(0, len(stream), piece_length)]
    assert found.pieces == b"".join(sha1(piece).digest() for piece in pieces) * v1


def test_a_file_of_many_pieces(tmp_path):
    """More pieces than lanes, and a tree whose right side is all filling."""
    (tmp_path / "a").write_bytes(data := os.urandom(33 * 64 * KIB - 40_000))
    found = hash_files([(tmp_path / "a", len(data))], 64 * KIB, 2, v1=False, v2=True)
    assert found.roots == [reference.root(data)]
    assert found.layers == [reference.layer(data, 64 * KIB)]


def test_version_2_wants_its_layout(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(20_000))
    for piece_length in (8 * KIB, 48 * KIB):
        with pytest.raises(ValueError, match="power of two"):
            hash_files([(path, 20_000)], piece_length, 1, v2=True)
    with pytest.raises(ValueError, match="pad"):
        hash_files([(path, 20_000), (path, 20_000)], 32 * KIB, 1, v2=True)
    with pytest.raises(ValueError, match="pad"):
        hash_files([(path, 20_000), ("", 5), (path, 20_000)], 32 * KIB, 1, v2=True)


def checked(root: Path, files: list, piece_length: int, digests: bytes) -> list[bool]:
    """Check all pieces of `files`, which lie in `root` under their own names."""
    disk = Disk(0, 1)
    paths = [([Path(path).name] if path else [], length) for path, length in files]
    count = len(digests) // 32
    todo = ((1 << count) - 1 << -count % 8).to_bytes((count + 7) // 8, "big")
    disk.open(root, paths, piece_length, False).check(1, digests, todo)
    completions = disk.drain()
    assert completions.pop() == (1, "check-done")
    good = [False] * count
    for _, _, first, bits, pieces in completions:
        for index in range(pieces):
            good[first + index] = bool(bits[index // 8] & 0x80 >> index % 8)
    return good


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(SIZES, min_size=1, max_size=4),
    piece_length=st.sampled_from([16 * KIB, 64 * KIB]),
    data=st.data(),
)
def test_a_check_finds_exactly_what_is_damaged(tmp_path_factory, sizes, piece_length, data):
    folder = tmp_path_factory.mktemp("f")
    files, contents = layout(folder, sizes, piece_length)
    nodes = [
        reference.pieces(content, piece_length) if path else []
        for (path, _), content in zip(files, contents, strict=True)
    ]
    digests = b"".join(node for file in nodes for node in file)
    count = len(digests) // 32
    assert checked(folder, files, piece_length, digests) == [True] * count
    if not count:
        return
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=3))
    first = 0
    for (path, length), file in zip(files, nodes, strict=True):
        for piece in range(first, first + len(file)):
            if piece in bad:
                start = (piece - first) * piece_length
                at = data.draw(st.integers(start, min(start + piece_length, length) - 1))
                content = bytearray(path.read_bytes())
                content[at] ^= 1
                path.write_bytes(content)
        first += len(file)
    expected = [piece not in bad for piece in range(count)]
    assert checked(folder, files, piece_length, digests) == expected


def test_digests_of_a_wrong_length_are_refused(tmp_path):
    storage = Disk(0, 1).open(tmp_path, [(["a"], 100 * KIB)], 16 * KIB, False)
    for length in (7 * 32 - 1, 8 * 32, 6 * 32, 7 * 26):
        with pytest.raises(ValueError, match="digests"):
            storage.check(1, bytes(length), b"\xfe")
    storage = Disk(0, 1).open(tmp_path, [(["a"], 1), (["b"], 1)], 16 * KIB, False)
    with pytest.raises(ValueError, match="pad"):
        storage.check(1, bytes(32), b"\x80")
