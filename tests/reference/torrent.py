"""Torrents of all versions, hashed by the slow oracle: what metainfo is tested with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Any

from reference import merkle

from swarm.proto.metainfo import Entry, Metainfo, Version
from swarm.proto.metainfo_build import arrange


def content(entry: Entry) -> bytes:
    """Bytes that differ from place to place."""
    return b"".join(b"%-16d" % at for at in range(-(-entry.length // 16)))[: entry.length]


def make(
    entries: Iterable[Entry],
    version: Version,
    *,
    piece_length: int,
    name: str = "set",
    single_file: bool = False,
    read: Callable[[Entry], bytes] = content,
    **given: Any,
) -> Metainfo:
    """A torrent of these files; `read` gives their bytes."""
    files = arrange(entries, piece_length, version)
    pads = ["p" in entry.attr for entry in files]
    data = [
        bytes(entry.length) if pad else read(entry) if entry.length else b""
        for entry, pad in zip(files, pads, strict=True)
    ]
    if version != "v2":
        stream = b"".join(data)
        cut = range(0, len(stream), piece_length)
        sums = [sha1(stream[at : at + piece_length]).digest() for at in cut]
        given["piece_hashes"] = b"".join(sums)
    if version != "v1":
        real = [b"" if pad else one for pad, one in zip(pads, data, strict=True)]
        given["roots"] = [merkle.root(one) for one in real]
        given["layers"] = [merkle.layer(one, piece_length) for one in real]
    return Metainfo.build(
        name=name, files=files, single_file=single_file, piece_length=piece_length, **given
    )
