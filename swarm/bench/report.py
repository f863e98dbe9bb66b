"""What a benchmark found: the figures of each round, and all that is needed to judge and to repeat them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from swarm.errors import ConfigError

from .machine import Machine
from .round import MIB, Failure, Round

VERSION = 1
"""Of the JSON."""
MAX_JSON = 64 * MIB
"""The longest report that is read."""


@dataclass(frozen=True)
class Quantity:
    """One kind of figure: what it is called, in which unit it is shown, and which way is better."""

    title: str
    unit: str
    scale: float = 1.0
    """A figure divided by it is one of `unit`."""
    more: bool = False
    """Is more of it better?"""


QUANTITIES: Mapping[str, Quantity] = {
    "rate": Quantity("rate", "MiB/s", MIB, more=True),
    "blocks": Quantity("blocks", "millions/s", 1e6, more=True),
    "ratio": Quantity("ratio", "x", more=True),
    "cpu": Quantity("CPU", "s/GiB"),
    "leecher_cpu": Quantity("leecher CPU", "s/GiB"),
    "seeder_cpu": Quantity("seeder CPU", "s/GiB"),
    "machine_cpu": Quantity("whole machine", "s/GiB"),
    "leecher_rss": Quantity("leecher peak", "MiB", MIB),
    "seeder_rss": Quantity("seeder peak", "MiB", MIB),
    "leecher_start": Quantity("start, leecher", "CPU-s"),
    "seeder_start": Quantity("start, seeder", "CPU-s"),
    "uneven": Quantity("uneven", "%", 0.01),
}
"""`uneven`: of several leechers, by how much the slowest took longer than the fastest, as a share."""


@dataclass(frozen=True)
class Sample:
    """The figures of one round of `name` (a client, a kernel, a step), by the keys of `QUANTITIES`."""

    name: str
    values: dict[str, float]

    @classmethod
    def of(cls, done: Round) -> Sample:
        """The figures of a transfer."""
        values = {
            "rate": done.rate,
            "leecher_cpu": done.leecher_cpu,
            "seeder_cpu": done.seeder_cpu,
            "leecher_rss": done.leechers.peak_rss,
            "seeder_rss": done.seeders.peak_rss,
            "leecher_start": done.leechers.start_cpu,
            "seeder_start": done.seeders.start_cpu,
        }
        if len(done.finished) > 1:
            values["uneven"] = max(done.finished) / min(done.finished) - 1
        return cls(done.client, values)


@dataclass(frozen=True)
class Spread:
    """The median of one figure over the rounds, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run of one benchmark. Rates in bytes/s, sizes in bytes, CPU in seconds for each GiB."""

    bench: str
    """Which one: loopback, compare, net, disk, hash or wire."""
    work: dict[str, int | float | str]
    """Its shape. Only reports of the same work can be compared."""
    machine: Machine
    at: str
    """When it began, as ISO 8601 has it."""
    samples: list[Sample]
    failures: list[Failure]
    told: dict[str, dict[str, str]]
    """What each was told to do, by the side that it was on: commands, and files of settings."""
    versions: dict[str, str]
    rivals: list[str]
    """Those that are there to be compared with, and are not judged."""
    rounds: int
    """How many were asked for."""

    @property
    def names(self) -> list[str]:
        """Who has figures, in the order of their first ones."""
        return list(dict.fromkeys(sample.name for sample in self.samples))

    @property
    def keys(self) -> list[str]:
        """The quantities that there are figures of."""
        return [key for key in QUANTITIES if any(key in sample.values for sample in self.samples)]

    def figures(self, name: str, key: str) -> list[float]:
        """Of each round, in their order; empty if there are none."""
        return [s.values[key] for s in self.samples if s.name == name and key in s.values]

    def spread(self, name: str, key: str) -> Spread | None:
        """Of these figures, if there are any."""
        figures = self.figures(name, key)
        return Spread.of(figures) if figures else None

    def ratio(self, name: str, other: str, key: str) -> Spread | None:
        """How often the other's figure goes into this one: of the medians; lowest and highest by round."""
        mine, theirs = self.figures(name, key), self.figures(other, key)
        pairs = [a / b for a, b in zip(mine, theirs, strict=False) if b]
        if not pairs or not (base := statistics.median(theirs)):
            return None
        return Spread(statistics.median(mine) / base, min(pairs), max(pairs))

    def best_rival(self, key: str) -> str | None:
        """The rival with the best median of this quantity."""
        found = {name: self.spread(name, key) for name in self.names if name in self.rivals}
        medians = {name: spread.median for name, spread in found.items() if spread}
        choose: Callable[..., Any] = max if QUANTITIES[key].more else min
        return choose(medians, key=medians.__getitem__) if medians else None

    def to_json(self) -> bytes:
        """One line of JSON, an object with the version `v` and the type `bench`."""
        return msgspec.json.encode({"v": VERSION, "type": "bench", **vars(self)}) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Report:
        """A report from its JSON. Raises `ConfigError` for anything else."""
        if len(data) > MAX_JSON:
            raise ConfigError(f"no report of a benchmark is longer than {MAX_JSON} bytes")
        try:
            head = msgspec.json.decode(data, type=_Head)
            if head.type != "bench" or head.v != VERSION:
                raise ConfigError(f"not a benchmark's report of version {VERSION}")
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ConfigError(f"not the report of a benchmark: {error}") from None


class _Head(msgspec.Struct):
    v: int
    type: str
