"""A transfer between two hosts: one listens, the other measures; both make the same payload from a seed.

Every connection is made by the measuring host, so that only the listening one has to be reachable. CPU is
that of the process from the moment its side begins, without its start-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import swarm

from .control import VERSION, Begin, Control, End, Go, Hello, Ready, Refused, Spent, Started
from .machine import Machine
from .payload import Payload, warm
from .report import Sample
from .round import GIB, MIB
from .work import Work

T = TypeVar("T")
CONNECT = 10.0
GREETING = 30.0
"""Seconds that a stranger has to say what it wants."""
MAKING = 60.0
"""Seconds that anything may take; more for each MiB that it is about."""
SLOWEST = 64 * 1024
"""Bytes/s below which a transfer is given up, and a payload not waited for."""
MAX_FILES = 100_000
LOOK, SOON = 0.2, 0.01
Look = Callable[[int], object]
"""Is told how many bytes have moved, now and then."""


def patience(size: int) -> float:
    """Seconds that making or moving this many bytes may take."""
    return MAKING + size / SLOWEST


def new_event_loop() -> asyncio.AbstractEventLoop:
    """As the command line has it: uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@dataclass(frozen=True)
class Netting:
    """`size` bytes in `files` files and pieces of `piece`, from and to the host that listens at `host`, `port`.

    Whatever is made in `folder` is gone at the end.
    """

    host: str
    port: int
    size: int
    piece: int
    files: int
    folder: Path

    def measure(
        self, rounds: int, *, both: bool, on_event: Callable[[str, int, int], object]
    ) -> Generator[Machine | Sample]:
        """The other host's machine, then each direction in turns: `down`, and `up` if both are wanted.

        `on_event` gets the direction, the round and how many bytes have moved. Raises `SwarmError` or
        OSError as soon as something fails.
        """
        hello = Hello(VERSION, self.size, self.piece, self.files, int.from_bytes(os.urandom(4)))
        work = work_of(hello)
        with (
            Control.connect(self.host, self.port, CONNECT) as control,
            scratch_in(self.folder) as scratch,
        ):
            on_event("making", 0, 0)
            control.send(hello)
            payload = Payload.make(work, scratch)
            ready = control.receive(Ready, patience(self.size))
            if ready.info_hash != info_hash(payload):
                raise swarm.ProtocolError(f"{control.peer} has made another payload than we have")
            yield ready.machine
            side = _Measuring(control, payload, self.size, scratch)
            for number in range(1, rounds + 1):
                yield side.down(partial(on_event, "down", number))
                if both:
                    yield side.up(partial(on_event, "up", number))


@dataclass(frozen=True)
class _Measuring:
    control: Control
    payload: Payload
    size: int
    scratch: Path

    def down(self, look: Look) -> Sample:
        """Fetches everything from the other host."""
        prepare(self.payload, self.scratch, self.size)
        self.control.send(Begin("seed"))
        port = self.control.receive(Started, patience(self.size)).port
        with fresh_in(self.scratch) as dest:
            seconds, cpu = _run(self._fetch(port, dest, look))
            self.control.send(End())
            spent = self.control.receive(Spent, MAKING)
            problem = spent.problem or self.payload.difference(dest)
        return self._sample("down", seconds, cpu, spent.cpu, problem)

    def up(self, look: Look) -> Sample:
        """Has the other host fetch everything from here."""
        prepare(self.payload, self.scratch, self.size)
        self.control.send(Begin("leech"))
        port = self.control.receive(Started, patience(self.size)).port
        cpu, spent = _run(self._give(port, look))
        return self._sample("up", spent.seconds, spent.cpu, cpu, spent.problem)

    async def _fetch(self, port: int, dest: Path, look: Look) -> tuple[float, float]:
        """Seconds, and CPU-seconds of this process."""
        async with session_in(self.scratch) as session:
            start, cpu = time.monotonic(), time.process_time()
            peers = [(self.control.peer, port)]
            torrent = await session.add(self.payload.torrent, dest=dest, peers=peers)
            async with _looking(torrent, "downloaded", look):
                await _complete(torrent, self.control, self.size)
            return time.monotonic() - start, time.process_time() - cpu

    async def _give(self, port: int, look: Look) -> tuple[float, Spent]:
        async with session_in(self.scratch) as session:
            self.control.send(Go())
            cpu = time.process_time()
            peers = [(self.control.peer, port)]
            torrent = await session.add(
                self.payload.torrent, dest=self.payload.folder, verify=False, peers=peers
            )
            async with (
                asyncio.timeout(2 * patience(self.size)),
                _looking(torrent, "uploaded", look),
            ):
                spent = await self.control.receive_soon(Spent)
            return time.process_time() - cpu, spent

    def _sample(
        self, name: str, seconds: float, leecher: float, seeder: float, problem: str | None
    ) -> Sample:
        if problem:
            raise swarm.ProtocolError(problem)
        share = GIB / self.size
        values = {"leecher_cpu": leecher * share, "seeder_cpu": seeder * share}
        return Sample(name, {"rate": self.size / seconds, **values})


class Listener:
    """Takes its part in what other hosts measure, one after the other. `tell` gets what happens, in words.

    What is sent goes through the port after the one it listens at, or any if that is 0.
    """

    def __init__(
        self, host: str, port: int, *, folder: Path, most: int, tell: Callable[[str], object]
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.create_server((host, port), family=family)
        self.port: int = self._server.getsockname()[1]
        self._host, self._data_port = host, port + 1 if port else 0
        self._folder, self._most, self._tell = folder, most, tell

    def close(self) -> None:
        """Stops to listen."""
        self._server.close()

    def serve(self) -> bool:
        """Waits for a host, and does what it wants until it goes. Whether that went well."""
        sock, _ = self._server.accept()
        with Control(sock) as control:
            try:
                self._serve(control)
            except (swarm.SwarmError, OSError) as error:
                self._tell(f"{control.peer}: {error or type(error).__name__}")
                return False
        return True

    def _serve(self, control: Control) -> None:
        hello = control.receive(Hello, GREETING)
        try:
            work = self._accepted(hello)
        except swarm.ConfigError as error:
            control.send(Refused(str(error)))
            raise
        self._tell(f"{control.peer}: measures {hello.size / MIB:,.1f} MiB in {hello.files} file(s)")
        with scratch_in(self._folder) as scratch:
            payload = Payload.make(work, scratch)
            control.send(Ready(info_hash(payload), Machine.here(self._folder)))
            while True:
                try:
                    role = control.receive(Begin, patience(hello.size)).role
                except ConnectionError:
                    self._tell(f"{control.peer}: has measured")
                    return
                prepare(payload, scratch, hello.size)
                with fresh_in(scratch) as dest:
                    side = _Serving(control, payload, hello.size, dest)
                    at = session_in(scratch, self._host, self._data_port)
                    spent = _run(side.seed(at) if role == "seed" else side.leech(at))
                    if role == "leech" and not spent.problem:
                        problem = payload.difference(dest)
                        spent = Spent(spent.cpu, spent.seconds, problem or "")
                    control.send(spent)
                word = "sent" if role == "seed" else "fetched"
                self._tell(f"{control.peer}: {word} it in {spent.seconds:.2f} s {spent.problem}")

    def _accepted(self, hello: Hello) -> Work:
        """What it wants, if we do that."""
        if hello.v != VERSION:
            raise swarm.ConfigError(f"this is version {VERSION}, and not {hello.v}")
        if not 1 <= hello.files <= MAX_FILES or not hello.files <= hello.size <= self._most:
            raise swarm.ConfigError(
                f"at most {self._most:,} bytes in {MAX_FILES:,} files, and a byte in each"
            )
        if shutil.disk_usage(self._folder).free < 4 * hello.size:
            raise swarm.ConfigError("there is not enough room on the disk")
        return work_of(hello)


@dataclass(frozen=True)
class _Serving:
    control: Control
    payload: Payload
    size: int
    dest: Path

    async def seed(self, at: swarm.Session) -> Spent:
        async with at as session:
            torrent = await session.add(
                self.payload.torrent, dest=self.payload.folder, verify=False
            )
            await _ready(torrent)
            start, cpu = time.monotonic(), time.process_time()
            self.control.send(Started(session.port))
            async with asyncio.timeout(patience(self.size)):
                await self.control.receive_soon(End)
            spent = Spent(time.process_time() - cpu, time.monotonic() - start, "")
            return spent

    async def leech(self, at: swarm.Session) -> Spent:
        async with at as session:
            torrent = await session.add(self.payload.torrent, dest=self.dest)
            await _ready(torrent)
            self.control.send(Started(session.port))
            await self.control.receive_soon(Go)
            start, cpu = time.monotonic(), time.process_time()
            await _complete(torrent, self.control, self.size)
            return Spent(time.process_time() - cpu, time.monotonic() - start, "")


def work_of(hello: Hello) -> Work:
    """What is to be made. Raises `ConfigError` if that makes no sense."""
    return Work(
        where="loopback",
        size=hello.size,
        piece_length=hello.piece,
        files=hello.files,
        seed=hello.seed,
    )


def info_hash(payload: Payload) -> str:
    """By which both hosts know that they have made the same."""
    return str(swarm.Metainfo.load(payload.torrent).infohash)


def prepare(payload: Payload, scratch: Path, size: int) -> None:
    """Warms memory for a round, and brings the payload into it."""
    os.sync()
    warm(scratch, 2 * size)
    payload.refresh()


@contextlib.contextmanager
def scratch_in(folder: Path) -> Iterator[Path]:
    """A folder that is gone at the end."""
    made = Path(tempfile.mkdtemp(prefix="swarm-bench-", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def fresh_in(scratch: Path) -> Iterator[Path]:
    """An empty folder to fetch into, gone at the end."""
    made = scratch / "fetched"
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def session_in(scratch: Path, host: str = "", port: int = 0) -> swarm.Session:
    """A session with a state of its own, that listens at this address."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    state, alone = tempfile.mkdtemp(dir=scratch), swarm.Settings(dht=False)
    return swarm.Session(listen=address, state_dir=state, settings=alone)


def _run(job: Coroutine[Any, Any, T]) -> T:
    """On an event loop of its own."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(job)


async def _ready(torrent: swarm.Torrent) -> None:
    """Waits until it takes connections, which it does not while it looks at its files."""
    async for stats in torrent.watch(SOON):
        if stats.state != "checking":
            return


async def _complete(torrent: swarm.Torrent, control: Control, size: int) -> None:
    """Waits until all of it is here. Raises TimeoutError after long, and when the other host goes or speaks."""
    done = asyncio.ensure_future(torrent.wait_done())
    gone = asyncio.ensure_future(control.receive_soon(End))
    try:
        async with asyncio.timeout(patience(size)):
            await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            gone.result()
            raise swarm.ProtocolError(f"{control.peer} has ended it too early")
        done.result()
    finally:
        for task in (done, gone):
            task.cancel()
        await asyncio.gather(done, gone, return_exceptions=True)


@contextlib.asynccontextmanager
async def _looking(torrent: swarm.Torrent, counter: str, look: Look) -> AsyncIterator[None]:
    """Meanwhile tells how many bytes have moved."""

    async def watch() -> None:
        async for stats in torrent.watch(LOOK):
            look(getattr(stats, counter))

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
