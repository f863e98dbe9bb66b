"""Bencode, the encoding of torrents, trackers, extensions and the DHT (BEP 3).

`decode` is for the wire: strict in syntax, but keys may come in any order, as real peers send them.
`parse` is for metainfo: the same grammar, and the `Document` it returns knows the raw span of every
nested value and warns of keys that are out of order. The same key twice is an error in both.
"""

from __future__ import annotations

from typing import TypeAlias

from swarm._bencode import (
    DEPTH,
    DIGITS,
    TOKENS,
    Document,
    Raw,
    decode,
    decode_prefix,
    encode,
    parse,
)

Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value]"
"""What bencode can hold. Strings are bytes: whether they are text is for the reader to decide."""

__all__ = [
    "DEPTH",
    "DIGITS",
    "TOKENS",
    "Document",
    "Raw",
    "Value",
    "decode",
    "decode_prefix",
    "encode",
    "parse",
]
