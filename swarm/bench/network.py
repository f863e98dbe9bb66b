"""Hosts that exist only inside network namespaces, so that nothing outside can see or disturb them.

Needs Linux, root and iproute2. Two hosts are joined by one veth pair, more by a bridge; where there is to be
delay, loss or a rate, by lines in user space (`link`).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

from . import link
from .host import PORT, Host, T

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
_serial = count()


def missing() -> str | None:
    """What keeps this machine from making network namespaces, in one sentence, or None."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool, package in {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux"}.items():
        if not shutil.which(tool):
            return f"{tool} is missing: apt install {package}"
    probe = f"swarm-{os.getpid()}-probe"
    made = subprocess.run(
        ["ip", "netns", "add", probe], capture_output=True, text=True, check=False
    )
    if made.returncode:
        return f"network namespaces cannot be made here: {made.stderr.strip()}"
    _ip("netns", "del", probe)
    return None


@dataclass(frozen=True)
class Namespace(Host):
    """A host that has a network namespace to itself."""

    namespace: str

    def command(self, *command: str) -> list[str]:
        return ["nsenter", f"--net={NAMESPACES / self.namespace}", *command]

    def ports(self, count: int) -> list[int]:
        return list(range(PORT, PORT + count))

    def limit(self, rate: int) -> None:
        """From now on at most `rate` bytes/s leave this host."""
        shape = ["tbf", "rate", f"{rate}bps", "burst", "128kb", "latency", "100ms"]
        _in(self.namespace, "tc", "qdisc", "replace", "dev", "eth0", "root", *shape)

    def unlimited(self) -> None:
        """Takes the limit back."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _in(self.namespace, "tc", "qdisc", "del", "dev", "eth0", "root")

    def received(self) -> int:
        """Bytes that have come in through its interface since it was made."""
        shown = self.inside(Path("/proc/thread-self/net/dev").read_text)
        line = next(line for line in shown.splitlines() if line.strip().startswith("eth0:"))
        return int(line.split(":")[1].split()[0])

    def inside(self, work: Callable[[], T]) -> T:
        # A thread has its own namespace, and a socket stays in the one it was made in.
        result: list[T] = []

        def enter() -> None:
            with open(NAMESPACES / self.namespace) as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {self.namespace}")
            result.append(work())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if not result:
            raise OSError(f"nothing could be made inside of {self.namespace}")
        return result[0]


class Network:
    """`size` hosts, 10.77.0.1 and up, gone when the block ends, whatever happened in it.

    What a host sends arrives `delay` seconds late, a share `loss` of its packets never, and there are at
    most `rate` bytes/s of it. Chance is the same for the same `seed`.
    """

    def __init__(
        self,
        size: int,
        *,
        delay: float = 0.0,
        loss: float = 0.0,
        rate: float | None = None,
        seed: int = 1,
    ) -> None:
        self._prefix = f"swarm-{os.getpid()}-{next(_serial)}"
        self._made: list[str] = []
        self._line = {"delay": delay, "loss": loss, "rate": inf if rate is None else rate}
        self._seed = seed
        self._lines: link.Lines | None = None
        self.hosts = [Namespace(f"10.77.0.{n}", f"{self._prefix}-{n}") for n in range(1, size + 1)]

    def __enter__(self) -> Self:
        _sweep()
        atexit.register(self.close)
        try:
            for host in self.hosts:
                self._namespace(host.namespace)
            if self._line != {"delay": 0.0, "loss": 0.0, "rate": inf}:
                self._tuns()
            elif len(self.hosts) == 2:
                first, second = (host.namespace for host in self.hosts)
                _in(first, "ip", "link", "add", "eth0", "type", "veth",
                    "peer", "name", "eth0", "netns", second)  # fmt: skip
            else:
                self._bridge()
            for host in self.hosts:
                _in(host.namespace, "ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
                _in(host.namespace, "ip", "link", "set", "eth0", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes the namespaces, and with them every interface in them."""
        atexit.unregister(self.close)
        if self._lines is not None:
            self._lines.close()
            self._lines = None
        while self._made:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._made.pop())

    def _namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)
        _in(name, "ip", "link", "set", "lo", "up")

    def _tuns(self) -> None:
        tuns = {host.address: host.inside(partial(link.open_tun, "eth0")) for host in self.hosts}
        self._lines = link.Lines(tuns, **self._line, seed=self._seed)

    def _bridge(self) -> None:
        switch = f"{self._prefix}-switch"
        self._namespace(switch)
        _in(switch, "ip", "link", "add", "br0", "type", "bridge")
        _in(switch, "ip", "link", "set", "br0", "up")
        for n, host in enumerate(self.hosts):
            _in(switch, "ip", "link", "add", f"port{n}", "type", "veth",
                "peer", "name", "eth0", "netns", host.namespace)  # fmt: skip
            _in(switch, "ip", "link", "set", f"port{n}", "master", "br0", "up")


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _in(namespace: str, *command: str) -> str:
    """Runs `command` inside. Not by `ip -n`, which remounts /sys and so fails in a chroot."""
    return _run("nsenter", f"--net={NAMESPACES / namespace}", *command)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _sweep() -> None:
    """Removes what a killed run has left behind: namespaces named after a process that is gone."""
    for path in NAMESPACES.glob("swarm-*"):
        owner = re.match(r"swarm-(\d+)-", path.name)
        if owner and not Path("/proc", owner[1]).exists():
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", path.name)
