"""Access lines with a rate, and byte streams with a delay that share them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .clock import Clock

CHUNK = 16 * 1024
"""Bytes that travel together. No multiple of a block's frame, so frames are cut at every place."""
WINDOW = 256 * 1024
"""Bytes of one stream that may be under way, or twice what its links carry in a round trip, as TCP has it."""
LOW_WATER = 64 * 1024
"""A stream with less than this to send asks for more."""


class Link:
    """One direction of a node's access line: `rate` bytes/s, shared in turn by the streams on it.

    `carried` counts the bytes that went through.
    """

    def __init__(self, clock: Clock, rate: float = float("inf")) -> None:
        if not rate > 0:
            raise ValueError(f"a link of {rate} bytes/s")
        self.rate = rate
        self.carried = 0
        self._clock = clock
        self._busy = False
        self._turn: deque[Pipe] = deque()
        self._free_at = 0.0

    def offer(self, pipe: Pipe) -> None:
        """This stream has something to send and its window is open."""
        if not pipe.waiting:
            pipe.waiting = True
            self._turn.append(pipe)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        while self._turn:
            pipe = self._turn.popleft()
            pipe.waiting = False
            chunk = pipe.take()
            if chunk:
                self._busy = True
                self.carried += len(chunk)
                self._clock.after(len(chunk) / self.rate, self._sent, pipe, chunk)
                return
        self._busy = False

    def _sent(self, pipe: Pipe, chunk: bytes) -> None:
        pipe.travel(chunk)
        self._busy = False
        pipe.go_on()
        if not self._busy:
            self._next()

    def receive(self, pipe: Pipe, chunk: bytes) -> None:
        """A chunk comes in from the other side; it is delivered when its last byte is through."""
        self.carried += len(chunk)
        self._free_at = max(self._free_at, self._clock.now) + len(chunk) / self.rate
        self._clock.at(self._free_at, pipe.arrive, chunk)


class Pipe:
    """One direction of a connection: bytes in at one end, the same bytes out at the other, in order.

    They go through the sender's `up` link, take `delay` seconds, and come through the receiver's
    `down` link. `deliver` gets them in chunks of at most `CHUNK` bytes; `more` is called whenever
    less than `LOW_WATER` bytes are left to send.
    """

    def __init__(
        self,
        clock: Clock,
        up: Link,
        down: Link,
        delay: float,
        deliver: Callable[[bytes], None],
        more: Callable[[], None] | None = None,
    ) -> None:
        self.waiting = False
        """It is in the link's queue."""
        self.closed = False
        self._clock = clock
        self._up = up
        self._down = down
        self._delay = delay
        self._deliver = deliver
        self._more = more
        self._queue = bytearray()
        self._under_way = 0
        fastest = min(up.rate, down.rate)
        self._window = max(WINDOW, 4 * delay * fastest if fastest < float("inf") else 0)

    @property
    def queued(self) -> int:
        """Bytes that have not begun to travel."""
        return len(self._queue)

    def send(self, data: bytes) -> None:
        """Queues bytes. After `close` they are dropped."""
        if self.closed or not data:
            return
        self._queue += data
        if self._under_way < self._window:
            self._up.offer(self)

    def close(self) -> None:
        """Nothing is sent or delivered from now on, not even what is under way."""
        self.closed = True
        self._queue.clear()

    # What the links call.

    def take(self) -> bytes:
        chunk = bytes(self._queue[:CHUNK])
        del self._queue[:CHUNK]
        self._under_way += len(chunk)
        return chunk

    def travel(self, chunk: bytes) -> None:
        self._clock.after(self._delay, self._down.receive, self, chunk)

    def go_on(self) -> None:
        if self.closed:
            return
        if self._more is not None and len(self._queue) < LOW_WATER:
            self._more()
        if self._queue and self._under_way < self._window:
            self._up.offer(self)

    def arrive(self, chunk: bytes) -> None:
        self._under_way -= len(chunk)
        if not self.closed:
            self._deliver(chunk)
        if not self.closed and self._queue and self._under_way < self._window:
            self._up.offer(self)
