"""How fast bytes move."""

from __future__ import annotations

from math import exp

YOUNGEST = 1.0
"""Seconds that a first burst is spread over, if nobody says otherwise, so that it is not an infinite rate."""


class Rate:
    """A smoothed rate in bytes/s: what was counted, faded with a time constant of `tau` seconds.

    From its first `youngest` seconds on it is right for a steady stream: there is no slow rise from zero.
    """

    __slots__ = ("_born", "_faded", "_last", "_youngest", "tau", "total")

    def __init__(self, now: float, *, tau: float = 5.0, youngest: float = YOUNGEST) -> None:
        self.tau = tau
        self.total = 0
        self._born = now
        self._last = now
        self._youngest = youngest
        self._faded = 0.0  # counted bytes, each faded by exp(-age / tau)

    def add(self, nbytes: int, now: float) -> None:
        """Counts bytes that have moved since the last call, as evenly as can be."""
        steps = (now - self._last) / self.tau
        self._fade(now)
        self._faded += nbytes * (1.0 - exp(-steps)) / steps if steps > 0 else nbytes
        self.total += nbytes

    def sample(self, total: int, now: float) -> None:
        """The same, from a counter that only ever grows."""
        self.add(total - self.total, now)

    def at(self, now: float) -> float:
        """Bytes/s as of `now`."""
        self._fade(now)
        return self.value

    @property
    def value(self) -> float:
        """Bytes/s as of the last call that had a `now`."""
        age = max(self._last - self._born, self._youngest)
        return self._faded / (self.tau * (1.0 - exp(-age / self.tau)))

    def _fade(self, now: float) -> None:
        if now > self._last:
            self._faded *= exp((self._last - now) / self.tau)
            self._last = now
