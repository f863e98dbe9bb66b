"""What was just written is served from the memory it came in, and only what was verified.

A file that somebody empties shows where bytes come from: the disk cannot give them any more.
"""

from __future__ import annotations

import errno
import os
import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm import _native

KIB = 1 << 10


class Rig:
    """A storage whose jobs run at once, and a pool of `slots` slots for its pieces."""

    def __init__(self, sample, dest, slots=4):
        self.sample, self.path = sample, dest / "t/a"
        self.size = len(sample.pieces[0])
        self.disk = _native.Disk(0, 1 << 20)
        files = [(file.path, file.length) for file in sample.meta.files]
        self.storage = self.disk.open(dest, files, sample.meta.piece_length, True)
        self.pool = _native.Pool(slots * self.size)

    def part(self, piece, begin, data, digest):
        slot = self.pool.checkout(len(data))
        memoryview(slot)[:] = data
        self.storage.commit(0, piece, begin, slot, len(data), digest)
        del slot
        return self.done()

    def piece(self, piece):
        assert self.part(piece, 0, self.sample.pieces[piece], self.sample.sums[piece]) == "verified"

    def done(self):
        ((_, kind, *self.rest),) = self.disk.drain()
        return kind

    def read(self, piece, begin=0, length=1000):
        """The block, or the error number."""
        self.storage.read(0, struct.pack("<III", piece, begin, length))
        if self.done() == "error":
            return self.rest[0]
        return bytes(self.rest[0])[13:]

    def right(self, piece, begin=0, length=1000):
        return self.read(piece, begin, length) == self.sample.pieces[piece][begin : begin + length]

    def empty_the_file(self):
        os.truncate(self.path, 0)


@pytest.fixture
def rig(make_sample, tmp_path):
    return Rig(make_sample({"a": 8 * 32 * KIB}), tmp_path)


def test_what_was_fetched_last_needs_no_disk(rig):
    for piece in range(4):
        rig.piece(piece)
    rig.empty_the_file()
    assert rig.right(0, 31 * KIB)
    cached = rig.storage.read_cached(struct.pack("<III", 3, 5, 32 * KIB - 5))
    assert bytes(cached)[13:] == rig.sample.pieces[3][5:]


def test_memory_that_was_handed_out_again_is_not_read(rig):
    for piece in range(4):
        rig.piece(piece)
    slots = [rig.pool.checkout(rig.size) for _ in range(3)]
    for slot in slots:
        memoryview(slot)[:] = bytes(rig.size)
    assert all(rig.right(piece) for piece in range(4))
    rig.empty_the_file()
    # The memory that was idle for longest goes first: that of piece 3 is still as it was.
    assert [rig.read(piece) for piece in range(3)] == [errno.ENODATA] * 3
    assert rig.right(3)


def test_parts_count_when_their_piece_was_right(rig):
    data, digest = rig.sample.pieces[0], rig.sample.sums[0]
    assert rig.part(0, 0, data[:1024], None) == "written"
    with rig.path.open("r+b") as file:
        file.write(bytes(1000))
    assert rig.read(0) == bytes(1000)
    assert rig.part(0, 1024, data[1024:], digest) == "verified"
    assert rig.right(0)
    assert rig.right(0, 1000)


def test_what_was_wrong_is_never_served(rig):
    data = rig.sample.pieces[0]
    assert rig.part(0, 0, bytes(1024), None) == "written"
    assert rig.part(0, 1024, data[1024:], rig.sample.sums[0]) == "failed"
    assert rig.part(1, 0, bytes(rig.size), rig.sample.sums[1]) == "failed"
    rig.empty_the_file()
    assert rig.read(0) == rig.read(1) == errno.ENODATA


def test_what_is_written_over_is_not_served_as_it_was(rig):
    rig.piece(0)
    assert rig.part(0, 0, bytes(1024), None) == "written"
    assert rig.read(0) == bytes(1000)
    rig.storage.forget(0)
    assert rig.read(0) == bytes(1000)


@pytest.mark.parametrize("end", ["check", "sync that fails"])
def test_what_became_uncertain_comes_from_the_disk(rig, end):
    rig.piece(0)
    if end == "check":
        rig.storage.check(0, b"".join(rig.sample.sums), b"\x80")
        assert [entry[1] for entry in rig.disk.drain()] == ["checked", "check-done"]
    else:
        held = rig.path.open("r+b")
        rig.path.unlink()
        rig.storage.sync(0)
        assert rig.done() == "error"
        held.truncate(0)
        held.close()
        rig.path.touch()
    rig.empty_the_file()
    assert rig.read(0) == errno.ENODATA


def test_another_torrent_has_a_past_of_its_own(rig, make_sample, tmp_path):
    rig.piece(0)
    other = make_sample({"a": 8 * 32 * KIB}, seed=2)
    (tmp_path / "other").mkdir()
    files = [(file.path, file.length) for file in other.meta.files]
    storage = rig.disk.open(tmp_path / "other", files, other.meta.piece_length, True)
    storage.read(0, struct.pack("<III", 0, 0, 1000))
    assert rig.done() == "error"


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000), slots=st.integers(1, 5))
def test_whatever_the_order_the_bytes_are_right(make_sample, tmp_path, seed, slots):
    sample = make_sample({"a": 8 * 8 * KIB, "b": 5000}, piece_length=8 * KIB, seed=seed)
    rng = random.Random(seed)
    rig = Rig(sample, tmp_path / f"{seed}-{slots}", slots)
    have = set()
    for _ in range(60):
        piece = rng.randrange(len(sample.pieces))
        data = sample.pieces[piece]
        match rng.randrange(4):
            case 0:
                rig.piece(piece)
                have.add(piece)
            case 1:
                cut = rng.randrange(64, len(data), 64)
                rig.part(piece, 0, data[:cut], None)
                rig.part(piece, cut, data[cut:], sample.sums[piece])
                have.add(piece)
            case 2:
                wrong = bytes(len(data))
                assert rig.part(piece, 0, wrong, sample.sums[piece]) == "failed"
            case _ if piece in have:
                begin = rng.randrange(len(data))
                assert rig.right(piece, begin, rng.randint(1, len(data) - begin))
