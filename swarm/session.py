"""A session: one listening port, one disk, one set of connections, and the torrents that share them.

The one place, with `runner`, where engine, net and store meet. It holds no policy.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from ._native import Pool
from ._wire import Wire
from .engine.selection import Priority
from .errors import (
    ConfigError,
    DuplicateTorrent,
    ListenError,
    MagnetError,
    ProtocolError,
    SessionClosed,
)
from .events import E, EventBus, EventStream, Overflow, PeerAddr
from .finding import Finding
from .limiting import Limiting, request, send
from .matching import What, by_index, only
from .metainfo import Metainfo
from .net.listen import Listener, listen
from .net.peer import Connection
from .net.rota import Rota
from .net.trackers import TrackerClient
from .peering import address_of
from .proto.handshake import Handshake, make_peer_id
from .proto.metainfo import InfoHash
from .proto.metainfo_urls import require_usable
from .runner import Runner
from .settings import Settings, check_limit
from .store.disk import Disk
from .torrent import Torrent

GRACE = 0.1
"""Seconds that what was cancelled has to end, however little time leaving may take."""

StrPath = str | os.PathLike[str]


class Session:
    """Downloads and seeds torrents inside one event loop.

        async with swarm.Session() as session:
            torrent = await session.add("debian.torrent", dest="~/Downloads")
            await torrent.wait_done()

    Constructing one does no I/O. Entering binds the port (`ListenError`); leaving saves what is
    here, says goodbye to the trackers, and takes `settings.stop_timeout` seconds at most. `listen`
    is a port or "IP:port" (port 0: any free one); `state_dir` is where progress is remembered.
    """

    def __init__(
        self,
        *,
        listen: int | str = 0,
        state_dir: StrPath | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.host, self.port = parse_listen(listen)
        self.state_dir = Path(state_dir).expanduser() if state_dir else default_state_dir()
        self.rng = random.Random(secrets.randbits(128))
        self.peer_id = make_peer_id(self.rng)
        self.tracker_key = self.rng.getrandbits(31)
        self.bus = EventBus()
        self.dirty: list[Wire] = []
        self.rota = Rota()
        self.connections: dict[int, Connection] = {}
        self.dialling = 0
        self.finding = Finding(self)
        self.down = Limiting(self.settings.download_limit, request, self.settle)
        self.up = Limiting(self.settings.upload_limit, send, self.settle)
        self.disk: Disk
        self.pool: Pool
        self.trackers: TrackerClient
        self._runners: dict[bytes, Runner] = {}
        self._torrents: dict[InfoHash, Torrent] = {}
        self.greeting: set[Connection] = set()
        """Connections whose handshake is under way, the ones we dialled among them."""
        self._accepted: dict[Connection, None] = {}  # the others, the oldest first
        self._listener: Listener | None = None
        self._buffer = memoryview(b"")
        self._keys = 0
        self._settling = False
        self._open = False
        self._closing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    @property
    def torrents(self) -> Mapping[InfoHash, Torrent]:
        """The torrents of this session, by info-hash. A live, read-only view."""
        return MappingProxyType(self._torrents)

    @property
    def download_limit(self) -> int | None:
        """Payload in bytes/s that all torrents together may download; None is no limit.

        It may be set at any time. Raises `ConfigError` for what is no limit.
        """
        return self.down.whole.rate

    @download_limit.setter
    def download_limit(self, rate: int | None) -> None:
        check_limit(rate)
        self.down.whole.set(rate)
        self._limits_changed()

    @property
    def upload_limit(self) -> int | None:
        """The same of what they upload."""
        return self.up.whole.rate

    @upload_limit.setter
    def upload_limit(self, rate: int | None) -> None:
        check_limit(rate)
        self.up.whole.set(rate)
        self._limits_changed()

    def _limits_changed(self) -> None:
        for runner in self._runners.values():
            runner.limits_changed()

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        if self._open or self._listener is not None:
            raise SessionClosed("a session is entered once")
        loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(self.settings.receive_buffer))
        try:
            self._listener = await listen(self._accept, self.host, self.port)
        except OSError as error:
            raise ListenError(str(PeerAddr(self.host or "*", self.port)), error) from error
        self.port = self._listener.port
        self.disk = Disk(
            threads=self.settings.threads,
            read_memory=self.settings.read_memory,
            direct=self.settings.direct,
            allocation=self.settings.allocation,
        )
        self.disk.attach(loop)
        self.pool = Pool(self.settings.memory)
        self.trackers = TrackerClient()
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self, *, timeout: float | None = None) -> None:
        """Saves everything and leaves, within `timeout` seconds (default: `settings.stop_timeout`).

        Idempotent. A cancel while it waits makes it leave at once, still in good order.
        """
        if self._closing is None:
            if not self._open:
                return
            self._open = False
            timeout = self.settings.stop_timeout if timeout is None else timeout
            self._closing = asyncio.get_running_loop().create_task(self._close(timeout))
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            self._hurry.set()
            await asyncio.wait([self._closing])
            raise

    async def _close(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        assert self._listener is not None
        self._listener.close()
        self.down.close()
        self.up.close()
        for connection in list(self.greeting):
            connection.close("the session is closing")
        runners = list(self._runners.values())
        stops = {runner.halt() for runner in runners}
        for runner in runners:
            stops |= runner.announcing.farewells
        await self._wait(stops, timeout)
        left = {task for runner in runners for task in runner.abandon()}
        await self._wait({loop.create_task(self.finding.aclose())}, deadline - loop.time())
        await self.trackers.aclose()
        await self._wait(left, 0.0)
        self.bus.close()
        ending = loop.create_task(self.disk.aclose())
        await self._wait({ending}, deadline - loop.time())
        if not ending.done():
            self.disk.detach()
            ending.cancel()
        self._buffer = memoryview(b"")

    async def _wait(self, tasks: set[asyncio.Task[Any]], timeout: float) -> None:
        """Until all have ended or, but not before `GRACE`, time is up or somebody is in a hurry."""
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=GRACE)
            if late and timeout > GRACE and not self._hurry.is_set():
                hurry = asyncio.get_running_loop().create_task(self._hurry.wait())
                everything = asyncio.get_running_loop().create_task(asyncio.wait(late))
                both = {hurry, everything}
                await asyncio.wait(both, timeout=timeout - GRACE, return_when="FIRST_COMPLETED")
                for task in both:
                    task.cancel()
                await asyncio.wait(both)

    # ------------------------------------------------------------ torrents

    async def add(
        self,
        src: StrPath | bytes | Metainfo,
        *,
        dest: StrPath = ".",
        verify: bool | None = None,
        paused: bool = False,
        peers: Iterable[PeerAddr | tuple[str, int]] = (),
        trackers: Iterable[str] = (),
        select: Iterable[What] | None = None,
        priorities: Mapping[What, Priority] | None = None,
        sequential: bool | None = None,
        download_limit: int | None = None,
        upload_limit: int | None = None,
    ) -> Torrent:
        """Adds a torrent: a path, an http(s) URL, the bytes of a .torrent, or a `Metainfo`.

        Returns at once; checking and trading go on in the background. The data lies in
        `dest / torrent.name`. `verify`: None trusts what was remembered and hashes the rest, True
        hashes everything, False trusts that all the data is there. `trackers` and `peers` are asked
        beside those of the torrent.

        `select` names the files that are wanted, `priorities` how urgent some are (`Torrent.select`
        and `set_priorities`), `sequential` whether their pieces come in order. What is not given is
        as it was when this torrent was last in this folder, or else: all files, in any order.
        `download_limit` and `upload_limit` are the torrent's own, in bytes/s, below the session's;
        they are not remembered.

        Raises `DuplicateTorrent`, `SourceError`, `MetainfoError`, `BencodeError`, `SessionClosed`,
        `UnknownFile` and `ConfigError`; `StorageError` if a paused one cannot remember its files.
        """
        self._check_open()
        meta = await self._resolve(src)
        infohash = meta.infohash.wire
        require_usable(trackers, ())
        extra = tuple(trackers)
        given = [address_of(peer) for peer in peers]
        tiers = (*((extra,) if extra else ()), *meta.trackers)
        where = Path(dest).expanduser().absolute()
        runner = Runner(self, meta, where, trackers=tiers, verify=verify)
        runner.handle = Torrent(runner)
        runner.handle.download_limit = download_limit
        runner.handle.upload_limit = upload_limit
        await runner.storing.recall()
        chosen = runner.selection
        if select is not None:
            chosen.set(only(meta.files, chosen.priorities, select))
        if priorities is not None:
            chosen.set(by_index(meta.files, priorities))
        if sequential is not None:
            chosen.sequential = sequential
        self._check_open()
        if infohash in self._runners:
            raise DuplicateTorrent(self._runners[infohash].handle)
        self._runners[infohash] = runner
        self._torrents[meta.infohash] = runner.handle
        for addr in given:
            runner.add_peer(addr)
        if paused:
            await runner.storing.remember()
        else:
            runner.start()
        return runner.handle

    async def _resolve(self, src: StrPath | bytes | Metainfo) -> Metainfo:
        if isinstance(src, Metainfo):
            return src
        if isinstance(src, str):
            scheme = src.partition(":")[0].lower()
            if scheme == "magnet":
                raise MagnetError("magnet links are not supported yet: give the .torrent")
            if scheme in ("http", "https"):
                return await Metainfo.fetch(src)
        return await asyncio.to_thread(Metainfo.load, src)

    def discard(self, runner: Runner) -> None:
        """A torrent was removed. (There may be another one of the same name meanwhile.)"""
        if self._runners.get(runner.infohash) is runner:
            del self._runners[runner.infohash]
            del self._torrents[runner.meta.infohash]

    def shared(self, runner: Runner) -> set[Path]:
        """The files of other torrents that lie where those of this one may lie."""
        files: set[Path] = set()
        root = runner.storing.places.where.root(runner.meta.files)
        for other in self._runners.values():
            if other is runner:
                continue
            places = other.storing.places
            for where in (places.where, places.before or places.where):
                theirs = where.root(other.meta.files)
                if root == theirs or root in theirs.parents or theirs in root.parents:
                    files.update(Path(where.dest, *path) for path in where.paths(places.files))
        return files

    def events(
        self, *kinds: type[E], overflow: Overflow = "drop_oldest", maxsize: int = 1024
    ) -> EventStream[E]:
        """A stream of the events of these kinds (all, if none is named). Enter it to listen.

        At most `maxsize` wait to be read; beyond that the oldest are dropped and counted, or, with
        `overflow="raise"`, the next read raises `Overrun`. Raises `ConfigError`, `SessionClosed`.
        """
        self._check_open()
        return EventStream(self.bus, kinds, overflow, maxsize)

    def _check_open(self) -> None:
        if not self._open:
            raise SessionClosed("use the session inside `async with`")

    # ------------------------------------------------------------ connections (net.peer.Hub)

    @property
    def buffer(self) -> memoryview:
        return self._buffer

    def _accept(self) -> Connection:
        connection = Connection(self, self.settings.handshake_timeout)
        self.greeting.add(connection)
        self._accepted[connection] = None
        while len(self._accepted) > self.settings.max_pending_inbound:
            # The newest must not be locked out by old ones that say nothing.
            next(iter(self._accepted)).close("too many unfinished handshakes")
        return connection

    def on_handshake(self, connection: Connection, handshake: Handshake) -> None:
        runner = self._runners.get(handshake.infohash)
        if runner is None:
            raise ProtocolError("no such torrent")
        if connection.dialled is not None and connection.dialled[0] is not runner.peering:
            raise ProtocolError("answered for another torrent")
        if len(self.connections) >= self.settings.max_peers:
            raise ProtocolError("enough peers")
        runner.peering.on_handshake(connection, handshake)
        self._greeted(connection)
        runner.arm()

    def on_wire(self, connection: Connection, events: int) -> None:
        if events:
            connection.owner.on_wire(connection, events)

    def ask(self, connection: Connection) -> None:
        self.up.ask(connection, connection.owner.runner.up)

    def on_lost(self, connection: Connection, reason: str) -> None:
        self._greeted(connection)
        if connection.wire is not None:
            self.connections.pop(connection.wire.key, None)
            self.down.drop(connection)
            self.up.drop(connection)
            connection.owner.on_lost(connection.peer, reason)
        elif connection.dialled is not None:
            peering, addr = connection.dialled
            peering.on_unreachable(addr)

    def _greeted(self, connection: Connection) -> None:
        self.greeting.discard(connection)
        self._accepted.pop(connection, None)

    def settle(self) -> None:
        """Writes the output of every wire that has some."""
        dirty = self.dirty
        while dirty:
            connection = self.connections.get(dirty.pop().key)
            if connection is not None:
                connection.flush()

    def settle_soon(self) -> None:
        """The same, once for everything that happens in this turn of the loop."""
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle_now)

    def _settle_now(self) -> None:
        self._settling = False
        self.settle()

    def room_to_dial(self) -> int:
        """How many more dials may be under way."""
        free = self.settings.max_peers - len(self.connections) - self.dialling
        return max(0, min(free, self.settings.max_half_open - self.dialling))

    def next_key(self) -> int:
        """A number for a new wire."""
        self._keys += 1
        return self._keys


def parse_listen(listen: int | str) -> tuple[str, int]:
    """(host, port) of a port, ":port", "IP:port" or "[v6]:port". Raises `ConfigError`."""
    import ipaddress

    host, port = "", listen
    if isinstance(listen, str):
        host, _, text = listen.rpartition(":")
        if not text.isdecimal():
            raise ConfigError(f"not an address to listen on: {listen!r} (use IP:PORT)")
        port = int(text)
        host = host.removeprefix("[").removesuffix("]")
    if not 0 <= int(port) <= 65535:
        raise ConfigError(f"not a port: {port}")
    if host:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ConfigError(f"not an IP address: {host!r}") from None
    return host, int(port)


def default_state_dir() -> Path:
    """Where progress is remembered: $SWARM_STATE_DIR, or the platform's place for state."""
    if configured := os.environ.get("SWARM_STATE_DIR"):
        return Path(configured)
    from platformdirs import user_state_path

    return user_state_path("swarm", appauthor=False)
