"""When which torrent is looked up and announced, and when nodes are to be found from outside."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from random import Random

INTERVAL = 900.0
"""Seconds between two lookups of a torrent: half of what announces live."""
SOONEST = 60.0
"""Seconds before a torrent that wants more peers is looked up again."""
MOST_AT_ONCE = 8
FIRST_HELP, MOST_HELP = 3.0, 600.0
"""Seconds of loneliness before help is looked for, doubled each time."""


@dataclass(slots=True, eq=False)
class Wanted:
    """A torrent whose peers are wanted. `port` is where ours listens; 0 only looks."""

    infohash: bytes
    port: int
    seed: bool = False
    due: float = 0.0
    asked: float = float("-inf")
    running: bool = False


class Schedule:
    """The torrents of a session, each looked up in its turn."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._wanted: dict[bytes, Wanted] = {}
        self._times: list[tuple[float, bytes]] = []  # outdated entries are skipped
        self._running = 0

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, infohash: bytes, port: int, now: float, *, seed: bool) -> None:
        """Looks this torrent up from now on, and announces us at `port`."""
        known = self._wanted.get(infohash)
        if known is not None:
            known.port, known.seed = port, seed
            return
        self._put(Wanted(infohash, port, seed), now)

    def remove(self, infohash: bytes) -> None:
        """Not any more."""
        wanted = self._wanted.pop(infohash, None)
        if wanted is not None and wanted.running:
            self._running -= 1

    def hurry(self, infohash: bytes, now: float) -> None:
        """This torrent needs peers: it is looked up as soon as is decent."""
        wanted = self._wanted.get(infohash)
        if wanted is not None and not wanted.running:
            soon = max(now, wanted.asked + SOONEST)
            if soon < wanted.due:
                self._put(wanted, soon)

    def poll(self, now: float) -> list[Wanted]:
        """The torrents to look up now. Each must be followed by `finished`."""
        found = []
        while self._times and self._times[0][0] <= now and self._running < MOST_AT_ONCE:
            when, infohash = heapq.heappop(self._times)
            wanted = self._wanted.get(infohash)
            if wanted is None or wanted.running or wanted.due != when:
                continue
            wanted.running, wanted.asked = True, now
            self._running += 1
            found.append(wanted)
        return found

    def finished(self, wanted: Wanted, now: float, *, good: bool) -> None:
        """A lookup has ended; one that found no node at all is tried again soon."""
        if self._wanted.get(wanted.infohash) is not wanted or not wanted.running:
            return
        wanted.running = False
        self._running -= 1
        wait = INTERVAL if good else SOONEST / 4
        self._put(wanted, now + wait * self._rng.uniform(0.8, 1.0))

    def deadline(self) -> float:
        """When `poll` has something to say; infinite if that depends on somebody else."""
        if self._running >= MOST_AT_ONCE or not self._times:
            return float("inf")
        return self._times[0][0]

    def _put(self, wanted: Wanted, due: float) -> None:
        wanted.due = due
        self._wanted[wanted.infohash] = wanted
        heapq.heappush(self._times, (due, wanted.infohash))


class Loneliness:
    """When a node that knows too few others is to be given addresses: rarely, and less and less."""

    def __init__(self, due: float) -> None:
        self._wait = FIRST_HELP
        self._due = due

    def poll(self, now: float, lonely: bool) -> bool:
        """Whether to look for help now."""
        if not lonely:
            self._wait = FIRST_HELP
            self._due = max(self._due, now + FIRST_HELP)
            return False
        if now < self._due:
            return False
        self._due = now + self._wait
        self._wait = min(2 * self._wait, MOST_HELP)
        return True

    @property
    def deadline(self) -> float:
        """When to ask again."""
        return self._due
