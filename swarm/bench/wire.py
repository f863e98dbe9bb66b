"""The wire in memory: frames walked into slots, and requests on their way from one end to the other.

Two wires of one torrent are joined by byte strings. The downloading one gets reads of a given length, as from
a socket, which hold frames of blocks; the uploading one gets its requests. Nothing else is in the figures: no
socket, hash or disk, and not what puts the frames together. Time is CPU time of this thread.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import swarm
from swarm._bits import Bits, Rarity
from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import Wire

from .report import Sample
from .round import MIB

UNCHOKE = b"\0\0\0\1\1"
HEADER = struct.Struct(">IBII")
FRAME = HEADER.size + BLOCK_SIZE
PIECE_MESSAGE = 7
PART = MIB
SLOTS = 32
"""As many MiB as a session has for what it downloads."""
WALK, REQUESTS = "frame walk", "requests"


@dataclass(frozen=True)
class Wiring:
    """`size` bytes in pieces of `piece`, `read` bytes a read, `depth` requests ahead at most."""

    size: int
    piece: int
    read: int
    depth: int

    def __post_init__(self) -> None:
        if self.piece < BLOCK_SIZE or self.piece % BLOCK_SIZE or self.piece > SLOTS * PART // 2:
            raise swarm.ConfigError("a piece is a multiple of 16 KiB, up to 16 MiB")
        if self.size < self.piece or self.size % self.piece:
            raise swarm.ConfigError(f"{self.size} bytes are no whole number of pieces")
        if self.read < 1 or not 1 <= self.depth <= 2000:
            raise swarm.ConfigError("a read has a byte at least, and 1 to 2000 requests are ahead")

    @property
    def names(self) -> list[str]:
        return [WALK, REQUESTS]

    def round(self) -> Iterator[Sample]:
        """All of it once: blocks/s of the walk, and its bytes/s, and of the requests for them."""
        seconds = _Pair(self).run()
        blocks = self.size // BLOCK_SIZE
        for name in self.names:
            spent = max(seconds[name], 1e-9)
            values = {"blocks": blocks / spent}
            yield Sample(name, values | ({"rate": self.size / spent} if name == WALK else {}))


class _Pair:
    """A wire that downloads and a wire that uploads."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        count = wiring.size // wiring.piece
        nothing, everything = Bits(count), Bits(count)
        everything.fill()
        self._down, self._up = (
            Wire(key, have, Rarity(count), [], piece_length=wiring.piece, length=wiring.size)
            for key, have in enumerate((nothing, everything))
        )
        self._down.depth = self._down.ceiling = wiring.depth
        self._down.interested(True)
        self._down.receive(UNCHOKE)
        self._up.choke(False)
        self._up.receive(self._down.take_output())
        self._up.take_output()
        self._free = [bytearray(min(PART, wiring.piece)) for _ in range(SLOTS)]
        self._payload = os.urandom(BLOCK_SIZE)
        self._seconds = {WALK: 0.0, REQUESTS: 0.0}

    def run(self) -> dict[str, float]:
        """CPU-seconds of each row."""
        pieces = iter(range(self._wiring.size // self._wiring.piece))
        fills: list[Fill] = []
        ahead = max(2, -(-self._wiring.depth * BLOCK_SIZE // self._wiring.piece) + 1)
        left = self._wiring.size // BLOCK_SIZE
        while left:
            while len(fills) < ahead and (fill := self._next(pieces)):
                fills.append(fill)
            requests = self._ask()
            left -= len(requests) // 12
            self._answer(requests)
            for fill in [fill for fill in fills if fill.done]:
                fills.remove(fill)
                self._free += [slot for _, slot, _ in fill.take_ready()]
        if fills or self._down.wasted or self._down.downloaded != self._wiring.size:
            raise swarm.ProtocolError("the blocks that came are not those that were asked for")
        return self._seconds

    def _next(self, pieces: Iterator[int]) -> Fill | None:
        """The next piece with its slots, assigned, if there is one and memory for it."""
        parts = -(-self._wiring.piece // PART)
        if len(self._free) < parts or (piece := next(pieces, None)) is None:
            return None
        fill = Fill(piece, self._wiring.piece, PART)
        while fill.wants_slot:
            fill.attach(self._free.pop())
        self._down.assign(fill)
        return fill

    def _ask(self) -> bytes:
        """Requests from one end to the other, as the uploading end packs them for its disk."""
        start = time.thread_time()
        self._down.refill()
        self._up.receive(self._down.take_output())
        requests = self._up.take_requests(self._wiring.depth)
        self._seconds[REQUESTS] += time.thread_time() - start
        return requests

    def _answer(self, requests: bytes) -> None:
        stream = bytearray(len(requests) // 12 * FRAME)
        for at, (piece, begin, length) in enumerate(struct.iter_unpack("<III", requests)):
            HEADER.pack_into(stream, at * FRAME, 9 + length, PIECE_MESSAGE, piece, begin)
            stream[at * FRAME + HEADER.size : (at + 1) * FRAME] = self._payload
        with memoryview(stream) as view:
            for at in range(0, len(view), self._wiring.read):
                read = view[at : at + self._wiring.read]
                start = time.thread_time()
                self._down.receive(read)
                self._seconds[WALK] += time.thread_time() - start
