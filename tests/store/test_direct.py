"""Direct writes: whole pages pass the page cache by, and the bytes are the same either way."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import sys
import tempfile
from mmap import ACCESS_COPY, mmap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm import _native
from swarm.errors import StorageError
from swarm.store.disk import Disk
from swarm.store.storage import Verdict

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has direct writes")
PAGE = 4096
MIB = 1 << 20


def cached(path: Path) -> list[bool]:
    """Of each page of a file, whether it is in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_COPY) as pages:
        start = ctypes.c_char.from_buffer(pages)
        said = (ctypes.c_ubyte * -(-len(pages) // PAGE))()
        code = libc.mincore(ctypes.byref(start), ctypes.c_size_t(len(pages)), said)
        del start
    assert code == 0, os.strerror(ctypes.get_errno())
    return [bool(state & 1) for state in said]


def takes_direct(folder: Path) -> None:
    """Skips where the file system does not."""
    path = folder / "probe"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system takes no direct writes")
    path.unlink()


async def fetch(sample, committer, dest: Path, direct, order=None) -> None:
    """Commits all pieces one after the other, and syncs."""
    disk = Disk(threads=1, read_memory=MIB, direct=direct)
    disk.attach(asyncio.get_running_loop())
    storage = disk.open(sample.meta, dest, writable=True)
    for piece in order or range(len(sample.pieces)):
        assert await committer.piece(storage, sample, piece) is Verdict.VERIFIED
    await storage.sync()
    await storage.close()
    disk.close()


@linux
async def test_long_stretches_pass_the_page_cache_by(make_sample, committer, ext4):
    sample = make_sample({"a": 3 * MIB}, piece_length=MIB)
    await fetch(sample, committer, ext4, "auto")
    assert not any(cached(ext4 / "t/a"))
    assert sample.on_disk(ext4) == sample.data


@linux
@pytest.mark.parametrize(("direct", "piece"), [("never", MIB), ("auto", 128 << 10)])
async def test_short_ones_go_through_it(make_sample, committer, ext4, direct, piece):
    sample = make_sample({"a": 3 * MIB}, piece_length=piece)
    await fetch(sample, committer, ext4, direct)
    assert all(cached(ext4 / "t/a"))


@linux
def test_small_pieces_that_follow_each_other_are_one_stretch(make_sample, ext4):
    """Those that come together and are right; the last one of the file has a page of its own."""
    piece = 64 << 10
    sample = make_sample({"a": 15 * piece + 5000}, piece_length=piece)
    files = [(file.path, file.length) for file in sample.meta.files]
    disk, pool = _native.Disk(0, MIB), _native.Pool(2 * MIB)
    storage = disk.open(ext4, files, piece, True)
    order = [7, 2, 3, 1, 0, 5, 4, 9, 15, 12, 11, 14, 13, 10, 8]  # and 6 is wrong
    for index in [*order, 6]:
        data = sample.pieces[index] if index != 6 else bytes(piece)
        slot = pool.checkout(len(data))
        memoryview(slot)[:] = data
        storage.commit(index, index, 0, slot, len(data), sample.sums[index])
    assert {entry[0] for entry in disk.drain() if entry[1] == "verified"} == set(order)
    path = ext4 / "t/a"
    missing = range(6 * piece // PAGE, 7 * piece // PAGE)
    there = [state for page, state in enumerate(cached(path)) if page not in missing]
    assert there[-1]
    assert not any(there[:-1])
    got = path.read_bytes()
    assert got[: 6 * piece] + sample.pieces[6] + got[7 * piece :] == sample.data


@linux
async def test_always_means_all_whole_pages(make_sample, committer, ext4):
    """A page that two pieces share goes through the cache, and so does the last one of the file."""
    piece = 5 * PAGE + 500
    sample = make_sample({"a": 4 * piece + 100}, piece_length=piece)
    await fetch(sample, committer, ext4, "always", [2, 0, 4, 1, 3])
    shared = {at // PAGE for at in range(piece, 4 * piece + 100, piece)}
    pages = cached(ext4 / "t/a")
    assert {page for page, is_cached in enumerate(pages) if is_cached} == shared
    assert sample.on_disk(ext4) == sample.data


@linux
async def test_files_may_begin_anywhere(make_sample, committer, ext4):
    """The bytes of each piece lie in memory like those of the file that has most of it."""
    sizes = {"x": 1001, "a": 3 * MIB + 7, "b": 2 * MIB, "c": 10}
    sample = make_sample(sizes, piece_length=MIB)
    await fetch(sample, committer, ext4, "auto")
    ends = {"a": {255, 511, 767, 768}, "b": {255, 511}}
    for name, expected in ends.items():
        pages = cached(ext4 / "t" / name)
        assert {page for page, is_cached in enumerate(pages) if is_cached} == expected
    assert sample.on_disk(ext4) == sample.data


@linux
@pytest.mark.parametrize("direct", ["auto", "always"])
@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
async def test_where_it_is_refused_it_is_not_missed(make_sample, committer, request, kind, direct):
    """tmpfs offers no direct writes, an overlay those of what is below it."""
    dest = request.getfixturevalue(kind)
    sample = make_sample({"a": 2 * MIB, "b": 100_001, "c": MIB}, piece_length=MIB)
    await fetch(sample, committer, dest, direct)
    assert sample.on_disk(dest) == sample.data


@linux
@pytest.mark.parametrize("direct", ["auto", "always"])
async def test_a_fuse_file_system_gets_the_same_bytes(make_sample, committer, faulty, direct):
    """It does not offer direct writes; whether it takes them is its own affair."""
    sample = make_sample({"a": 2 * MIB, "b": 100_001}, piece_length=MIB)
    await fetch(sample, committer, faulty.folder, direct)
    assert sample.on_disk(faulty.folder) == sample.data


@linux
async def test_a_file_replaced_while_open_is_left_alone(make_sample, committer, ext4):
    """Both descriptors are of one file, whatever its name means by now, and the sync says so."""
    sample = make_sample({"a": 2 * MIB}, piece_length=MIB)
    disk = Disk(threads=1, read_memory=MIB, direct="auto")
    disk.attach(asyncio.get_running_loop())
    storage = disk.open(sample.meta, ext4, writable=True)
    first = ext4 / "first"
    opened = await committer.part(storage, 0, 0, sample.data[:100], None)
    assert opened is Verdict.WRITTEN
    storage.forget(0)
    (ext4 / "t/a").rename(first)
    (ext4 / "t/a").write_bytes(b"another")
    for piece in range(2):
        assert await committer.piece(storage, sample, piece) is Verdict.VERIFIED
    assert (ext4 / "t/a").read_bytes() == b"another"
    assert first.read_bytes() == sample.data
    first.unlink()
    with pytest.raises(StorageError, match="No such file"):
        await storage.sync()
    disk.close()


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="auto, always or never"):
        _native.Disk(0, 1, "perhaps")


@linux
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(
        st.one_of(st.integers(0, 30_000), st.integers(0, 6).map(lambda n: n * PAGE)),
        min_size=1,
        max_size=6,
    ),
    piece_length=st.one_of(st.integers(1_000, 50_000), st.integers(1, 10).map(lambda n: n * PAGE)),
    part=st.one_of(st.integers(8, 300).map(lambda n: n * 64), st.just(2 * PAGE)),
    aligned=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_bytes_are_the_same_either_way(
    make_sample, tmp_path, lengths, piece_length, part, aligned, seed
):
    """Whatever the sizes, the parts and their order; twice over what is there already."""
    takes_direct(tmp_path)
    if not sum(lengths):
        return
    sample = make_sample({f"{n}": length for n, length in enumerate(lengths)}, piece_length, seed)
    files = [(file.path, file.length) for file in sample.meta.files]
    pool = _native.Pool(64 * MIB)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        for direct in ("always", "never", "always"):
            disk = _native.Disk(rng.choice([0, 1, 3]), MIB, direct)
            storage = disk.open(folder, files, piece_length, True)
            for piece in rng.sample(range(len(sample.pieces)), len(sample.pieces)):
                data = sample.pieces[piece]
                for at in range(0, len(data), part):
                    now = data[at : at + part]
                    slot = pool.checkout(len(now))
                    if aligned:
                        storage.align(slot, piece, at)
                    memoryview(slot)[:] = now
                    last = at + part >= len(data)
                    digest = sample.sums[piece] if last else None
                    storage.commit(piece, piece, at, slot, len(now), digest)
            done = disk.drain()
            disk.close()
            done += disk.drain()
            assert {entry[1] for entry in done} <= {"written", "verified"}
            assert sum(entry[1] == "verified" for entry in done) == len(sample.pieces)
            assert sample.on_disk(Path(folder)) == sample.data
