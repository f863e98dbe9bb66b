"""A resolver for aiohttp that knows one answer: the addresses that have just been checked.

Apart from `trackers`, because it must import aiohttp, which costs half a second.
"""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from .resolve import Address


class Pinned(AbstractResolver):
    """Without it, a name could point elsewhere by the time it is connected to (DNS rebinding)."""

    def __init__(self) -> None:
        self.addresses: list[Address] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The checked addresses, whatever the name."""
        return [
            ResolveResult(
                hostname=host,
                host=address.host,
                port=port,
                family=address.family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""
