"""Accepting and dialling TCP connections."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

BACKLOG = 1024
"""Connections that the system keeps for us, where it is willing to keep as many."""
AT_ONCE = 8
"""Taken in before everything else has its turn, so that hundreds at once do not hold up the data."""
OUT_OF_FILES = 1.0
"""Seconds without new connections when the process may not have more open files."""


def is_wildcard(host: str) -> bool:
    """Whether listening on `host` means every address of this machine."""
    return host in ("", "0.0.0.0", "::")


class Listener:
    """Takes in connections until it is closed, a few in each turn of the loop.

    The servers of the loops take all that wait in one go: a hundred cost 10 ms, and all their handshakes
    come together afterwards.
    """

    def __init__(self, factory: Callable[[], asyncio.BaseProtocol], sock: socket.socket) -> None:
        self.port: int = sock.getsockname()[1]
        self._factory = factory
        self._sock = sock
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """No connection comes in from here on. Those that there are stay."""
        self._task.cancel()
        self._task.add_done_callback(lambda task: self._sock.close())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                fresh = [(await loop.sock_accept(self._sock))[0]]
                while len(fresh) < AT_ONCE and (more := self._waiting()) is not None:
                    fresh.append(more)
            except OSError:
                await asyncio.sleep(OUT_OF_FILES)
                continue
            await asyncio.gather(*(self._take(each) for each in fresh))

    def _waiting(self) -> socket.socket | None:
        try:
            return self._sock.accept()[0]
        except OSError:
            return None

    async def _take(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._factory, sock)
        except OSError:  # it has hung up already
            sock.close()


async def listen(factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Listener:
    """Listens on `host`, `port` (0: any free one). Raises `OSError`.

    The wildcard address takes IPv4 and IPv6 where the machine has both.
    """
    wildcard_v6 = host in ("", "::") and socket.has_dualstack_ipv6()
    v6 = wildcard_v6 or (not is_wildcard(host) and ipaddress.ip_address(host).version == 6)
    family = socket.AF_INET6 if v6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not wildcard_v6))
        anywhere = "::" if v6 else "0.0.0.0"
        sock.bind((anywhere if is_wildcard(host) else host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Listener(factory, sock)


async def dial(
    factory: Callable[[], asyncio.BaseProtocol],
    addr: tuple[str, int],
    *,
    source: str,
    timeout: float,
) -> None:
    """Connects to `addr`, from the address `source` unless that is the wildcard. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    local = None
    if not is_wildcard(source):
        version = ipaddress.ip_address(source).version
        if version == ipaddress.ip_address(addr[0]).version:
            local = (source, 0)
    async with asyncio.timeout(timeout):
        await loop.create_connection(factory, addr[0], addr[1], local_addr=local)
