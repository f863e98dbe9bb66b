"""What happens in a session, as values, and the bounded stream that carries them to whoever listens.

A slow listener never holds up the engine: its stream drops the oldest events and counts them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Self, TypeVar, get_args

from msgspec import Struct

from .errors import ConfigError, StorageError, SwarmError, TrackerError

if TYPE_CHECKING:
    from .torrent import Torrent

Overflow = Literal["drop_oldest", "raise"]


class PeerAddr(NamedTuple):
    """Where a peer is: an IP address and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Event(Struct, frozen=True):
    """Something that happened to `torrent`."""

    torrent: Torrent


class TorrentDone(Event, frozen=True):
    """Every piece is here, right, and written."""


class TorrentStopped(Event, frozen=True):
    """The torrent stopped on an error; `resume()` tries again."""

    error: StorageError


class TorrentMoved(Event, frozen=True):
    """All files are where they were to go; `path` is the torrent's `path` from now on."""

    path: Path


class MoveFailed(Event, frozen=True):
    """A move that an earlier run had begun could not be ended. The torrent runs on where its files are."""

    error: StorageError


class ResumeDoubted(Event, frozen=True):
    """What was remembered of the torrent could not be used, for this `reason`: what is there is checked."""

    reason: str


class ResumeNotSaved(Event, frozen=True):
    """Progress could not be remembered; the torrent runs on, and it is tried again."""

    error: StorageError


class PieceVerified(Event, frozen=True):
    """A piece is here, right, and written."""

    piece: int


class PieceFailed(Event, frozen=True):
    """A piece failed its hash; `peers` sent parts of it."""

    piece: int
    peers: tuple[PeerAddr, ...]


class PeerJoined(Event, frozen=True):
    """A peer is connected. `outgoing`: we dialled it."""

    addr: PeerAddr
    outgoing: bool


class PeerLeft(Event, frozen=True):
    """A connection has ended. `reason` says why, `banned` whether its host stays away for good."""

    addr: PeerAddr
    reason: str
    banned: bool


class TrackerAnswered(Event, frozen=True):
    """A tracker answered with `peers` addresses. `seeds` and `leechers` are what it counts.

    The secrets of its `url` are left out.
    """

    url: str
    peers: int
    seeds: int | None
    leechers: int | None
    warning: str | None


class TrackerFailed(Event, frozen=True):
    """A tracker refused or did not answer. The secrets of its `url` are left out."""

    url: str
    error: TrackerError


class Overrun(SwarmError):
    """Events were lost, and the stream was asked to say so. `dropped` is how many."""

    def __init__(self, dropped: int) -> None:
        super().__init__(f"{dropped} events were not read in time")
        self.dropped = dropped


E = TypeVar("E", bound=Event)


class EventStream(Generic[E]):
    """An async iterator of events. Enter it to listen; what happened before is not in it."""

    def __init__(
        self, bus: EventBus, kinds: tuple[type[E], ...], overflow: Overflow, maxsize: int
    ) -> None:
        if maxsize < 1 or overflow not in get_args(Overflow):
            raise ConfigError(f"no such stream: overflow {overflow!r}, maxsize {maxsize}")
        if not all(isinstance(kind, type) and issubclass(kind, Event) for kind in kinds):
            raise ConfigError(f"not all of these are kinds of events: {kinds!r}")
        self.dropped = 0
        """Events that this listener was too slow for."""
        self._bus = bus
        self._kinds = kinds
        self._overflow = overflow
        self._maxsize = maxsize
        self._queue: deque[E] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        if self not in self._bus.streams and not self._bus.closed:
            self._bus.streams.append(self)
        self._closed = self._bus.closed
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        if self.dropped and self._overflow == "raise":
            dropped, self.dropped = self.dropped, 0
            raise Overrun(dropped)
        return self._queue.popleft()

    def wants(self, kind: type[Event]) -> bool:
        return not self._kinds or issubclass(kind, self._kinds)

    def push(self, event: E) -> None:
        if len(self._queue) >= self._maxsize:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(event)
        self._wake.set()

    def close(self) -> None:
        """Stop listening; what was queued can still be read."""
        if self in self._bus.streams:
            self._bus.streams.remove(self)
        self._closed = True
        self._wake.set()


class EventBus:
    """Hands each event to the streams that asked for its kind."""

    def __init__(self) -> None:
        self.streams: list[EventStream[Any]] = []
        self.closed = False

    def wanted(self, kind: type[Event]) -> bool:
        """Whether it is worth making an event of this kind."""
        return any(stream.wants(kind) for stream in self.streams)

    def publish(self, event: Event) -> None:
        for stream in list(self.streams):
            if stream.wants(type(event)):
                stream.push(event)

    def close(self) -> None:
        """The session is over: what was queued can still be read, and then every stream ends."""
        self.closed = True
        for stream in list(self.streams):
            stream.close()
