"""Reads: frames as they go to a peer, from the cache or through a thread."""

from __future__ import annotations

import asyncio
import os
import select
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm import _native
from swarm.errors import StorageError

Request = tuple[int, int, int]


def pack(requests: list[Request]) -> bytes:
    return b"".join(struct.pack("<III", *request) for request in requests)


def frames(sample, requests: list[Request]) -> bytes:
    """What a naive sender would send."""
    return b"".join(
        struct.pack(">IBII", 9 + n, 7, piece, begin) + sample.pieces[piece][begin : begin + n]
        for piece, begin, n in requests
    )


def native(sample, dest, *, threads=1, read_memory=1 << 20):
    disk = _native.Disk(threads, read_memory)
    files = [(file.path, file.length) for file in sample.meta.files]
    return disk, disk.open(dest, files, sample.meta.piece_length, False)


def wait(disk, count=1):
    done = []
    while len(done) < count:
        assert select.select([disk], [], [], 10)[0]
        done += disk.drain()
    return done


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_frames_are_right_whatever_is_asked(data, sample, tmp_path):
    if not (tmp_path / "t").exists():
        sample.write(tmp_path)
    requests = []
    for _ in range(data.draw(st.integers(1, 12))):
        piece = data.draw(st.integers(0, len(sample.pieces) - 1))
        begin = data.draw(st.integers(0, len(sample.pieces[piece]) - 1))
        length = data.draw(st.integers(1, len(sample.pieces[piece]) - begin))
        requests.append((piece, begin, length))
    disk, storage = native(sample, tmp_path, threads=0)
    storage.read(1, pack(requests))
    ((_, kind, slot, length),) = disk.drain()
    assert kind == "read"
    assert length == len(slot)
    assert bytes(slot) == frames(sample, requests)


def test_what_is_cached_needs_no_thread(sample, tmp_path):
    sample.write(tmp_path)
    requests = [(piece, 0, 7_777) for piece in range(len(sample.pieces) - 1)]
    disk, storage = native(sample, tmp_path)
    slot = storage.read_cached(pack(requests))
    if slot is None:
        pytest.skip("this file system does not tell what is cached")
    assert bytes(slot) == frames(sample, requests)
    assert disk.drain() == []
    disk.close()


def test_more_requests_than_one_system_call_takes(make_sample, tmp_path):
    sample = make_sample({"a": 64 << 10})
    sample.write(tmp_path)
    requests = [(piece, at, 16) for piece in range(2) for at in range(0, 32 << 10, 16)]
    disk, storage = native(sample, tmp_path)
    storage.read(1, pack(requests))
    ((_, _, slot, _),) = wait(disk)
    assert bytes(slot) == frames(sample, requests)
    disk.close()


def test_reads_wait_for_memory_and_go_on_when_a_slot_drops(sample, tmp_path):
    sample.write(tmp_path)
    request = pack([(0, 0, 16384)])
    disk, storage = native(sample, tmp_path, read_memory=20_000)
    for job in range(3):
        storage.read(job, request)
    for job in range(3):
        (done,) = wait(disk)
        assert done[:2] == (job, "read")
        assert storage.read_cached(request) is None
        assert disk.drain() == []
        del done
    assert storage.read_cached(request) is not None
    disk.close()


def test_close_cancels_reads_that_wait_for_memory(sample, tmp_path):
    sample.write(tmp_path)
    disk, storage = native(sample, tmp_path, read_memory=1)
    storage.read(0, pack([(0, 0, 16384)]))
    (held,) = wait(disk)
    storage.read(1, pack([(0, 0, 16384)]))
    disk.close()
    ((job, kind, *_),) = disk.drain()
    assert (job, kind) == (1, "error")
    assert held[1] == "read"


@pytest.mark.parametrize(
    "requests",
    [
        b"",
        b"x" * 11,
        *(pack([r]) for r in [(99, 0, 1), (0, 0, 0), (0, 1, 2**15), (0, 2**32 - 1, 2)]),
    ],
)
def test_requests_out_of_range_are_refused(sample, tmp_path, requests):
    _, storage = native(sample, tmp_path, threads=0)
    with pytest.raises(ValueError, match="request"):
        storage.read(1, requests)
    with pytest.raises(ValueError, match="request"):
        storage.read_cached(requests)


async def test_fs06_a_truncated_file_is_an_error_and_never_zeros(disk, sample, tmp_path):
    sample.write(tmp_path)
    storage = disk.open(sample.meta, tmp_path, writable=False)
    answers: asyncio.Queue = asyncio.Queue()

    async def ask(piece):
        storage.read(pack([(piece, 0, 16384)]), lambda slot, n: answers.put_nowait(slot))
        return await answers.get()

    assert bytes(await ask(0)) == frames(sample, [(0, 0, 16384)])
    os.truncate(tmp_path / "t/a", 10_000)
    error = await ask(0)
    assert isinstance(error, StorageError)
    assert (error.path, error.operation) == (str(tmp_path / "t/a"), "read")
    assert bytes(await ask(3)) == frames(sample, [(3, 0, 16384)])
    good = await storage.check()
    assert good == bytes([0b0011_1111])


async def test_fs07_a_deleted_file_is_seen_by_a_check_and_by_a_sync(
    disk, sample, committer, tmp_path
):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    await committer.all(storage, sample)
    await storage.sync()
    assert storage.missing() == ()
    (tmp_path / "t/a").unlink()
    assert [file.path for file in storage.missing()] == [("t", "a")]
    await committer.piece(storage, sample, 0)
    with pytest.raises(StorageError) as caught:
        await storage.sync()
    assert caught.value.path == str(tmp_path / "t/a")
    assert await storage.check() == bytes([0b0011_1111])


async def test_fs07_a_replaced_file_is_read_anew_by_a_check(disk, sample, tmp_path):
    sample.write(tmp_path)
    storage = disk.open(sample.meta, tmp_path, writable=False)
    assert await storage.check() == b"\xff"
    other = tmp_path / "other"
    other.write_bytes(bytes(50_000))
    other.replace(tmp_path / "t/a")
    assert await storage.check() == bytes([0b0011_1111])


async def test_closing_answers_reads_that_are_under_way(sample, tmp_path):
    from swarm.store.disk import Disk

    sample.write(tmp_path)
    disk = Disk(threads=1, read_memory=1)
    disk.attach(asyncio.get_running_loop())
    storage = disk.open(sample.meta, tmp_path, writable=False)
    answers: asyncio.Queue = asyncio.Queue()
    storage.read(pack([(0, 0, 100)]), lambda slot, n: answers.put_nowait(slot))
    held = await answers.get()
    storage.read(pack([(0, 0, 100)]), lambda slot, n: answers.put_nowait(slot))
    await storage.close()
    assert isinstance(answers.get_nowait(), StorageError)
    assert len(held) == 113
    disk.close()
    assert answers.empty()
