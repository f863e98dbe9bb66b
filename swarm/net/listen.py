"""Accepting and dialling TCP connections."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

BACKLOG = 128


def is_wildcard(host: str) -> bool:
    """Whether listening on `host` means every address of this machine."""
    return host in ("", "0.0.0.0", "::")


async def listen(
    factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
) -> tuple[asyncio.Server, int]:
    """Listens on `host`, `port` (0: any free one). Returns the server and its port. Raises `OSError`.

    The wildcard address takes IPv4 and IPv6 where the machine has both.
    """
    loop = asyncio.get_running_loop()
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
        server = await loop.create_server(factory, sock=sock, backlog=BACKLOG)
    except BaseException:
        sock.close()
        raise
    return server, sock.getsockname()[1]


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
