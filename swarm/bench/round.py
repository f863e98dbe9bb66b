"""What one measured transfer took, as numbers that can be kept."""

from __future__ import annotations

from dataclasses import dataclass

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
class Round:
    """One transfer of the whole payload to every leecher, compared byte for byte at its end."""

    client: str
    size: int
    """Bytes that were to arrive, at all leechers together."""
    seconds: float
    """From the first `started` of a leecher to the last `completed`."""
    finished: tuple[float, ...]
    """Of each leecher, seconds from its own `started` to its `completed`."""
    leechers: Side
    seeders: Side

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
    reason: str
