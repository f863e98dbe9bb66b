"""The files of a torrent: lengths, safe paths, attributes, and where each starts (BEP 3, 47)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, count
from typing import Any

from swarm.errors import MetainfoError

from .metainfo_fields import Budget, text, typed
from .metainfo_links import targets
from .paths import safe_part, safe_paths

INT64_MAX = 2**63 - 1
ATTRIBUTES = "phxl"
"""What BEP 47 knows, in the order in which it is written: pad, hidden, executable, link."""


@dataclass(frozen=True, slots=True, init=False)
class File:
    """One file of a torrent. `length` and `offset` (where it starts among all of them) in bytes."""

    index: int
    path: tuple[str, ...]
    """Safe, and below the folder that the user chose; the torrent's own name comes first."""
    length: int
    offset: int
    attr: str = ""
    """Attributes (BEP 47), of the letters p (pad), h (hidden), x (executable) and l (symlink)."""
    symlink: tuple[str, ...] | None = None
    """Of a symlink: what it points to, a path like `path` of a file or folder of this torrent."""
    root: bytes | None = None
    """The root of its Merkle tree (BEP 52), 32 bytes; only files with bytes in v2 torrents have one."""

    def __init__(
        self,
        index: int,
        path: tuple[str, ...],
        length: int,
        offset: int,
        attr: str = "",
        symlink: tuple[str, ...] | None = None,
        root: bytes | None = None,
    ) -> None:
        # What is generated for frozen ones takes 1.6 times as long, and a torrent may have many files.
        _index(self, index)
        _path(self, path)
        _length(self, length)
        _offset(self, offset)
        _attr(self, attr)
        _symlink(self, symlink)
        _root(self, root)

    @property
    def pad(self) -> bool:
        """Zeros that only align the next file: nothing that lies on a disk."""
        return "p" in self.attr


_index, _path, _length, _offset, _attr, _symlink, _root = (
    File.__dict__[name].__set__ for name in File.__slots__
)


@dataclass(slots=True)
class Listing:
    """Files as a torrent lists them, in order; their paths are text, and not safe yet."""

    lengths: list[int] = field(default_factory=list)
    paths: list[tuple[str, ...]] = field(default_factory=list)
    attrs: dict[int, str] = field(default_factory=dict)
    """Those that have some, of `ATTRIBUTES`."""
    links: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """What symlinks point to, as a path from the torrent's folder."""
    roots: dict[int, bytes] = field(default_factory=dict)

    @property
    def pads(self) -> set[int]:
        return {index for index, attr in self.attrs.items() if "p" in attr}

    def total(self) -> int:
        """Bytes of all files together. Raises `MetainfoError` where there are none, or too many."""
        total = sum(self.lengths)
        if total > INT64_MAX:
            raise MetainfoError("the files together are longer than 2**63 - 1 bytes", "length")
        if not total:
            raise MetainfoError("all of its files are empty: there is nothing to share", "files")
        return total


def read_name(info: dict[bytes, Any], fallback: str, warnings: list[str]) -> tuple[str, str]:
    """The torrent's name as it says it, and made safe."""
    raw_name = text(typed(info, b"name.utf-8", bytes, typed(info, b"name", bytes, b"")))
    name = safe_part(raw_name)
    if not name.strip("_") and (not name or raw_name.strip("_")):
        name = fallback  # there is none, or nothing is left of it
    if name != raw_name:
        warnings.append(f"the name {raw_name[:100]!r} became {name[:100]!r}")
    return raw_name, name


def read_files(
    info: dict[bytes, Any], raw_name: str, piece_length: int, budget: Budget
) -> tuple[bool, Listing]:
    """Whether version 1 has it as a single file, and what files it lists."""
    single_file = b"files" not in info
    if single_file == (b"length" not in info):
        raise MetainfoError("a torrent has either `length` or `files`", "files")
    if single_file:
        length = typed(info, b"length", int)
        if length < 0:
            raise MetainfoError("the length is below zero", "length")
        attr = read_attr(info).translate(_no_file)
        return True, Listing([length], [(raw_name,)], {0: attr} if attr else {})
    entries = typed(info, b"files", list)
    if not entries:
        raise MetainfoError("there are no files", "files")
    budget.check("files", len(entries), "files")
    listing = _entries(entries, budget)
    if any(listing.lengths[index] >= piece_length for index in listing.pads):
        raise MetainfoError("a pad file is as long as a piece, and aligns nothing", "length")
    return False, listing


_no_file = str.maketrans("", "", "pl")  # what a torrent of a single file cannot be


def _entries(entries: list[Any], budget: Budget) -> Listing:
    """Lengths, paths and attributes as they came."""
    listing = Listing()
    lengths, paths = listing.lengths, listing.paths
    deepest = budget.path_depth
    for index, entry in enumerate(entries):
        if type(entry) is not dict:
            raise MetainfoError(f"file {index} is not a dictionary", "files")
        length = entry.get(b"length")
        path = entry.get(b"path.utf-8") or entry.get(b"path")
        if b"attr" in entry and (attr := read_attr(entry)):
            listing.attrs[index] = attr
            if "p" in attr:
                path = [b".pad"]  # whatever it says: it is in no folder
            elif "l" in attr:
                length = 0  # whatever it says: a symlink has no bytes in the torrent
                listing.links[index] = read_link(entry, budget)
        if type(length) is not int or length < 0:
            raise MetainfoError(f"file {index} has no valid length", "length")
        if type(path) is not list:
            raise MetainfoError(f"file {index} has no path", "path")
        if len(path) > deepest:
            budget.check("path_depth", len(path), "path")
        lengths.append(length)
        paths.append(_parts(path))
    return listing


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


def read_attr(entry: dict[bytes, Any]) -> str:
    """The attributes that BEP 47 knows, each once."""
    return _letters(typed(entry, b"attr", bytes, b""))


@lru_cache(64)
def _letters(said: bytes) -> str:
    return "".join(letter for letter in ATTRIBUTES if letter.encode() in said)


def read_link(entry: dict[bytes, Any], budget: Budget) -> tuple[str, ...]:
    """Where a symlink points, as it says; empty if it does not."""
    path = typed(entry, b"symlink path", list, [])
    budget.check("path_depth", len(path), "symlink path")
    if any(type(part) is not bytes for part in path):
        raise MetainfoError("an element of a path is not a string", "symlink path")
    return tuple(map(text, path))


def place(name: str, single_file: bool, listing: Listing, warnings: list[str]) -> tuple[File, ...]:
    """The files with safe paths, laid out one behind the other. Links that lead nowhere are left out."""
    offsets = accumulate(listing.lengths, initial=0)
    if single_file:
        attr, root = listing.attrs.get(0, ""), listing.roots.get(0)
        return (File(0, (name,), listing.lengths[0], 0, attr, None, root),)
    paths = _safe_paths(listing, warnings)
    if not (listing.attrs or listing.roots):  # as most are
        whole = ((name, *path) for path in paths)
        return tuple(map(File, count(), whole, listing.lengths, offsets))
    links = targets(listing.paths, listing.links, paths, listing.pads) if listing.links else {}
    lost = listing.links.keys() - links.keys()
    if lost:
        first = "/".join(listing.paths[min(lost)])
        warnings.append(
            f"{len(lost)} symlinks lead to nothing in the torrent, and are left out: {first[:99]!r}"
        )
    kept = (index for index in range(len(paths)) if index not in lost)
    starts = list(offsets)
    return tuple(
        File(
            index,
            (name, *paths[at]),
            listing.lengths[at],
            starts[at],
            listing.attrs.get(at, ""),
            (name, *links[at]) if at in links else None,
            listing.roots.get(at),
        )
        for index, at in enumerate(kept)
    )


def _safe_paths(listing: Listing, warnings: list[str]) -> list[tuple[str, ...]]:
    """Pad files are on no disk: no real file has to yield its name to one."""
    pads = listing.pads
    raw_paths = listing.paths
    if pads:
        raw_paths = [path for index, path in enumerate(raw_paths) if index not in pads]
    paths = safe_paths(raw_paths)
    if paths != raw_paths:
        pairs = zip(raw_paths, paths, strict=True)
        changed = [("/".join(raw), "/".join(safe)) for raw, safe in pairs if raw != safe]
        was, now = changed[0]
        names = "file name" if len(changed) == 1 else "file names"
        warnings.append(f"{len(changed)} {names} had to change: {was[:99]!r} is {now[:99]!r}")
    if pads:
        named = iter(paths)
        paths = [
            (".pad", str(length)) if index in pads else next(named)
            for index, length in enumerate(listing.lengths)
        ]
    return paths
