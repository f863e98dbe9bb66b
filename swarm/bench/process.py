"""A process group that can be weighed, and that never outlives its owner."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
CHILDREN_CPU = slice(13, 15)
"""User and system ticks of the children that were waited for, in what proc(5) tells of a process."""


def missing() -> str | None:
    """What keeps this machine from weighing processes, in one sentence, or None."""
    return None if sys.platform == "linux" else "processes can be weighed on Linux alone"


@dataclass(frozen=True)
class Usage:
    """CPU-seconds so far and the highest resident size in bytes, of a process and its descendants."""

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
                [*_dying_with_us(), *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})},
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._peak = 0
        self._over = False

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs. It can still be weighed until `wait`, `stop` or `kill`."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        left = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return None if left is None else _code(left)

    def wait_exit(self) -> int:
        """Blocks until it has left, without reaping it; its exit code."""
        try:
            left = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # reaped meanwhile
            return self._popen.wait()
        assert left is not None
        return _code(left)

    def usage(self) -> Usage:
        """What it and all its descendants have used until now; the clock of a process counts in nanoseconds.

        Of children that have left, and were waited for, the kernel counts hundredths of a second.
        """
        cpu, peak, ticks = 0.0, 0, os.sysconf("SC_CLK_TCK")
        for pid in self._tree():
            with contextlib.suppress(OSError, ValueError):
                cpu += time.clock_gettime((~pid << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, SCHED)
                cpu += sum(map(int, _stat(pid)[CHILDREN_CPU])) / ticks
                peak += _counted(pid, "status", "VmHWM") * 1024
        self._peak = max(self._peak, peak)  # one that has left has no memory any more
        return Usage(cpu, self._peak)

    def written(self) -> int:
        """Bytes that it has written to files, the page cache included."""
        try:
            return _counted(self.pid, "io", "write_bytes")
        except OSError:
            return 0  # it has left

    def terminate(self) -> None:
        """Asks it to leave (SIGTERM), if it is still there."""
        if self.exit_code is None:
            self._popen.terminate()

    def stop(self, timeout: float = 15.0) -> int:
        """Asks it to leave, kills what is left after `timeout` seconds; its exit code."""
        if self.exit_code is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """Kills it and all its descendants with SIGKILL and reaps it; its exit code."""
        if not self._over:
            for pid in self._tree():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._over = True  # from here on its number may be another's
        return self._popen.wait()

    def wait(self, timeout: float) -> int:
        """Its exit code, once it left by itself; subprocess.TimeoutExpired after `timeout` s."""
        return self._popen.wait(timeout)

    def tail(self, size: int = 3000) -> str:
        """The end of what it printed, without what would move the cursor or colour a terminal."""
        with open(self.log, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - size))
            return CONTROL.sub("", log.read().decode(errors="replace"))

    def _tree(self) -> list[int]:
        """Itself, its group, and all that descend from either."""
        parents: dict[int, tuple[int, int]] = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    _, parent, group, *_ = _stat(int(entry.name))
                    parents[int(entry.name)] = int(parent), int(group)
        tree = {pid for pid, (_, group) in parents.items() if group == self.pid}
        grown = 0
        while len(tree) > grown:
            grown = len(tree)
            tree |= {pid for pid, (parent, _) in parents.items() if parent in tree}
        return sorted(tree)


@functools.cache
def _dying_with_us() -> list[str]:
    """What starts a command so that the kernel kills it when this process is gone, where that can be had."""
    prefix = ["setpriv", "--pdeathsig", "KILL"]
    if shutil.which("setpriv"):
        tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        return prefix if tried.returncode == 0 else []
    return []


def _counted(pid: int, file: str, name: str) -> int:
    """What a line of proc(5) counts; 0 if there is no such line."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _stat(pid: int) -> list[str]:
    """The fields of proc(5) after the name: state, parent, group and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _code(left: os.waitid_result) -> int:
    return left.si_status if left.si_code == os.CLD_EXITED else -left.si_status
