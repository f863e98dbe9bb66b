"""Slots from their pool and back."""

from __future__ import annotations

from typing import Any

from swarm._native import Pool, Slot

Benchmark = Any
MIB = 1 << 20


def test_take_a_slot_and_give_it_back(benchmark: Benchmark) -> None:
    pool = Pool(32 * MIB)
    held = [pool.checkout(MIB) for _ in range(31)]
    benchmark(lambda: pool.checkout(MIB))
    assert pool.in_use == len(held) * MIB


def test_be_refused_one(benchmark: Benchmark) -> None:
    pool = Pool(32 * MIB)
    held = [pool.checkout(MIB) for _ in range(32)]
    assert benchmark(lambda: pool.checkout(MIB)) is None
    assert all(held)


def test_all_thirty_two(benchmark: Benchmark) -> None:
    pool = Pool(32 * MIB)

    def take() -> list[Slot | None]:
        return [pool.checkout(MIB) for _ in range(32)]

    assert all(benchmark(take))


def test_look_into_one(benchmark: Benchmark) -> None:
    slot = Pool(32 * MIB).checkout(MIB)
    assert slot is not None
    assert len(benchmark(lambda: memoryview(slot))) == MIB
