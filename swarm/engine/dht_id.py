"""Node ids: how far they are from each other (BEP 5), and which addresses may have them (BEP 42)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from random import Random

from swarm.proto.krpc import ID
from swarm.proto.tracker import is_local

BITS = 8 * ID
_V4_MASK = bytes.fromhex("030f3fff")
_V6_MASK = bytes.fromhex("0103070f1f3f7fff")
_BOUND_BITS = 21
"""The leading bits of an id that follow from its address."""


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC, which zlib does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def key_of(node_id: bytes) -> int:
    """An id as the number whose xor with another is their distance."""
    return int.from_bytes(node_id, "big")


def shared_bits(a: int, b: int) -> int:
    """How many leading bits two keys have in common."""
    return BITS - (a ^ b).bit_length()


def random_id(rng: Random) -> bytes:
    """An id bound to no address."""
    return rng.randbytes(ID)


def bound_id(host: str, rng: Random) -> bytes:
    """An id that a node at this address may have (BEP 42)."""
    last = rng.getrandbits(8)
    crc = _crc_of(host, last)
    tail = rng.randbytes(ID - 4)
    third = (crc >> 8 & 0xF8) | rng.getrandbits(3)
    return bytes((crc >> 24, crc >> 16 & 0xFF, third)) + tail + bytes((last,))


@lru_cache(maxsize=8192)
def is_bound(node_id: bytes, host: str) -> bool:
    """Whether a node at this address may have that id; on a local network it may have any."""
    if local(host):
        return True
    ours = _crc_of(host, node_id[-1])
    theirs = int.from_bytes(node_id[:4], "big")
    return (ours ^ theirs) >> (32 - _BOUND_BITS) == 0


def _crc_of(host: str, last: int) -> int:
    packed = ip_address(host).packed
    mask = _V4_MASK if len(packed) == 4 else _V6_MASK
    masked = bytearray(a & b for a, b in zip(packed, mask, strict=False))
    masked[0] |= (last & 7) << 5
    return crc32c(bytes(masked))


@lru_cache(maxsize=8192)
def local(host: str) -> bool:
    """Whether an address is of this machine or of a private network."""
    return is_local(host)


@lru_cache(maxsize=8192)
def subnet(host: str) -> str:
    """What one person may own: the /24 of an IPv4 address, the /64 of an IPv6 one.

    Empty for a local address, where a house has many nodes, and a machine too.
    """
    if local(host):
        return ""
    ip = ip_address(host)
    return ip.packed[: 8 if isinstance(ip, IPv6Address) else 3].hex()
