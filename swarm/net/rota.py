"""How much is sent in one turn of the loop, and whose turn is next."""

from __future__ import annotations

import asyncio
from typing import Protocol

BLOCKS_PER_TURN = 128
"""After this many blocks (2 MiB, about a millisecond) everything else on the loop has its turn."""


class Sender(Protocol):
    """Who has blocks to send."""

    def serve(self) -> None:
        """Send some, as far as `Rota.admits`."""


class Rota:
    """Shares the turns of the loop among the connections that have blocks to send: each has a batch, and goes
    to the end of the line if others wait. So hundreds are served alike, and never hold up the loop for long.
    """

    def __init__(self) -> None:
        self._left = BLOCKS_PER_TURN
        self._line: dict[Sender, None] = {}
        self._next: Sender | None = None
        self._coming = False

    def admits(self, sender: Sender) -> bool:
        """Whether it may send a batch now. If not, it is called when its turn comes."""
        if self._next is sender or (self._left > 0 and not self._line):
            return True
        self._line[sender] = None
        self._come()
        return False

    def sent(self, blocks: int) -> None:
        """A batch of whoever was admitted."""
        self._next = None
        self._left -= blocks
        self._come()

    def _come(self) -> None:
        if not self._coming:
            self._coming = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._coming = False
        self._left = BLOCKS_PER_TURN
        while self._line and self._left > 0:
            self._next = next(iter(self._line))
            del self._line[self._next]
            self._next.serve()
        self._next = None
