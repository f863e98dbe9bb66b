"""Where a torrent is to be, and what its files are called there."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from swarm.errors import StorageError, UnsafePath
from swarm.proto.metainfo_files import File
from swarm.proto.paths import PART_BYTES, safe_paths


class Where(msgspec.Struct, frozen=True, omit_defaults=True):
    """A folder, and the names in it that are not those of the torrent."""

    dest: str
    """The folder that the torrent was put into: an absolute path."""
    name: str | None = None
    """Of the torrent's own folder, or of its only file."""
    renamed: dict[int, tuple[str, ...]] = {}
    """The paths of single files, below the torrent's own folder."""

    def into(self, dest: str) -> Where:
        """The same names in another folder."""
        return msgspec.structs.replace(self, dest=dest)

    def called(self, name: str) -> Where:
        """The same under another name."""
        return msgspec.structs.replace(self, name=name)

    def with_file(self, index: int, path: tuple[str, ...]) -> Where:
        """The same with one file under another path."""
        return msgspec.structs.replace(self, renamed={**self.renamed, index: path})

    def paths(self, files: Sequence[File]) -> list[tuple[str, ...]]:
        """The path of each file below `dest`; empty for a pad file."""
        if not self.name and not self.renamed:
            return [() if file.pad else file.path for file in files]
        return [() if file.pad else self._path(file) for file in files]

    def _path(self, file: File) -> tuple[str, ...]:
        return (self.name or file.path[0], *self.renamed.get(file.index, file.path[1:]))

    def root(self, files: Sequence[File]) -> Path:
        """The torrent's own folder, or its only file."""
        return Path(self.dest, self.name or files[0].path[0])

    def check(self, files: Sequence[File]) -> None:
        """Holds the names against the rules for those in a torrent.

        Raises `UnsafePath` for one that the rules do not let through, and `StorageError` (EEXIST) for
        one that is another file's, or another file's folder.
        """
        suffix = part_suffix(file.path for file in files)
        single = len(files) == 1 and len(files[0].path) == 1
        for index, path in self.renamed.items():
            if not 0 <= index < len(files) or files[index].pad or single:
                raise UnsafePath(f"there is no file {index} that could be renamed")
            self._check_one(path, suffix)
        if self.name is not None:
            self._check_one((self.name,), suffix)
        paths = [path for path in self.paths(files) if path]
        if safe_paths(paths) != paths:
            text = "two files would have the same name"
            raise StorageError(text, errno=errno.EEXIST, path=self.dest, operation="rename")

    def _check_one(self, path: tuple[str, ...], suffix: str) -> None:
        name = "/".join(path)
        if not path or safe_paths([path]) != [path]:
            raise UnsafePath(f"not a name for a file of a torrent: {name!r}", path=name)
        if any(part.lower().endswith(suffix) for part in path):
            text = f"names that end in {suffix} are those of files that are not complete: {name!r}"
            raise UnsafePath(text, path=name)


def part_suffix(paths: Iterable[Sequence[str]]) -> str:
    """`.part`, or the first of `.part2` and so on that no name in `paths` ends in."""
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
