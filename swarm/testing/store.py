"""A torrent's bytes in memory: what everybody wants, and what one node has of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from itertools import accumulate
from typing import Any

from swarm._bits import Bits
from swarm.proto.metainfo_files import File

from .clock import Clock

FRAME_HEADER = 13


class Content:
    """What a swarm is about: random bytes, in pieces with their SHA-1 digests.

    `lengths` are those of its files, which lie one behind the other.
    """

    def __init__(self, lengths: Sequence[int], piece_length: int, rng: random.Random) -> None:
        length = sum(lengths)
        offsets = accumulate(lengths, initial=0)
        self.files = tuple(
            File(index, (f"file{index}",), size, offset)
            for index, (size, offset) in enumerate(zip(lengths, offsets, strict=False))
        )
        self.data = rng.randbytes(length)
        self.length = length
        self.piece_length = piece_length
        self.digests = [
            hashlib.sha1(self.data[at : at + piece_length]).digest()
            for at in range(0, length, piece_length)
        ]
        self.infohash = hashlib.sha1(b"".join(self.digests)).digest()

    @property
    def piece_count(self) -> int:
        return len(self.digests)

    def pieces_of(self, index: int) -> range:
        """The pieces that a file has a part in."""
        file = self.files[index]
        last = file.offset + max(file.length, 1) - 1
        return range(file.offset // self.piece_length, last // self.piece_length + 1)

    def piece(self, piece: int) -> bytes:
        """The right bytes of a piece."""
        return self.data[piece * self.piece_length : (piece + 1) * self.piece_length]


class Verdict(Enum):
    """What became of a part that was committed."""

    WRITTEN = auto()
    VERIFIED = auto()
    FAILED = auto()
    ERROR = auto()
    """The disk said no."""


class Store:
    """One node's disk: it hashes and keeps, one part after the other, `delay` seconds for each.

    `faults` holds pieces for which the disk fails, once each.
    """

    def __init__(
        self, content: Content, clock: Clock, *, delay: float = 0.0, complete: bool = False
    ) -> None:
        self.content = content
        self.delay = delay
        self.have = Bits(content.piece_count)
        self.faults: set[int] = set()
        self.pieces: dict[int, bytes] = {}
        if complete:
            self.have.fill()
        self._clock = clock
        self._free_at = 0.0
        self._partial: dict[int, bytearray] = {}

    def data(self) -> bytes:
        """All that is verified, in order; the same as the content's data in the end."""
        return b"".join(self.piece(i) for i in range(self.content.piece_count) if self.have[i])

    @property
    def verified(self) -> int:
        """Verified bytes."""
        return sum(
            len(self.content.piece(i)) for i in range(self.content.piece_count) if self.have[i]
        )

    def piece(self, piece: int) -> bytes:
        """The bytes that are here of a verified piece. A store that was complete has no copy."""
        return self.pieces.get(piece) or self.content.piece(piece)

    def commit(
        self,
        piece: int,
        offset: int,
        slot: Any,
        length: int,
        last: bool,
        done: Callable[[int, Verdict], object],
    ) -> None:
        """Takes a part, as the real store does: in order, and the slot is held until it is through."""
        self._free_at = max(self._free_at, self._clock.now) + self.delay
        self._clock.at(self._free_at, self._write, piece, offset, slot, length, last, done)

    def _write(
        self,
        piece: int,
        offset: int,
        slot: Any,
        length: int,
        last: bool,
        done: Callable[[int, Verdict], object],
    ) -> None:
        verdict = Verdict.WRITTEN
        part = bytes(memoryview(slot)[:length])
        del slot
        if piece in self.faults:
            self.faults.discard(piece)
            self.forget(piece)
            verdict = Verdict.ERROR
        elif offset != len(self._partial.get(piece, b"")):
            verdict = Verdict.ERROR  # a part of a piece that was forgotten
        else:
            whole = self._partial.setdefault(piece, bytearray())
            whole += part
            if last:
                verdict = self._judge(piece, bytes(self._partial.pop(piece)))
        # The caller's event holds the slot for as long as this runs, so the answer is its own event.
        self._clock.after(0.0, done, piece, verdict)

    def _judge(self, piece: int, data: bytes) -> Verdict:
        if hashlib.sha1(data).digest() != self.content.digests[piece]:
            return Verdict.FAILED
        self.pieces[piece] = data
        return Verdict.VERIFIED

    def forget(self, piece: int) -> None:
        """A piece that came in part starts again from its beginning."""
        self._partial.pop(piece, None)

    def frames(self, packed: bytes, lie: Callable[[int, int], bool] | None = None) -> bytes:
        """Piece messages that answer these requests; with wrong bytes where `lie` wants that."""
        frames = bytearray()
        for piece, begin, length in requests(packed):
            block = self.piece(piece)[begin : begin + length]
            if lie is not None and lie(piece, begin):
                block = bytes((block[0] ^ 0xFF,)) + block[1:]
            frames += (9 + length).to_bytes(4, "big") + b"\x07"
            frames += piece.to_bytes(4, "big") + begin.to_bytes(4, "big") + block
        return bytes(frames)


def requests(packed: bytes) -> Iterator[tuple[int, int, int]]:
    """(piece, begin, length) of the requests that `Wire.take_requests` gave."""
    numbers = memoryview(packed).cast("I")
    for i in range(0, len(numbers), 3):
        yield numbers[i], numbers[i + 1], numbers[i + 2]
