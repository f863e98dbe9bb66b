"""How many peers are unchoked at once: as many as the line serves well."""

from __future__ import annotations

LOOK = 0.1
"""Seconds between two looks while somebody waits for a slot."""
ROUND = 10.0
"""Seconds over which fewer must have been enough before slots are taken away."""
BUFFERED = 2 << 20
"""Bytes that a peer is sent after its unchoke before any count: so many may only lie in buffers."""
SPARE = 0.75
"""Slots are taken away when less than this share of them would do."""


class Slots:
    """Follows what is uploaded: `least` slots, and one for each `rate` bytes/s beyond that.

    So each of the unchoked gets about that much on any line. A slow one is not cut into slices with
    which nobody is ever through; on one that is too fast for a few peers, nobody waits. `rate` None is a
    fixed number.
    """

    def __init__(self, least: int, rate: int | None) -> None:
        self.count = least
        self._least = least
        self._rate = rate
        self._looked = self._since = float("inf")
        self._sum = 0

    def begin(self, now: float) -> None:
        """What is sent counts from here on. Only the first call does anything."""
        if self._looked == float("inf"):
            self._looked = self._since = now

    def look(self, now: float, sent: int) -> bool:
        """`sent` bytes have left since the last look. Whether there are more slots than before."""
        if self._rate is None:
            return False
        self.begin(now)
        span, self._looked = now - self._looked, now
        self._sum += sent
        before = self.count
        if span > 0:
            self.count = max(self.count, int(sent / span / self._rate))
        if now - self._since >= ROUND:
            enough = int(self._sum / (now - self._since) / self._rate)
            if enough < SPARE * self.count:
                self.count = max(self._least, enough)
            self._since, self._sum = now, 0
        return self.count > before
