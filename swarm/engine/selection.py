"""What is wanted of a torrent, file by file, and which pieces follow from that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Protocol

from swarm._bits import Bits

_SAME = re.compile(rb"(.)\1*", re.DOTALL)
"""The same byte once or several times in a row."""


class Priority(IntEnum):
    """How urgent a file is. Files of a higher one come before all of a lower one."""

    SKIP = 0
    """Not wanted. What it shares with a wanted file is fetched all the same: pieces are whole."""
    LOW = 1
    NORMAL = 2
    HIGH = 3


class Extent(Protocol):
    """What decisions need of a file: where it lies among all bytes of the torrent."""

    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def pad(self) -> bool: ...


class Layout(Protocol):
    """The part of the metainfo that a selection needs."""

    @property
    def files(self) -> Sequence[Extent]: ...
    @property
    def piece_length(self) -> int: ...
    @property
    def piece_count(self) -> int: ...


class Selection:
    """The priority of each file, whether pieces come in order, and how much of it is here, in bytes.

    A piece is as urgent as the most urgent file it touches. Pad files (BEP 47) are never wanted by
    themselves. In order means by index among pieces of one priority, but with the first and the last
    piece of each file before the others: players look there for what is in between.
    """

    def __init__(self, meta: Layout) -> None:
        self.sequential = False
        self._files = files = meta.files
        self._piece_length = meta.piece_length
        self._piece_count = meta.piece_count
        self._pads = {index for index, file in enumerate(files) if file.pad}
        self._priorities = bytearray([Priority.NORMAL]) * len(files)
        for index in self._pads:
            self._priorities[index] = Priority.SKIP
        self._wanted: list[tuple[int, int]] = []  # stretches of wanted bytes
        self._changed()

    # ------------------------------------------------------------ what is wanted

    @property
    def priorities(self) -> tuple[Priority, ...]:
        """Of each file, in order; SKIP for pad files."""
        return tuple(map(tuple(Priority).__getitem__, self._priorities))

    def set(self, changes: Mapping[int, Priority]) -> None:
        """Gives some files another priority, by index. IndexError for one that does not exist."""
        if changes and not 0 <= min(changes) <= max(changes) < len(self._files):
            raise IndexError(f"files {min(changes)} to {max(changes)} of {len(self._files)}")
        for index in changes.keys() - self._pads if self._pads else changes:
            self._priorities[index] = changes[index]
        self._changed()

    def __bytes__(self) -> bytes:
        """One byte for each file: what `restore` takes."""
        return bytes(self._priorities)

    def restore(self, saved: bytes) -> bool:
        """Takes over what another run had; whether it fits this torrent. If not, nothing changes."""
        if len(saved) != len(self._files) or (saved and max(saved) > Priority.HIGH):
            return False
        self.set({index: Priority(number) for index, number in enumerate(saved)})
        return True

    def _changed(self) -> None:
        self._wanted = [(start, end) for number, start, end in self._runs() if number]

    def _runs(self) -> Iterator[tuple[int, int, int]]:
        """(priority, first byte, end) of neighbours with the same priority."""
        files, priorities = self._files, self._priorities
        for run in _SAME.finditer(priorities):
            first, last = run.span()
            start, end = files[first].offset, files[last - 1].offset + files[last - 1].length
            if start < end:
                yield priorities[first], start, end

    # ------------------------------------------------------------ what follows for pieces

    def ranks(self) -> bytes:
        """One byte for each piece: 0 where it is not wanted, and the higher the more urgent it is.

        Each priority has two ranks; the upper one is for the ends of files, when in order.
        """
        ranks = bytearray(self._piece_count)
        runs = list(self._runs())
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):  # over the one before
            rank = bytes([2 * priority - 1])
            for start, end in [(start, end) for number, start, end in runs if number == priority]:
                first, last = self._ends(start, end)
                ranks[first : last + 1] = rank * (last + 1 - first)
        if self.sequential:
            for number, file in zip(self._priorities, self._files, strict=True):
                if number and file.length:
                    for piece in self._ends(file.offset, file.offset + file.length):
                        ranks[piece] = max(ranks[piece], 2 * number)
        return bytes(ranks)

    def _ends(self, start: int, end: int) -> tuple[int, int]:
        """The pieces of the first and of the last of these bytes."""
        return start // self._piece_length, (end - 1) // self._piece_length

    # ------------------------------------------------------------ how much of it is here

    @property
    def length(self) -> int:
        """Of all wanted files."""
        return sum(end - start for start, end in self._wanted)

    def done(self, have: Bits) -> int:
        """Of all wanted files, what lies in the pieces of `have`."""
        return sum(self._bytes_in(have, start, end) for start, end in self._wanted)

    def done_of(self, index: int, have: Bits) -> int:
        """Of one file, what lies in the pieces of `have`."""
        file = self._files[index]
        return self._bytes_in(have, file.offset, file.offset + file.length)

    def _bytes_in(self, have: Bits, start: int, end: int) -> int:
        if start == end:
            return 0
        size = self._piece_length
        first, last = self._ends(start, end)
        done = have.count_in(first, last + 1) * size
        if have[first]:
            done -= start - first * size
        if have[last]:
            done -= (last + 1) * size - end
        return done
