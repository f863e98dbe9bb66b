"""The UDP socket of a node of the DHT."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from swarm.errors import TrackerError

from .resolve import resolve

Addr = tuple[str, int]
Receiver = Callable[[bytes, Addr], None]


class Datagrams(asyncio.DatagramProtocol):
    """One socket: what comes goes to `receive`."""

    def __init__(self, receive: Receiver) -> None:
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None
        self._full = False

    async def bind(self, version: int, host: str, port: int) -> None:
        """Listens in this family, at `port` if that is free, or else at any. Raises `OSError`."""
        sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind((host, port))
            except OSError:
                sock.bind((host, 0))
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise

    @property
    def port(self) -> int:
        """Where it is bound."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's are no instances

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._receive(data, addr[:2])

    def error_received(self, exc: Exception) -> None:
        """ICMP says that somebody is not there: so no answer will come, which is noticed anyway."""

    def send(self, data: bytes, addr: Addr) -> None:
        """Sends a datagram, or loses it."""
        if self._transport is not None and not self._full and not self._transport.is_closing():
            self._transport.sendto(data, addr)

    def pause_writing(self) -> None:
        """More waits than the socket takes: what comes on top is lost, as the network would lose it."""
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def close(self) -> None:
        """Nothing more comes or goes."""
        if self._transport is not None:
            self._transport.abort()


async def find(host: str, port: int) -> list[Addr]:
    """The addresses of a host; none where it cannot be found."""
    try:
        found = await resolve(host, port, f"udp://{host}:{port}")
    except TrackerError:
        return []
    return [(address.host, address.port) for address in found]
