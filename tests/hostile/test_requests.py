"""Peers that ask for too much, and peers that do not take what they asked for."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from conftest import Arena, resident, until
from evil import EVIL, INTERESTED, PIECE, REJECT, REQUEST, UNCHOKE, Evil, frame

MIB = 1 << 20
SMALL = 16384


async def unchoked(arena: Arena, **flags: bool) -> Evil:
    evil = await arena.enter(**flags)
    evil.send(frame(INTERESTED))
    await evil.expect(UNCHOKE)
    return evil


def deaf(evil: Evil) -> None:
    """It reads nothing, and its kernel takes as little as it can."""
    evil.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    evil.writer.transport.pause_reading()


@pytest.mark.parametrize("fast", [False, True], ids=["bep3", "fast"])
@pytest.mark.parametrize("reads", [False, True], ids=["deaf", "reads"])
async def test_pw17_a_million_requests(arena: Arena, fast: bool, reads: bool) -> None:
    await arena.attack(seeding=True, stall_timeout=2.0)
    evil = await unchoked(arena, fast=fast)
    if reads:
        arena.spawn(evil.read())
    else:
        deaf(evil)
    before, start = resident(), time.thread_time()
    flood = arena.spawn(evil.pour(frame(REQUEST, 0, 0, SMALL) * 3000, 17 * 1_000_000))
    await arena.upload()
    await until(lambda: arena.reasons())
    await flood
    assert resident() - before < 40 * MIB
    assert time.thread_time() - start < 6.0  # both ends, and the honest upload


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_pw18_requests_while_choked_are_rejected_and_then_no_longer(arena: Arena) -> None:
    await arena.attack()
    evil = await arena.enter()
    reading = arena.spawn(evil.read())
    for _ in range(250):
        evil.send(frame(REQUEST, 0, 0, SMALL))
    await until(lambda: evil.got[REJECT] == 250)
    assert not evil.over

    async def insist() -> None:
        while not evil.over:
            evil.send(frame(REQUEST, 0, 0, SMALL) * 10)
            await asyncio.sleep(0.02)

    await asyncio.wait_for(insist(), 6)
    await reading
    assert arena.reasons() == ["requests while choked"]
    assert not evil.got[PIECE]


async def test_pw18_a_deaf_peer_floods_while_choked(arena: Arena) -> None:
    await arena.attack(seeding=True)
    evil = await arena.enter()
    deaf(evil)
    before = resident()
    await evil.pour(frame(REQUEST, 0, 0, SMALL) * 3000, 512 * MIB)
    await until(lambda: arena.reasons())
    assert resident() - before < 24 * MIB
    await arena.upload()


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_pw19_an_allowed_fast_piece_again_and_again(arena: Arena) -> None:
    await arena.attack(seeding=True)
    evil = await arena.enter()
    await evil.expect(17)
    allowed = int.from_bytes(await evil.expect(17), "big")
    for _ in range(100):
        evil.send(frame(REQUEST, allowed, 0, SMALL))
    arena.spawn(evil.read())
    await until(lambda: evil.got[PIECE] + evil.got[REJECT] == 100)
    assert evil.got[PIECE] == 12, "each of four blocks three times"


async def test_pw32_a_peer_that_reads_nothing(arena: Arena) -> None:
    await arena.attack(seeding=True, stall_timeout=0.5)
    evil = await unchoked(arena)
    deaf(evil)
    before, start = resident(), time.perf_counter()
    for i in range(2000):
        evil.send(frame(REQUEST, i % 64, 0, SMALL))
    await until(lambda: arena.reasons(), 5)
    assert 0.4 < time.perf_counter() - start < 3.0
    assert arena.reasons() == ["takes nothing of what it asked for"]
    assert resident() - before < 24 * MIB
    await arena.upload()


async def test_pw32_a_slow_reader_is_no_offence(arena: Arena) -> None:
    await arena.attack(seeding=True, stall_timeout=0.5)
    evil = await unchoked(arena)
    for i in range(200):
        evil.send(frame(REQUEST, i % 64, 0, SMALL))
    while evil.got[PIECE] < 200:
        await evil.message()
        await asyncio.sleep(0.004)
    assert EVIL in {peer[0] for peer in arena.torrent.peers}
