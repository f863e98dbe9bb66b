"""Making torrents: which files, which piece length, and their hashes."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ._native import Progress, hash_files
from .errors import ConfigError, SourceError

KIB = 1024
SMALLEST_PIECE = 16 * KIB
LARGEST_PIECE = 512 * KIB * KIB
AUTO_SMALLEST, AUTO_LARGEST = 256 * KIB, 16 * KIB * KIB
AUTO_PIECES = 2000
"""Few enough for a small .torrent file, enough for many peers to share."""
PROGRESS_INTERVAL = 0.1


def auto_piece_length(length: int) -> int:
    """The smallest power of two within 256 KiB and 16 MiB that makes at most 2,000 pieces."""
    size = AUTO_SMALLEST
    while size < AUTO_LARGEST and length > size * AUTO_PIECES:
        size *= 2
    return size


class Making:
    """A file or folder on its way to become a torrent. Raises `SourceError` and `ConfigError`."""

    def __init__(self, root: Path, piece_length: int | None) -> None:
        self.root = root
        self.name = root.resolve().name
        self.single_file = root.is_file()
        self.files: list[tuple[tuple[str, ...], int]] = []
        """Path below the root and length of each file, in the torrent's order."""
        self._paths: list[tuple[str, int]] = []
        for parts, path in self._walk():
            length = self._measure(path)
            self.files.append((parts, length))
            self._paths.append((str(path), length))
        self.length = sum(length for _, length in self.files)
        if not self.length:
            raise SourceError(f"{root}: there is nothing in it to share", str(root))
        if piece_length is None:
            piece_length = auto_piece_length(self.length)
        self.piece_length = piece_length
        if not SMALLEST_PIECE <= self.piece_length <= LARGEST_PIECE:
            raise ConfigError("a piece is between 16 KiB and 512 MiB long")
        if self.piece_length & (self.piece_length - 1):
            raise ConfigError("a piece length is a power of two")

    def _walk(self) -> Iterator[tuple[tuple[str, ...], Path]]:
        if self.single_file:
            yield (self.name,), self.root
            return
        if not self.root.is_dir():
            raise SourceError(f"{self.root}: no such file or folder", str(self.root))
        found = []
        for folder, folders, names in os.walk(self.root, onerror=self._refuse):
            folders.sort()
            for name in (*names, *folders):
                path = Path(folder, name)
                if path.is_symlink():
                    raise SourceError(f"{path}: a symbolic link; copy what it points to", str(path))
            found += [Path(folder, name) for name in names]
        for path in sorted(found, key=lambda path: path.relative_to(self.root).parts):
            yield path.relative_to(self.root).parts, path

    def _refuse(self, error: OSError) -> None:
        raise SourceError(f"{error.filename}: {error.strerror}", str(error.filename)) from error

    def _measure(self, path: Path) -> int:
        try:
            found = path.stat()
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}", str(path)) from error
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{path}: not a regular file", str(path))
        return found.st_size

    async def hash(self, progress: Callable[[int, int], object] | None) -> bytes:
        """The SHA-1 of every piece, on all cores."""
        state = Progress()
        threads = os.cpu_count() or 1
        job = asyncio.ensure_future(
            asyncio.to_thread(hash_files, self._paths, self.piece_length, threads, state)
        )
        try:
            while not job.done():
                await asyncio.wait([job], timeout=PROGRESS_INTERVAL)
                if progress is not None:
                    progress(state.done, self.length)
            return job.result().pieces
        except OSError as error:
            name = error.filename or str(self.root)
            raise SourceError(f"{name}: {error.strerror or error}", str(name)) from error
        finally:
            state.cancel()
            await asyncio.wait([job])  # the thread reads no file after we have returned
            if not job.cancelled():
                job.exception()
