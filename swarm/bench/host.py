"""Where a client is started: an address, and how to get there."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
PORT = 6881


@dataclass(frozen=True)
class Host:
    """This machine itself, at one of its addresses. What is made of it in `network` is apart from it."""

    address: str

    def command(self, *command: str) -> list[str]:
        """`command` as it is started inside of this host."""
        return list(command)

    def inside(self, work: Callable[[], T]) -> T:
        """What `work` returns when it runs inside of this host."""
        return work()

    def ports(self, count: int) -> list[int]:
        """That many ports at which nobody listened a moment ago."""
        with contextlib.ExitStack() as held:
            free = [held.enter_context(self.listen()) for _ in range(count)]
            return [int(listener.getsockname()[1]) for listener in free]

    def listen(self, port: int = 0) -> socket.socket:
        """A TCP socket of this process that listens inside of this host."""
        return self.inside(lambda: socket.create_server((self.address, port), backlog=64))

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """A TCP socket of this process that is connected from inside of this host."""
        return self.inside(lambda: socket.create_connection(address))
