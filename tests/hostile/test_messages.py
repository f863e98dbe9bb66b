"""Peers that break the protocol, and peers that keep to it and flood."""

from __future__ import annotations

import asyncio
import random
import struct
import time

import pytest
from conftest import Arena, resident, until
from evil import (
    ALLOWED_FAST,
    BITFIELD,
    CANCEL,
    CHOKE,
    EVIL,
    EXTENDED,
    HAVE,
    HAVE_ALL,
    HAVE_NONE,
    INTERESTED,
    NOT_INTERESTED,
    PIECE,
    PORT,
    REJECT,
    REQUEST,
    SUGGEST,
    UNCHOKE,
    all_pieces,
    extended,
    frame,
    handshake,
    new_id,
)

MIB = 1 << 20
PIECES = 65  # of the usual payload
MAX32 = 2**32 - 1


def bits(size: int, last: int = 0) -> bytes:
    return frame(BITFIELD, payload=bytes(size - 1) + bytes([last]))


@pytest.mark.parametrize("kind", [0, PIECE, BITFIELD, EXTENDED, 9, 99, 255])
async def test_pw08_a_length_above_all_budgets(arena: Arena, kind: int) -> None:
    await arena.attack()
    evil = await arena.enter()
    before = resident()
    evil.send(struct.pack(">IB", MAX32, kind))
    sent = await evil.pour(bytes(1 << 16), 64 * MIB)
    assert sent < 16 * MIB
    assert resident() - before < 4 * MIB
    await until(lambda: arena.reasons())
    assert "of 4294967295 bytes" in arena.reasons()[0]


BROKEN = {
    "pw09 a piece of three bytes": frame(PIECE, payload=b"abc"),
    "pw09 a have without a piece": frame(HAVE),
    "pw12 a short bitfield": bits(8),
    "pw12 a long bitfield": bits(10),
    "pw12 spare bits": bits(9, 0x40),
    "pw14 have of a piece too many": frame(HAVE, PIECES),
    "pw14 have of piece -1": frame(HAVE, MAX32),
    "pw15 have_all after a bitfield": all_pieces(PIECES) + frame(HAVE_ALL),
    "pw15 all and none": frame(HAVE_ALL) + frame(HAVE_NONE),
    "pw20 allowed_fast out of range": frame(ALLOWED_FAST, PIECES),
    "pw20 suggest out of range": frame(SUGGEST, MAX32),
    "pw20 reject out of range": frame(REJECT, PIECES, 0, 16384),
    "pw16 request of a piece too many": frame(REQUEST, PIECES, 0, 16384),
    "pw16 request that overflows": frame(REQUEST, 0, MAX32, 16384),
    "pw16 request that overflows to the end": frame(REQUEST, 0, MAX32 - 16383, 16384),
    "pw16 request of nothing": frame(REQUEST, 0, 0, 0),
    "pw16 request of 128 KiB and 1": frame(REQUEST, 0, 0, 131073),
    "pw16 request beyond the last block": frame(REQUEST, PIECES - 1, 0, 16384),
    "pw21 a block of nothing": frame(PIECE, 0, 0),
    "pw21 a block above 128 KiB": struct.pack(">IBII", 131082, PIECE, 0, 0),
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
async def test_a_broken_message_costs_the_connection(arena: Arena, said: bytes) -> None:
    await arena.attack()
    honest = await arena.enter("127.0.0.20")
    evil = await arena.enter()
    evil.send(said)
    assert await evil.lost() < 1.0
    assert [left.addr.host for left in arena.left] == [EVIL]
    assert not arena.left[0].banned
    assert not honest.over


@pytest.mark.parametrize("kind", [HAVE_ALL, HAVE_NONE, SUGGEST, REJECT, ALLOWED_FAST])
async def test_pw20_fast_messages_without_the_fast_bit(arena: Arena, kind: int) -> None:
    await arena.attack()
    evil = await arena.enter(fast=False)
    numbers = {SUGGEST: 1, ALLOWED_FAST: 1, REJECT: 3}.get(kind, 0)
    evil.send(frame(kind, *[0] * numbers))
    assert await evil.lost() < 1.0
    assert "without the fast extension" in arena.reasons()[0]


FLOODS = {
    "pw10 unknown messages": b"".join(frame(kind) for kind in range(21, 256)),
    "pw10 large unknown messages": frame(99, payload=bytes(60_000)) + frame(99) * 500,
    "pw11 keep-alives": bytes(4),
    "pw12 bitfields again and again": all_pieces(PIECES) + bits(9),
    "pw14 the same have": frame(HAVE, 1),
    "pw20 suggest": frame(SUGGEST, 1),
    "pw20 allowed_fast": frame(ALLOWED_FAST, 1),
    "pw22 reject of what was not asked": frame(REJECT, 1, 0, 16384),
    "pw31 choke and unchoke": frame(CHOKE) + frame(UNCHOKE),
    "pw31 interested and not": frame(INTERESTED) + frame(NOT_INTERESTED),
    "pw38 port": frame(PORT, payload=b"\0\0"),
    "cancel": frame(CANCEL, 1, 0, 16384),
    "ex03 extended handshakes": extended(b"d1:md11:ut_metadatai1eee"),
}


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("said", FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_stopped(arena: Arena, said: bytes) -> None:
    """It ends within two looks of the engine, costs bounded work, and an honest download goes on."""
    await arena.attack(max_peers_per_torrent=20)
    evil = await arena.enter()
    before, start = resident(), time.perf_counter()
    flood = arena.spawn(evil.pour(said * (60_000 // len(said) + 1), 4096 * MIB))
    reading = arena.spawn(evil.read())
    stats = await arena.finish()
    await reading
    await flood
    assert time.perf_counter() - start < 5.0
    assert resident() - before < 24 * MIB
    assert stats.wasted == 0
    assert arena.reasons()[0] in ("a flood of messages of no use", "a flood of extended handshakes")


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_pw39_one_byte_flipped_anywhere(arena: Arena) -> None:
    await arena.attack(handshake_timeout=1.0)
    block = arena.payload.right(0, 0, 16384)
    session = b"".join(
        (
            handshake(arena.payload.infohash, new_id(), bep10=True),
            all_pieces(PIECES),
            extended(b"d1:md6:ut_pexi1ee1:pi6881e4:reqqi250ee"),
            frame(INTERESTED),
            frame(UNCHOKE),
            frame(HAVE, 3),
            frame(REQUEST, 0, 0, 16384),
            frame(CANCEL, 0, 0, 16384),
            frame(SUGGEST, 4),
            frame(ALLOWED_FAST, 4),
            frame(PIECE, 0, 0, payload=block[:64]),
            bytes(4),
        )
    )
    rng = random.Random(39)
    for at in range(len(session)):
        evil = await arena.dial()
        evil.send(session[:at] + bytes([session[at] ^ rng.randrange(1, 256)]) + session[at + 1 :])
        arena.spawn(evil.read())
        if at % 20 == 19:
            await until(lambda: len(arena.victim.connections) + len(arena.victim.greeting) < 100)
    await asyncio.sleep(0.05)
    for evil in arena.evils:
        evil.close()
    stats = await arena.finish()
    assert stats.wasted < 4 * MIB


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_pw40_one_byte_at_a_time(arena: Arena) -> None:
    arena.share(40_000, 32768)
    await arena.attack()
    evil = await arena.enter()
    evil.socket.setsockopt(6, 1, 1)  # TCP_NODELAY
    evil.send(all_pieces(arena.payload.pieces) + frame(UNCHOKE))

    async def trickle() -> None:
        while True:
            piece, begin, length = await evil.request()
            for byte in frame(
                PIECE, piece, begin, payload=arena.payload.right(piece, begin, length)
            ):
                evil.send(bytes([byte]))
                await asyncio.sleep(0)

    task = asyncio.ensure_future(trickle())
    stats = await arena.finished()
    task.cancel()
    assert stats.wasted == 0


async def test_pw40_a_megabyte_at_a_time(arena: Arena) -> None:
    await arena.attack()
    evil = await arena.enter()
    evil.send(all_pieces(PIECES) + frame(UNCHOKE))

    async def gulp() -> None:
        answers = b""
        while True:
            asked = await evil.request()
            answers += frame(PIECE, *asked[:2], payload=arena.payload.right(*asked))
            if len(answers) > MIB or not evil.reader._buffer:
                evil.send(answers)
                answers = b""

    task = asyncio.ensure_future(gulp())
    stats = await arena.finished()
    task.cancel()
    assert stats.wasted == 0
