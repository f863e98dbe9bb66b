"""The pool of slots: its mark, its buffers, and who keeps whom alive."""

from __future__ import annotations

import gc

import pytest

from swarm._native import Pool


def test_the_mark_holds_and_one_slot_is_always_granted():
    pool = Pool(100)
    first = pool.checkout(60)
    assert first is not None
    assert pool.checkout(41) is None
    second = pool.checkout(40)
    assert second is not None
    assert (pool.capacity, pool.in_use, pool.peak) == (100, 100, 100)
    del first, second
    assert (pool.in_use, pool.peak) == (0, 100)
    large = pool.checkout(1 << 20)
    assert large is not None
    assert len(large) == 1 << 20
    assert pool.checkout(1) is None


def test_a_slot_is_a_writable_aligned_buffer():
    import ctypes

    slot = Pool(1 << 20).checkout(10_000)
    assert slot is not None
    view = memoryview(slot)
    assert (len(slot), view.nbytes, view.format, view.readonly) == (10_000, 10_000, "B", False)
    assert bytes(view) == bytes(10_000)
    assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % 4096 == 0
    view[3:6] = b"abc"
    assert bytes(slot)[:8] == b"\0\0\0abc\0\0"


def test_memory_is_recycled_as_late_as_possible_and_not_cleared():
    """What came back first is used again first, once the whole capacity has been used."""
    pool = Pool(3 << 16)
    for text in (b"abc", b"def", b"ghi"):
        slot = pool.checkout(1 << 16)
        assert slot is not None
        assert bytes(slot)[:3] == bytes(3)
        memoryview(slot)[:3] = text
        del slot
    slots = [pool.checkout(1 << 16) for _ in range(3)]
    assert [bytes(slot)[:3] for slot in slots if slot is not None] == [b"abc", b"def", b"ghi"]


def test_a_view_keeps_the_slot_out_of_the_pool():
    pool = Pool(4096)
    slot = pool.checkout(4096)
    assert slot is not None
    view = memoryview(slot)[10:20]
    del slot
    gc.collect()
    assert pool.in_use == 4096
    assert pool.checkout(1) is None
    view[:] = b"0123456789"
    view.release()
    assert pool.in_use == 0


def test_a_slot_outlives_its_pool():
    pool = Pool(4096)
    slot = pool.checkout(4096)
    assert slot is not None
    view = memoryview(slot)
    del pool, slot
    gc.collect()
    view[:4] = b"data"
    assert bytes(view[:5]) == b"data\0"


@pytest.mark.parametrize("size", [0, -1, 1 << 63, 1 << 64])
def test_absurd_sizes_raise(size):
    with pytest.raises((ValueError, OverflowError, MemoryError)):
        Pool(1 << 20).checkout(size)


def test_no_memory_is_an_error_and_not_a_full_pool():
    with pytest.raises(MemoryError):
        Pool(1 << 20).checkout(1 << 60)
