"""What the pieces under way ask of the store."""

from __future__ import annotations

from typing import Any, Protocol


class Buffers(Protocol):
    """Where slots come from and full parts go to."""

    def checkout(self, size: int) -> Any | None:
        """A writable buffer of `size` bytes, or None at the high-water mark."""

    def align(self, slot: Any, piece: int, offset: int) -> None:
        """What a fresh slot is going to hold: the piece from `offset` on."""

    def commit(
        self, piece: int, offset: int, slot: Any, length: int, *, last: bool, patient: bool
    ) -> None:
        """A part of a piece is complete: hash and write it.

        `patient`: nobody waits for the verdict, so that it may be hashed for less beside others.
        """

    def forget_piece(self, piece: int) -> None:
        """A piece of which parts were committed starts again."""
