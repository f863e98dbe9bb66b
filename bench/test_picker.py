"""What the picker costs with a million pieces. Goals: pick <= 10 us, have <= 50 ns, join <= 5 ms.

Times include the call from Python. Where a benchmark is of a thousand calls, its name says so.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from swarm._bits import CLASS_EDGES, Bits, Rarity
from swarm.engine.picker import Picker

Benchmark = Any
N = 1_000_000
PLAIN = bytes([3]) * N
URGENT = bytearray(PLAIN)  # as of ten files: one urgent, one skipped
URGENT[N // 10 : N // 5] = b"\5" * (N // 5 - N // 10)
URGENT[N // 2 : N // 2 + N // 10] = bytes(N // 10)


@cache
def sparse(density: float, seed: int = 1) -> Bits:
    """A set of about `density * N` pieces; the density is a multiple of 1/8."""
    rng, word = random.Random(seed), 0
    for step in f"{round(density * 8):03b}"[::-1]:  # each step halves, and adds a half or nothing
        dice = rng.getrandbits(N)
        word = word | dice if step == "1" else word & dice
    if density == 1:
        word = (1 << N) - 1
    return Bits(N, (word << (-N % 8)).to_bytes((N + 7) // 8, "big"))


@cache
def scattered(count: int) -> Bits:
    bits = Bits(N)
    for piece in random.Random(2).sample(range(N), count):
        bits.set(piece)
    return bits


@cache
def but_one() -> Bits:
    bits = sparse(1).copy()
    bits.clear(0)
    return bits


@cache
def evens() -> Bits:
    return Bits(N, bytes([0b10101010]) * (N // 8))


@pytest.fixture(scope="module")
def picker() -> Iterator[Picker]:
    """Nothing is here yet, and twenty peers have half of it each."""
    made = Picker(Bits(N))
    for seed in range(20):
        made.rarity.join(sparse(0.5, seed))
    rng = random.Random(3)
    for _ in range(N):
        made.rarity.have(rng.randrange(N))
    yield made
    assert sys.getsizeof(made.rarity) / N < 8  # bytes a piece


def pick(benchmark: Benchmark, picker: Picker, offered: Bits, most: int = 1000) -> None:
    """Benchmarks picks, of which none is put back before the end."""
    rng, taken = random.Random(4), []

    def one() -> None:
        taken.append(picker.pick(offered, rng))

    benchmark.pedantic(one, rounds=most, warmup_rounds=min(10, most // 10))
    for piece in taken:
        assert piece is not None
        picker.put_back(piece)


def test_make_one(benchmark: Benchmark) -> None:
    benchmark.pedantic(lambda: Picker(Bits(N)), rounds=20)


@pytest.mark.parametrize(
    "bits",
    [lambda: sparse(0.5), but_one, lambda: sparse(1)],
    ids=["half", "all but one", "a seed"],
)
def test_join_and_leave(benchmark: Benchmark, picker: Picker, bits: Callable[[], Bits]) -> None:
    """Both: twice the goal of one."""
    joining = bits()

    def both() -> None:
        picker.rarity.join(joining)
        picker.rarity.leave(joining)

    benchmark.pedantic(both, rounds=20, warmup_rounds=1)


def test_a_thousand_haves(benchmark: Benchmark, picker: Picker) -> None:
    rng = random.Random(5)
    pieces = [rng.randrange(N) for _ in range(1000)]
    have, lost = picker.rarity.have, picker.rarity.lost

    def all_of_them() -> None:
        for piece in pieces:
            have(piece)

    def undo() -> None:
        for piece in pieces:
            lost(piece)

    all_of_them()
    benchmark.pedantic(all_of_them, setup=undo, rounds=300)
    undo()


@pytest.mark.parametrize(
    ("offered", "most"),
    [
        (lambda: sparse(1), 1000),
        (lambda: sparse(0.5), 1000),
        (lambda: scattered(1000), 900),
        (lambda: scattered(30), 25),
    ],
    ids=["a seed", "half", "1,000 pieces", "30 pieces"],
)
def test_pick(benchmark: Benchmark, picker: Picker, offered: Callable[[], Bits], most: int) -> None:
    pick(benchmark, picker, offered(), most)


def test_pick_among_a_thousand_peers(benchmark: Benchmark) -> None:
    """As many have joined, with half of the pieces each."""
    picker = Picker(Bits(N))
    for peer in range(1000):
        picker.rarity.join(sparse(0.5, peer % 20))
    pick(benchmark, picker, sparse(0.5))


def test_interesting(benchmark: Benchmark, picker: Picker) -> None:
    assert benchmark(picker.interesting, sparse(0.5))


@pytest.fixture
def arranged(picker: Picker) -> Iterator[Callable[..., Picker]]:
    def arrange(ranks: bytes, *, sequential: bool = False) -> Picker:
        picker.arrange(ranks, sequential=sequential)
        return picker

    yield arrange
    picker.arrange(PLAIN, sequential=False)


def test_choose_otherwise(benchmark: Benchmark, arranged: Callable[..., Picker]) -> None:
    """A fifth of the pieces gets another rank, and gets it back."""

    def both() -> None:
        arranged(bytes(URGENT))
        arranged(PLAIN)

    benchmark.pedantic(both, rounds=10)


@pytest.mark.parametrize("density", [1, 0.5], ids=["a seed", "half"])
def test_pick_the_urgent(
    benchmark: Benchmark, arranged: Callable[..., Picker], density: float
) -> None:
    pick(benchmark, arranged(bytes(URGENT)), sparse(density))


def test_pick_where_nothing_is_urgent(
    benchmark: Benchmark, arranged: Callable[..., Picker]
) -> None:
    pick(benchmark, arranged(b"\3\5" * (N // 2)), evens())


def test_pick_in_order(benchmark: Benchmark, arranged: Callable[..., Picker]) -> None:
    pick(benchmark, arranged(PLAIN, sequential=True), sparse(0.5))


def test_pick_when_two_hundred_are_left(benchmark: Benchmark) -> None:
    picker = Picker(Bits(N))
    for piece in range(N):
        if piece % 5000:
            picker.rarity.unwant(piece)
    pick(benchmark, picker, sparse(0.5), 50)


def test_the_rarest_of_a_peer_that_has_the_commonest_only(benchmark: Benchmark) -> None:
    """Twelve dense classes, of which it has pieces of the last."""
    worst, deep = Rarity(N), Bits(N)
    worst.want_missing(Bits(N))
    for piece in range(N):
        for _ in range(CLASS_EDGES[piece % 12]):
            worst.have(piece)
        if piece % 12 == 11:
            deep.set(piece)
    rng = random.Random(6)
    assert benchmark(lambda: worst.rarest(deep, rng.getrandbits(64))) % 12 == 11
