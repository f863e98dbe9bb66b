"""What a check found, file by file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ._bits import Bits
from .proto.metainfo import Metainfo

FileState = Literal["good", "damaged", "short", "missing"]


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file. `good_bytes` are those within pieces that are right."""

    path: str
    length: int
    good_bytes: int
    state: FileState


@dataclass(frozen=True, slots=True)
class Report:
    """A whole check."""

    files: tuple[FileReport, ...]
    good_pieces: int
    bad_pieces: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """Whether all of the data is there and right."""
        return not self.bad_pieces and all(file.state == "good" for file in self.files)


def report(meta: Metainfo, good: bytes, dest: Path) -> Report:
    """Turns a bitfield of good pieces into a report by file. Looks at the files' sizes."""
    have = Bits(meta.piece_count, good)
    files = []
    for file in meta.files:
        if file.pad:
            continue
        good_bytes = _good_bytes(meta, have, file.offset, file.length)
        path = dest.joinpath(*file.path)
        state: FileState = "good" if good_bytes == file.length else "damaged"
        if state == "damaged" or not file.length:
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                state = "missing"
            elif size < file.length:
                state = "short"
        files.append(FileReport("/".join(file.path), file.length, good_bytes, state))
    bad = tuple(piece for piece in range(meta.piece_count) if not have[piece])
    return Report(tuple(files), have.count, bad)


def _good_bytes(meta: Metainfo, have: Bits, offset: int, length: int) -> int:
    if not length:
        return 0
    size = meta.piece_length
    end = offset + length
    good = 0
    for piece in range(offset // size, (end - 1) // size + 1):
        if have[piece]:
            good += min(end, (piece + 1) * size) - max(offset, piece * size)
    return good


async def verify(
    meta: Metainfo,
    dest: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Hashes what is in `dest` against the torrent, changing nothing.

    `progress` is called with pieces checked and pieces in all. Raises `StorageError` for what cannot
    be read; what is missing or damaged is in the report.
    """
    from .store.disk import Disk

    where = Path(dest).expanduser().absolute()
    disk = Disk(threads=max(2, os.cpu_count() or 1), read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    try:
        storage = disk.open(meta, where, writable=False)
        good = await storage.check(None, progress)
        await storage.close()
    finally:
        await disk.aclose()
    return await asyncio.to_thread(report, meta, good, where)
