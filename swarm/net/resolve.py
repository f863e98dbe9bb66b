"""Names to addresses, off the loop's thread."""

from __future__ import annotations

import asyncio
import socket
from typing import NamedTuple

from swarm.errors import TrackerError
from swarm.proto.tracker import is_local, packed_of, redact


class Address(NamedTuple):
    """One numeric address of a tracker. `local`: loopback, private, or otherwise not global."""

    host: str
    port: int
    family: socket.AddressFamily
    local: bool


async def resolve(host: str, port: int, url: str) -> list[Address]:
    """Where a host is, best first. `TrackerError` for `url` if nowhere."""
    numeric = packed_of(host.encode(errors="replace"))
    if numeric is not None:
        family = socket.AF_INET6 if len(numeric) == 16 else socket.AF_INET
        return [Address(host, port, family, is_local(host))]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TrackerError("cannot find the host", redact(url)) from None
    addresses = [
        Address(str(sockaddr[0]), port, socket.AddressFamily(family), is_local(str(sockaddr[0])))
        for family, _, _, _, sockaddr in found
        if family in (socket.AF_INET, socket.AF_INET6)
    ]
    if not addresses:
        raise TrackerError("cannot find the host", redact(url))
    return addresses
