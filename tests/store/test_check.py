"""Checks: every piece is judged by what is on the disk, and by nothing else."""

from __future__ import annotations

import asyncio
import os
from hashlib import sha1

import pytest

from swarm._native import Disk as NativeDisk
from swarm.errors import StorageError
from swarm.proto.metainfo import Metainfo
from swarm.store.disk import Disk


async def test_good_bad_missing_and_short(disk, sample, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=False)
    assert await storage.check() == bytes(1)
    assert list(tmp_path.iterdir()) == []
    sample.write(tmp_path)
    assert await storage.check() == b"\xff"
    path = tmp_path / "t/dir/sub/c"
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1  # stream offset 150,010: piece 4
    path.write_bytes(data)
    os.truncate(tmp_path / "t/d", 7_776)  # the last byte of piece 7
    (tmp_path / "t/dir/b").unlink()  # in piece 1
    assert await storage.check() == bytes([0b1011_0110])


async def test_only_what_is_asked_and_progress_counts_it(make_sample, disk, tmp_path):
    sample = make_sample({"a": 1_000_000}, piece_length=16 << 10)
    sample.write(tmp_path)
    storage = disk.open(sample.meta, tmp_path, writable=False)
    seen = []
    todo = bytes([0x01, 0xFF, 0, 0, 0b1010_1010, 0, 0, 0b0000_0100])
    good = await storage.check(todo, lambda *progress: seen.append(progress))
    assert good == todo
    assert seen[-1] == (14, 14)
    assert [checked for checked, _ in seen] == sorted({checked for checked, _ in seen})
    assert await storage.check(bytes(8)) == bytes(8)


async def test_holes_are_judged_as_the_zeros_that_they_read_as(disk, tmp_path):
    """FS-19: a hole is right where the torrent has zeros, and wrong everywhere else."""
    piece = 32 << 10
    data = bytearray(40 * piece)
    for at in (0, 5, 6, 30):
        data[at * piece : at * piece + 4] = b"data"
    hashes = b"".join(sha1(data[at : at + piece]).digest() for at in range(0, len(data), piece))
    meta = Metainfo.build(
        name="f",
        files=[(("f",), len(data))],
        single_file=True,
        piece_length=piece,
        piece_hashes=hashes,
    )
    with (tmp_path / "f").open("wb") as file:
        for at in (5, 30):
            file.seek(at * piece)
            file.write(b"data")
        file.truncate(len(data))
    storage = disk.open(meta, tmp_path, writable=False)
    good = int.from_bytes(await storage.check(), "big")
    assert [at for at in range(40) if not good >> (39 - at) & 1] == [0, 6]
    await storage.close()


async def test_a_check_can_be_cancelled(make_sample, tmp_path):
    sample = make_sample({"a": 24 << 20}, piece_length=1 << 20)
    sample.write(tmp_path)
    disk = Disk(threads=1, read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    storage = disk.open(sample.meta, tmp_path, writable=False)
    started = asyncio.Event()
    task = asyncio.create_task(storage.check(None, lambda done, total: started.set()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await storage.close()
    disk.close()


async def test_a_progress_that_raises_ends_the_check(disk, sample, tmp_path):
    def progress(done, total):
        raise LookupError("a bug")

    storage = disk.open(sample.meta, tmp_path, writable=False)
    with pytest.raises(LookupError):
        await storage.check(None, progress)
    await storage.close()


def test_a_check_does_not_starve_commits(make_sample, tmp_path):
    large = make_sample({"a": 64 << 20}, piece_length=1 << 20)
    large.write(tmp_path)
    small = make_sample({"b": 16 << 10})
    disk = Disk(threads=1, read_memory=1 << 20)
    native: NativeDisk = disk._native
    checking = native.open(tmp_path, [(["t", "a"], 64 << 20)], 1 << 20, False)
    storage = native.open(tmp_path, [(["t", "b"], 16 << 10)], 32 << 10, True)
    checking.check(0, b"".join(large.sums), bytes([255] * 8))
    from swarm._native import Pool

    slot = Pool(1 << 20).checkout(16 << 10)
    memoryview(slot)[:] = small.data
    storage.commit(1, 0, 0, slot, 16 << 10, small.sums[0])
    native.close()  # cancels what is left of the check, after what was queued
    done = native.drain()
    at = done.index((1, "verified", 0))
    assert sum(entry[1] == "checked" for entry in done[:at]) <= 2


async def test_wrong_arguments_are_refused(sample, tmp_path):
    native = NativeDisk(0, 1).open(tmp_path, [(["a"], 100)], 16, False)
    with pytest.raises(ValueError, match="digests"):
        native.check(1, bytes(20), b"\xfe")
    with pytest.raises(ValueError, match="todo"):
        native.check(1, bytes(140), b"\xfe\x00")


async def test_a_closed_disk_checks_nothing(sample, tmp_path):
    disk = Disk(threads=1, read_memory=1)
    storage = disk.open(sample.meta, tmp_path, writable=False)
    disk.close()
    with pytest.raises(ValueError, match="closed"):
        await storage.check()


async def test_a_piece_larger_than_a_read(make_sample, disk, tmp_path):
    sample = make_sample({"a": 300_000, "b": 1, "c": 700_001}, piece_length=1 << 19)
    sample.write(tmp_path)
    storage = disk.open(sample.meta, tmp_path, writable=False)
    assert await storage.check() == b"\xc0"


async def test_an_unreadable_file_is_an_error_that_names_it(disk, sample, tmp_path):
    sample.write(tmp_path)
    (tmp_path / "t/d").unlink()
    (tmp_path / "t/d").mkdir()
    storage = disk.open(sample.meta, tmp_path, writable=False)
    with pytest.raises(StorageError) as caught:
        await storage.check()
    assert caught.value.path == str(tmp_path / "t/d")
