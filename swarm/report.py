"""What a check found, file by file."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .proto.metainfo import Metainfo

if TYPE_CHECKING:
    from .store.places import Places

FileState = Literal["good", "damaged", "short", "long", "missing", "unreadable"]
Found = int | Literal["damaged", "missing", "unreadable"]
"""What lies where a file of the torrent should be: its size in bytes, or why that says nothing."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file. `good_bytes` are those within pieces that are right.

    `bad` are the ranges of the others, as (start, end) in bytes of this file, in order and merged. A
    wrong byte makes its whole piece bad, so they also cover what shares a piece with it. `size` is
    what lies on the disk, in bytes. A file that is too long may be right as far as it should go.
    """

    path: str
    length: int
    good_bytes: int
    state: FileState
    size: int | None = None
    bad: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A whole check."""

    files: tuple[FileReport, ...]
    good_pieces: int
    bad_pieces: tuple[int, ...]

    @property
    def ok(self) -> bool:
        """Whether all of the data is there and right, and no file is longer than it should be."""
        return not self.bad_pieces and all(file.state == "good" for file in self.files)


def report(meta: Metainfo, good: bytes, found: Sequence[Found]) -> Report:
    """Turns a bitfield of good pieces, and what lies where each file should be, into a report.

    Its time grows with the number of files and of ranges, not with that of pieces.
    """
    size = meta.piece_length
    runs = _bad_runs(good, meta.piece_count)
    spans = [(first * size, end * size) for first, end in runs]
    at = 0
    files = []
    for file, now in zip(meta.files, found, strict=True):
        start, end = file.offset, file.offset + file.length
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        if file.pad:
            continue
        bad = []
        for index in range(at, len(spans)):
            if spans[index][0] >= end or start == end:
                break
            bad.append((max(spans[index][0], start) - start, min(spans[index][1], end) - start))
        lost = sum(until - since for since, until in bad)
        state: FileState
        if not isinstance(now, int):
            state = now
        elif now != file.length:
            state = "short" if now < file.length else "long"
        else:
            state = "damaged" if bad else "good"
        there = now if isinstance(now, int) else None
        path = "/".join(file.path)
        files.append(FileReport(path, file.length, file.length - lost, state, there, tuple(bad)))
    pieces = tuple(piece for first, end in runs for piece in range(first, end))
    return Report(tuple(files), meta.piece_count - len(pieces), pieces)


def _bad_runs(good: bytes, count: int) -> list[tuple[int, int]]:
    """Where the first `count` bits of a bitfield are not set: (first, end) of each run."""
    bits = f"{int.from_bytes(good, 'big'):0{8 * len(good)}b}"
    return [run.span() for run in re.compile("0+").finditer(bits, 0, count)]


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


def worth_reading(meta: Metainfo, found: Sequence[Found]) -> bytes:
    """A bitfield of the pieces whose bytes are all there, so that they may be right."""
    marks = bytearray(b"1") * meta.piece_count
    size = meta.piece_length
    for file, now in zip(meta.files, found, strict=True):
        there = now if isinstance(now, int) else 0
        if there < file.length and not file.pad:
            first = (file.offset + there) // size
            end = (file.offset + file.length - 1) // size + 1
            marks[first:end] = b"0" * (end - first)
    marks += b"0" * (-len(marks) % 8)
    return int(marks, 2).to_bytes(len(marks) // 8, "big")


async def verify(
    meta: Metainfo,
    dest: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Hashes what is in `dest` against the torrent, changing nothing.

    `progress` is called with pieces checked and pieces in all; those of which bytes are missing count
    as checked from the start. Raises `StorageError` when reading fails; what is missing, damaged or
    not ours to read is in the report.
    """
    from .store.disk import Disk
    from .store.places import Places

    places = Places(meta.files, Path(dest).expanduser().absolute())
    found = await asyncio.to_thread(look, meta, places)
    todo = worth_reading(meta, found)
    count = meta.piece_count
    lost = count - int.from_bytes(todo, "big").bit_count()

    def count_on(checked: int, _: int) -> None:
        if progress is not None:
            progress(lost + checked, count)

    count_on(0, count)
    disk = Disk(threads=max(2, os.cpu_count() or 1), read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    try:
        storage = disk.open(meta, places, writable=False)
        good = await storage.check(todo, count_on)
        await storage.close()
    finally:
        await disk.aclose()
    return await asyncio.to_thread(report, meta, good, found)
