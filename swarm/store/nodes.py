"""Nodes of the DHT, kept for the next start. Losing them costs a while, so nothing waits for the disk."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import BencodeError
from swarm.proto.bencode import decode, encode
from swarm.proto.krpc import Addr, pack_addr, unpack_addr

LONGEST = 64 * 1024
"""Bytes of the file that are read."""
MOST = 200
"""Nodes of each address family."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What is known of one address family: nodes, the best first, and where we were seen."""

    nodes: tuple[Addr, ...] = ()
    host: str | None = None


def load(path: Path) -> dict[int, Saved]:
    """What was saved, by family (4, 6); nothing where there is nothing that makes sense."""
    try:
        with open(path, "rb") as file:
            data = file.read(LONGEST + 1)
        said = decode(data, tokens=1000) if len(data) <= LONGEST else None
    except (OSError, BencodeError):
        said = None
    found = {}
    for version, size in ((4, 6), (6, 18)):
        packed = said.get(b"nodes%d" % version) if isinstance(said, dict) else None
        host = said.get(b"host%d" % version) if isinstance(said, dict) else None
        whole = packed if isinstance(packed, bytes) else b""
        addrs = [
            unpack_addr(whole[at : at + size], True)
            for at in range(0, min(len(whole) // size, MOST) * size, size)
        ]
        ours = unpack_addr(host, True) if isinstance(host, bytes) and len(host) == size else None
        found[version] = Saved(tuple(filter(None, addrs)), ours[0] if ours else None)
    return found


def save(path: Path, known: dict[int, Saved]) -> None:
    """Replaces what was saved; what the disk refuses is not kept."""
    said: dict[bytes, bytes] = {}
    for version, saved in known.items():
        said[b"nodes%d" % version] = b"".join(map(pack_addr, saved.nodes[:MOST]))
        if saved.host is not None:
            said[b"host%d" % version] = pack_addr((saved.host, 1))
    fresh = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(encode(said))
        os.replace(fresh, path)
