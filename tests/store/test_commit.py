"""Commits: hashed in order, written once, reported once."""

from __future__ import annotations

import asyncio
import errno
import random
import select
from hashlib import sha1

import pytest

from swarm import _native
from swarm.errors import StorageError
from swarm.store.disk import Disk
from swarm.store.storage import Verdict


async def test_all_pieces_arrive_in_all_files(disk, sample, committer, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    assert set(await committer.all(storage, sample)) == {Verdict.VERIFIED}
    assert sample.on_disk(tmp_path) == sample.data
    assert (tmp_path / "t/dir/empty").read_bytes() == b""
    assert committer.pool.in_use == 0
    await storage.close()


async def test_a_wrong_piece_of_one_part_is_not_written(disk, sample, committer, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    wrong = bytes(len(sample.pieces[0]))
    assert await committer.part(storage, 0, 0, wrong, sample.sums[0]) is Verdict.FAILED
    assert not (tmp_path / "t/a").exists()
    assert await committer.piece(storage, sample, 0) is Verdict.VERIFIED


async def test_parts_are_hashed_in_order_on_many_threads(make_sample, committer, tmp_path):
    sample = make_sample({"a": 1 << 20, "b": 500_001}, piece_length=256 << 10)
    disk = Disk(threads=4, read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    storage = disk.open(sample.meta, tmp_path, writable=True)
    jobs = []
    for step in range(0, 256 << 10, 9984):  # the parts of all pieces, interleaved
        for piece, data in enumerate(sample.pieces):
            part = data[step : step + 9984]
            last = step + 9984 >= len(data)
            if part:
                digest = sample.sums[piece] if last else None
                jobs.append(committer.part(storage, piece, step, part, digest))
    verdicts = await asyncio.gather(*jobs)
    assert verdicts.count(Verdict.VERIFIED) == len(sample.pieces)
    assert verdicts.count(Verdict.WRITTEN) == len(jobs) - len(sample.pieces)
    assert sample.on_disk(tmp_path) == sample.data
    disk.close()


async def test_a_part_may_not_end_within_a_block_of_the_hash(disk, sample, committer, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    await committer.part(storage, 0, 0, sample.pieces[0][:1000], None)
    with pytest.raises(ValueError, match="block of the hash"):
        await committer.part(storage, 0, 1000, sample.pieces[0][1000:], sample.sums[0])


async def test_a_wrong_part_fails_the_piece_and_it_can_start_again(
    disk, sample, committer, tmp_path
):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    data, digest = sample.pieces[0], sample.sums[0]
    half = len(data) // 2
    assert await committer.part(storage, 0, 0, bytes(half), None) is Verdict.WRITTEN
    assert await committer.part(storage, 0, half, data[half:], digest) is Verdict.FAILED
    assert await committer.part(storage, 0, 0, data[:half], None) is Verdict.WRITTEN
    assert await committer.part(storage, 0, half, data[half:], digest) is Verdict.VERIFIED


async def test_a_forgotten_piece_starts_again(disk, sample, committer, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    await committer.part(storage, 0, 0, bytes(1024), None)
    storage.forget(0)
    storage.forget(1)
    assert await committer.piece(storage, sample, 0) is Verdict.VERIFIED


async def test_every_commit_gets_one_answer_when_it_is_forgotten(disk, make_sample, tmp_path):
    sample = make_sample({"a": 4 << 20}, piece_length=4 << 20)
    storage = disk.open(sample.meta, tmp_path, writable=True)
    pool = _native.Pool(8 << 20)
    answers = []
    for part in range(63):
        slot = pool.checkout(64 << 10)
        storage.commit(0, part << 16, slot, 64 << 10, None, answers.append)
    storage.forget(0)
    await storage.close()
    assert len(answers) == 63
    assert all(a is Verdict.WRITTEN or isinstance(a, StorageError) for a in answers)


@pytest.mark.parametrize(
    ("piece", "offset", "length", "last"),
    [
        (0, 0, 32 << 10, False),  # a last part without a digest
        (0, 0, 100, True),  # a digest too early
        (0, 100, 100, False),  # a gap, and within a block of the hash
        (0, 0, 0, False),  # nothing
        (0, 0, (32 << 10) + 1, True),  # more than the slot has
        (8, 0, 100, False),  # no such piece
        (0, 2**32 - 1, 100, False),
    ],
)
async def test_parts_that_make_no_sense_are_refused(
    disk, sample, tmp_path, piece, offset, length, last
):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    slot = _native.Pool(1 << 20).checkout(32 << 10)
    with pytest.raises(ValueError, match=r"part|digest|slot"):
        storage.commit(piece, offset, slot, length, sample.sums[0] if last else None, print)
    await storage.close()
    assert not (tmp_path / "t").exists()


async def test_a_read_only_storage_takes_no_commits(disk, sample, committer, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=False)
    with pytest.raises(ValueError, match="reading only"):
        await committer.piece(storage, sample, 0)
    await storage.sync()
    assert list(tmp_path.iterdir()) == []


async def test_a_longer_file_is_cut_when_it_is_written(disk, sample, committer, tmp_path):
    path = tmp_path / "t/a"
    path.parent.mkdir()
    path.write_bytes(bytes(60_000))
    storage = disk.open(sample.meta, tmp_path, writable=True)
    await committer.all(storage, sample)
    assert sample.on_disk(tmp_path) == sample.data


def test_one_wake_up_for_a_batch(sample, tmp_path):
    disk = _native.Disk(1, 1 << 20)
    files = [(file.path, file.length) for file in sample.meta.files]
    storage = disk.open(tmp_path, files, sample.meta.piece_length, True)
    pool = _native.Pool(1 << 20)
    for piece, data in enumerate(sample.pieces):
        slot = pool.checkout(len(data))
        memoryview(slot)[:] = data
        storage.commit(piece, piece, 0, slot, len(data), sample.sums[piece])
    disk.close()
    assert select.select([disk], [], [], 0)[0]
    done = disk.drain()
    assert done == [(piece, "verified", piece) for piece in range(len(sample.pieces))]
    assert not select.select([disk], [], [], 0)[0]
    assert disk.drain() == []


def test_without_threads_jobs_run_inside_drain(sample, tmp_path):
    disk = Disk(threads=0, read_memory=1 << 20)
    storage = disk.open(sample.meta, tmp_path, writable=True)
    pool = _native.Pool(1 << 20)
    slot = pool.checkout(len(sample.pieces[1]))
    memoryview(slot)[:] = sample.pieces[1]
    verdicts = []
    storage.commit(1, 0, slot, len(slot), sample.sums[1], verdicts.append)
    assert not (tmp_path / "t").exists()
    assert select.select([disk], [], [], 0)[0]
    disk.drain()
    assert verdicts == [Verdict.VERIFIED]
    disk.close()


def test_close_finishes_what_is_queued_and_refuses_more(make_sample, tmp_path):
    sample = make_sample({"a": 2 << 20})
    disk = Disk(threads=1, read_memory=1 << 20)
    storage = disk.open(sample.meta, tmp_path, writable=True)
    pool = _native.Pool(4 << 20)
    verdicts = []
    for piece, data in enumerate(sample.pieces):
        slot = pool.checkout(len(data))
        memoryview(slot)[:] = data
        storage.commit(piece, 0, slot, len(data), sha1(data).digest(), verdicts.append)
    disk.close()
    disk.close()
    assert verdicts == [Verdict.VERIFIED] * len(sample.pieces)
    slot = pool.checkout(len(sample.pieces[0]))
    with pytest.raises(ValueError, match="closed"):
        storage.commit(0, 0, slot, len(slot), sample.sums[0], print)
    assert sample.on_disk(tmp_path) == sample.data


async def test_a_callback_that_raises_harms_no_other(disk, sample, committer, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    disk.detach()
    verdicts = []

    def bad(verdict):
        raise RuntimeError("a bug in a callback")

    for piece in range(3):
        slot = committer.pool.checkout(len(sample.pieces[piece]))
        memoryview(slot)[:] = sample.pieces[piece]
        done = verdicts.append if piece else bad
        storage.commit(piece, 0, slot, len(slot), sample.sums[piece], done)
    with pytest.raises(RuntimeError, match="a bug"):
        disk.close()
    assert verdicts == [Verdict.VERIFIED] * 2


async def test_pad_files_are_zeros_and_never_on_the_disk(tmp_path):
    disk = _native.Disk(0, 1 << 20)
    storage = disk.open(tmp_path, [(["a"], 10), ([], 6), (["b"], 4)], 16, True)
    data = b"0123456789" + bytes(6)
    slot = _native.Pool(100).checkout(16)
    memoryview(slot)[:] = data
    storage.commit(1, 0, 0, slot, 16, sha1(data).digest())
    assert disk.drain() == [(1, "verified", 0)]
    storage.check(2, sha1(data).digest() + bytes(20), b"\xc0")
    assert disk.drain() == [(2, "checked", 0, b"\x80", 2), (2, "check-done")]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "/etc", "a\0b"])
def test_fn01_a_path_that_leaves_the_folder_is_refused(part, tmp_path):
    with pytest.raises(ValueError, match="safe"):
        _native.Disk(0, 1).open(tmp_path, [(["x", part], 1)], 16, True)


def test_pieces_hashed_side_by_side_are_judged_one_by_one(make_sample, tmp_path):
    sample = make_sample({"a": 9 * (32 << 10) + 777})
    disk = _native.Disk(0, 1 << 20)
    files = [(file.path, file.length) for file in sample.meta.files]
    storage = disk.open(tmp_path, files, sample.meta.piece_length, True)
    pool = _native.Pool(1 << 20)
    for piece, data in enumerate(sample.pieces):
        wrong = piece in (1, 5)
        if piece == 3:  # two parts among pieces of one
            slot = filled(pool, data[:1024])
            storage.commit(99, piece, 0, slot, 1024, None)
            slot = filled(pool, data[1024:])
            storage.commit(piece, piece, 1024, slot, len(data) - 1024, sample.sums[piece])
        else:
            slot = filled(pool, bytes(len(data)) if wrong else data)
            storage.commit(piece, piece, 0, slot, len(data), sample.sums[piece])
    done = disk.drain()
    assert done.count((99, "written", 3, 0)) == 1
    verdicts = {entry[0]: entry[1] for entry in done if entry[0] != 99}
    assert verdicts == {piece: "failed" if piece in (1, 5) else "verified" for piece in range(10)}
    storage.check(0, b"".join(sample.sums), b"\xff\xc0")
    good = disk.drain()[0][3]
    assert good == bytes([0b1011_1011, 0b1100_0000])


def filled(pool, data):
    slot = pool.checkout(len(data))
    memoryview(slot)[:] = data
    return slot


def test_threads_pieces_and_forgetting_in_any_order(make_sample, tmp_path):
    """Whatever is forgotten when: one answer for each commit, no wrong verdict, no wrong byte."""
    sample = make_sample({"a": 500_000, "b": 123_456}, piece_length=16 << 10)
    disk = _native.Disk(3, 1 << 20)
    files = [(file.path, file.length) for file in sample.meta.files]
    storage = disk.open(tmp_path, files, sample.meta.piece_length, True)
    pool = _native.Pool(64 << 20)
    rng = random.Random(5)
    asked, answers = 0, []
    for _ in range(40):
        for piece in rng.sample(range(len(sample.pieces)), len(sample.pieces)):
            data = sample.pieces[piece]
            cut = rng.choice([len(data), len(data) // 2 // 64 * 64])
            for start, part in ((0, data[:cut]), (cut, data[cut:])):
                if part:
                    digest = sample.sums[piece] if start + len(part) == len(data) else None
                    slot = filled(pool, part)
                    storage.commit(piece, piece, start, slot, len(part), digest)
                    asked += 1
            if rng.random() < 0.3:
                storage.forget(piece)
        answers += disk.drain()
    disk.close()
    answers += disk.drain()
    assert len(answers) == asked
    assert {entry[1] for entry in answers} == {"written", "verified", "error"}
    assert {entry[2] for entry in answers if entry[1] == "error"} == {errno.ECANCELED}
    for entry in answers:
        if entry[1] == "verified":
            assert entry[0] == entry[2]
    del slot
    assert pool.in_use == 0
