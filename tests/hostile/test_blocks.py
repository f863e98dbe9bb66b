"""Peers that send wrong bytes, what nobody asked for, too little, or nothing."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from conftest import Arena, until
from evil import (
    BLOCK,
    CANCEL,
    CHOKE,
    EVIL,
    PIECE,
    REQUEST,
    UNCHOKE,
    Answer,
    Evil,
    all_pieces,
    frame,
)

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

MIB = 1 << 20


@pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
async def test_pw21_blocks_that_nobody_asked_for(arena: Arena) -> None:
    await arena.attack()
    evil = await arena.enter()
    block = arena.payload.wrong(0, 0, BLOCK)
    for piece in range(40):
        evil.send(frame(PIECE, piece, 0, payload=block))
    await evil.lost()
    assert arena.reasons() == ["blocks that were never requested"]
    stats = await arena.finish()
    assert stats.wasted <= 17 * BLOCK
    assert not arena.failed


WRONG_PLACES = {
    "wrong begin": lambda p, b, n, x: frame(PIECE, p, b + 1, payload=x),
    "another block": lambda p, b, n, x: frame(PIECE, p, b ^ (1 << 31), payload=x),
    "another piece": lambda p, b, n, x: frame(PIECE, p ^ 64, b, payload=x),
    "longer": lambda p, b, n, x: frame(PIECE, p, b, payload=x + b"x"),
    "shorter": lambda p, b, n, x: frame(PIECE, p, b, payload=x[:-1]),
    "twice": lambda p, b, n, x: frame(PIECE, p, b, payload=x) * 2,
}


@pytest.mark.parametrize("place", WRONG_PLACES.values(), ids=WRONG_PLACES)
async def test_pw22_blocks_out_of_place(arena: Arena, place: object) -> None:
    await arena.attack(snub_timeout=1.0)
    evil = await arena.enter()
    evil.send(all_pieces(arena.payload.pieces) + frame(UNCHOKE))

    async def answer() -> None:
        try:
            while True:
                p, b, n = await evil.request()
                evil.send(place(p, b, n, arena.payload.right(p, b, n)))  # type: ignore[operator]
        except (OSError, EOFError):
            pass

    arena.spawn(answer())
    (peer,) = arena.engine.peers.values()
    await until(lambda: arena.reasons() or peer.snubbed)
    stats = await arena.finish()
    assert not any(left.banned for left in arena.left)
    assert stats.wasted <= 20 * BLOCK
    assert not arena.failed


async def test_pw23_a_poisoner(arena: Arena) -> None:
    await arena.attack()
    start = time.perf_counter()
    evil = await arena.seed(arena.payload.wrong)
    await until(lambda: EVIL in {left.addr.host for left in arena.left})
    took = time.perf_counter() - start
    assert arena.left[0].banned
    assert took < 2.0
    assert len(arena.failed) == 2
    assert {peer.host for event in arena.failed for peer in event.peers} <= {EVIL}
    await arena.finish(seeders=3)
    assert evil.over


async def test_pw23_a_poisoner_among_honest_seeders(arena: Arena) -> None:
    arena.share(16 * MIB, 256 * 1024)
    await arena.attack()
    evil = await arena.seed(arena.payload.wrong)
    await until(lambda: evil.sent)
    await arena.finish(seeders=3)
    assert len(arena.failed) <= 3
    assert any(left.banned for left in arena.left)


async def test_pw24_colluders_with_one_bad_block_in_sixty_four(arena: Arena) -> None:
    arena.share(24 * MIB, MIB)
    await arena.attack(memory=24 * MIB)
    rng = random.Random(24)

    def mostly_right() -> Answer:
        def answer(piece: int, begin: int, length: int) -> bytes:
            bad = begin // BLOCK == rng.randrange(64) or begin == 5 * BLOCK
            return (arena.payload.wrong if bad else arena.payload.right)(piece, begin, length)

        return answer

    for i in range(10):
        await arena.seed(mostly_right(), f"127.0.0.{60 + i}")
    await until(lambda: len(arena.failed) > 3)
    await arena.finish(seeders=3)
    assert len(arena.failed) <= 3 * 10


async def test_pw24_hit_and_run(arena: Arena) -> None:
    """One bad block, then gone, then back from another port: what it leaves costs one piece, once."""
    await arena.attack()
    rounds = 0

    async def hit_and_run() -> None:
        nonlocal rounds
        while rounds < 12:
            try:
                evil = await arena.enter()
                evil.send(all_pieces(arena.payload.pieces) + frame(UNCHOKE))
                asked = await evil.request()
            except (OSError, EOFError):
                assert arena.engine.candidates.is_banned(EVIL)
                return
            evil.send(frame(PIECE, *asked[:2], payload=arena.payload.wrong(*asked)))
            await evil.writer.drain()
            host = {p.addr[0]: p for p in arena.engine.peers.values()}.get(EVIL)
            await until(lambda evil=evil, host=host: not host or host.wire.blocks or evil.over)
            evil.close()
            await until(lambda: EVIL not in {p.addr[0] for p in arena.engine.peers.values()})
            rounds += 1
            if rounds == 1:
                await until(lambda: arena.failed)

    honest = await arena.enter("127.0.0.20")

    async def slowly() -> None:
        honest.send(all_pieces(arena.payload.pieces) + frame(UNCHOKE))
        while True:
            asked = await honest.request()
            await asyncio.sleep(0.003)
            honest.send(frame(PIECE, *asked[:2], payload=arena.payload.right(*asked)))

    seeding = asyncio.ensure_future(slowly())
    await hit_and_run()
    await arena.finished()
    seeding.cancel()
    assert len(arena.failed) <= 2


async def test_pw25_a_banned_peer_comes_back(arena: Arena) -> None:
    await arena.attack()
    await arena.seed(arena.payload.wrong)
    await until(lambda: arena.reasons())
    for _ in range(5):
        evil = await arena.dial()
        with pytest.raises((EOFError, OSError)):
            await evil.greet(arena.payload.infohash)
    arena.torrent.add_peer((EVIL, 6881))
    assert len(arena.engine.candidates) == 0
    await arena.finish()


async def test_pw27_a_piece_lie(arena: Arena) -> None:
    """It claims everything and sends nothing: its blocks go to others."""
    await arena.attack(snub_timeout=1.0)
    evil = await arena.seed(lambda *asked: None)
    await until(lambda: evil.requests)
    start = time.perf_counter()
    stats = await arena.finish()
    assert time.perf_counter() - start < 6.0
    assert stats.wasted <= 4 * arena.payload.piece_length


async def test_pw27_liars_are_most_of_the_swarm(arena: Arena) -> None:
    await arena.attack(snub_timeout=1.0)
    evils = [await arena.seed(lambda *asked: None, f"127.0.0.{60 + i}") for i in range(8)]
    await until(lambda: all(evil.requests for evil in evils))
    await arena.finish(seeders=1)


async def test_pw28_a_byte_now_and_then(arena: Arena) -> None:
    await arena.attack(snub_timeout=1.0)
    evil = await arena.enter()
    evil.send(all_pieces(arena.payload.pieces) + frame(UNCHOKE))

    async def drip() -> None:
        try:
            asked = await evil.request()
            for byte in frame(PIECE, *asked[:2], payload=arena.payload.right(*asked)):
                evil.send(bytes([byte]))
                await asyncio.sleep(0.05)
        except (OSError, EOFError):
            pass

    task = asyncio.ensure_future(drip())
    await until(lambda: arena.engine.peers and arena.torrent.peers)
    stats = await arena.finish()
    task.cancel()
    assert stats.wasted <= 2 * BLOCK


@pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["reset", "half-close", "close", "choke"])
async def test_pw33_gone_in_the_middle_of_a_block(arena: Arena, how: str) -> None:
    await arena.attack()  # twenty seconds before a snub: only the end itself can help
    evil = await arena.enter()
    evil.send(all_pieces(arena.payload.pieces) + frame(UNCHOKE))
    for _ in range(3):
        asked = await evil.request()
        evil.send(frame(PIECE, *asked[:2], payload=arena.payload.right(*asked)))
    asked = await evil.request()
    evil.send(frame(PIECE, *asked[:2], payload=arena.payload.right(*asked))[:5000])
    await evil.writer.drain()
    await until(lambda: next(iter(arena.engine.peers.values())).wire.blocks == 3)
    if how == "reset":
        evil.reset()
    elif how == "half-close":
        evil.writer.write_eof()
    elif how == "close":
        evil.close()
    else:
        evil.send(bytes(16384 + 13 - 5000) + frame(CHOKE))
        arena.spawn(evil.read())
    stats = await arena.finish(within=5)
    assert stats.wasted <= 2 * BLOCK
    if how != "choke":
        assert arena.reasons()


async def test_pw34_end_game_with_many_peers(arena: Arena) -> None:
    """Fast and slow seeders race for the last pieces: little comes twice, and cancels are sent."""
    arena.share(6 * MIB, 64 * 1024)
    await arena.attack(snub_timeout=2.0)
    rng = random.Random(34)

    async def seeder(evil: Evil, delay: float) -> None:
        evil.send(all_pieces(arena.payload.pieces) + frame(UNCHOKE))
        queue: list[tuple[int, int, int]] = []
        reading = asyncio.ensure_future(read(evil, queue))
        while not evil.over and not evil.writer.is_closing():
            if queue:
                asked = queue.pop(0)
                evil.send(frame(PIECE, *asked[:2], payload=arena.payload.right(*asked)))
            await asyncio.sleep(delay)
        await reading

    async def read(evil: Evil, queue: list[tuple[int, int, int]]) -> None:
        try:
            while True:
                kind, body = await evil.message()
                if kind in (REQUEST, CANCEL):
                    asked = tuple(int.from_bytes(body[i : i + 4], "big") for i in (0, 4, 8))
                    if kind == REQUEST:
                        queue.append(asked)  # type: ignore[arg-type]
                    elif asked in queue:
                        queue.remove(asked)  # type: ignore[arg-type]
        except (OSError, EOFError):
            pass

    for i in range(60):
        evil = await arena.enter(f"127.0.2.{i + 1}")
        arena.spawn(seeder(evil, rng.choice([0.02, 0.05, 0.15])))
    stats = await arena.finished()
    assert stats.wasted <= 0.02 * len(arena.payload.content) + 2 * BLOCK
