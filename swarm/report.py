"""What a check found, file by file. Pure: what is on the disk is found out elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .proto.metainfo import Metainfo

FileState = Literal["good", "damaged", "short", "long", "missing", "unreadable"]
Found = int | Literal["damaged", "missing", "unreadable"]
"""What lies where a file of the torrent should be: its size in bytes, or why that says nothing."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file. `good_bytes` are those within pieces that are right.

    `bad` are the ranges of the others, as (start, end) in bytes of this file, in order and merged. A
    wrong byte makes its whole piece bad, so they also cover what shares a piece with it. `size` is
    what lies on the disk, in bytes. A file that is too long may be right as far as it should go.
    `error` says why a file is unreadable, if it broke while it was read.
    """

    path: str
    length: int
    good_bytes: int
    state: FileState
    size: int | None = None
    bad: tuple[tuple[int, int], ...] = ()
    error: str | None = None


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


def report(
    meta: Metainfo, good: bytes, found: Sequence[Found], errors: Mapping[int, str] | None = None
) -> Report:
    """Turns a bitfield of good pieces, and what lies where each file should be, into a report.

    `errors` are those of files that could not be read, by their index. Its time grows with the number
    of files and of ranges, not with that of pieces.
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
        files.append(
            FileReport(
                "/".join(file.path),
                file.length,
                file.length - lost,
                state,
                there,
                tuple(bad),
                errors.get(file.index) if errors else None,
            )
        )
    pieces = tuple(piece for first, end in runs for piece in range(first, end))
    return Report(tuple(files), meta.piece_count - len(pieces), pieces)


def _bad_runs(good: bytes, count: int) -> list[tuple[int, int]]:
    """Where the first `count` bits of a bitfield are not set: (first, end) of each run."""
    bits = f"{int.from_bytes(good, 'big'):0{8 * len(good)}b}"
    return [run.span() for run in re.compile("0+").finditer(bits, 0, count)]


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
