"""Metainfo: what a .torrent file says (BEP 3 and 52, with 12, 19, 27 and 47).

The info-hash is over the raw bytes of `info` as they came, and these are what `to_bytes` emits
again. All three kinds are one stream of bytes, files one behind the other, cut into pieces. A hybrid
has the stream and the hashes of its v1 part. In version 2 alone each file starts with a piece; the
gaps are pad files that the torrent does not list, so that its pieces are those that BEP 52 counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from itertools import chain
from operator import attrgetter
from typing import Any, Self
from urllib.parse import quote

from swarm.errors import MetainfoError

from . import bencode, metainfo_v2
from .merkle import HASH
from .metainfo_build import Entry, Version, info_dict
from .metainfo_fields import DEFAULT_BUDGET, Budget, date, note, typed
from .metainfo_files import File, Listing, place, read_files, read_name
from .metainfo_urls import read_trackers, read_web_seeds

__all__ = ["DEFAULT_BUDGET", "Budget", "Entry", "File", "InfoHash", "Metainfo", "Version"]

SHA1 = 20
"""Bytes of a SHA-1 digest, and of what names a torrent on the wire."""


@dataclass(frozen=True, slots=True)
class InfoHash:
    """What names a torrent: the SHA-1 of its info dictionary (BEP 3), the SHA-256 (BEP 52)."""

    v1: bytes | None = None
    v2: bytes | None = None

    @property
    def hex(self) -> str:
        return (self.v1 or self.v2 or b"").hex()

    @property
    def wire(self) -> bytes:
        """The 20 bytes for handshakes and trackers: v1, or as much of v2 as fits (BEP 52)."""
        return (self.v1 or self.v2 or b"")[:SHA1]

    def __str__(self) -> str:
        return self.hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Metainfo:
    """A torrent: what its pieces are, which files they make, and where to ask for peers."""

    name: str
    """Safe as the name of a file or folder."""
    infohash: InfoHash
    info_bytes: bytes = field(repr=False)
    """The info dictionary as it came."""
    piece_length: int
    piece_hashes: bytes = field(repr=False)
    """The digests of all pieces, one behind the other: SHA-1, or in version 2 alone SHA-256 roots."""
    length: int
    """Bytes of all files together, pad files included; at least one."""
    files: tuple[File, ...] = field(repr=False)
    single_file: bool
    private: bool = False
    trackers: tuple[tuple[str, ...], ...] = ()
    """Announce URLs in tiers (BEP 12)."""
    web_seeds: tuple[str, ...] = ()
    comment: str | None = None
    created_by: str | None = None
    creation_date: int | None = None
    """Seconds since 1970."""
    source: str | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What was irregular, and what of it was left out or changed."""
    extra: dict[bytes, bencode.Value] = field(default_factory=dict, repr=False)
    """Keys beside `info` that mean nothing here, kept for `to_bytes`."""
    piece_layers: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    """Version 2: the roots of a file's pieces, by the file's root; of files longer than a piece."""

    def __hash__(self) -> int:
        return hash(self.infohash)

    @property
    def version(self) -> Version:
        """Which of the two info-hashes it has."""
        if self.infohash.v2 is None:
            return "v1"
        return "v2" if self.infohash.v1 is None else "hybrid"

    @property
    def size(self) -> int:
        """Bytes of what is shared: all files without the pad files."""
        return self.length - sum(file.length for file in self.files if file.pad)

    @property
    def padding(self) -> dict[int, int]:
        """Bytes at the end of a piece that are padding, of the pieces that have some."""
        size = self.piece_length
        return {
            (file.offset + file.length - 1) // size: file.length
            for file in self.files
            if file.pad and file.length and (file.offset + file.length) % size == 0
        }

    @property
    def digest_size(self) -> int:
        """Bytes of each of the `piece_hashes`."""
        return SHA1 if self.infohash.v1 else HASH

    @property
    def piece_count(self) -> int:
        return len(self.piece_hashes) // self.digest_size

    @property
    def magnet(self) -> str:
        """A magnet link (BEP 9) with the name and all trackers."""
        parts = [f"xt=urn:btih:{self.infohash.v1.hex()}"] if self.infohash.v1 else []
        if self.infohash.v2:
            parts.append(f"xt=urn:btmh:1220{self.infohash.v2.hex()}")
        parts.append(f"dn={quote(self.name, safe='')}")
        parts += [f"tr={quote(url, safe='')}" for url in chain.from_iterable(self.trackers)]
        parts += [f"ws={quote(url, safe='')}" for url in self.web_seeds]
        return "magnet:?" + "&".join(parts)

    def piece_size(self, piece: int) -> int:
        """Bytes of one piece: only the last may be short. In version 2 alone, the last of each file.

        Raises `IndexError`.
        """
        self._check_piece(piece)
        start = piece * self.piece_length
        end = self.length
        if self.infohash.v1 is None:
            file = self.files[bisect_right(self.files, start, key=_offset) - 1]
            end = file.offset + file.length
        return min(self.piece_length, end - start)

    def piece_hash(self, piece: int) -> bytes:
        """The digest that the piece must have, of `digest_size` bytes. Raises `IndexError`."""
        self._check_piece(piece)
        size = self.digest_size
        return self.piece_hashes[piece * size : (piece + 1) * size]

    def _check_piece(self, piece: int) -> None:
        if not 0 <= piece < self.piece_count:
            raise IndexError(f"no piece {piece} among {self.piece_count}")

    def to_bytes(self) -> bytes:
        """The .torrent file: `info` byte for byte as it came, the rest in canonical form."""
        urls = list(chain.from_iterable(self.trackers))
        root: dict[bytes, object] = {**self.extra, b"info": bencode.Raw(self.info_bytes)}
        optional: dict[bytes, object] = {
            b"announce": urls[0] if urls else None,
            b"announce-list": self.trackers if len(urls) > 1 else None,
            b"url-list": self.web_seeds[0] if len(self.web_seeds) == 1 else self.web_seeds or None,
            b"comment": self.comment,
            b"created by": self.created_by,
            b"creation date": self.creation_date,
            b"piece layers": self.piece_layers if self.infohash.v2 else None,
        }
        root.update((key, value) for key, value in optional.items() if value is not None)
        return bencode.encode(root)

    @classmethod
    def parse(cls, data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> Self:
        """Reads a .torrent file.

        Raises `BencodeError` if it is not bencode, `MetainfoError` if it is no torrent or exceeds
        `budget`.
        """
        budget.check("metainfo_size", len(data), "size")
        document = bencode.parse(data, tokens=budget.tokens)
        root = document.value
        if not isinstance(root, dict):
            raise MetainfoError("a torrent is a dictionary")
        info = typed(root, b"info", dict)
        start, end = document.span(b"info")
        info_bytes = document.raw[start:end]
        warnings = list(document.warnings)
        v1, v2 = _versions(info)
        infohash = InfoHash(
            sha1(info_bytes).digest() if v1 else None, sha256(info_bytes).digest() if v2 else None
        )
        piece_length = typed(info, b"piece length", int)
        if piece_length <= 0:
            raise MetainfoError("the piece length is not above zero", "piece length")
        budget.check("piece_length", piece_length, "piece length")
        raw_name, name = read_name(info, infohash.hex, warnings)
        single_file, listing = _files(info, raw_name, piece_length, v1, v2, budget)
        length = listing.total()
        count = -(-length // piece_length)
        budget.check("pieces", count, "pieces")
        layers = metainfo_v2.read_layers(root, listing, piece_length) if v2 else {}
        hashes = (
            _piece_hashes(info, count)
            if v1
            else metainfo_v2.piece_hashes(listing, layers, piece_length)
        )
        return cls(
            name=name,
            infohash=infohash,
            info_bytes=info_bytes,
            piece_length=piece_length,
            piece_hashes=hashes,
            length=length,
            files=place(name, single_file, listing, warnings),
            single_file=single_file,
            private=typed(info, b"private", int, 0) == 1,
            trackers=read_trackers(root, budget, warnings),
            web_seeds=read_web_seeds(root, budget, warnings),
            comment=note(root, b"comment", warnings),
            created_by=note(root, b"created by", warnings),
            creation_date=date(root, warnings),
            source=note(info, b"source", warnings),
            extra={
                key: value
                for key, value in root.items()
                if key not in (_KNOWN_V2 if v2 else _KNOWN)
            },
            piece_layers=layers,
            warnings=tuple(warnings),
        )

    @classmethod
    def build(
        cls,
        *,
        name: str,
        files: Sequence[Entry | tuple[tuple[str, ...], int]],
        single_file: bool,
        piece_length: int,
        piece_hashes: bytes | None = None,
        roots: Sequence[bytes] | None = None,
        layers: Sequence[bytes] = (),
        trackers: Sequence[Sequence[str]] = (),
        web_seeds: Sequence[str] = (),
        private: bool = False,
        comment: str | None = None,
        created_by: str | None = None,
        creation_date: int | None = None,
        source: str | None = None,
    ) -> Self:
        """A new torrent of `files`, which `arrange` has put in order.

        `piece_hashes` (SHA-1) make it version 1; `roots` and `layers` version 2, of which each file
        has one, empty where it needs none; all of them a hybrid. A single file is called `name`,
        whatever its path says. Raises `MetainfoError` for what no client could load, such as a bad
        URL. `warnings` tells of names that this client changes.
        """
        entries = [Entry(*file) for file in files]
        info = info_dict(name, entries, single_file, piece_length, piece_hashes, roots)
        if private:
            info["private"] = 1
        if source is not None:
            info["source"] = source
        urls = list(chain.from_iterable(trackers))
        optional: dict[str, Any] = {
            "announce": urls[0] if urls else None,
            "announce-list": [list(tier) for tier in trackers] if len(urls) > 1 else None,
            "url-list": list(web_seeds) or None,
            "comment": comment,
            "created by": created_by,
            "creation date": creation_date,
            "piece layers": _layers(roots, layers),
        }
        root = {key: value for key, value in optional.items() if value is not None}
        meta = cls.parse(bencode.encode({**root, "info": info}))
        if meta.single_file != single_file:
            raise MetainfoError(
                "version 2 takes a folder whose only file has the folder's name for that file",
                "name",
            )
        kept = {*chain.from_iterable(meta.trackers), *meta.web_seeds}
        for url in (*urls, *web_seeds):
            if url not in kept:
                raise MetainfoError(f"not a URL that can be used: {url!r}", "announce")
        return meta


_KNOWN = frozenset(
    b"info,announce,announce-list,url-list,creation date,"
    b"comment,comment.utf-8,created by,created by.utf-8".split(b",")
)
_KNOWN_V2 = _KNOWN | {b"piece layers"}


def _layers(roots: Sequence[bytes] | None, layers: Sequence[bytes]) -> dict[bytes, bytes] | None:
    if roots is None:
        return None
    return {root: layer for root, layer in zip(roots, layers, strict=True) if layer}


_offset = attrgetter("offset")


def _versions(info: dict[bytes, Any]) -> tuple[bool, bool]:
    """Whether it is version 1, and version 2; raises where `info` contradicts itself (BEP 52)."""
    version: int = typed(info, b"meta version", int, 1)
    if version not in (1, 2):
        raise MetainfoError(f"unknown meta version {version}", "meta version")
    v2 = version == 2
    if v2 != (b"file tree" in info):
        raise MetainfoError("`meta version` and `file tree` contradict each other", "file tree")
    v1 = not v2 or not info.keys().isdisjoint((b"pieces", b"files", b"length"))
    return v1, v2


def _files(
    info: dict[bytes, Any], raw_name: str, piece_length: int, v1: bool, v2: bool, budget: Budget
) -> tuple[bool, Listing]:
    """Whether it is a single file, and the files as one stream, pad files included."""
    if v1:
        single_file, listing = read_files(info, raw_name, piece_length, budget)
    if not v2:
        return single_file, listing
    metainfo_v2.check_piece_length(piece_length)
    tree = metainfo_v2.read_tree(info, budget)
    if v1:
        return single_file, metainfo_v2.agreed(listing, tree, piece_length)
    return tree.paths == [(raw_name,)], metainfo_v2.padded(tree, piece_length)


def _piece_hashes(info: dict[bytes, Any], count: int) -> bytes:
    hashes: bytes = typed(info, b"pieces", bytes)
    if len(hashes) != count * SHA1:
        raise MetainfoError(f"{len(hashes):,} bytes of hashes for {count:,} pieces", "pieces")
    return hashes
