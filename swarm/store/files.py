"""A file as it lies on the disk: its size and times."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

import msgspec


class FileNow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A regular file as it is now. `size` in bytes, times in nanoseconds since 1970.

    `ctime_ns` tells what `mtime_ns` does not: nobody can set it back. On some file systems (vfat, FUSE)
    `inode` changes with every mount, so that it says something only of files that were in use.
    The garbage collector passes these by: there may be hundreds of thousands.
    """

    size: Annotated[int, msgspec.Meta(ge=0)]
    mtime_ns: int
    ctime_ns: int
    inode: int = 0

    @property
    def state(self) -> tuple[int, int, int]:
        """What tells whether its bytes have changed."""
        return self.size, self.mtime_ns, self.ctime_ns

    def with_size(self, size: int) -> FileNow:
        """The same with another size."""
        return msgspec.structs.replace(self, size=size)

    def with_ctime(self, ctime_ns: int) -> FileNow:
        """The same with another ctime."""
        return msgspec.structs.replace(self, ctime_ns=ctime_ns)


def look(path: Path) -> FileNow | None:
    """A file as it is, nothing read; None where there is no regular file."""
    found = _look(str(path))
    return None if found is None else described(found)


def described(found: os.stat_result) -> FileNow:
    """What counts of that."""
    return FileNow(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class Looks:
    """Looks at many files, one by one. None is looked for in a folder that was not there."""

    def __init__(self) -> None:
        self._folders: dict[tuple[Path, tuple[str, ...]], str | None] = {}

    def at(self, root: Path, folders: tuple[str, ...], name: str) -> os.stat_result | None:
        """A regular file below a folder, if there is one."""
        key = root, folders
        if key not in self._folders:
            path = os.path.join(root, *folders, "")
            self._folders[key] = path if os.path.isdir(path) else None
        folder = self._folders[key]
        return None if folder is None else _look(folder + name)


def _look(path: str) -> os.stat_result | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None
