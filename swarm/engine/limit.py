"""Rate limits: how much may move by now, and whose turn it is.

What counts is the payload of blocks. Messages, headers and what TCP adds do not: they are about a
hundredth of it, and a peer whose requests or haves had to wait for our own limit would be of less use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from swarm._fill import BLOCK_SIZE

BURST = 0.09
"""Seconds of a limit that may be saved up and used later: less than the tenth by which a second may differ."""
TURN = 0.025
"""Seconds between two turns while somebody waits: a fast limit costs no more than forty a second."""
MOST_BLOCKS = 1024
"""Given to one at once."""
ROUNDING = 1.0
"""Bytes by which what is due just now may seem to be missing."""

K = TypeVar("K")


class Limit:
    """Bytes/s that may move: a token bucket, below a wider one that is used up with it.

    `rate` None is no limit of its own. It starts empty, and it may be overdrawn by what was under way
    or could not be cut; that is worked off before anything else moves.
    """

    __slots__ = ("_at", "_left", "above", "rate")

    def __init__(self, rate: int | None = None, above: Limit | None = None) -> None:
        self.rate = rate
        self.above = above
        self._left = 0.0
        self._at: float | None = None

    @property
    def lowest(self) -> int | None:
        """The bytes/s that hold: the lower one of its own and those above; None where there are none."""
        rates = [limit.rate for limit in self.chain if limit.rate is not None]
        return min(rates, default=None)

    @property
    def chain(self) -> tuple[Limit, ...]:
        """Itself and those above it."""
        return (self,) if self.above is None else (self, *self.above.chain)

    def set(self, rate: int | None) -> None:
        """Another limit from now on, which starts empty."""
        self.rate = rate
        self._left = 0.0
        self._at = None

    def left(self, now: float) -> float:
        """Bytes that it lets through now, itself alone; below zero if it is overdrawn."""
        if self.rate is None:
            return float("inf")
        self._fill(now)
        return self._left

    def spend(self, nbytes: int) -> None:
        """So much has moved, or (below zero) is not going to after all."""
        self._left -= nbytes
        if self.above is not None:
            self.above.spend(nbytes)

    def wait(self, now: float) -> float:
        """Seconds until a block may move."""
        waits = (
            (BLOCK_SIZE - limit.left(now)) / limit.rate
            for limit in self.chain
            if limit.rate is not None
        )
        return max(0.0, *waits, 0.0)

    def _fill(self, now: float) -> None:
        if self._at is None:
            self._at = now
        elif self.rate is not None and now > self._at:
            saved = min(self._left + self.rate * (now - self._at), most(self.rate))
            self._left = max(self._left, saved)  # what was given back is not lost
            self._at = now


def most(rate: int) -> float:
    """Bytes that a limit saves up at most: at least a block, and one while another limit is waited for."""
    return max(rate * BURST, 2 * BLOCK_SIZE)


class Sharing(Generic[K]):
    """Shares what limits let through among those that wait for it, in one direction of a session.

    Each gets the same at a turn, unless it has use for less or a limit of its own is lower. Who was
    given something goes to the end of the line; so each has its turn, be the limit as slow as it may.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, Limit] = {}  # in the order of their turns
        self._next = float("-inf")

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, who: K, limit: Limit) -> None:
        """This one would move something. Asking again changes nothing."""
        self._waiting.setdefault(who, limit)

    def drop(self, who: K) -> None:
        """It would not any more."""
        self._waiting.pop(who, None)

    def due(self, limit: Limit, now: float) -> float:
        """When who waits below this limit can have something."""
        return max(self._next, now + limit.wait(now))

    def deadline(self, now: float) -> float:
        """When `run` is due."""
        limits = set(self._waiting.values())
        return min((self.due(limit, now) for limit in limits), default=float("inf"))

    def run(self, now: float, give: Callable[[K, int], int]) -> None:
        """A turn: `give(who, blocks)` moves so many at most and returns how many bytes that were.

        Who moves less has no use for more, and is out of the line until it asks again.
        """
        going = True
        while going and (parts := self._parts(now)):
            going = False
            for who, limit in list(self._waiting.items()):
                blocks = min(parts.get(limit, 0), self._room(limit, now))
                if not blocks or self._waiting.pop(who, None) is None:
                    continue
                moved = give(who, blocks)
                limit.spend(moved)
                going = going or moved > 0
                if moved >= blocks * BLOCK_SIZE:
                    self._waiting[who] = limit
        self._next = now + TURN if self._waiting else now

    def _parts(self, now: float) -> dict[Limit, int]:
        """The blocks that each of those below a limit may have; none where that is less than one."""
        crowd: Counter[Limit] = Counter()
        direct = Counter(self._waiting.values())
        for limit, count in direct.items():
            for link in limit.chain:
                crowd[link] += count
        parts = {}
        for limit in direct:
            if room := self._room(limit, now):
                share = min(link.left(now) / (BLOCK_SIZE * crowd[link]) for link in limit.chain)
                parts[limit] = max(1, int(min(share, room)))
        return parts

    @staticmethod
    def _room(limit: Limit, now: float) -> int:
        left = min(link.left(now) for link in limit.chain)
        return max(0, int(min((left + ROUNDING) / BLOCK_SIZE, MOST_BLOCKS)))
