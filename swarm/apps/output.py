"""What people and scripts read: results on stdout, progress on stderr.

A terminal gets one live bar (bar.py), anything else plain lines, and `--json` NDJSON on stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import TracebackType
from typing import Any, Protocol, Self

import swarm
from swarm.units import format_duration, format_rate, format_size

VERSION = 1
"""Of the NDJSON records: the `v` that each of them has."""
PLAIN_SECONDS = 10.0
JSON_SECONDS = 1.0

# Control characters (ANSI escapes start with one), line separators, lone surrogates, and the marks
# that reorder text: all that lets a name from a torrent rewrite what stands around it.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escape(text: str) -> str:
    """Text from a torrent or a peer, made safe to show: `\\x1b` instead of an escape character."""
    return _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)


def tell(line: str) -> None:
    """One line to the user on stderr. That nobody reads it is no reason to stop."""
    with contextlib.suppress(OSError):
        print(escape(line), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Says something about the command itself on stderr."""
    tell(f"swarm: {text}")


def result(text: str) -> None:
    """One line of result on stdout: escaped for a terminal, the exact bytes for anything else."""
    if sys.stdout.isatty():
        print(escape(text), flush=True)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()


def record(kind: str, **facts: Any) -> None:
    """One NDJSON record on stdout. Everything outside of ASCII is escaped by JSON itself."""
    print(json.dumps({"v": VERSION, "type": kind, **facts}, allow_nan=False), flush=True)


def is_live(environ: Mapping[str, str] = os.environ) -> bool:
    """May stderr show a bar that redraws itself? Not in a pipe, on a dumb terminal, or under CI."""
    if environ.get("CI", "").lower() not in ("", "0", "false"):
        return False
    return sys.stderr.isatty() and environ.get("TERM", "") not in ("", "dumb", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One look at a job under way. `progress` goes from 0 to 1.

    `details` are for people, the first ones matter most; `facts` is what NDJSON adds.
    """

    name: str
    state: str
    progress: float
    details: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def step_of(name: str, stats: swarm.Stats) -> Step:
    """A torrent's progress as people and scripts read it."""
    eta = stats.eta if stats.eta is not None and isfinite(stats.eta) else None
    details = [f"{format_size(stats.done)} of {format_size(stats.length)}"]
    if stats.state == "downloading":
        details.append(f"down {format_rate(stats.down_rate)}{_limit(stats.download_limit)}")
        details += [f"eta {format_duration(eta)}"] if eta is not None else []
    if stats.state in ("downloading", "seeding"):
        details.append(f"{stats.peers} peer{'' if stats.peers == 1 else 's'}")
        details.append(f"up {format_rate(stats.up_rate)}{_limit(stats.upload_limit)}")
    if stats.state == "seeding":
        details.append(f"ratio {stats.ratio:.2f}")
    facts = {
        "length": stats.length,
        "done": stats.done,
        "total_length": stats.total_length,
        "total_done": stats.total_done,
        "down_rate": round(stats.down_rate),
        "up_rate": round(stats.up_rate),
        "download_limit": stats.download_limit,
        "upload_limit": stats.upload_limit,
        "downloaded": stats.downloaded,
        "uploaded": stats.uploaded,
        "wasted": stats.wasted,
        "peers": stats.peers,
        "seeds": stats.seeds,
        "eta": None if eta is None else round(eta, 1),
        "ratio": round(stats.ratio, 4) if isfinite(stats.ratio) else None,
    }
    return Step(
        name=name,
        state=stats.state,
        progress=stats.progress,
        details=tuple(details),
        facts=facts,
    )


def _limit(rate: int | None) -> str:
    return "" if rate is None else f" (limit {format_rate(rate)})"


class Display(Protocol):
    """Shows steps from `__enter__` to `__exit__`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, step: Step) -> None: ...


class Silent:
    """Shows nothing: `--quiet`. The base of the displays that write whole lines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to put back."""

    def show(self, step: Step) -> None:
        """Shows nothing."""


class Lines(Silent):
    """Plain lines on stderr: one at each change of state, then every 10 s or 10 %."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._state = ""
        self._at = 0.0
        self._tenth = 0

    def show(self, step: Step) -> None:
        now, tenth = self._clock(), int(step.progress * 10)
        due = now - self._at >= PLAIN_SECONDS or tenth > self._tenth
        if step.state == self._state and not due:
            return
        self._state, self._at, self._tenth = step.state, now, tenth
        tell("  ".join((f"{step.name}: {step.state} {step.progress:.0%}", *step.details)))


class Records(Silent):
    """NDJSON on stdout: one at each change of state, then one a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._state = ""
        self._at = 0.0

    def show(self, step: Step) -> None:
        now = self._clock()
        if step.state == self._state and now - self._at < JSON_SECONDS:
            return
        self._state, self._at = step.state, now
        progress = round(step.progress, 4)
        record("progress", name=step.name, state=step.state, progress=progress, **step.facts)


def display(*, quiet: bool = False, as_json: bool = False) -> Display:
    """The display that fits the options and what stderr is."""
    if quiet:
        return Silent()
    if as_json:
        return Records()
    if is_live():
        from .bar import Bar

        return Bar()
    return Lines()
