"""Peers that cost as much as they can while honest ones trade: bounded memory, and nobody else's rate."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from conftest import KIB, Arena, resident, until
from evil import (
    ALLOWED_FAST,
    BLOCK,
    CHOKE,
    INTERESTED,
    PIECE,
    REQUEST,
    UNCHOKE,
    Evil,
    all_pieces,
    extended,
    frame,
)

from swarm._wire import NOISE_LIMIT, UNASKED_LIMIT, WASTE_LIMIT
from swarm.engine.flight import MOST_PROBES
from swarm.net.peer import WRITE_HIGH

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

MIB = 1 << 20
READ = 512 * KIB
"""The receive buffer: what one more read can bring when a budget is used up."""
PIECES = 32


def hosts(count: int) -> list[str]:
    return [f"127.0.1.{n + 1}" for n in range(count)]


# ---------------------------------------------------------------- (1) sends what was not asked

FLOODS = {
    "pw21 blocks": (frame(PIECE, 0, 0, payload=bytes(BLOCK)), UNASKED_LIMIT * BLOCK),
    "pw10 unknown": (frame(99, payload=bytes(MIB - 10)), NOISE_LIMIT * KIB),
    "pw10 unknown, short": (frame(99) * 5000, NOISE_LIMIT * 5),
    "ex03 extended": (extended(bytes(MIB - 10), 77), NOISE_LIMIT * KIB),
}


@pytest.mark.parametrize("seeding", [True, False], ids=["seeding", "leeching"])
@pytest.mark.parametrize(("said", "budget"), FLOODS.values(), ids=FLOODS)
async def test_what_nobody_asked_for_at_full_speed(
    arena: Arena, said: bytes, budget: int, seeding: bool
) -> None:
    """It is dropped when its budget is used up, by the read that did it, and the honest one goes on."""
    arena.share(PIECES * MIB, MIB)
    await arena.attack(seeding=seeding, memory=16 * MIB)
    evil = await arena.enter()
    await until(lambda: arena.engine.peers)
    (peer,) = arena.engine.peers.values()
    before = resident()
    flood = arena.spawn(evil.pour(said, 1024 * MIB))
    if seeding:
        await arena.upload()
    else:
        assert (await arena.finish(seeders=1)).wasted <= (UNASKED_LIMIT + 1) * BLOCK
    await until(lambda: arena.reasons())
    evil.close()
    await flood
    assert peer.wire.received <= budget + len(said) + 2 * READ
    assert resident() - before < 64 * MIB  # both honest sessions are in this process, too


async def test_pw21_late_answers_are_tolerated_up_to_a_budget(arena: Arena) -> None:
    """A choke forgives what was under way. Who chokes all the time and sends it all the same is dropped."""
    arena.share(PIECES * MIB, MIB)
    await arena.attack(memory=16 * MIB)
    evil = await arena.enter(fast=False)
    evil.send(all_pieces(PIECES))
    await until(lambda: arena.engine.peers)
    (peer,) = arena.engine.peers.values()

    async def flap() -> None:
        late: list[tuple[int, int, int]] = []
        try:
            while True:
                evil.send(frame(UNCHOKE))
                late.append(await evil.request())
                evil.send(frame(CHOKE))
                while len(late) > 1:
                    p, b, n = late.pop(0)
                    evil.send(frame(PIECE, p, b, payload=bytes(n)))
                await evil.writer.drain()
        except (OSError, EOFError):
            pass

    flapping = arena.spawn(flap())
    await arena.finish(seeders=1)
    assert peer.wire.wasted <= WASTE_LIMIT + peer.wire.downloaded + READ
    evil.close()
    await flapping


# ---------------------------------------------------------------- (2) reads nothing


async def deaf(arena: Arena, host: str) -> tuple[Evil, list[int]]:
    """It takes what it may ask for while it is choked, and then reads nothing."""
    evil = await arena.enter(host)
    evil.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    allowed = [int.from_bytes(await evil.expect(ALLOWED_FAST), "big") for _ in range(10)]
    evil.writer.transport.pause_reading()  # type: ignore[attr-defined]
    return evil, allowed


async def test_pw32_sixty_peers_that_read_nothing(arena: Arena) -> None:
    """They ask for all that they may ask for while choked, which is more than all memory for reading."""
    arena.share(PIECES * MIB, MIB)
    await arena.attack(seeding=True)
    before = resident()
    for host in hosts(60):
        evil, allowed = await deaf(arena, host)
        for piece in allowed:
            evil.send(b"".join(frame(REQUEST, piece, at, BLOCK) for at in range(0, MIB, BLOCK)))
    peers = list(arena.engine.peers.values())
    await until(lambda: all(peer.wire.wants for peer in peers))
    await arena.upload()
    assert all(connection.unread <= 3 * BLOCK for connection in deafs(arena))
    assert len(deafs(arena)) == 60
    assert resident() - before < 64 * MIB


async def test_pw32_peers_that_read_nothing_hold_no_upload_slot(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are interested and have all slots. Who comes after them need not wait for its turn."""
    monkeypatch.setattr("swarm.engine.taking.DEAF_AFTER", 0.5)
    arena.share(PIECES * MIB, MIB)
    await arena.attack(seeding=True, upload_slots=4)
    for host in hosts(4):
        evil = await arena.enter(host)
        evil.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        evil.send(frame(INTERESTED))
        await evil.expect(UNCHOKE)
        evil.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for piece in range(PIECES):
            evil.send(b"".join(frame(REQUEST, piece, at, BLOCK) for at in range(0, MIB, BLOCK)))
    await arena.upload(within=25)  # one turn of the choker is thirty seconds
    assert [connection.wire.am_choking for connection in deafs(arena)] == [True] * 4


def deafs(arena: Arena) -> list[Any]:
    connections = arena.victim.connections.values()
    return [each for each in connections if each.addr[0].startswith("127.0.1.")]


async def test_pw32_a_slow_receiver_holds_up_the_reads(arena: Arena) -> None:
    """No more is read for it than its transport may hold; when it reads on it gets each block once."""
    arena.share(PIECES * MIB, MIB)
    await arena.attack(seeding=True)
    evil = await arena.enter()
    evil.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    evil.send(frame(INTERESTED))
    await evil.expect(UNCHOKE)
    evil.writer.transport.pause_reading()  # type: ignore[attr-defined]
    asked = [(p, at, BLOCK) for p in range(PIECES) for at in range(0, MIB, BLOCK)][:1900]
    for block in asked:
        evil.send(frame(REQUEST, *block))
    (peer,) = arena.engine.peers.values()
    (connection,) = arena.victim.connections.values()
    await until(lambda: peer.wire.uploaded // BLOCK + peer.wire.wants == len(asked))
    await until(lambda: connection._paused)
    assert connection.unread <= WRITE_HIGH + 64 * (BLOCK + 13) + 4 * KIB
    waiting = peer.wire.wants  # the rest is with the kernel
    assert waiting
    await arena.upload()
    assert peer.wire.wants == waiting
    evil.writer.transport.resume_reading()  # type: ignore[attr-defined]
    got = []
    while len(got) < len(asked):
        body = await evil.expect(PIECE)
        at = tuple(int.from_bytes(body[i : i + 4], "big") for i in (0, 4))
        got.append((*at, len(body) - 8))
    assert got == asked


# ---------------------------------------------------------------- (3) has nothing we want


async def test_two_hundred_peers_that_have_nothing(arena: Arena) -> None:
    arena.share(PIECES * MIB, MIB)
    await arena.attack(memory=16 * MIB, max_peers_per_torrent=250)
    before = resident()
    for host in hosts(200):
        evil = await arena.enter(host)
        evil.send(frame(INTERESTED))
        arena.spawn(evil.read())
    await until(lambda: len(arena.torrent.peers) == 200)
    assert resident() - before < 32 * MIB
    stats = await arena.finish(seeders=1)
    assert stats.wasted == 0
    assert arena.victim.pool.peak <= 16 * MIB


# ---------------------------------------------------------------- (4) sits on requests


async def test_pw27_more_sitters_than_slots(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    """They came first and hold all memory. They lose it to who sends, and never hold it all again."""
    monkeypatch.setattr("swarm.engine.torrent.SHORT_PATIENCE", 1.0)
    arena.share(PIECES * MIB, MIB)
    await arena.attack(memory=16 * MIB)
    sitters = [await arena.seed(lambda *asked: None, host) for host in hosts(24)]
    await until(lambda: arena.victim.pool.in_use == 16 * MIB)
    (seeder,) = await arena.seeders(1)
    arena.meet(seeder)
    peers = list(arena.engine.peers.values())
    held = []

    async def watch() -> None:
        while True:
            snubbed = [peer for peer in peers if peer.snubbed]
            if len(snubbed) == len(sitters):
                held.append(len({fill.piece for peer in snubbed for fill in peer.wire.fills}))
            await asyncio.sleep(0.01)

    watching = arena.spawn(watch())
    stats = await arena.finished()
    watching.cancel()
    await asyncio.wait([watching])
    assert stats.wasted == 0
    assert max(held, default=0) <= MOST_PROBES + len(sitters) // 8
    assert arena.victim.pool.peak <= 16 * MIB
    assert not any(left.banned for left in arena.left)
