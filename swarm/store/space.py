"""Whether what is still to be written fits on the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarm.errors import DiskFull, StorageError
from swarm.proto.metainfo_files import File
from swarm.units import format_size

from .files import Looks
from .places import Home, Places


def require(files: Sequence[File], places: Places, missing: Mapping[int, int]) -> None:
    """Raises `DiskFull` if the bytes that files (by index) are missing do not fit. Up to two `lstat` a file.

    What a file has been given on the disk already, written or reserved, needs no more space. Raises
    another `StorageError` if they could not be written at all, which is better said now than when the
    first piece comes.
    """
    homes = places.homes
    for file in {homes[file][:1] + homes[file][1][:-1]: file for file in missing}.values():
        _require_writable(places.now(file))
    looks = Looks()
    needed = sum(
        min(lacking, _unallocated(looks, homes[file], files[file].length))
        for file, lacking in missing.items()
    )
    free = _free(places.dest)
    if free is not None and needed > free:
        text = (
            f"not enough space in {places.dest}: {format_size(needed)} are to be written, "
            f"{format_size(free)} are free, {format_size(needed - free)} are missing"
        )
        raise DiskFull(
            text,
            errno=errno.ENOSPC,
            path=str(places.dest),
            operation="allocate",
            needed=needed,
            free=free,
        )


def _require_writable(path: Path) -> None:
    """Raises `StorageError` where a file, and the folders above it, can be neither written nor made."""
    existing = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if existing != path and not existing.is_dir():
        reason = errno.ENOTDIR
    elif os.access(existing, os.W_OK):
        return
    else:
        read_only = hasattr(os, "statvfs") and os.statvfs(existing).f_flag & os.ST_RDONLY
        reason = errno.EROFS if read_only else errno.EACCES
    raise StorageError.of(reason, str(path), 0, "write")


def _unallocated(looks: Looks, home: Home, length: int) -> int:
    root, path, part = home
    for name in (*path[-1:], part):
        if name and (found := looks.at(root, path[:-1], name)):
            blocks: int = getattr(found, "st_blocks", 0)
            return max(length - blocks * 512, 0)
    return length


def _free(folder: Path) -> int | None:
    """Bytes that we may still write in a folder, which need not exist yet; None if nobody knows."""
    for existing in (folder, *folder.parents):
        try:
            return shutil.disk_usage(existing).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
