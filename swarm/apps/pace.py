"""How fast the hashing of files goes, and when it will be done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from swarm.units import format_duration, format_rate, format_size

from .output import Display, Step

WINDOW = 10.0
"""Seconds that the rate is an average of: a disk's speed changes, a glance wants the present one."""
INTERVAL = 0.1
"""Seconds between two steps shown. Progress may come thousands of times a second."""


class Pace:
    """A `progress` callback that shows how far a job is, its rate and the time left.

    What was done at the first call cost no time and does not count for the rate. `length` is in bytes,
    where the callback counts something else than bytes.
    """

    def __init__(
        self,
        shown: Display,
        name: str,
        state: str,
        length: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = shown
        self._name = name
        self._state = state
        self._length = length
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque()

    def __call__(self, done: int, total: int) -> None:
        now = self._clock()
        if self._looks and now - self._looks[-1][0] < INTERVAL and done < total:
            return
        length = total if self._length is None else self._length
        share = done / total if total else 1.0
        self._looks.append((now, done))
        while len(self._looks) > 2 and now - self._looks[1][0] >= WINDOW:
            self._looks.popleft()
        then, before = self._looks[0]
        speed = (done - before) / (now - then) if now > then else 0.0
        left = (total - done) / speed if speed else None
        rate = speed * length / max(total, 1)
        details = [f"{format_size(share * length)} of {format_size(length)}"]
        details += [format_rate(rate)] if rate else []
        details += [f"eta {format_duration(left)}"] if left else []
        facts = {
            "length": length,
            "done": length * done // max(total, 1),
            "rate": round(rate),
            "eta": None if left is None else round(left, 1),
        }
        self._shown.show(
            Step(
                name=self._name,
                state=self._state,
                progress=share,
                details=tuple(details),
                facts=facts,
            )
        )
