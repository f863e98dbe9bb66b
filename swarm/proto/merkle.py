"""Merkle trees of version 2 torrents (BEP 52): from a piece layer to the root that vouches for it.

A tree's leaves are the SHA-256 of each 16 KiB block of a file. Where a layer has no more nodes, it
goes on with the roots of trees whose leaves are all zero.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256

BLOCK = 16 * 1024
HASH = 32
"""Bytes of one node."""


@cache
def padding(height: int) -> bytes:
    """The root of a tree of 2**height leaves that are all zero."""
    if not height:
        return bytes(HASH)
    return sha256(padding(height - 1) * 2).digest()


def root_of_layer(layer: bytes, piece_length: int) -> bytes:
    """The root over the hashes of all pieces of a file, of which there is at least one."""
    height = (piece_length // BLOCK).bit_length() - 1
    while len(layer) > HASH:
        if len(layer) % (2 * HASH):
            layer += padding(height)
        pairs = range(0, len(layer), 2 * HASH)
        layer = b"".join([sha256(layer[at : at + 2 * HASH]).digest() for at in pairs])
        height += 1
    return layer
