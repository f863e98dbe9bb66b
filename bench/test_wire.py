"""The frame walk and the request pipeline, a read at a time. `swarm bench wire` has them by the GiB."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from swarm._bits import Bits, Rarity
from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import Wire

MIB = 1 << 20
PIECES = 1024
BLOCKS = MIB // BLOCK_SIZE
UNCHOKE = b"\0\0\0\1\1"
INTERESTED = b"\0\0\0\1\2"
Benchmark = Any


def wire(*, seeding: bool = False) -> Wire:
    have = Bits(PIECES)
    if seeding:
        have.fill()
    made = Wire(1, have, Rarity(PIECES), [], piece_length=MIB, length=PIECES * MIB)
    made.depth = made.ceiling = 2 * BLOCKS
    return made


@pytest.mark.parametrize("read", [BLOCK_SIZE, MIB], ids=["16 KiB", "1 MiB"])
def test_walk_a_piece(benchmark: Benchmark, read: int) -> None:
    """64 blocks into their slot, refilling the pipeline on the way."""
    down, slot = wire(), bytearray(MIB)
    down.interested(True)
    down.receive(UNCHOKE)
    stream = b"".join(
        struct.pack(">IBII", 9 + BLOCK_SIZE, 7, 0, block * BLOCK_SIZE) + bytes(BLOCK_SIZE)
        for block in range(BLOCKS)
    )
    reads = [stream[at : at + read] for at in range(0, len(stream), read)]

    def assign() -> None:
        fill = Fill(0, MIB, MIB)
        fill.attach(slot)
        down.assign(fill)
        down.refill()
        down.take_output()

    def walk() -> None:
        for each in reads:
            down.receive(each)

    benchmark.pedantic(walk, setup=assign, rounds=500, warmup_rounds=5)
    assert down.downloaded % MIB == 0
    assert down.downloaded > 0
    assert down.wasted == 0


def test_walk_a_thousand_haves(benchmark: Benchmark) -> None:
    stream = b"".join(struct.pack(">IBI", 5, 4, piece) for piece in range(PIECES))

    def walk(down: Wire) -> None:
        down.receive(stream)

    benchmark.pedantic(walk, setup=lambda: ((wire(),), {}), rounds=500)


def test_ask_for_two_pieces(benchmark: Benchmark) -> None:
    """128 requests, written and put together for one send."""

    def assigned() -> tuple[tuple[Wire], dict[str, Any]]:
        down = wire()
        down.interested(True)
        for piece in range(2):
            fill = Fill(piece, MIB, MIB)
            fill.attach(bytearray(MIB))
            down.assign(fill)
        down.receive(UNCHOKE[:-1])
        return (down,), {}

    def ask(down: Wire) -> None:
        down.receive(UNCHOKE[-1:])
        assert len(down.take_output()) >= 2 * BLOCKS * 17

    benchmark.pedantic(ask, setup=assigned, rounds=300)


def test_serve_two_pieces(benchmark: Benchmark) -> None:
    """128 requests, walked, checked, queued, and taken out for the disk."""
    up = wire(seeding=True)
    up.receive(INTERESTED)
    up.choke(False)
    stream = b"".join(
        struct.pack(">IBIII", 13, 6, block // BLOCKS, block % BLOCKS * BLOCK_SIZE, BLOCK_SIZE)
        for block in range(2 * BLOCKS)
    )

    def serve() -> bytes:
        up.receive(stream)
        return up.take_requests(2 * BLOCKS)

    assert len(benchmark(serve)) == 2 * BLOCKS * 12
