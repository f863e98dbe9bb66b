"""What one measured transfer took, as numbers that can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True)
class Side:
    """What the clients on one side, seeding or leeching, used from their start to the end of the round."""

    cpu: float
    """CPU-seconds of all their processes and threads together, start-up included."""
    start_cpu: float
    """What of it was used before the first leecher began, in CPU-seconds."""
    peak_rss: int
    """The highest resident size of any one of them (with its children), in bytes."""


@dataclass(frozen=True)
class Told:
    """What the clients of each side were started with: the command line, and every file of settings."""

    seeder: str = ""
    leecher: str = ""


@dataclass(frozen=True)
class Round:
    """One transfer of the whole payload to every leecher, compared byte for byte at its end."""

    client: str
    number: int
    """Which round of this client it was, from 1 on."""
    size: int
    """Bytes that were to arrive, at all leechers together."""
    seconds: float
    """From when all leechers have announced `started`, and get their answer, to the last `completed`."""
    finished: tuple[float, ...]
    """Of each leecher, seconds from that moment to its own `completed`."""
    leechers: Side
    seeders: Side
    told: Told

    @property
    def rate(self) -> float:
        """Of all leechers together, in bytes/s."""
        return self.size / self.seconds

    @property
    def leecher_cpu(self) -> float:
        """CPU-seconds of the leechers for each GiB that arrived."""
        return self.leechers.cpu * GIB / self.size

    @property
    def seeder_cpu(self) -> float:
        """CPU-seconds of the seeders for each GiB that arrived."""
        return self.seeders.cpu * GIB / self.size


@dataclass(frozen=True)
class Failure:
    """A client that could not do the work, and why: it is reported, never dropped."""

    client: str
    number: int
    reason: str
    """A sentence, then the last lines of its log."""
    told: Told


Phase = Literal["making", "warming", "seeding", "leeching", "comparing"]
"""The payload is made; memory is warmed; seeders start; bytes move; what arrived is compared."""


@dataclass(frozen=True)
class Progress:
    """Where a measurement is, for people who wait for it."""

    client: str
    """Empty while the payload is made."""
    number: int
    """The round, from 1 on."""
    phase: Phase
    received: int
    """Bytes that have come to all leechers so far, headers included: about right, and cheap to know."""
    size: int
    """Bytes that are to arrive, at all leechers together."""
    seconds: float
    """Since the phase began."""
