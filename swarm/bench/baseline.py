"""A report held against an earlier one of the same work: what got worse, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.errors import ConfigError

from .report import QUANTITIES, Report

HELD = {
    "rate": ("rate", "blocks"),
    "cpu": ("cpu", "leecher_cpu", "seeder_cpu"),
}
"""What can be held against a baseline. Memory and start-up are shown and not held."""


@dataclass(frozen=True)
class Change:
    """One median beside that of the baseline."""

    name: str
    key: str
    before: float
    now: float | None
    """None: there is no figure any more."""

    @property
    def worse(self) -> float:
        """By which share of the baseline's median it is worse; below zero if it is better."""
        if self.now is None:
            return float("inf")
        if not self.before:
            return 0.0 if QUANTITIES[self.key].more or not self.now else float("inf")
        change = self.now / self.before - 1
        return -change if QUANTITIES[self.key].more else change

    def line(self) -> str:
        """For people, as `swarm: rate 512.0 MiB/s, 12.3 % worse than 583.8`."""
        quantity = QUANTITIES[self.key]
        before = self.before / quantity.scale
        if self.now is None:
            return f"{self.name}: no {quantity.title} any more, it was {before:.2f} {quantity.unit}"
        word = "worse" if self.worse > 0 else "better"
        now = self.now / quantity.scale
        return (
            f"{self.name}: {quantity.title} {now:.2f} {quantity.unit}, "
            f"{abs(self.worse):.1%} {word} than {before:.2f}"
        )


def same_work(report: Report, baseline: Report) -> None:
    """Raises `ConfigError` unless both did the same work, saying in what it differs."""
    if report.bench != baseline.bench:
        raise ConfigError(
            f"the baseline is of `swarm bench {baseline.bench}`, not of {report.bench}"
        )
    names = [*report.work, *(name for name in baseline.work if name not in report.work)]
    other = [
        f"{name} {baseline.work.get(name, '-')} there, {report.work.get(name, '-')} here"
        for name in names
        if report.work.get(name) != baseline.work.get(name)
    ]
    if other:
        raise ConfigError(f"the baseline is of other work: {'; '.join(other)}")


def changes(report: Report, baseline: Report, held: str = "any") -> list[Change]:
    """Each median of the baseline that is held, beside ours. `held` is `rate`, `cpu` or `any`.

    Rivals are not held: they come and go, and it is not for us to make them faster. Nor is a name
    that was not asked for this time; one that failed is.
    """
    keys = [key for kind in HELD if held in (kind, "any") for key in HELD[kind]]
    asked = {*report.names, *(failure.client for failure in report.failures)}
    found = []
    for name in baseline.names:
        if name in baseline.rivals or name not in asked:
            continue
        for key in keys:
            if before := baseline.spread(name, key):
                now = report.spread(name, key)
                found.append(Change(name, key, before.median, now.median if now else None))
    return found
