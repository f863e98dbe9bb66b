"""Virtual time: a heap of things to be done, and a number that says what time it is."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Timer:
    """Something that is going to happen, unless it is cancelled."""

    __slots__ = ("_call", "when")

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.when = when
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """It will not happen. Idempotent, and of no effect afterwards."""
        self._call = None

    def fire(self) -> bool:
        """Let it happen; whether there was anything left to happen."""
        call, self._call = self._call, None
        if call is None:
            return False
        call()
        return True


class Clock:
    """Runs what was put on it in order of time; what is due at the same time, in order of arrival.

    clock = Clock()
    clock.after(2.0, print, "two seconds later")
    clock.run(until=10.0)
    assert clock.now == 10.0
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        """Virtual seconds."""
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0

    def at(self, when: float, call: Callable[..., object], *args: Any) -> Timer:
        """Calls `call(*args)` at `when`, or now if that is over."""
        timer = Timer(max(when, self.now), (lambda: call(*args)) if args else call)
        self._count += 1
        heapq.heappush(self._heap, (timer.when, self._count, timer))
        return timer

    def after(self, delay: float, call: Callable[..., object], *args: Any) -> Timer:
        """The same, `delay` seconds from now."""
        return self.at(self.now + delay, call, *args)

    def run(self, until: float, *, stop: Callable[[], bool] | None = None) -> bool:
        """Runs until the time is `until`, or until `stop()` is true after some event.

        Returns whether `stop` ended it. Time stands at `until` if it did not.
        """
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, timer = heapq.heappop(heap)
            if timer.fire() and stop is not None and stop():
                return True
        self.now = max(self.now, until)
        return False
