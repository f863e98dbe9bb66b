"""The rate limits of a session: who waits, and the timer of the next turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .engine.limit import Limit, Sharing
from .net.peer import Connection

Give = Callable[[Connection, int], int]
"""Moves so many blocks at most, and returns how many bytes those are."""


class Limiting:
    """One direction. Lets those who wait have what the limits leave. While nobody waits there is no timer.

    `after` is called at the end of each turn. `whole` is the limit of the session.
    """

    def __init__(self, rate: int | None, give: Give, after: Callable[[], None]) -> None:
        self.whole = Limit(rate)
        self._give = give
        self._after = after
        self._sharing: Sharing[Connection] = Sharing()
        self._timer: asyncio.TimerHandle | None = None
        self._at = float("inf")

    def ask(self, who: Connection, limit: Limit) -> None:
        """This one would move something below this limit."""
        self._sharing.ask(who, limit)
        now = asyncio.get_running_loop().time()
        if (at := self._sharing.due(limit, now)) < self._at:
            self._arm(at)

    def drop(self, who: Connection) -> None:
        """It would not any more."""
        self._sharing.drop(who)

    def changed(self) -> None:
        """A limit is another one from now on."""
        if len(self._sharing):
            self._arm(self._sharing.deadline(asyncio.get_running_loop().time()))

    def close(self) -> None:
        """Nobody has a turn any more."""
        self._arm(float("inf"))

    def _turn(self) -> None:
        self._timer, self._at = None, float("inf")
        loop = asyncio.get_running_loop()
        self._sharing.run(loop.time(), self._give)
        self._after()
        self._arm(self._sharing.deadline(loop.time()))

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._at = at
        if at < float("inf"):
            self._timer = asyncio.get_running_loop().call_at(at, self._turn)


def request(connection: Connection, blocks: int) -> int:
    """Requests so many blocks at most from a peer; how many bytes those are."""
    size: int = connection.owner.request(connection.peer, blocks)
    return size


def send(connection: Connection, blocks: int) -> int:
    """Sends a peer so many blocks at most; how many bytes those are."""
    return connection.give(blocks)
