"""One TCP connection to a peer: the bytes between a socket and its wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from struct import iter_unpack
from typing import Any, Protocol, cast

from swarm._wire import Wire
from swarm.errors import ProtocolError, StorageError
from swarm.proto.handshake import SIZE, Handshake, plausible

from . import near
from .rota import Rota

BLOCK = 16 << 10
WRITE_HIGH = 512 << 10
"""The most that the transport's buffer may hold before nothing more is read for it. For a slow peer that is
one batch of reads, as what is in there cannot be cancelled; for one that we choke and serve all the same
(BEP 6), it is a block.
"""
FRAME_HEADER = 13
REQUEST_SIZE = 12
"""Bytes of one packed request."""
MOST_UNREAD = 4 << 20
"""Bytes that may wait for a peer that does not read; what it makes us answer is in them."""

Frames = Callable[[Any, int], None]
"""What a read calls back: a buffer of frames and its length, or a `StorageError` and 0."""
Reader = Callable[[bytes, Frames], None]
"""Reads blocks: packed requests in, `Frames` called, possibly at once."""


class Hub(Protocol):
    """The owner of all connections."""

    @property
    def buffer(self) -> memoryview:
        """The one receive buffer that all connections share."""

    @property
    def rota(self) -> Rota:
        """Whose turn it is to send."""

    def on_handshake(self, connection: Connection, handshake: Handshake) -> None:
        """The peer's handshake is here: attach the connection to a torrent, or raise `ProtocolError`."""

    def on_wire(self, connection: Connection, events: int) -> None:
        """The wire saw something that Python should look at."""

    def on_lost(self, connection: Connection, reason: str) -> None:
        """The connection has ended."""

    def ask(self, connection: Connection) -> None:
        """The connection has blocks to send and is `limited`: `give` it its turn."""

    def settle(self) -> None:
        """Write the output of every wire that has some."""


class Connection(asyncio.BufferedProtocol):
    """A connection from its first byte to its last."""

    def __init__(self, hub: Hub, timeout: float, opening: Handshake | None = None) -> None:
        self.hub = hub
        self.wire: Wire | None = None
        self.peer: Any = None
        """The engine's view of it, once it is attached."""
        self.owner: Any = None
        """The torrent's side of it, once it is attached."""
        self.dialled: Any = None
        """Who dialled it and where, if it was us."""
        self.outgoing = opening is not None
        self.addr: tuple[str, int] = ("", 0)
        self.closed = False
        self._high = WRITE_HIGH
        self.limited = False
        """A limit says when blocks are sent: the hub gives it its turns."""
        self._clock = asyncio.get_running_loop().time
        self._opening = opening
        self._timeout = timeout
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._reason = "closed by the peer"
        self._timer: asyncio.TimerHandle | None = None
        self._read: Reader | None = None
        self._reading = False
        self._answer: tuple[bytes, bool, Any, int] | None = None
        self._serving = False
        self._paused = False

    # ------------------------------------------------------------ transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are not instances of it
        self._transport = transport
        if self.closed:  # before it was made, because we are leaving or there are too many
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_HIGH // 4)
        name = transport.get_extra_info("peername") or ("", 0)
        # An IPv4 peer on a socket of both families is the same peer.
        self.addr = (name[0].removeprefix("::ffff:"), name[1])
        self._set_timer(self._timeout, "no handshake in time")
        if self._opening is not None:
            transport.write(bytes(self._opening))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.hub.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self.hub.buffer[:nbytes]
        try:
            if self.wire is None:
                data = self._take_handshake(data)
            if self.wire is not None and data:
                self.wire.at(self._clock())
                self.hub.on_wire(self, self.wire.receive(data))
        except ProtocolError as error:
            self.close(error.reason)
        self.hub.settle()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._paused = True
        self._set_timer(self._timeout, "takes nothing of what it asked for")

    def resume_writing(self) -> None:
        self._paused = False
        self._clear_timer()
        self.serve()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.closed:
            self._reason = str(exc) or type(exc).__name__
        self._end()

    # ------------------------------------------------------------ handshake

    def _take_handshake(self, data: memoryview) -> memoryview:
        wanted = SIZE - len(self._head)
        self._head += bytes(data[:wanted])
        if not plausible(self._head):
            raise ProtocolError("not a BitTorrent handshake")
        if len(self._head) == SIZE:
            self.hub.on_handshake(self, Handshake.parse(self._head))
        return data[wanted:]

    def attach(self, owner: Any, wire: Wire, peer: Any, read: Reader, timeout: float) -> None:
        """The connection belongs to a torrent from here on. A stall may last for `timeout` seconds."""
        self.owner = owner
        self.wire = wire
        self.peer = peer
        self._read = read
        self._timeout = timeout
        self._clear_timer()
        if self._transport is not None and (sock := self._transport.get_extra_info("socket")):
            near.bound(sock)

    def greet(self, handshake: Handshake) -> None:
        """Answers an incoming handshake."""
        assert self._transport is not None
        self._transport.write(bytes(handshake))

    # ------------------------------------------------------------ output

    @property
    def unread(self) -> int:
        """Bytes that wait in our memory for the peer to take them."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def flush(self) -> None:
        """Writes what the wire has to say."""
        if self.wire is not None and (data := self.wire.take_output()) and not self.closed:
            assert self._transport is not None
            self._transport.write(data)
            if self._paused and self.unread > MOST_UNREAD:
                self.close("reads nothing")

    def serve(self) -> None:
        """Reads and sends the blocks that the peer asked for, while it takes them."""
        wire = self.wire
        if wire is None or self._serving:
            return
        self._bound(wire)
        if self.limited:
            if self._ready:
                self.hub.ask(self)
            return
        self._serving = True
        try:
            while self._ready and self.hub.rota.admits(self):
                if self._answer is None:
                    self._serve(wire, wire.batch)
                else:
                    self._write(*self._answer)
        finally:
            self._serving = False

    def _bound(self, wire: Wire) -> None:
        """Sets how much the transport may hold."""
        high = BLOCK if wire.am_choking else min(WRITE_HIGH, wire.batch * BLOCK)
        if high != self._high and self._transport is not None and not self.closed:
            self._high = high
            self._transport.set_write_buffer_limits(high=high, low=high // 4 if high > BLOCK else 0)

    def give(self, blocks: int) -> int:
        """Sends so many blocks at most; how many bytes those are. The turn that was asked for."""
        if self.wire is None or not self._ready:
            return 0
        if self._answer is not None:
            packed = self._answer[0]
            self._write(*self._answer)
        else:
            packed = self._serve(self.wire, min(blocks, self.wire.batch))
        return sum(length for (length,) in iter_unpack("<8xI", packed))

    @property
    def _ready(self) -> bool:
        """Whether there is a block to send and the transport takes it."""
        if self.closed or self._paused or self.wire is None:
            return False
        return self._answer is not None or (self.wire.wants > 0 and not self._reading)

    def _serve(self, wire: Wire, blocks: int) -> bytes:
        assert self._read is not None
        packed = wire.take_requests(1 if wire.am_choking else blocks)
        self._reading = True
        self._read(packed, partial(self._send, packed, wire.am_choking))
        return packed

    def _send(self, packed: bytes, was_choking: bool, frames: Any, size: int) -> None:
        """A read is done: at once, or many of them together, which do not all go out in one turn."""
        if self.closed:
            return
        self._answer = (packed, was_choking, frames, size)
        if self._serving or self.limited:
            self._write(*self._answer)
        self.serve()

    def _write(self, packed: bytes, was_choking: bool, frames: Any, size: int) -> None:
        """Frames go out as they are, unless the peer was choked meanwhile."""
        assert self.wire is not None
        assert self._transport is not None
        self._reading, self._answer = False, None
        self.hub.rota.sent(len(packed) // REQUEST_SIZE)
        if isinstance(frames, StorageError) or (self.wire.am_choking and not was_choking):
            self.wire.refuse(packed)
            self.hub.settle()
        else:
            self._transport.write(memoryview(frames)[:size])
            payload = size - FRAME_HEADER * (len(packed) // REQUEST_SIZE)
            self.wire.sent(payload, not self._transport.get_write_buffer_size())

    # ------------------------------------------------------------ the end

    def close(self, reason: str) -> None:
        """Ends the connection at once; `on_lost` follows before this returns."""
        if not self.closed:
            self._reason = reason
            self._end()

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._answer = None
        self._clear_timer()
        if self._transport is not None:
            self._transport.abort()
        self.hub.on_lost(self, self._reason)

    def _set_timer(self, delay: float, reason: str) -> None:
        self._clear_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay, self.close, reason)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
