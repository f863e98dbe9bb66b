"""Connections that never become peers, or become too many of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import pytest
from conftest import Arena, until
from evil import EVIL, Evil, all_pieces, handshake, new_id

SILENT = 500


async def test_pw01_silent_connections_are_closed_in_time(arena: Arena) -> None:
    await arena.attack(handshake_timeout=0.3)
    evils = [await arena.dial() for _ in range(40)]
    took = await asyncio.gather(*(evil.lost() for evil in evils))
    assert max(took) < 2.0


async def test_pw01_slow_loris_does_not_lock_anybody_out(arena: Arena) -> None:
    await arena.attack(seeding=True, max_pending_inbound=64)  # ten seconds for a handshake
    evils = [await arena.dial() for _ in range(SILENT)]
    start = time.perf_counter()
    honest = await arena.enter("127.0.0.20")
    assert time.perf_counter() - start < 1.0
    await arena.upload()
    assert sum(evil.over for evil in evils) >= SILENT - 64
    assert not honest.over


async def test_pw01_the_oldest_silent_connection_goes_first(arena: Arena) -> None:
    await arena.attack(max_pending_inbound=3)
    evils = [await arena.dial() for _ in range(8)]
    await asyncio.gather(*(evil.lost() for evil in evils[:5]))
    assert not any(evil.over for evil in evils[5:])
    for evil in evils[5:]:
        await evil.greet(arena.payload.infohash)


async def test_pw01_a_burst_beyond_the_cap_leaves_nothing_open(arena: Arena) -> None:
    await arena.attack(max_pending_inbound=3)
    evils = await asyncio.gather(*(arena.dial() for _ in range(100)))
    await until(lambda: sum(evil.over for evil in evils) == 97)


async def test_pw02_a_handshake_byte_now_and_then(arena: Arena) -> None:
    await arena.attack(handshake_timeout=0.3)
    evil = await arena.dial()
    start = time.perf_counter()
    for byte in handshake(arena.payload.infohash, new_id()):
        if evil.over:
            break
        evil.send(bytes([byte]))
        await asyncio.sleep(0.05)
    assert 0.2 < time.perf_counter() - start < 1.5
    await arena.finish()


GOOD = handshake(bytes(20), new_id())
BAD_STARTS = {
    "length 0": b"\x00" + GOOD[1:],
    "length 255": b"\xff" + GOOD[1:],
    "another protocol": b"\x13BitTorrent protocoI" + GOOD[20:],
    "http": b"GET /announce?info_hash=x HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": random.Random(1).randbytes(4096),
    "one wrong byte": b"\x14",
}


@pytest.mark.parametrize("start", BAD_STARTS.values(), ids=BAD_STARTS)
async def test_pw03_not_a_handshake(arena: Arena, start: bytes) -> None:
    await arena.attack()
    evil = await arena.dial()
    evil.send(start)
    async with asyncio.timeout(2):
        with contextlib.suppress(ConnectionResetError):  # not all that it sent was read
            assert await evil.reader.read() == b""


async def test_pw04_an_unknown_torrent_looks_like_a_paused_one(arena: Arena) -> None:
    await arena.attack()
    replies, times = [], []
    for infohash in (bytes(20), arena.payload.infohash):
        if infohash == arena.payload.infohash:
            await arena.torrent.pause()
        start = time.perf_counter()
        for _ in range(10):
            evil = await arena.dial()
            evil.send(handshake(infohash, new_id()))
            replies.append(await evil.reader.read())
        times.append(time.perf_counter() - start)
    assert set(replies) == {b""}
    assert max(times) < min(times) + 0.1


async def test_pw04_a_dialled_peer_answers_for_another_torrent(arena: Arena) -> None:
    await arena.attack()
    taken = []

    async def script(evil: Evil) -> None:
        taken.append(await evil.reader.readexactly(68))
        evil.send(handshake(bytes(range(20)), new_id()) + all_pieces(arena.payload.pieces))
        await evil.lost()
        taken.append(b"closed")

    arena.torrent.add_peer(await arena.listen(script))
    await until(lambda: len(taken) == 2)
    assert arena.torrent.stats.peers == 0
    await arena.finish()


async def test_pw04_a_dialled_peer_answers_for_another_torrent_of_ours(arena: Arena) -> None:
    await arena.attack()
    first = arena.payload
    arena.share(100_000, 32768)
    other = await arena.victim.add(arena.payload.meta, dest=arena.tmp / "other")
    await until(lambda: other.stats.state == "downloading")
    closed = asyncio.Event()

    async def script(evil: Evil) -> None:
        await evil.reader.readexactly(68)
        evil.send(handshake(arena.payload.infohash, new_id()))
        await evil.lost()
        closed.set()

    arena.torrent.add_peer(await arena.listen(script))
    async with asyncio.timeout(5):
        await closed.wait()
    assert other.stats.peers == arena.torrent.stats.peers == 0
    arena.payload = first
    await arena.finish()


async def test_pw05_our_own_peer_id(arena: Arena) -> None:
    await arena.attack()
    evil = await arena.enter(peer_id=arena.victim.peer_id)
    await evil.lost()
    assert arena.torrent.stats.peers == 0
    await arena.finish()


async def test_pw05_our_own_address_is_dialled_once(arena: Arena) -> None:
    await arena.attack()
    arena.torrent.add_peer(arena.addr)
    await until(lambda: len(arena.engine.candidates) == 0 and not arena.victim.dialling)
    arena.torrent.add_peer(arena.addr)
    assert len(arena.engine.candidates) == 0
    assert arena.torrent.stats.peers == 0


async def test_pw06_one_peer_id_from_many_addresses(arena: Arena) -> None:
    await arena.attack()
    peer_id = new_id()
    for i in range(100):
        evil = await arena.dial(f"127.0.1.{i + 1}")
        evil.send(handshake(arena.payload.infohash, peer_id))
    await until(lambda: sum(evil.over for evil in arena.evils) == 99)
    assert arena.torrent.stats.peers == 1
    await arena.finish()


async def test_pw06_a_crowd_from_one_host_leaves_room(arena: Arena) -> None:
    await arena.attack(max_peers_per_torrent=10)
    evils = [await arena.enter() for _ in range(10)]
    await arena.enter("127.0.0.20")
    assert arena.torrent.stats.peers == 10
    await until(lambda: sum(evil.over for evil in evils) == 1)
    more = await arena.dial()
    more.send(handshake(arena.payload.infohash, new_id()))
    await more.lost()
    session = (await arena.seeders(1))[0]
    session.torrents[arena.payload.meta.infohash].add_peer(arena.addr)
    await arena.finished()


async def test_pw06_a_stolen_peer_id_takes_nobodys_place(arena: Arena) -> None:
    await arena.attack()
    honest = await arena.enter("127.0.0.20", peer_id=b"\xff" * 20)
    arena.spawn(honest.seed(arena.payload.pieces, slow := Slow(arena)))
    await until(lambda: slow.served > 4)
    thief = await arena.dial()
    thief.send(handshake(arena.payload.infohash, b"\xff" * 20))
    await thief.lost()
    slow.free = True
    await arena.finished()
    assert arena.reasons("127.0.0.20") in ([], ["nothing to trade"])


async def test_pw06_a_stolen_peer_id_of_a_peer_we_dialled(arena: Arena) -> None:
    await arena.attack()
    slow = Slow(arena)
    peer_id = b"\xff" * 20  # above ours: what it opens wins, were it really the same peer

    async def script(evil: Evil) -> None:
        await evil.greet(arena.payload.infohash, peer_id)
        await evil.seed(arena.payload.pieces, slow)

    arena.torrent.add_peer(await arena.listen(script, "127.0.0.20"))
    await until(lambda: slow.served > 4)
    thief = await arena.dial()
    thief.send(handshake(arena.payload.infohash, peer_id))
    await thief.lost()
    slow.free = True
    await arena.finished()
    assert "connected twice" not in arena.reasons("127.0.0.20")


class Slow:
    """Serves ten blocks, and the rest once it is `free`."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.served = 0
        self._free = False
        self._held: list[tuple[int, int, int]] = []

    @property
    def free(self) -> bool:
        return self._free

    @free.setter
    def free(self, value: bool) -> None:
        from evil import PIECE, frame

        self._free = value
        for evil in self.arena.evils:
            if evil.requests:
                for piece, begin, length in self._held:
                    data = self.arena.payload.right(piece, begin, length)
                    evil.send(frame(PIECE, piece, begin, payload=data))
        self._held.clear()

    def __call__(self, piece: int, begin: int, length: int) -> bytes | None:
        if not self._free and self.served >= 10:
            self._held.append((piece, begin, length))
            return None
        self.served += 1
        return self.arena.payload.right(piece, begin, length)


@pytest.mark.parametrize("peer_id", [b"\x00" * 20, b"\xff" * 20], ids=["smaller", "larger"])
async def test_same_peer_from_both_sides_at_once(arena: Arena, peer_id: bytes) -> None:
    await arena.attack()
    both: list[Evil] = []

    async def script(evil: Evil) -> None:
        await evil.reader.readexactly(68)
        second = await arena.dial()
        both.extend((evil, second))
        for one in both:
            one.send(handshake(arena.payload.infohash, peer_id))
        await asyncio.gather(*(one.lost(60) for one in both))

    arena.torrent.add_peer(await arena.listen(script))
    await until(lambda: len(both) == 2 and any(one.over for one in both))
    assert arena.torrent.stats.peers == 1
    await until(lambda: [one.over for one in both].count(True) == 1)
    # What the larger peer id has opened stays.
    assert both[0].over == (peer_id > arena.victim.peer_id)


async def test_two_sessions_dial_each_other_at_once(arena: Arena) -> None:
    await arena.attack()
    for i in range(8):
        other = await arena.session(f"127.0.0.{10 + i}")
        torrent = await other.add(arena.payload.meta, dest=arena.tmp / f"other-{i}")
        await until(lambda torrent=torrent: torrent.stats.state == "downloading")
        arena.torrent.add_peer((other.host, other.port))
        torrent.add_peer(arena.addr)
        await until(lambda: not arena.victim.dialling)
        await until(lambda other=other: not other.dialling)
        await until(lambda torrent=torrent, i=i: torrent.stats.peers == 1)
        await until(lambda i=i: arena.torrent.stats.peers == i + 1)
        await asyncio.sleep(0.02)
        assert torrent.stats.peers == 1
        assert arena.torrent.stats.peers == i + 1
        assert len(arena.victim.connections) == i + 1
    await arena.finish()


@pytest.mark.parametrize("how", ["connect", "handshake", "reset"])
async def test_a_flood_of_connections(arena: Arena, how: str) -> None:
    await arena.attack(seeding=True)
    for _ in range(300):
        evil = await Evil.dial(arena.addr)
        if how != "connect":
            await evil.greet(arena.payload.infohash)
        if how == "reset":
            evil.reset()
        evil.close()
    await arena.upload()
    await until(lambda: arena.torrent.stats.peers <= 1)
    assert not arena.victim.greeting
    assert EVIL not in {peer[0] for peer in arena.torrent.peers}
