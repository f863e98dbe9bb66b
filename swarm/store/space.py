"""Whether what is still to be written fits on the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarm.errors import DiskFull
from swarm.proto.metainfo_files import File
from swarm.units import format_size

from .places import Places


def require(files: Sequence[File], places: Places, missing: Mapping[int, int]) -> None:
    """Raises `DiskFull` if the bytes that files (by index) are missing do not fit. Up to three `lstat` a file.

    What a file has been given on the disk already, written or reserved, needs no more space.
    """
    needed = sum(
        min(lacking, _unallocated(places.now(file), files[file].length))
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


def _unallocated(path: Path, length: int) -> int:
    try:
        blocks: int = getattr(os.lstat(path), "st_blocks", 0)
    except OSError:
        return length
    return max(length - blocks * 512, 0)


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
