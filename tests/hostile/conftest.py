"""Real sessions on loopback, honest ones and one to be attacked, and eyes on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import swarm

sys.path.insert(0, str(Path(__file__).parent))  # before `tests`, which has a conftest, too

from evil import EVIL, Answer, Evil

KIB = 1024
VICTIM = "127.0.0.1"
MOST_LAG = 0.5
"""Seconds of CPU that the loop's thread may spend without a turn for a timer that is due."""
TICK = 0.005
HURRY, ENGINE_TICK = 0.02, 0.2
"""The engine's two intervals, in seconds, shortened: the tests are not here to wait."""


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Lag:
    """The longest time that the loop kept a timer waiting, in CPU seconds: other processes don't count."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def run(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            late = min(time.perf_counter() - wall - TICK, time.thread_time() - cpu)
            self.worst = max(self.worst, late)


class Payload:
    """What is shared: one file of random bytes."""

    def __init__(self, folder: Path, size: int, piece_length: int) -> None:
        self.folder = folder
        self.content = random.Random(size).randbytes(size)
        self.piece_length = piece_length
        folder.mkdir()
        (folder / "data").write_bytes(self.content)
        pieces = [self.content[i : i + piece_length] for i in range(0, size, piece_length)]
        self.meta = swarm.Metainfo.build(
            name="data",
            files=[(("data",), size)],
            single_file=True,
            piece_length=piece_length,
            piece_hashes=b"".join(hashlib.sha1(piece).digest() for piece in pieces),
        )
        self.infohash = self.meta.infohash.v1 or b""
        self.pieces = len(pieces)

    def right(self, piece: int, begin: int, length: int) -> bytes:
        at = piece * self.piece_length + begin
        return self.content[at : at + length]

    def wrong(self, piece: int, begin: int, length: int) -> bytes:
        return bytes(byte ^ 0xFF for byte in self.right(piece, begin, length)[:1]) + self.right(
            piece, begin + 1, length - 1
        )


class Arena:
    """One attacked session, and who else is there. Everything in it ends with the test."""

    def __init__(self, tmp: Path, lag: Lag) -> None:
        self.tmp = tmp
        self.lag = lag
        self.left: list[swarm.PeerLeft] = []
        """Who left the attacked session, and why."""
        self.failed: list[swarm.PieceFailed] = []
        self.victim: swarm.Session
        self.torrent: swarm.Torrent
        self.payload = Payload(tmp / "payload", 4 * KIB * KIB + 1000, 64 * KIB)
        self.evils: list[Evil] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.stack = contextlib.AsyncExitStack()
        self._count = 0

    def share(self, size: int, piece_length: int) -> None:
        """Another payload than the usual one."""
        self.payload = Payload(self.tmp / f"payload-{size}", size, piece_length)

    # ------------------------------------------------------------ sessions

    async def session(self, host: str, **settings: Any) -> swarm.Session:
        self._count += 1
        session = swarm.Session(
            listen=f"{host}:0",
            state_dir=self.tmp / f"state-{self._count}",
            settings=swarm.Settings(**{"memory": 8 << 20, "stop_timeout": 1.0} | settings),
        )
        return await self.stack.enter_async_context(session)

    async def attack(self, *, seeding: bool = False, **settings: Any) -> None:
        """Sets up the session that is attacked."""
        self.victim = await self.session(VICTIM, **settings)
        self.spawn(self._listen(self.victim))
        dest = self.payload.folder if seeding else self.tmp / "victim"
        verify = False if seeding else None
        self.torrent = await self.victim.add(self.payload.meta, dest=dest, verify=verify)
        await until(lambda: self.torrent.stats.state in ("downloading", "seeding"))
        self.lag.worst = 0.0

    async def _listen(self, session: swarm.Session) -> None:
        kinds = (swarm.PeerLeft, swarm.PieceFailed)
        async with session.events(*kinds, overflow="raise", maxsize=100_000) as events:
            async for event in events:
                if isinstance(event, swarm.PeerLeft):
                    self.left.append(event)
                else:
                    self.failed.append(event)

    async def seeders(self, count: int = 2) -> list[swarm.Session]:
        """Honest sessions with all the data, that nobody knows yet."""
        made = []
        for i in range(count):
            session = await self.session(f"127.0.0.{10 + i}")
            torrent = await session.add(self.payload.meta, dest=self.payload.folder, verify=False)
            await until(lambda torrent=torrent: torrent.stats.state == "seeding")
            made.append(session)
        return made

    def meet(self, *sessions: swarm.Session) -> None:
        """The attacked session gets to know these."""
        for session in sessions:
            self.torrent.add_peer((session.host, session.port))

    async def finish(self, within: float = 20.0, seeders: int = 2) -> swarm.Stats:
        """Lets `seeders` honest ones in: the download ends, its bytes are right, they are not banned."""
        self.meet(*await self.seeders(seeders))
        return await self.finished(within)

    async def finished(self, within: float = 20.0) -> swarm.Stats:
        async with asyncio.timeout(within):
            await self.torrent.wait_done()
        stats = self.torrent.stats
        assert self.torrent.path.read_bytes() == self.payload.content
        assert not self.banned_honest()
        return stats

    async def upload(self, within: float = 20.0) -> None:
        """An honest leecher gets everything from the attacked seeder."""
        session = await self.session("127.0.0.30")
        torrent = await session.add(
            self.payload.meta, dest=self.tmp / f"leecher-{self._count}", peers=[self.addr]
        )
        async with asyncio.timeout(within):
            await torrent.wait_done()
        assert torrent.path.read_bytes() == self.payload.content
        assert torrent.stats.wasted == 0
        assert not self.banned_honest()

    def banned_honest(self) -> list[swarm.PeerLeft]:
        return [left for left in self.left if left.banned and not is_evil(left.addr.host)]

    @property
    def addr(self) -> tuple[str, int]:
        return VICTIM, self.victim.port

    @property
    def engine(self) -> Any:
        return self.torrent._runner.engine

    def reasons(self, host: str = EVIL) -> list[str]:
        """Why connections with this host have ended."""
        return [left.reason for left in self.left if left.addr.host == host]

    # ------------------------------------------------------------ hostile peers

    def spawn(self, coroutine: Awaitable[Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.append(task)
        return task

    async def dial(self, source: str = EVIL) -> Evil:
        """A hostile connection that has said nothing yet."""
        evil = await Evil.dial(self.addr, source)
        self.evils.append(evil)
        return evil

    async def enter(self, source: str = EVIL, peer_id: bytes | None = None, **flags: bool) -> Evil:
        """A hostile connection whose handshake is done."""
        evil = await self.dial(source)
        await evil.greet(self.payload.infohash, peer_id, **flags)
        return evil

    async def seed(self, answer: Answer, source: str = EVIL) -> Evil:
        """A peer that claims to have everything, and answers like that."""
        evil = await self.enter(source)
        self.spawn(evil.seed(self.payload.pieces, answer))
        return evil

    async def listen(
        self, script: Callable[[Evil], Awaitable[Any]], host: str = EVIL
    ) -> tuple[str, int]:
        """A hostile listener: each connection runs the script."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            evil = Evil(reader, writer)
            self.evils.append(evil)
            with contextlib.suppress(OSError, EOFError):
                await script(evil)

        server = await asyncio.start_server(serve, host, 0)
        self.stack.callback(server.close)
        return host, server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        for evil in self.evils:
            evil.close()
        await self.stack.aclose()
        for task in self.tasks:
            task.cancel()
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def is_evil(host: str) -> bool:
    """Honest sessions live in 127.0.0.1 to .30."""
    return not host.startswith("127.0.0.") or int(host.rpartition(".")[2]) > 30


async def until(condition: Callable[[], object], within: float = 10.0) -> None:
    """Lets the loop run until something is so."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@pytest.fixture
async def lag() -> AsyncIterator[Lag]:
    """Measures the loop; no exception may be lost in it."""
    loop = asyncio.get_running_loop()
    lost: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: lost.append(context))
    lag = Lag()
    watch = loop.create_task(lag.run())
    gc.disable()  # pytest's heap is not the engine's fault
    yield lag
    watch.cancel()
    gc.enable()
    gc.collect()
    await asyncio.sleep(0)
    assert not lost
    assert lag.worst < MOST_LAG


@pytest.fixture
async def arena(lag: Lag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Arena]:
    monkeypatch.setattr("swarm.engine.choker.HURRY", HURRY)
    monkeypatch.setattr("swarm.engine.torrent.TICK", ENGINE_TICK)
    arena = Arena(tmp_path, lag)
    try:
        yield arena
    finally:
        await arena.close()
