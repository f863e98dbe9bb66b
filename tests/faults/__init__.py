"""A folder on a disk that fails when it is told to.

    with FaultyDisk(folder) as disk:
        disk.fault("write", errno=ENOSPC, skip=3)
        ...
        disk.heal()
        disk.cut()      # the power goes: what was not synced is lost
        disk.boot()

It is a file system of its own (FUSE, spoken to the kernel by `server.py`), so that what is tested is what
users run, down to the system call: the Rust side makes those without the C library, where nothing that
is preloaded would see them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).resolve().parents[1]


class FaultyDisk:
    """Mounts at `folder`, which is made. `space` is in bytes. Needs root and /dev/fuse."""

    def __init__(self, folder: Path, space: int = 1 << 30) -> None:
        self.folder = folder
        self._space = space
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket
        self._lines: Any

    @staticmethod
    def missing() -> str | None:
        """Why this machine cannot mount one, or None."""
        if sys.platform != "linux":
            return "FUSE as it is used here is Linux's"
        if os.geteuid() != 0:
            return "mounting needs root"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "there is no /dev/fuse"
        return None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._control, theirs = socket.socketpair()
        self._control.settimeout(20)
        self._lines = self._control.makefile("rb")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__ + ".server", *self._arguments(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=TESTS,
            )
        self.boot()
        return self

    def _arguments(self, control: int) -> list[str]:
        return [str(self.folder.absolute()), str(self._space), str(control)]

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._lines.close()
        self._control.close()
        self._process.wait(20)

    def _order(self, order: str, **facts: Any) -> Any:
        self._control.sendall(json.dumps({"order": order, **facts}).encode() + b"\n")
        answer = json.loads(self._lines.readline())
        if isinstance(answer, dict) and "error" in answer:
            raise OSError(answer["error"])
        return answer

    def fault(self, op: str, **facts: Any) -> int:
        """Orders a fault; `rules.Rule` has what can be said. Returns its number."""
        return int(self._order("fault", op=op, **facts))

    def fired(self, rule: int) -> int:
        """How often a fault has hit."""
        return int(self._order("fired", rule=rule))

    def heal(self) -> None:
        """No faults from here on; what hangs goes on."""
        self._order("heal")

    def cut(self, torn: int | None = None) -> None:
        """The power goes. With a seed, some of what was not synced has got to the platter."""
        self._order("cut", torn=torn)

    def off(self) -> None:
        """The disk is unplugged, with all that was written on it."""
        self._order("off")

    def boot(self) -> None:
        """Mounts the disk again, without faults."""
        self._order("boot")

    def halt(self) -> None:
        """Unmounts the disk: the folder below shows."""
        self._order("halt")

    def wipe(self) -> None:
        """An empty disk."""
        self._order("wipe")

    def space(self, size: int) -> None:
        """How many bytes fit from here on."""
        self._order("space", size=size)

    def used(self) -> int:
        """Bytes of all files."""
        return int(self._order("used"))

    def counts(self) -> dict[str, int]:
        """How many requests of which kind there were."""
        return dict(self._order("counts"))
