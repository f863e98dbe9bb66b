"""Extended handshakes (BEP 10) that say too much, nonsense, or somebody else's address."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Arena, resident, until
from evil import INTERESTED, REQUEST, UNCHOKE, Evil, all_pieces, extended, frame

MIB = 1 << 20

BAD = {
    "a list": b"le",
    "a number": b"i1e",
    "nothing": b"",
    "noise": b"\xff" * 100,
    "cut off": b"d1:md",
    "lists in lists": b"l" * 100_000,
    "dictionaries in dictionaries": b"d1:a" * 100_000,
    "a megabyte of tokens": b"d1:ml" + b"i1e" * 349_000 + b"ee",
    "a number of 80 bits": b"d4:reqqi%dee" % (1 << 80),
    "a huge string": b"d1:v999999999999:",
}


@pytest.mark.parametrize("said", BAD.values(), ids=BAD)
async def test_ex01_a_bad_extended_handshake(arena: Arena, said: bytes) -> None:
    await arena.attack()
    honest = await arena.enter("127.0.0.20")
    evil = await arena.enter(bep10=True)
    before = resident()
    evil.send(extended(said))
    assert await evil.lost() < 1.0
    assert arena.reasons()[0].startswith("extended handshake")
    assert resident() - before < 16 * MIB
    assert not honest.over


async def test_ex01_a_megabyte_that_never_comes(arena: Arena) -> None:
    await arena.attack()
    before = resident()
    for _ in range(50):
        evil = await arena.enter()
        evil.send((MIB).to_bytes(4, "big") + b"\x14\x00")
    await asyncio.sleep(0.02)
    assert resident() - before < 16 * MIB


async def test_ex02_a_thousand_extensions(arena: Arena) -> None:
    await arena.attack()
    evil = await arena.enter(bep10=True)
    names = b"".join(b"5:x%04di%de" % (i, i % 300 - 1) for i in range(900))
    evil.send(extended(b"d1:md" + names + b"ee"))
    await arena.finish()
    assert arena.reasons() == []


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_ex03_many_handshakes_in_one_read_do_not_block(arena: Arena) -> None:
    await arena.attack()
    evil = await arena.enter(bep10=True)
    names = b"".join(b"4:x%03di1e" % i for i in range(900))
    arena.spawn(
        evil.pour(extended(b"de") * 50_000 + extended(b"d1:md" + names + b"ee") * 100, MIB * 64)
    )
    arena.spawn(evil.read())
    await arena.finish()
    assert len(arena.reasons()) == 1


@pytest.mark.parametrize(
    "name",
    [
        b"<script>alert(1)</script>",
        b"A" * 10_000,
        b"\x1b[31mred\x1b[0m\r\n\x07",
        b"\xff\xfe\x80",
        b"",
    ],
    ids=["html", "long", "ansi", "not utf-8", "empty"],
)
async def test_ex04_a_hostile_name(arena: Arena, name: bytes) -> None:
    await arena.attack()
    evil = await arena.enter(bep10=True)
    evil.send(extended(b"d1:v%d:%se" % (len(name), name)) + frame(INTERESTED))
    (peer,) = arena.engine.peers.values()
    await until(lambda: peer.wire.peer_interested)
    assert len(peer.client) <= 64
    assert peer.client.isprintable()
    assert bool(peer.client) == bool(name)


@pytest.mark.parametrize("queue", [0, -1, 1, 2**31, 2**62])
async def test_ex05_request_queue(arena: Arena, queue: int) -> None:
    await arena.attack()
    evil = await arena.enter(bep10=True)
    evil.send(extended(b"d4:reqqi%dee" % queue) + all_pieces(arena.payload.pieces) + frame(UNCHOKE))
    reading = arena.spawn(evil.read())
    await until(lambda: evil.got[REQUEST])
    (peer,) = arena.engine.peers.values()
    assert 1 <= peer.request_queue <= 2000
    await asyncio.sleep(0.02)
    assert evil.got[REQUEST] <= 512
    evil.close()
    await reading
    await arena.finish()


async def test_ex07_nobody_else_is_dialled(arena: Arena) -> None:
    """A peer names addresses of a victim; what we dial, if anything, is its own host."""
    await arena.attack()
    dialled = []

    async def script(evil: Evil) -> None:
        dialled.append(evil)

    host, port = await arena.listen(script, "127.0.0.99")
    for i in range(5):
        evil = await arena.enter(f"127.0.0.{70 + i}", bep10=True)
        address = bytes(int(part) for part in host.split("."))
        evil.send(
            extended(
                b"d4:ipv44:"
                + address
                + b"4:ipv616:"
                + bytes(12)
                + address
                + b"1:pi%de6:yourip4:" % port
                + address
                + b"e"
            )
            + frame(INTERESTED)
        )
        (peer,) = arena.engine.peers.values()
        await until(lambda peer=peer: peer.wire.peer_interested)
        evil.close()
        await until(lambda: not arena.engine.peers)
    arena.torrent._runner.work()
    await arena.finish()
    assert not dialled
    assert len(arena.engine.candidates) <= 2  # the honest seeders
