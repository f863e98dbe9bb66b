"""Whom to answer, and how much: floods cost us little, and nobody else anything."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

QUERIES = 5.0
"""Queries a second that one source may ask for long."""
BURST = 50.0
MOST_SOURCES = 4096
"""Sources that are kept apart; the one unheard of for longest is forgotten."""
BYTES = 8_000.0
"""Bytes a second of answers to everybody."""
BURST_BYTES = 160_000.0
FACTOR = 3
"""Bytes sent for each byte of a query, headers counted, as long as its source may be forged."""
MOST_REPLY = 1400
"""Bytes of any reply: what passes everywhere in one piece."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float

    def take(self, amount: float, rate: float, most: float, now: float) -> bool:
        self.left = min(most, self.left + (now - self.at) * rate)
        self.at = now
        if self.left < amount:
            return False
        self.left -= amount
        return True


class Throttle:
    """Counts queries by source, and bytes of answers in all."""

    def __init__(self, now: float) -> None:
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()
        self._bytes = _Bucket(BURST_BYTES, now)

    def admits(self, source: str, now: float) -> bool:
        """Whether a query of this source is to be looked at."""
        bucket = self._sources.get(source)
        if bucket is None:
            if len(self._sources) >= MOST_SOURCES:
                self._sources.popitem(last=False)
            bucket = self._sources[source] = _Bucket(BURST, now)
        else:
            self._sources.move_to_end(source)
        return bucket.take(1.0, QUERIES, BURST, now)

    def pays(self, size: int, now: float) -> bool:
        """Whether an answer of so many bytes may leave."""
        return self._bytes.take(size, BYTES, BURST_BYTES, now)


def header(host: str) -> int:
    """Bytes of the IP and UDP headers of a datagram."""
    return 48 if ":" in host else 28


def room(host: str, asked: int, ping: int, *, proven: bool) -> int:
    """Bytes that the reply to a query of `asked` bytes may have, if a `ping` goes out beside it.

    All of `MOST_REPLY` if it is `proven` that the asker is where it says; else as little as `FACTOR` says.
    """
    if proven:
        return MOST_REPLY
    spent = header(host) + (ping + header(host) if ping else 0)
    return min(MOST_REPLY, FACTOR * (asked + header(host)) - spent)
