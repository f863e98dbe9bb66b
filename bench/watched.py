"""Runs swarm's driver with a clock beside its loop: `watched.py DRIVER ARGUMENTS...`.

At its end it prints the longest times between two beats of a clock that wants to beat every 2 ms, less those
2 ms: by the wall, which other programs of the machine lengthen, and by the loop thread's own CPU time, which is
what the program is to blame for. SIGUSR1 makes it begin anew.
"""

from __future__ import annotations

import asyncio
import json
import runpy
import signal
import sys
import time

import uvloop

BEAT = 0.002


class Watch:
    """The clock of one loop."""

    def __init__(self) -> None:
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self._wall = self._cpu = 0.0

    def beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Notes how late it is, and comes back."""
        wall, cpu = time.perf_counter(), time.thread_time()
        if self._wall:
            self.walls.append(wall - self._wall - BEAT)
            self.cpus.append(cpu - self._cpu - BEAT)
        self._wall, self._cpu = wall, cpu
        loop.call_later(BEAT, self.beat, loop)

    def clear(self) -> None:
        """Forgets what was until now: how it starts is another matter."""
        self.walls.clear()
        self.cpus.clear()

    def told(self) -> str:
        """The five longest of each, in milliseconds."""
        worst = {
            name: [round(1e3 * late, 2) for late in sorted(times)[-5:][::-1]]
            for name, times in (("wall", self.walls), ("cpu", self.cpus))
        }
        return json.dumps({"stalls": worst})


if __name__ == "__main__":
    watch = Watch()
    new_event_loop = uvloop.new_event_loop

    def watched_loop() -> asyncio.AbstractEventLoop:
        """A loop with the clock."""
        loop = new_event_loop()
        loop.add_signal_handler(signal.SIGUSR1, watch.clear)
        loop.call_soon(watch.beat, loop)
        return loop

    uvloop.new_event_loop = watched_loop  # type: ignore[assignment]
    sys.argv = sys.argv[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        print(watch.told(), flush=True)
