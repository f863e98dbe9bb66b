"""What files are given of the disk, and whether what is to come fits."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import subprocess
import sys
from hashlib import sha1

import pytest

from swarm import _native
from swarm.errors import DiskFull, StorageError
from swarm.store import space
from swarm.store.disk import Disk
from swarm.store.places import Places
from swarm.store.storage import Verdict

from .conftest import image

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def blocks(path) -> int:
    """Bytes that a file takes on the disk."""
    return os.stat(path).st_blocks * 512


def opened(sample, dest, allocation="sparse", direct="auto"):
    disk = Disk(threads=1, read_memory=MIB, allocation=allocation, direct=direct)
    disk.attach(asyncio.get_running_loop())
    return disk, disk.open(sample.meta, dest, writable=True)


@pytest.mark.parametrize(("allocation", "size"), [("none", 64 * KIB), ("sparse", 3 * MIB)])
async def test_a_file_has_its_length_from_the_first_write_on_or_grows(
    make_sample, committer, tmp_path, allocation, size
):
    sample = make_sample({"a": 3 * MIB, "b": 100_000})
    disk, storage = opened(sample, tmp_path, allocation)
    assert await committer.piece(storage, sample, 1) is Verdict.VERIFIED
    assert (tmp_path / "t/a").stat().st_size == size
    assert not (tmp_path / "t/b").exists()
    assert set(await committer.all(storage, sample)) == {Verdict.VERIFIED}
    assert sample.on_disk(tmp_path) == sample.data
    disk.close()


@linux
async def test_sparse_files_take_what_was_written(make_sample, committer, ext4):
    sample = make_sample({"a": 3 * MIB})
    disk, storage = opened(sample, ext4)
    await committer.piece(storage, sample, 1)
    await storage.sync()
    assert blocks(ext4 / "t/a") <= 128 * KIB
    disk.close()


@linux
async def test_full_files_have_their_space_before_anything_is_written(make_sample, committer, ext4):
    sample = make_sample({"a": 2 * MIB, "dir/b": 500_000, "c": MIB, "empty": 0})
    disk, storage = opened(sample, ext4, "full", "always")
    await storage.allocate([0, 1, 3])
    assert blocks(ext4 / "t/a") >= 2 * MIB
    assert blocks(ext4 / "t/dir/b") >= 500_000
    assert not (ext4 / "t/c").exists()
    assert await storage.check() == bytes(-(-sample.meta.piece_count // 8))
    assert set(await committer.all(storage, sample)) == {Verdict.VERIFIED}
    await storage.allocate([0, 1, 2])
    assert sample.on_disk(ext4) == sample.data
    disk.close()


@linux
async def test_space_that_is_not_there_cannot_be_reserved(make_sample, tmpfs):
    sample = make_sample({"a": MIB})
    disk = Disk(threads=1, read_memory=MIB)
    disk.attach(asyncio.get_running_loop())
    (tmpfs / "other").write_bytes(bytes(64 * MIB - 100 * KIB))
    storage = disk.open(sample.meta, tmpfs, writable=True)
    with pytest.raises(DiskFull) as caught:
        await storage.allocate([0])
    assert (caught.value.operation, caught.value.path) == ("allocate", str(tmpfs / "t/a"))
    assert caught.value.needed is None
    disk.close()


@pytest.fixture
def old(tmp_path):
    """A file system that cannot reserve space, nor hold files above 16 GiB."""
    yield from image(tmp_path / "old", "ext4", "-q", "-F", "-b", "1024", "-O", "^extent,^64bit")


@linux
async def test_a_file_system_that_cannot_reserve_space_says_so(make_sample, old):
    sample = make_sample({"a": MIB})
    disk, storage = opened(sample, old)
    with pytest.raises(StorageError, match="cannot reserve space") as caught:
        await storage.allocate([0])
    assert (caught.value.errno, caught.value.operation) == (errno.EOPNOTSUPP, "allocate")
    disk.close()


@linux
async def test_fs13_a_file_too_large_for_its_file_system_is_found_at_the_first_write(old):
    disk = _native.Disk(0, MIB)
    storage = disk.open(old, [(["a"], 20 * GIB)], MIB, True)
    slot = _native.Pool(MIB).checkout(MIB)
    storage.commit(1, 0, 0, slot, MIB, sha1(slot).digest())
    assert disk.drain() == [(1, "error", errno.EFBIG, 0, 0, "open")]


@linux
@pytest.mark.parametrize("direct", ["always", "never"])
def test_files_above_4_gib(tmp_path, direct):
    """Sparse ones, across the file boundary, and across what 32 bits hold."""
    first, size = 5 * GIB + 12_345, MIB
    disk = _native.Disk(0, 8 * MIB, direct)
    files = [(["a"], first), (["b"], 6 * GIB)]
    storage = disk.open(tmp_path, files, size, True)
    pool = _native.Pool(8 * MIB)
    pieces = {}
    for piece in (0, 4 * 1024 - 1, 4 * 1024, 5 * 1024, 11 * 1024 - 1):
        memoryview(slot := pool.checkout(size))[:] = pieces[piece] = os.urandom(size)
        storage.commit(piece, piece, 0, slot, size, sha1(slot).digest())
    assert {entry[1] for entry in disk.drain()} == {"verified"}
    storage.close()
    storage = disk.open(tmp_path, files, size, False)
    for piece, data in pieces.items():
        storage.read(0, struct.pack("<III", piece, 1, size - 1))
        ((_, kind, slot, _),) = disk.drain()
        assert kind == "read"
        assert bytes(slot)[13:] == data[1:]
    assert [(tmp_path / name).stat().st_size for name in "ab"] == [first, 6 * GIB]
    assert blocks(tmp_path / "a") + blocks(tmp_path / "b") < 10 * MIB


def test_what_does_not_fit_is_said_before(make_sample, tmpfs):
    sample = make_sample({"a": 3 * MIB, "dir/b": 2 * MIB}, piece_length=MIB)
    dest = tmpfs / "to/be/made"
    places = Places(sample.meta.files, dest)
    (tmpfs / "other").write_bytes(bytes(60 * MIB))
    space.require(sample.meta.files, places, {0: 3 * MIB})
    with pytest.raises(DiskFull, match=r"5\.0 MiB .* 4\.0 MiB are free, 1\.0 MiB") as caught:
        space.require(sample.meta.files, places, {0: 3 * MIB, 1: 2 * MIB})
    error = caught.value
    assert (error.needed, error.free) == (5 * MIB, 4 * MIB)
    assert (error.errno, error.path) == (errno.ENOSPC, str(dest))


def test_what_lies_on_the_disk_needs_no_space(make_sample, tmpfs):
    """Bad bytes are written over, under whatever name the file has; a hole is still to be filled."""
    sample = make_sample({"a": 3 * MIB, "b": 2 * MIB}, piece_length=MIB)
    places = Places(sample.meta.files, tmpfs)
    (tmpfs / "t").mkdir()
    (tmpfs / "t/a.part").write_bytes(bytes(2 * MIB))
    os.truncate(tmpfs / "t/a.part", 3 * MIB)
    (tmpfs / "other").write_bytes(bytes(60 * MIB))
    needed = {0: 3 * MIB, 1: 2 * MIB}
    with pytest.raises(DiskFull) as caught:
        space.require(sample.meta.files, places, needed)
    assert caught.value.needed == 3 * MIB
    (tmpfs / "t/b").write_bytes(bytes(MIB))
    space.require(sample.meta.files, places, {0: 3 * MIB})


@pytest.mark.skipif(sys.platform == "win32", reason="has no such folders")
def test_where_nothing_can_be_written_is_said_before(make_sample, tmp_path, tmpfs):
    sample = make_sample({"a": MIB, "dir/b": MIB}, piece_length=MIB)
    (tmp_path / "file").write_bytes(b"")

    def refused(dest):
        with pytest.raises(StorageError) as caught:
            space.require(sample.meta.files, Places(sample.meta.files, dest), {0: MIB, 1: MIB})
        assert str(dest) in str(caught.value)
        return caught.value.errno

    assert refused(tmp_path / "file") == errno.ENOTDIR
    assert refused(tmp_path / "file/below") == errno.ENOTDIR
    (tmp_path / "link").symlink_to("nowhere")
    assert refused(tmp_path / "link") == errno.ENOTDIR
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)
    assert refused(tmpfs) == errno.EROFS
    assert refused(tmpfs / "below") == errno.EROFS
