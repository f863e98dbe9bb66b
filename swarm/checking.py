"""Checking what lies in a folder against a torrent, without a session."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import Counter
from collections.abc import Callable
from errno import ELOOP
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import StorageError
from .proto.metainfo import Metainfo
from .report import Found, Report, report, worth_reading

if TYPE_CHECKING:
    from .store.places import Places

ERRORS = 16
"""Pieces of a file that cannot be read, until nothing more of it is tried: each can take a disk seconds."""
ALL_ERRORS = 256
"""Of all files together: more than that is about the disk, and ends the check."""


def look(meta: Metainfo, places: Places) -> list[Found]:
    """What lies at each file's place, in order. Nothing is opened; mostly one `lstat` a file."""
    found: list[Found] = []
    links = places.links
    for file, (root, path, part) in zip(meta.files, places.homes, strict=True):
        if file.pad:
            found.append(0)
            continue
        where = os.path.join(root, *path)
        if file.symlink is not None:
            found.append(_look_at_link(where, os.path.join(places.dest, *links[file.index])))
            continue
        now = _look(where)
        if now == "missing" and part is not None:
            now = _look(os.path.join(os.path.dirname(where), part))
        found.append(now)
    return found


def _look(where: str) -> Found:
    try:
        now = os.lstat(where)
    except PermissionError:
        return "unreadable"
    except (OSError, ValueError):
        return "missing"
    if not stat.S_ISREG(now.st_mode):
        return "missing"
    everyone = now.st_mode & 0o444 == 0o444  # which saves asking for each of many files
    return now.st_size if everyone or os.access(where, os.R_OK) else "unreadable"


def _look_at_link(where: str, target: str) -> Found:
    """A symlink (BEP 47) is good if it leads where it should, in whatever words it says so."""
    try:
        says = os.path.join(os.path.dirname(where), os.readlink(where))
    except (OSError, ValueError):
        return "missing"
    same = os.path.normpath(says) == target or os.path.realpath(where) == os.path.realpath(target)
    return 0 if same else "damaged"


async def verify(
    meta: Metainfo,
    dest: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Hashes what is in `dest` against the torrent, changing nothing.

    `progress` is called with pieces checked and pieces in all; those of which bytes are missing count
    as checked from the start. What is missing, damaged or cannot be read is in the report. Raises
    `StorageError` when next to nothing can be.
    """
    from .store.disk import Disk
    from .store.places import Places

    places = Places(meta.files, Path(dest).expanduser().absolute())
    found = await asyncio.to_thread(look, meta, places)
    broken = _Broken(meta, places, found)
    await asyncio.to_thread(broken.look_for_links)
    good = bytearray(-(-meta.piece_count // 8))
    so_far = 0
    disk = Disk(threads=max(2, os.cpu_count() or 1), read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    try:
        storage = disk.open(meta, places, writable=False)
        while True:
            todo = _without(worth_reading(meta, found), good, broken.pieces)
            before = meta.piece_count - int.from_bytes(todo, "big").bit_count()

            def count_on(checked: int, _: int) -> None:
                nonlocal so_far
                so_far = max(so_far, before + checked)  # noqa: B023
                if progress is not None:
                    progress(so_far, meta.piece_count)

            count_on(0, 0)
            try:
                await storage.check(todo, count_on, good=good)
                break
            except StorageError as error:
                broken.add(error)
        await storage.close()
    finally:
        await disk.aclose()
    for file in broken.errors:
        found[file] = "unreadable"
    return await asyncio.to_thread(report, meta, bytes(good), found, broken.errors)


class _Broken:
    """What a check has to do without: pieces that cannot be read, and files with many of them."""

    def __init__(self, meta: Metainfo, places: Places, found: list[Found]) -> None:
        self.pieces = bytearray(-(-meta.piece_count // 8))
        self.errors: dict[int, str] = {}
        """The first of each file."""
        self._meta, self._places, self._found = meta, places, found
        self._files: dict[str, int] = {}
        self._tries = Counter[int]()

    def look_for_links(self) -> None:
        """Gives up files behind symlinks, which could lead anywhere: one `lstat` a folder."""
        links: dict[tuple[Path, tuple[str, ...]], bool] = {}

        def linked(root: Path, folder: tuple[str, ...]) -> bool:
            if folder and (root, folder) not in links:
                here = os.path.islink(os.path.join(root, *folder))
                links[root, folder] = here or linked(root, folder[:-1])
            return links.get((root, folder), False)

        for file, (root, path, _) in enumerate(self._places.homes):
            if linked(root, path[:-1]) and not self._meta.files[file].pad:
                self._found[file] = "unreadable"
                where = str(self._places.path(file))
                self.errors[file] = str(StorageError.of(ELOOP, where, 0, "open"))

    def add(self, error: StorageError) -> None:
        """Raises it again if nothing can be learned from it."""
        if not self._files:
            self._files = {str(self._places.path(at)): at for at in range(len(self._found))}
        file = self._files.get(error.path or "")
        if file is None or error.offset is None or self._found[file] == "unreadable":
            raise error
        self._tries[file] += 1
        if self._tries.total() > ALL_ERRORS:
            raise error
        self.errors.setdefault(file, str(error))
        if error.operation != "read" or self._tries[file] == ERRORS:
            self._found[file] = "unreadable"
        else:
            piece = (self._meta.files[file].offset + error.offset) // self._meta.piece_length
            self.pieces[piece >> 3] |= 0x80 >> (piece & 7)


def _without(pieces: bytes, *others: bytearray) -> bytes:
    left = int.from_bytes(pieces, "big")
    for other in others:
        left &= ~int.from_bytes(other, "big")
    return left.to_bytes(len(pieces), "big")
