"""The names of a torrent's files on the disk, and what lies under them now.

A file that is not complete is called NAME.part. Where a torrent has names of that kind itself, the
suffix is another one, which none of its names ends in. `_native` moves the files; this names them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from swarm.proto.metainfo_files import File
from swarm.proto.paths import PART_BYTES

from .files import FileNow, look

_UNKNOWN, _FINAL, _PART = b" fp"


class Survey(NamedTuple):
    """What lies on the disk of a torrent's files, nothing read."""

    files: tuple[FileNow | None, ...]
    """Each file as it is, in order; None where there is no regular file (or a pad file)."""
    parts: tuple[int, ...]
    """The files that lie under their part names."""


class Places:
    """Where the files of one torrent are to be: below the folder `dest`."""

    def __init__(self, files: Sequence[File], dest: Path) -> None:
        self.dest = dest
        self.paths = [() if file.pad else file.path for file in files]
        """The final path of each file below `dest`; empty for a pad file."""
        self.links = {file.index: file.symlink for file in files if file.symlink is not None}
        """The path, below `dest`, that each symlink leads to."""
        suffix = part_suffix(self.paths)
        self.parts = [
            part_name(path[-1], suffix) if path and file.length else None
            for path, file in zip(self.paths, files, strict=True)
        ]
        """What each file is called before it is complete; None where that is its final name."""

    def path(self, file: int) -> Path:
        """The file under its final name."""
        return self.dest.joinpath(*self.paths[file])

    def part(self, file: int) -> Path | None:
        """The file under its part name, if it has one."""
        name = self.parts[file]
        return self.dest.joinpath(*self.paths[file][:-1], name) if name else None

    def now(self, file: int) -> Path:
        """The file under the name it has now; the final one where there is none."""
        path, part = self.path(file), self.part(file)
        return part if part and not os.path.lexists(path) and os.path.lexists(part) else path

    def survey(self, spots: bytes = b"") -> Survey:
        """One or two `lstat` a file: for torrents of many files, call it on a thread.

        `spots` is where a storage that is open has them (see `_native`).
        """
        files: list[FileNow | None] = []
        parts = []
        for file, path in enumerate(self.paths):
            spot = spots[file] if spots else _UNKNOWN
            now = look(self.path(file)) if path and spot != _PART else None
            if now is None and spot != _FINAL and (part := self.part(file)):
                now = look(part)
                if now is not None:
                    parts.append(file)
            files.append(now)
        return Survey(tuple(files), tuple(parts))

    def contested(self, file: int) -> bool:
        """Does the file lie under both of its names, as two different files?"""
        part = self.part(file)
        try:
            return part is not None and not os.path.samestat(
                os.lstat(self.path(file)), os.lstat(part)
            )
        except OSError:
            return False


def part_suffix(paths: Iterable[Sequence[str]]) -> str:
    """ ".part", or the first of ".part2" and so on that no name in `paths` ends in."""
    names = {name.lower() for path in paths for name in path if ".part" in name.lower()}
    for number in itertools.count(1):
        suffix = f".part{number}" if number > 1 else ".part"
        if not any(name.endswith(suffix) for name in names):
            return suffix
    raise AssertionError  # the numbers do not end


def part_name(name: str, suffix: str) -> str | None:
    """`name` with `suffix`, unless that is more than file systems can hold."""
    part = name + suffix
    return part if len(part.encode("utf-8", "surrogateescape")) <= PART_BYTES else None
