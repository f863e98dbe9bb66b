"""A process group that can be weighed, and that never outlives its owner."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """CPU-seconds so far and the highest resident size in bytes, of a whole process group."""

    cpu: float
    peak_rss: int


class Process:
    """A command in a session of its own, its output in `log`. Killed with this process (Linux)."""

    def __init__(
        self, command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.name = Path(command[0]).name
        with open(log, "ab") as sink:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})},
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._popen.poll()

    def usage(self) -> Usage:
        """What the whole group has used until now; the clock of a process counts in nanoseconds."""
        cpu, peak = 0.0, 0
        for pid in self._group():
            with contextlib.suppress(OSError):
                cpu += time.clock_gettime((~pid << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, SCHED)
                status = Path(f"/proc/{pid}/status").read_text()
                peak += next(
                    int(line.split()[1]) * 1024
                    for line in status.splitlines()
                    if line.startswith("VmHWM")
                )
        return Usage(cpu, peak)

    def stop(self, timeout: float = 15.0) -> int:
        """Asks it to leave (SIGTERM), kills what is left after `timeout` seconds; its exit code."""
        if self.exit_code is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """Kills the whole group with SIGKILL and reaps it; its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._popen.wait()

    def wait(self, timeout: float) -> int:
        """Its exit code, once it left by itself; subprocess.TimeoutExpired after `timeout` s."""
        return self._popen.wait(timeout)

    def tail(self, size: int = 3000) -> str:
        """The end of what it printed."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def _group(self) -> list[int]:
        group = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getpgid(int(entry.name)) == self.pid:
                        group.append(int(entry.name))
        return group
