"""Metainfo with the I/O that its values cannot do: loading, fetching and creating torrents."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from .errors import SourceError
from .proto.metainfo import Metainfo as _Metainfo
from .proto.metainfo_fields import DEFAULT_BUDGET

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
        return cls.parse(data)

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
        progress: Callable[[int, int], object] | None = None,
    ) -> Self:
        """Hashes a file or folder into a torrent.

        `piece_length` is in bytes (None: chosen by size); each of `trackers` becomes a tier of its
        own; `progress` is called with bytes hashed and bytes in all. Raises `SourceError` naming the
        file that could not be read or that changed meanwhile.
        """
        import asyncio

        from .make import Making

        making = await asyncio.to_thread(Making, Path(root).expanduser(), piece_length)
        hashes = await making.hash(progress)
        return cls.build(
            name=making.name,
            files=making.files,
            single_file=making.single_file,
            piece_length=making.piece_length,
            piece_hashes=hashes,
            trackers=[[url] for url in trackers],
            web_seeds=web_seeds,
            private=private,
            comment=comment,
            created_by="swarm 0.1",
            source=source,
        )
