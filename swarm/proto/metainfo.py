"""Metainfo: what a .torrent file says (BEP 3, with 12, 19, 27 and 47).

The info-hash is over the raw bytes of `info` as they came, and these are what `to_bytes` emits
again. Hybrid torrents (BEP 52) are read by their v1 part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from itertools import chain
from typing import Any, Self
from urllib.parse import quote

from swarm.errors import MetainfoError

from . import bencode
from .metainfo_fields import DEFAULT_BUDGET, Budget, date, note, typed
from .metainfo_files import File, check_hybrid, read_files
from .metainfo_urls import read_trackers, read_web_seeds

__all__ = ["DEFAULT_BUDGET", "Budget", "File", "InfoHash", "Metainfo"]

DIGEST = 20
"""Bytes of a SHA-1 digest: one per piece."""


@dataclass(frozen=True, slots=True)
class InfoHash:
    """What names a torrent: the SHA-1 of its info dictionary (BEP 3), the SHA-256 (BEP 52)."""

    v1: bytes | None = None
    v2: bytes | None = None

    @property
    def hex(self) -> str:
        return (self.v1 or self.v2 or b"").hex()

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
    """The SHA-1 digests of all pieces, one behind the other."""
    length: int
    """Bytes of all files together; at least one."""
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

    def __hash__(self) -> int:
        return hash(self.infohash)

    @property
    def piece_count(self) -> int:
        return len(self.piece_hashes) // DIGEST

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
        """Bytes of one piece: only the last may be short. Raises `IndexError`."""
        self._check_piece(piece)
        return min(self.piece_length, self.length - piece * self.piece_length)

    def piece_hash(self, piece: int) -> bytes:
        """The SHA-1 digest that the piece must have. Raises `IndexError`."""
        self._check_piece(piece)
        return self.piece_hashes[piece * DIGEST : (piece + 1) * DIGEST]

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
        }
        root.update((key, value) for key, value in optional.items() if value is not None)
        return bencode.encode(root)

    @classmethod
    def parse(cls, data: bytes, *, budget: Budget = DEFAULT_BUDGET) -> Self:
        """Reads a .torrent file.

        Raises `BencodeError` if it is not bencode, `MetainfoError` if it is no v1 or hybrid torrent
        or exceeds `budget`.
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
        hybrid = _version(info)
        infohash = InfoHash(
            sha1(info_bytes).digest(), sha256(info_bytes).digest() if hybrid else None
        )
        piece_length = typed(info, b"piece length", int)
        if piece_length <= 0:
            raise MetainfoError("the piece length is not above zero", "piece length")
        budget.check("piece_length", piece_length, "piece length")
        name, single_file, files = read_files(info, infohash.hex, budget, warnings)
        if hybrid:
            check_hybrid(info, piece_length)
        length = files[-1].offset + files[-1].length
        if not length:
            raise MetainfoError("all of its files are empty: there is nothing to share", "files")
        return cls(
            name=name,
            infohash=infohash,
            info_bytes=info_bytes,
            piece_length=piece_length,
            piece_hashes=_piece_hashes(info, -(-length // piece_length), budget),
            length=length,
            files=files,
            single_file=single_file,
            private=typed(info, b"private", int, 0) == 1,
            trackers=read_trackers(root, budget, warnings),
            web_seeds=read_web_seeds(root, budget, warnings),
            comment=note(root, b"comment", warnings),
            created_by=note(root, b"created by", warnings),
            creation_date=date(root, warnings),
            source=note(info, b"source", warnings),
            extra={key: value for key, value in root.items() if key not in _KNOWN},
            warnings=tuple(warnings),
        )

    @classmethod
    def build(
        cls,
        *,
        name: str,
        files: Sequence[tuple[tuple[str, ...], int]],
        single_file: bool,
        piece_length: int,
        piece_hashes: bytes,
        trackers: Sequence[Sequence[str]] = (),
        web_seeds: Sequence[str] = (),
        private: bool = False,
        comment: str | None = None,
        created_by: str | None = None,
        creation_date: int | None = None,
        source: str | None = None,
    ) -> Self:
        """A new torrent of `files`: paths below the folder `name`, and lengths in bytes.

        A single file is called `name`, whatever its path says. Raises `MetainfoError` for what no
        client could load, such as a bad URL. `warnings` tells of names that this client changes.
        """
        info: dict[str, object] = {
            "name": name,
            "piece length": piece_length,
            "pieces": piece_hashes,
        }
        if not single_file:
            info["files"] = [{"length": length, "path": path} for path, length in files]
        elif len(files) == 1:
            info["length"] = files[0][1]
        else:
            raise MetainfoError(f"{len(files)} files are no single file", "files")
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
        }
        root = {key: value for key, value in optional.items() if value is not None}
        meta = cls.parse(bencode.encode({**root, "info": info}))
        kept = {*chain.from_iterable(meta.trackers), *meta.web_seeds}
        for url in (*urls, *web_seeds):
            if url not in kept:
                raise MetainfoError(f"not a URL that can be used: {url!r}", "announce")
        return meta


_KNOWN = frozenset(
    b"info,announce,announce-list,url-list,creation date,"
    b"comment,comment.utf-8,created by,created by.utf-8".split(b",")
)


def _version(info: dict[bytes, Any]) -> bool:
    """Whether this is a hybrid; raises for what is v2 alone, or neither (BEP 52)."""
    version: int = typed(info, b"meta version", int, 1)
    if version not in (1, 2):
        raise MetainfoError(f"unknown meta version {version}", "meta version")
    hybrid = version == 2
    if hybrid and b"pieces" not in info:
        raise MetainfoError("v2-only torrents are not supported yet", "meta version")
    if hybrid != (b"file tree" in info):
        raise MetainfoError("`meta version` and `file tree` contradict each other", "file tree")
    return hybrid


def _piece_hashes(info: dict[bytes, Any], count: int, budget: Budget) -> bytes:
    hashes: bytes = typed(info, b"pieces", bytes)
    budget.check("pieces", count, "pieces")
    if len(hashes) != count * DIGEST:
        raise MetainfoError(f"{len(hashes):,} bytes of hashes for {count:,} pieces", "pieces")
    return hashes
