"""The Merkle trees of BEP 52, slow and obvious: all layers of a file's whole tree."""

from __future__ import annotations

from hashlib import sha256

LEAF = 16 << 10


def tree(data: bytes) -> list[list[bytes]]:
    """The layers, leaves first and the root last; none for no data."""
    if not data:
        return []
    layer = [sha256(data[at : at + LEAF]).digest() for at in range(0, len(data), LEAF)]
    while len(layer) & (len(layer) - 1):
        layer.append(bytes(32))
    layers = [layer]
    while len(layer) > 1:
        layer = [sha256(layer[at] + layer[at + 1]).digest() for at in range(0, len(layer), 2)]
        layers.append(layer)
    return layers


def root(data: bytes) -> bytes:
    """The root; nothing for no data."""
    return tree(data)[-1][0] if data else b""


def pieces(data: bytes, piece_length: int) -> list[bytes]:
    """The nodes of the file's pieces: its piece layer, or its root if it is no longer than one."""
    if len(data) <= piece_length:
        return [root(data)] if data else []
    height = (piece_length // LEAF).bit_length() - 1
    return tree(data)[height][: -(-len(data) // piece_length)]


def layer(data: bytes, piece_length: int) -> bytes:
    """The file's piece layer as a torrent has it; nothing if it is no longer than a piece."""
    return b"".join(pieces(data, piece_length)) if len(data) > piece_length else b""
