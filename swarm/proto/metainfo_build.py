"""The info dictionary of a new torrent: version 1, version 2, or both in one (BEP 3, 47, 52).

Byte for byte what libtorrent 2.1 makes of the same files, so that the same content gets the same
info-hash, wherever that makes hybrids which its own rules accept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from swarm.errors import MetainfoError

Version = Literal["v1", "v2", "hybrid"]


class Entry(NamedTuple):
    """A file on its way into a torrent; `length` in bytes."""

    path: tuple[str, ...]
    """Below the torrent's folder."""
    length: int
    attr: str = ""
    """Attributes (BEP 47): x (executable), h (hidden), l (symlink), p (pad)."""
    symlink: tuple[str, ...] | None = None
    """What a symlink points to: a path from the torrent's folder. Its `length` is 0."""


def arrange(entries: Iterable[Entry], piece_length: int, version: Version) -> list[Entry]:
    """The files in the order in which they are hashed and listed, with the pad files they need.

    Sorted like the names in a file tree (BEP 52). In version 2 every file starts with a piece: each
    that ends inside of one is padded, the last one too (as libtorrent and the reference have it),
    but not a file that is alone. Version 1 has no pads.
    """
    files = sorted(entries, key=attrgetter("path"))  # text sorts as its UTF-8 does
    if version == "v1" or len(files) == 1:
        return files
    padded = []
    for entry in files:
        padded.append(entry)
        if gap := -entry.length % piece_length:
            padded.append(Entry((".pad", str(gap)), gap, "p"))
    return padded


def info_dict(
    name: str,
    files: Sequence[Entry],
    single_file: bool,
    piece_length: int,
    pieces: bytes | None,
    roots: Sequence[bytes] | None,
) -> dict[str, Any]:
    """What `info` says of the files. `pieces` make it version 1, `roots` version 2."""
    info: dict[str, Any] = {"name": name, "piece length": piece_length}
    if single_file and len(files) != 1:
        raise MetainfoError(f"{len(files)} files are no single file", "files")
    if pieces is not None:
        info["pieces"] = pieces
        if single_file:
            info |= {key: value for key, value in _v1(files[0]).items() if key != "path"}
        else:
            info["files"] = [_v1(entry) for entry in files]
    if roots is not None:
        info["meta version"] = 2
        info["file tree"] = _tree(name, files, single_file, roots)
    return info


def _v1(entry: Entry) -> dict[str, Any]:
    return {**_said(entry), "length": entry.length, "path": entry.path}


def _said(entry: Entry) -> dict[str, Any]:
    """The attributes: a symlink is executable to those who look at it on most systems."""
    if not entry.attr and entry.symlink is None:  # as most are
        return {}
    attr = "".join(letter for letter in "phxl" if letter in entry.attr)
    if entry.symlink is not None:
        return {"attr": "xl", "symlink path": entry.symlink}
    return {"attr": attr} if attr else {}


def _tree(
    name: str, files: Sequence[Entry], single_file: bool, roots: Sequence[bytes]
) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for entry, root in zip(files, roots, strict=True):
        if "p" in entry.attr:
            continue
        leaf = _said(entry)
        if entry.symlink is None:
            leaf["length"] = entry.length
        if entry.length:
            leaf["pieces root"] = root
        folder = tree
        for part in (name,) if single_file else entry.path:
            folder = folder.setdefault(part, {})
        folder[""] = leaf
    return tree
