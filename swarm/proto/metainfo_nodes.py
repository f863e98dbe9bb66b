"""The nodes of the DHT that a torrent names to begin with (BEP 5)."""

from __future__ import annotations

from collections.abc import Mapping

from .bencode import Value

KEY = b"nodes"
MOST = 32
LONGEST_HOST = 255


def nodes_of(extra: Mapping[bytes, Value]) -> tuple[tuple[str, int], ...]:
    """Hosts, by address or name, and ports; what is malformed is left out, and what is too much."""
    listed = extra.get(KEY)
    found = []
    for entry in listed[:MOST] if isinstance(listed, list) else ():
        match entry:
            case [bytes(host), int(port)] if host and 0 < port < 65536:
                if len(host) <= LONGEST_HOST and host.isascii() and host.decode().isprintable():
                    found.append((host.decode(), port))
    return tuple(found)
