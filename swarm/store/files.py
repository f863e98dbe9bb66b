"""What lies on the disk of a torrent's files: sizes and times, nothing read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from swarm.proto.metainfo_files import File


class FileNow(NamedTuple):
    """A regular file as it is now. `size` in bytes, times in nanoseconds since 1970.

    `ctime_ns` tells what `mtime_ns` does not: nobody can set it back. There is no inode number here,
    because on some file systems (vfat, FUSE) it changes with every mount.
    """

    size: Annotated[int, msgspec.Meta(ge=0)]
    mtime_ns: int
    ctime_ns: int


def survey(files: Iterable[File], dest: Path) -> tuple[FileNow | None, ...]:
    """The state of each file, in order; None where there is no regular file (or a pad file).

    One `lstat` a file: for torrents of many files, call it on a thread.
    """
    return tuple(None if file.pad else _look(dest.joinpath(*file.path)) for file in files)


def _look(path: Path) -> FileNow | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return FileNow(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
