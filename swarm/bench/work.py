"""What clients are made to do, the same for each of them, and where they meet to do it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import swarm

from . import link, network, process
from .host import Host
from .network import Network
from .round import GIB, MIB

Where = Literal["namespaces", "loopback"]
"""Each client on a host of its own, joined by veth pairs; or all on 127.0.0.1, each at a port of its own."""


def where() -> Where:
    """Where clients can meet on this machine: in namespaces, if they can be made."""
    return "loopback" if network.missing() else "namespaces"


class Place(Protocol):
    """Hosts that can reach each other."""

    @property
    def hosts(self) -> Sequence[Host]:
        """As many as were asked for."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One payload on its way from all seeders to all leechers. `swarm.ConfigError` if it makes no sense."""

    where: Where
    size: int = GIB
    """Bytes of all files together."""
    piece_length: int = MIB
    files: int = 1
    """One by itself, or that many of equal size in a folder."""
    seeders: int = 1
    leechers: int = 1
    mesh: bool = True
    """Whether the tracker tells leechers of each other, or of the seeders alone."""
    pooled: bool = False
    """Whether one process holds all seeders, and one all leechers, of clients that can do that."""
    delay: float = 0.0
    """Seconds that each packet takes, each way."""
    loss: float = 0.0
    """The share of packets that never arrive, from 0 to 1."""
    rate: float | None = None
    """The most bytes/s that leave a host. Delay, loss and rate need namespaces."""
    seed: int = 0
    """What the payload's random bytes begin from, and the losses."""

    def __post_init__(self) -> None:
        if self.files < 1 or self.size < self.files:
            raise swarm.ConfigError(f"{self.size} bytes cannot be in {self.files} files")
        if self.seeders < 1 or self.leechers < 1:
            raise swarm.ConfigError("there must be a seeder and a leecher at least")
        if not (self.delay >= 0 and 0 <= self.loss < 1 and (self.rate is None or self.rate > 0)):
            raise swarm.ConfigError("no line has such a delay, loss and rate")
        problem = process.missing()
        if self.where == "namespaces":
            problem = problem or network.missing() or (link.missing() if self.line else None)
        elif self.line:
            problem = problem or "delay, loss and rate need network namespaces"
        if problem:
            raise swarm.ConfigError(problem)

    @property
    def line(self) -> bool:
        """Whether hosts are joined by anything slower than this machine's memory."""
        return self.delay > 0 or self.loss > 0 or self.rate is not None

    @property
    def total(self) -> int:
        """Bytes that arrive at all leechers together."""
        return self.size * self.leechers

    def place(self) -> AbstractContextManager[Place]:
        """The hosts for it: the first has the tracker and a seeder."""
        size = 2 if self.pooled else self.seeders + self.leechers
        if self.where == "loopback":
            return contextlib.nullcontext(_Loopback([Host("127.0.0.1")] * size))
        return Network(size, delay=self.delay, loss=self.loss, rate=self.rate, seed=self.seed)


@dataclass(frozen=True)
class _Loopback:
    hosts: Sequence[Host]
