"""What two hosts tell each other while they measure the network between them, over one connection.

Each is a line of JSON with the type of the message in it, and no longer than `MAX_LINE`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from types import TracebackType
from typing import Literal, Self, TypeVar

import msgspec

import swarm

from .machine import Machine

VERSION = 1
MAX_LINE = 16 * 1024


class Message(msgspec.Struct, frozen=True, tag=True):
    """The base of all messages."""


class Hello(Message, frozen=True):
    """The measuring host asks for this work; both make the same payload from `seed`."""

    v: int
    size: int
    piece: int
    files: int
    seed: int


class Ready(Message, frozen=True):
    """The listening host has its payload, of this info-hash."""

    info_hash: str
    machine: Machine


class Refused(Message, frozen=True):
    """It will not, and goes."""

    reason: str


class Begin(Message, frozen=True):
    """The listening host is to take this side in the next transfer."""

    role: Literal["seed", "leech"]


class Started(Message, frozen=True):
    """It does, at this port."""

    port: int


class Go(Message, frozen=True):
    """The measuring host begins to send."""


class End(Message, frozen=True):
    """The measuring host has everything."""


class Spent(Message, frozen=True):
    """What the listening host's side took: CPU-seconds and, if it fetched, seconds. `problem` if it failed."""

    cpu: float
    seconds: float
    problem: str


M = TypeVar("M", bound=Message)
_ANY = Hello | Ready | Refused | Begin | Started | Go | End | Spent


class Control:
    """One end of the connection. What is not expected, or too long, is a `swarm.ProtocolError`.

    Waiting raises TimeoutError after `timeout` seconds, and ConnectionError when the other host goes.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._unread = b""
        self.peer: str = sock.getpeername()[0]
        """The other host's IP address."""

    @classmethod
    def connect(cls, host: str, port: int, timeout: float) -> Self:
        """Raises OSError, TimeoutError among them."""
        return cls(socket.create_connection((host, port), timeout))

    def send(self, message: Message) -> None:
        """Sends one; they are so short that nobody has to wait."""
        self._socket.sendall(msgspec.json.encode(message) + b"\n")

    def receive(self, kind: type[M], timeout: float) -> M:
        """The next message, which is of this kind."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self.peer} has not answered within {timeout:.0f} s")
            self._socket.settimeout(left)
            self._take(self._socket.recv(MAX_LINE))
        return self._next(kind)

    async def receive_soon(self, kind: type[M]) -> M:
        """The same, on a running event loop, without an end to its patience."""
        self._socket.settimeout(0)
        loop = asyncio.get_running_loop()
        while b"\n" not in self._unread:
            self._take(await loop.sock_recv(self._socket, MAX_LINE))
        return self._next(kind)

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError(f"{self.peer} has gone")
        self._unread += data
        if len(self._unread) > MAX_LINE:
            raise swarm.ProtocolError(f"{self.peer} says more than anyone asked for")

    def _next(self, kind: type[M]) -> M:
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            message = msgspec.json.decode(line, type=_ANY)
        except (msgspec.DecodeError, RecursionError):
            raise swarm.ProtocolError(f"{self.peer} does not speak to measure a network") from None
        if isinstance(message, Refused):
            raise swarm.ConfigError(f"{self.peer} refuses: {message.reason[:300]}")
        if not isinstance(message, kind):
            raise swarm.ProtocolError(f"{self.peer} said {type(message).__name__} out of turn")
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()
