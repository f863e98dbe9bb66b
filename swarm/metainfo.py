"""Metainfo with the I/O that its values cannot do: loading, fetching and creating torrents."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .errors import BencodeError, MetainfoError, SourceError
from .proto.metainfo import Metainfo as _Metainfo
from .proto.metainfo_fields import DEFAULT_BUDGET

if TYPE_CHECKING:
    from .proto.metainfo_build import Version
    from .tree import Symlinks

StrPath = str | os.PathLike[str]


class Metainfo(_Metainfo):
    """A torrent: its pieces, files and trackers. An immutable value.

    `load` and `fetch` get one, `create` makes one of files, `parse` and `to_bytes` are between it and
    the bytes of a .torrent file.
    """

    __slots__ = ()

    @classmethod
    def load(cls, src: StrPath | bytes) -> Self:
        """Reads a .torrent file, or its bytes.

        Raises `SourceError` when there is no such file, `BencodeError` or `MetainfoError` when it is
        no torrent.
        """
        if isinstance(src, bytes):
            return cls.parse(src)
        path = Path(src).expanduser()
        limit = DEFAULT_BUDGET.metainfo_size
        try:
            with open(path, "rb") as file:
                data = file.read(limit + 1)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error  # a NUL in the path
            raise SourceError(f"{path}: {why}", str(path)) from error
        try:
            return cls.parse(data)
        except BencodeError as error:
            raise BencodeError(f"{path} is no torrent: {error.message}", error.offset) from error
        except MetainfoError as error:
            raise MetainfoError(f"{path} is no torrent: {error}", error.key) from error

    @classmethod
    async def fetch(cls, url: str) -> Self:
        """Gets a .torrent over HTTP. Raises like `load`."""
        import asyncio

        from .net.fetch import fetch

        data = await fetch(url, DEFAULT_BUDGET.metainfo_size)
        return await asyncio.to_thread(cls.parse, data)

    @classmethod
    async def create(
        cls,
        root: StrPath,
        *,
        trackers: Sequence[str] = (),
        web_seeds: Sequence[str] = (),
        private: bool = False,
        source: str | None = None,
        comment: str | None = None,
        piece_length: int | None = None,
        version: Version = "v1",
        symlinks: Symlinks = "refuse",
        exclude: Sequence[str] = (),
        progress: Callable[[int, int], object] | None = None,
    ) -> Self:
        """Hashes a file or folder into a torrent.

        `piece_length` is in bytes (None: chosen by size). `version` is "v1", "v2" or "hybrid" (BEP
        52). `symlinks` are refused, kept as such (BEP 47; they may only lead to what the torrent has)
        or followed: "follow" stays in the folder, "follow-outside" does not. `exclude` are patterns
        of a shell, for names, or with a slash for paths below `root`. Each of `trackers` becomes a
        tier of its own; `progress` is called with bytes hashed and bytes in all.

        Raises `SourceError` naming the file that could not be read or that changed meanwhile, and
        `ConfigError`.
        """
        import asyncio

        from .make import Making
        from .proto.metainfo_urls import require_usable
        from .tree import Tree

        def walk() -> Making:
            tree = Tree(Path(root).expanduser(), symlinks, exclude)
            return Making(tree, piece_length, version)

        require_usable(trackers, web_seeds)  # before an hour of hashing, not after it
        making = await asyncio.to_thread(walk)
        hashes = await making.hash(progress)
        return await asyncio.to_thread(
            cls.build,
            name=making.tree.name,
            files=making.entries,
            single_file=making.tree.single_file,
            piece_length=making.piece_length,
            piece_hashes=None if version == "v2" else hashes.pieces,
            roots=None if version == "v1" else hashes.roots,
            layers=hashes.layers,
            trackers=[[url] for url in trackers],
            web_seeds=web_seeds,
            private=private,
            comment=comment,
            created_by="swarm 0.1",
            source=source,
        )
