"""Which files are complete, as pieces come in."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable

from ._bits import Bits
from .proto.metainfo import Metainfo


class Finishing:
    """Counts for each file the pieces that it still lacks. Pad files and empty ones lack none."""

    def __init__(self, meta: Metainfo) -> None:
        self._meta = meta
        self._starts = [file.offset for file in meta.files]
        self._lacking = array("Q", bytes(8 * len(meta.files)))

    def begin(self, have: Bits) -> None:
        """Starts from the pieces that are here."""
        size = self._meta.piece_length
        missing = array("Q", [0])  # pieces that are missing before each piece
        for piece in range(self._meta.piece_count):
            missing.append(missing[-1] + (not have[piece]))
        for file in self._meta.files:
            first, end = file.offset // size, -(-(file.offset + file.length) // size)
            self._lacking[file.index] = missing[end] - missing[first] if file.length else 0

    def complete(self, files: Iterable[int]) -> list[int]:
        """Those of `files` that lack nothing."""
        return [file for file in files if not self._lacking[file]]

    def verified(self, piece: int) -> list[int]:
        """A piece came in: the files that it completes."""
        start = piece * self._meta.piece_length
        end = start + self._meta.piece_size(piece)
        done = []
        index = bisect_right(self._starts, start) - 1
        while index < len(self._starts) and self._starts[index] < end:
            file = self._meta.files[index]
            if file.length and file.offset + file.length > start:
                self._lacking[index] -= 1
                if not self._lacking[index] and not file.pad:
                    done.append(index)
            index += 1
        return done
