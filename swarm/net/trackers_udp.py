"""Asks UDP trackers (BEP 15).

Each tracker in use has one connected socket, shared by all torrents: so only the tracker's own
packets come in, and when its host says that nobody listens, that reaches this tracker alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from socket import AF_INET6
from typing import Any, TypeVar

from swarm.errors import ProtocolError, TrackerError
from swarm.proto import tracker_udp as codec
from swarm.proto.tracker import (
    MAX_SCRAPE,
    AnnounceRequest,
    Counts,
    TrackerReply,
    redact,
    scrub,
    split_url,
)

from .resolve import Address, resolve

CONNECTION_LIFE = 60.0
"""Seconds for which a connection id may be used (BEP 15); also how long an idle socket is kept."""
FIRST_WAIT = 15.0
MAX_TRACKERS = 200
"""Sockets at once; more trackers than this wait for their turn."""

T = TypeVar("T")
Question = Callable[[int, int], bytes]
"""Makes the packet for a connection id and a transaction id."""


class _Refused(Exception):
    """The tracker's own error packet."""


class _Socket(asyncio.DatagramProtocol):
    """One tracker: its socket, its connection id, and the questions it has yet to answer."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.users = 0
        self.closing: asyncio.TimerHandle | None = None
        self._opening = asyncio.Lock()
        self._transport: asyncio.DatagramTransport | None = None
        self._connection: tuple[int, float] | None = None  # the id, and until when it is good
        self._connecting: asyncio.Task[int] | None = None
        self._waiting: dict[int, tuple[asyncio.Future[Any], Callable[[bytes], Any]]] = {}

    async def open(self) -> None:
        """Get the socket, unless it is there already. `OSError` without a route to the tracker."""
        async with self._opening:
            if self._transport is None:
                loop = asyncio.get_running_loop()
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: self, remote_addr=self.address[:2], family=self.address.family
                )

    def close(self) -> None:
        """Close the socket; whoever waits for an answer gets an `OSError`."""
        if self.closing is not None:
            self.closing.cancel()
        if self._transport is not None:
            self._transport.close()
        self._fail(OSError("closed"))

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Match a packet with its question. What is malformed is not an answer, and is dropped."""
        try:
            action, transaction = codec.parse_head(data)
            waiter, read = self._waiting[transaction]
            if waiter.done():
                return
            if action == codec.ERROR:
                waiter.set_exception(_Refused(codec.parse_error(data)))
            else:
                waiter.set_result(read(data))
        except (ProtocolError, KeyError):
            return

    def error_received(self, exc: Exception) -> None:
        """ICMP: nobody is there. Everything asked of this tracker fails, and of no other."""
        self._fail(exc)

    def _fail(self, error: Exception) -> None:
        for waiter, _ in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(error)

    async def connection(self, wait: float) -> tuple[int, bool]:
        """A connection id, and whether it is an old one. Who needs a new one shares the request."""
        loop = asyncio.get_running_loop()
        if self._connection is not None and loop.time() < self._connection[1]:
            return self._connection[0], True
        if self._connecting is None or self._connecting.done():
            self._connecting = loop.create_task(self._connect(wait))
            self._connecting.add_done_callback(lambda t: t.cancelled() or t.exception())
        return await asyncio.shield(self._connecting), False

    async def _connect(self, wait: float) -> int:
        connection = await self.ask(codec.connect_request, codec.parse_connected, wait)
        self._connection = connection, asyncio.get_running_loop().time() + CONNECTION_LIFE
        return connection

    def forget(self, connection: int | None) -> None:
        """Drop the id, unless somebody else has got a newer one already."""
        if self._connection is not None and self._connection[0] == connection:
            self._connection = None

    async def ask(
        self, question: Callable[[int], bytes], read: Callable[[bytes], T], wait: float
    ) -> T:
        """Send one packet, and wait for its answer. `TimeoutError` if there is none."""
        if self._transport is None or self._transport.is_closing():
            raise OSError("closed")
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        transaction = secrets.randbits(32)
        while transaction in self._waiting:
            transaction = secrets.randbits(32)
        self._waiting[transaction] = waiter, read
        try:
            async with asyncio.timeout(wait):
                self._transport.sendto(question(transaction))
                return await waiter
        finally:
            del self._waiting[transaction]


class UdpTrackers:
    """All UDP trackers of a session. `time_scale` stretches the waits of 15 * 2^n seconds."""

    def __init__(self, *, time_scale: float = 1.0, tries: int = 3) -> None:
        self._waits = [FIRST_WAIT * 2**n * time_scale for n in range(tries)]
        self._sockets: dict[Address, _Socket] = {}
        self._turn = asyncio.Semaphore(MAX_TRACKERS)

    async def announce(self, url: str, request: AnnounceRequest) -> TrackerReply:
        """Make one announce; `TrackerError` if it failed."""
        parts = split_url(url, ("udp",))
        path = (parts.path + (f"?{parts.query}" if parts.query else "")).encode()
        if len(path) > codec.MAX_URL_DATA:
            raise TrackerError("tracker URL too long", redact(url))

        def question(connection: int, transaction: int) -> bytes:
            return codec.announce_request(connection, transaction, request, path)

        def read(address: Address, data: bytes) -> TrackerReply:
            v6 = address.family == AF_INET6
            return codec.parse_announced(data, v6=v6, local=address.local)

        return await self._ask(url, question, read)

    async def scrape(self, url: str, infohashes: tuple[bytes, ...]) -> dict[bytes, Counts]:
        """The counts of up to `MAX_SCRAPE` torrents; `TrackerError` if it failed."""

        def question(connection: int, transaction: int) -> bytes:
            return codec.scrape_request(connection, transaction, infohashes)

        def read(address: Address, data: bytes) -> dict[bytes, Counts]:
            return codec.parse_scraped(data, infohashes[:MAX_SCRAPE])

        return await self._ask(url, question, read)

    def close(self) -> None:
        """Close all sockets."""
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()

    async def _ask(self, url: str, question: Question, read: Callable[[Address, bytes], T]) -> T:
        """Ask the tracker at its best address; at its best of the other family if that fails."""
        parts = split_url(url, ("udp",))
        if not parts.port:
            raise TrackerError("UDP tracker without a port", redact(url))
        why = ""
        async with self._turn:
            addresses = await resolve(parts.hostname or "", parts.port, url)
            best: dict[int, Address] = {}
            for address in addresses:
                best.setdefault(address.family, address)
            for address in best.values():
                socket = self._acquire(address)
                try:
                    await socket.open()
                    return await self._exchange(socket, question, partial(read, address))
                except _Refused as error:
                    raise TrackerError(scrub(str(error), url), redact(url)) from None
                except TimeoutError:
                    why = "no answer in time"
                except OSError as error:
                    why = f"UDP failed: {error.strerror or error}"
                finally:
                    self._release(socket)
        raise TrackerError(why, redact(url))

    async def _exchange(self, socket: _Socket, question: Question, read: Callable[[bytes], T]) -> T:
        """Ask until there is an answer. A connection id that was lost is replaced once, at once."""
        renewed = False
        waits = iter(self._waits)
        wait = next(waits)
        while True:
            connection, old = None, False
            try:
                connection, old = await socket.connection(wait)
                return await socket.ask(partial(question, connection), read, wait)
            except _Refused:
                if not old or renewed:
                    raise
                renewed = True
            except TimeoutError:
                longer = next(waits, None)
                if longer is None:
                    raise
                wait = longer
            socket.forget(connection)

    def _acquire(self, address: Address) -> _Socket:
        socket = self._sockets.setdefault(address, _Socket(address))
        if socket.closing is not None:
            socket.closing.cancel()
        socket.users += 1
        return socket

    def _release(self, socket: _Socket) -> None:
        socket.users -= 1
        if socket.users or self._sockets.get(socket.address) is not socket:
            return
        spare = len(self._sockets) <= MAX_TRACKERS
        delay = CONNECTION_LIFE if spare else 0.0
        socket.closing = asyncio.get_running_loop().call_later(delay, self._drop, socket)

    def _drop(self, socket: _Socket) -> None:
        del self._sockets[socket.address]
        socket.close()
