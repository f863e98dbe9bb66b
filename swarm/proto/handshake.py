"""The 68 bytes that open every connection (BEP 3), and what their reserved bits offer."""

from __future__ import annotations

import random
from dataclasses import dataclass

from swarm.errors import ProtocolError

SIZE = 68
HEAD = b"\x13BitTorrent protocol"
PEER_ID_PREFIX = b"-SW0100-"


@dataclass(frozen=True, slots=True)
class Handshake:
    """One handshake. `fast` is BEP 6, `extended` is BEP 10, `dht` is BEP 5."""

    infohash: bytes
    peer_id: bytes
    fast: bool = True
    extended: bool = True
    dht: bool = False

    def __bytes__(self) -> bytes:
        reserved = bytearray(8)
        if self.extended:
            reserved[5] |= 0x10
        if self.fast:
            reserved[7] |= 0x04
        if self.dht:
            reserved[7] |= 0x01
        return b"".join((HEAD, bytes(reserved), self.infohash, self.peer_id))

    @classmethod
    def parse(cls, data: bytes) -> Handshake:
        """Reads 68 bytes. Raises `ProtocolError` when they are not a handshake."""
        if len(data) != SIZE or not data.startswith(HEAD):
            raise ProtocolError("not a BitTorrent handshake")
        return cls(
            infohash=data[28:48],
            peer_id=data[48:68],
            fast=bool(data[27] & 0x04),
            extended=bool(data[25] & 0x10),
            dht=bool(data[27] & 0x01),
        )


def plausible(start: bytes) -> bool:
    """Whether the first bytes of a connection can still become a handshake."""
    return HEAD.startswith(start[: len(HEAD)])


def make_peer_id(rng: random.Random) -> bytes:
    """A fresh peer id in Azureus style (BEP 20)."""
    return PEER_ID_PREFIX + rng.randbytes(12)
