"""Sessions over loopback, with torrents of known bytes, and a seeder that gives what it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import swarm

PIECE = 32 << 10


class Sample:
    """A torrent with its bytes. `sizes` are (path, length) below the folder `t`, in order."""

    def __init__(
        self,
        sizes: dict[str, int],
        *,
        name: str = "t",
        piece_length: int = PIECE,
        seed: int = 1,
        trackers: tuple[str, ...] = (),
    ) -> None:
        self.data = random.Random(seed).randbytes(sum(sizes.values()))
        cut = range(0, len(self.data), piece_length)
        hashes = [hashlib.sha1(self.data[at : at + piece_length]).digest() for at in cut]
        self.meta = swarm.Metainfo.build(
            name=name,
            files=[(tuple(path.split("/")), length) for path, length in sizes.items()],
            single_file=False,
            piece_length=piece_length,
            piece_hashes=b"".join(hashes),
            trackers=[[url] for url in trackers],
        )

    def write(self, dest: Path) -> Path:
        """Puts all files below `dest`, which it returns."""
        for file in self.meta.files:
            path = dest.joinpath(*file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.data[file.offset : file.offset + file.length])
        return dest

    def on_disk(self, dest: Path) -> bytes:
        return b"".join(dest.joinpath(*file.path).read_bytes() for file in self.meta.files)


@dataclass
class Lab:
    """Opens sessions, each with a state of its own, and closes them when the test is over."""

    folder: Path
    stack: AsyncExitStack
    opened: int = 0

    sample = Sample

    def session(self, name: str | None = None, listen: str = "127.0.0.1:0", **turned: Any):
        """A session that is not entered yet. One of the same name finds the same state."""
        self.opened += 1
        state = self.folder / "state" / (name or f"session{self.opened}")
        settings = swarm.Settings(**turned)
        return swarm.Session(listen=listen, state_dir=state, settings=settings)

    async def open(self, name: str | None = None, **turned: Any) -> swarm.Session:
        return await self.stack.enter_async_context(self.session(name, **turned))

    async def seed(self, sample: Sample, **turned: Any) -> tuple[swarm.Session, swarm.Torrent]:
        """A session that seeds the sample, from a folder of its own."""
        session = await self.open(**turned)
        dest = sample.write(self.folder / f"seed{self.opened}")
        torrent = await session.add(sample.meta, dest=dest, verify=False)
        await self.until(lambda: torrent.stats.state == "seeding")
        return session, torrent

    async def gate(self, session: swarm.Session, limit: float) -> Gate:
        """A way to a session on which only `limit` bytes pass."""
        return await self.stack.enter_async_context(Gate(self.addr(session), limit))

    @staticmethod
    def addr(session: swarm.Session) -> swarm.PeerAddr:
        """Where a session of this machine is reached."""
        return swarm.PeerAddr("127.0.0.1", session.port)

    @staticmethod
    async def until(condition: Callable[[], object]) -> None:
        """Lets the loop run until it is so. Only for what no event or future tells."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


class Gate:
    """Between a leecher and a seeder: lets `limit` bytes of the seeder through until it is opened.

    So a download can be stopped in the middle, at a place of the test's choosing.
    """

    def __init__(self, target: swarm.PeerAddr, limit: float) -> None:
        self.limit = limit
        self.passed = 0
        self._target = target
        self._more = asyncio.Event()
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    @property
    def addr(self) -> swarm.PeerAddr:
        return swarm.PeerAddr("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def let(self, limit: float) -> None:
        """Lets more through: `limit` bytes in all."""
        self.limit = limit
        self._more.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._server.is_serving():  # it came while the gate was being taken away
            writer.close()
            return
        self._writers.add(writer)
        there, onward = await asyncio.open_connection(*self._target)
        self._writers.add(onward)
        for coroutine in (self._pump(reader, onward, False), self._pump(there, writer, True)):
            task = asyncio.get_running_loop().create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, src: asyncio.StreamReader, dst: asyncio.StreamWriter, gated: bool
    ) -> None:
        try:
            while data := await src.read(16 << 10):
                while gated and self.passed + len(data) > self.limit:
                    self._more.clear()
                    await self._more.wait()
                self.passed += len(data) * gated
                dst.write(data)
                await dst.drain()
        except (ConnectionError, RuntimeError):
            pass  # it hung up; uvloop says so of a closed transport with a RuntimeError
        finally:
            dst.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


@pytest.fixture
def sample() -> Sample:
    """Five files, one of them empty, whose ends are not those of pieces; 1 MiB in all."""
    sizes = {"a": 50_000, "dir/b": 10, "dir/empty": 0, "dir/sub/c": 900_000, "d": 98_566}
    return Sample(sizes)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test may leave an unhandled error behind, such as a task's that nobody looked at."""
    yield
    loud = [r.getMessage() for r in caplog.get_records("call") if r.name == "asyncio"]
    assert not loud
