"""A slow and obvious bencode decoder: the grammar of BEP 3 as a regular expression would say it.

It knows nothing of budgets, builds a new string for every step, and exists to disagree with the
compiled one. Raises `ValueError` for everything that is not bencode.
"""

from __future__ import annotations

import re


def decode(data: bytes) -> object:
    """The value that all of `data` is."""
    value, rest = _value(data)
    if rest:
        raise ValueError("bytes follow the value")
    return value


def _value(data: bytes) -> tuple[object, bytes]:
    if data[:1] == b"i":
        return _integer(data)
    if data[:1] == b"l":
        return _list(data[1:])
    if data[:1] == b"d":
        return _dict(data[1:])
    return _string(data)


def _integer(data: bytes) -> tuple[int, bytes]:
    match = re.match(rb"i(0|-?[1-9][0-9]*)e", data)
    if match is None:
        raise ValueError("not an integer")
    number = int(match[1])
    if not -(2**63) <= number < 2**63:
        raise ValueError("more than 64 bits")
    return number, data[match.end() :]


def _string(data: bytes) -> tuple[bytes, bytes]:
    match = re.match(rb"(0|[1-9][0-9]*):", data)
    if match is None:
        raise ValueError("not a string")
    length, rest = int(match[1]), data[match.end() :]
    if length > len(rest):
        raise ValueError("a string is too long")
    return rest[:length], rest[length:]


def _list(data: bytes) -> tuple[list[object], bytes]:
    items = []
    while data[:1] != b"e":
        item, data = _value(data)
        items.append(item)
    return items, data[1:]


def _dict(data: bytes) -> tuple[dict[bytes, object], bytes]:
    items: dict[bytes, object] = {}
    while data[:1] != b"e":
        key, data = _string(data)
        value, data = _value(data)
        if key in items:
            raise ValueError("a key twice")
        items[key] = value
    return items, data[1:]
