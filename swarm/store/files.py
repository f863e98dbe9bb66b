"""A file as it lies on the disk: its size and times."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec


class FileNow(NamedTuple):
    """A regular file as it is now. `size` in bytes, times in nanoseconds since 1970.

    `ctime_ns` tells what `mtime_ns` does not: nobody can set it back. On some file systems (vfat, FUSE)
    `inode` changes with every mount, so that it says something only of files that were in use.
    """

    size: Annotated[int, msgspec.Meta(ge=0)]
    mtime_ns: int
    ctime_ns: int
    inode: int = 0


def look(path: Path) -> FileNow | None:
    """A file as it is, nothing read; None where there is no regular file."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return FileNow(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
