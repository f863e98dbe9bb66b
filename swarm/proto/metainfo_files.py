"""The files of a torrent: lengths, safe paths, and where each starts (BEP 3, 47, 52)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

from swarm.errors import MetainfoError

from .metainfo_fields import Budget, text, typed
from .paths import safe_part, safe_paths

INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class File:
    """One file of a torrent. `length` and `offset` (where it starts among all of them) in bytes."""

    index: int
    path: tuple[str, ...]
    """Safe, and below the folder that the user chose; the torrent's own name comes first."""
    length: int
    offset: int
    pad: bool = False
    """Zeros that only align the next file (BEP 47)."""


def read_files(
    info: dict[bytes, Any], fallback: str, budget: Budget, warnings: list[str]
) -> tuple[str, bool, tuple[File, ...]]:
    """The torrent's safe name, whether it is a single file, and its files in order."""
    raw_name = text(typed(info, b"name.utf-8", bytes, typed(info, b"name", bytes, b"")))
    name = safe_part(raw_name)
    if not name.strip("_") and (not name or raw_name.strip("_")):
        name = fallback  # there is none, or nothing is left of it
    if name != raw_name:
        warnings.append(f"the name {raw_name[:100]!r} became {name[:100]!r}")
    single_file = b"files" not in info
    if single_file == (b"length" not in info):
        raise MetainfoError("a torrent has either `length` or `files`", "files")
    if single_file:
        length = typed(info, b"length", int)
        if length < 0:
            raise MetainfoError("the length is below zero", "length")
        return name, True, (File(0, (name,), length, 0),)
    entries = typed(info, b"files", list)
    if not entries:
        raise MetainfoError("there are no files", "files")
    budget.check("files", len(entries), "files")
    lengths, raw_paths, pads = _entries(entries, budget)
    return name, False, _place(name, lengths, raw_paths, pads, warnings)


def _entries(
    entries: list[Any], budget: Budget
) -> tuple[list[int], list[tuple[str, ...]], set[int]]:
    """Lengths and paths as they came, and which of them are pad files."""
    lengths: list[int] = []
    paths: list[tuple[str, ...]] = []
    pads: set[int] = set()
    deepest = budget.path_depth
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise MetainfoError(f"file {index} is not a dictionary", "files")
        length = entry.get(b"length")
        if type(length) is not int or length < 0:
            raise MetainfoError(f"file {index} has no valid length", "length")
        path = entry.get(b"path.utf-8") or entry.get(b"path")
        if type(path) is not list:
            raise MetainfoError(f"file {index} has no path", "path")
        if len(path) > deepest:
            budget.check("path_depth", len(path), "path")
        if b"attr" in entry and b"p" in typed(entry, b"attr", bytes):
            pads.add(index)
        lengths.append(length)
        paths.append(_parts(path))
    if sum(lengths) > INT64_MAX:
        raise MetainfoError("the files together are longer than 2**63 - 1 bytes", "length")
    return lengths, paths, pads


def _parts(path: list[Any]) -> tuple[str, ...]:
    """The elements of a path as text."""
    try:
        parts = tuple(b"/".join(path).decode().split("/"))  # the fast way, for most
    except (TypeError, UnicodeDecodeError):
        parts = ()
    if len(parts) != len(path):
        if any(type(part) is not bytes for part in path):
            raise MetainfoError("an element of a path is not a string", "path")
        parts = tuple(map(text, path))
    if not any(parts):
        raise MetainfoError("the path of a file is empty", "path")
    return parts


def _place(
    name: str,
    lengths: list[int],
    raw_paths: list[tuple[str, ...]],
    pads: set[int],
    warnings: list[str],
) -> tuple[File, ...]:
    """Files with safe paths, laid out one behind the other."""
    if pads:  # they are named last, so that no real file yields its name to one
        order = sorted(range(len(raw_paths)), key=pads.__contains__)
        named = dict(zip(order, safe_paths(raw_paths[i] for i in order), strict=True))
        paths = [named[i] for i in range(len(raw_paths))]
    else:
        paths = safe_paths(raw_paths)
    if paths != raw_paths:
        pairs = [pair for i, pair in enumerate(zip(raw_paths, paths, strict=True)) if i not in pads]
        changed = [("/".join(raw), "/".join(safe)) for raw, safe in pairs if raw != safe]
        if changed:
            was, now = changed[0]
            warnings.append(
                f"{len(changed)} file names had to change: {was[:99]!r} is {now[:99]!r}"
            )
    offsets = accumulate(lengths, initial=0)
    return tuple(
        File(index, (name, *path), length, offset, index in pads)
        for index, path, length, offset in zip(count(), paths, lengths, offsets, strict=False)
    )


def check_hybrid(info: dict[bytes, Any], piece_length: int) -> None:
    """Both halves of a hybrid must tell of the same files (BEP 52); pad files are in one only."""
    if piece_length < 16384 or piece_length & (piece_length - 1):
        raise MetainfoError("a v2 piece length is a power of two from 16 KiB up", "piece length")
    tree: list[tuple[tuple[bytes, ...], int]] = []
    stack: list[tuple[tuple[bytes, ...], Any]] = [((), typed(info, b"file tree", dict))]
    while stack:
        path, node = stack.pop()
        if type(node) is not dict:
            raise MetainfoError("a node of `file tree` is not a dictionary", "file tree")
        if b"" in node:
            leaf = typed(node, b"", dict)
            tree.append((path, typed(leaf, b"length", int)))
        else:
            stack += [((*path, key), below) for key, below in node.items()]
    if b"files" in info:
        flat = [
            (tuple(entry.get(b"path", ())), entry[b"length"])
            for entry in info[b"files"]
            if b"p" not in entry.get(b"attr", b"")
        ]
    else:
        flat = [((info.get(b"name"),), info[b"length"])]
    if sorted(tree) != sorted(flat):
        raise MetainfoError("the v1 and v2 parts tell of different files", "file tree")
